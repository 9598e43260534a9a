// Waiting room: shown until the host or a moderator admits this user.
import { h } from "../dom.js";
import { t } from "../language.js";

/** @param {{room: import("../../vendor/switchboard.js").Room, title: string}} context */
export function waitingRoom({ room, title }) {
  const heading = h("h2", { tabindex: "-1" }, t("waitingTitle"));
  const element = h(
    "section",
    { class: "waiting-room", "aria-label": t("waitingRoom"), hidden: true },
    h("span", { class: "pulse", "aria-hidden": "true" }),
    heading,
    h("p", { class: "muted", role: "status" }, t("waitingText", { title: title || t("thisCall") })),
    h("button", { type: "button", class: "secondary", onclick: () => room.leave() }, t("leave")),
  );
  return {
    element,
    /** Shows or hides the view. The heading gets the focus, so that screen readers announce it. */
    show(waiting) {
      if (element.hidden !== waiting) return;
      element.hidden = !waiting;
      if (waiting) heading.focus();
    },
  };
}
