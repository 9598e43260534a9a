// In the lobby: somebody has to open the door.
import { h } from "../dom.js";

/** @param {{call: import("../call.js").Call, title: string}} context */
export function waitingRoom({ call, title }) {
  const heading = h("h2", { tabindex: "-1" }, "You will be let in soon");
  const element = h(
    "section",
    { class: "waiting-room", "aria-label": "Waiting room", hidden: true },
    h("span", { class: "pulse", "aria-hidden": "true" }),
    heading,
    h(
      "p",
      { class: "muted", role: "status" },
      `The host of ${title || "this call"} knows that you are here. Nobody sees or hears you yet.`,
    ),
    h("button", { type: "button", class: "secondary", onclick: () => call.leave() }, "Leave"),
  );
  return {
    element,
    /** Shown or not; the heading takes the focus when the room opens, so that it is read out. */
    show(waiting) {
      if (element.hidden !== waiting) return;
      element.hidden = !waiting;
      if (waiting) heading.focus();
    },
  };
}
