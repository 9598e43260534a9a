// After the call: why it is over, and where to go from here.
import { h } from "../dom.js";
import { Refusal, sentence } from "../refusals.js";
import { brand } from "./home.js";

const WORDS = {
  left: ["You hung up", "The others are still on the line, if they like."],
  ended: ["The call has ended", "It was ended for everybody."],
  removed: ["You were removed from the call", "A moderator has taken you out."],
  banned: ["You were removed from the call", "You cannot come back to it."],
  denied: ["You were not let in", "The host has turned you away."],
  elsewhere: ["You are out of the call", "You joined it from another window."],
  disconnected: ["The line was cut", "The server ended this connection."],
};
const FINAL = new Set(["ended", "banned"]);

/** @param {{ending: string | Refusal, reason: string, home: () => void, again: () => void}} context */
export function overView({ ending, reason, home, again }) {
  const [title, text] = ending instanceof Refusal ? ["You could not be connected", sentence(ending)] : WORDS[ending];
  const element = h(
    "div",
    { class: "over" },
    brand(),
    h("h1", {}, title),
    h("p", { role: "status" }, text),
    reason && h("p", { class: "muted" }, `They said: ${reason}`),
    h(
      "div",
      { class: "row" },
      !FINAL.has(ending) && h("button", { type: "button", class: "secondary", onclick: again }, "Join again"),
      h("button", { type: "button", class: "primary", onclick: home }, "To the front page"),
    ),
  );
  return { title, element };
}
