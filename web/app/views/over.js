// View after the call: why it is over, and the next steps.
import { SwitchboardError } from "../../vendor/switchboard.js";
import { h } from "../dom.js";
import { t } from "../language.js";
import { sentence } from "../sentences.js";
import { brand } from "./home.js";

const ENDINGS = {
  left: ["overLeft", "overLeftText"],
  ended: ["overEnded", "overEndedText"],
  removed: ["overRemoved", "overRemovedText"],
  banned: ["overRemoved", "overBannedText"],
  denied: ["overDenied", "overDeniedText"],
  changed: ["overChanged", "overChangedText"],
  elsewhere: ["overElsewhere", "overElsewhereText"],
  disconnected: ["overDisconnected", "overDisconnectedText"],
};
const FINAL = new Set(["ended", "banned"]);

/**
 * @param {{ending: string | SwitchboardError, reason: string, home: () => void, again: () => void}}
 *   context
 */
export function overView({ ending, reason, home, again }) {
  const [title, text] =
    ending instanceof SwitchboardError ? [t("overRefused"), sentence(ending)] : ENDINGS[ending].map((key) => t(key));
  const element = h(
    "div",
    { class: "over" },
    brand(),
    // The focus was in the call, which is gone.
    h("h1", { tabindex: "-1", autofocus: true }, title),
    h("p", { role: "status" }, text),
    reason && h("p", { class: "muted" }, t("reason", { reason })),
    h(
      "div",
      { class: "row" },
      !FINAL.has(ending) && h("button", { type: "button", class: "secondary", onclick: again }, t("joinAgain")),
      h("button", { type: "button", class: "primary", onclick: home }, t("goHome")),
    ),
  );
  return { title, element };
}
