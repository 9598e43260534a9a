// Waiting room: shown until the host or a moderator admits this user.
import { h } from "../dom.js";

/** @param {{room: import("../../vendor/switchboard.js").Room, title: string}} context */
export function waitingRoom({ room, title }) {
  const heading = h("h2", { tabindex: "-1" }, "Waiting to be admitted");
  const element = h(
    "section",
    { class: "waiting-room", "aria-label": "Waiting room", hidden: true },
    h("span", { class: "pulse", "aria-hidden": "true" }),
    heading,
    h(
      "p",
      { class: "muted", role: "status" },
      `The host of ${title || "this call"} knows that you are here. No one sees or hears you yet.`,
    ),
    h("button", { type: "button", class: "secondary", onclick: () => room.leave() }, "Leave"),
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
