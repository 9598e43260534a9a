// View after the call: why it is over, and the next steps.
import { SwitchboardError } from "../../vendor/switchboard.js";
import { h } from "../dom.js";
import { sentence } from "../sentences.js";
import { brand } from "./home.js";

const ENDINGS = {
  left: ["You left the call", "The others can continue without you."],
  ended: ["The call has ended", "It was ended for everyone."],
  removed: ["You were removed from the call", "A moderator removed you."],
  banned: ["You were removed from the call", "You cannot return to it."],
  denied: ["You were not admitted", "The host or a moderator declined your request."],
  changed: ["The call has changed", "Who may join has changed while you waited. Join again to ask."],
  elsewhere: ["You are out of the call", "You joined it from another window."],
  disconnected: ["You were disconnected", "The server ended this connection."],
};
const FINAL = new Set(["ended", "banned"]);

/**
 * @param {{ending: string | SwitchboardError, reason: string, home: () => void, again: () => void}} context
 */
export function overView({ ending, reason, home, again }) {
  const [title, text] = ending instanceof SwitchboardError ? ["You could not be connected", sentence(ending)] : ENDINGS[ending];
  const element = h(
    "div",
    { class: "over" },
    brand(),
    h("h1", {}, title),
    h("p", { role: "status" }, text),
    reason && h("p", { class: "muted" }, `Reason: ${reason}`),
    h(
      "div",
      { class: "row" },
      !FINAL.has(ending) && h("button", { type: "button", class: "secondary", onclick: again }, "Join again"),
      h("button", { type: "button", class: "primary", onclick: home }, "Go to the front page"),
    ),
  );
  return { title, element };
}
