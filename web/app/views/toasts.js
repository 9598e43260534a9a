// Short notices. The region is aria-live, so each is read out as well.
import { h, icon } from "../dom.js";
import { sentence } from "../refusals.js";

const SHOWN_MS = 7_000;
const MOST = 4;

/** Shows a text for a while. `kind` is `info` or `error`. */
export function toast(text, kind = "info") {
  const region = document.getElementById("toasts");
  // The same refusal twice in a row is one notice.
  [...region.children].find((shown) => shown.firstChild.textContent === text)?.remove();
  const dismiss = h(
    "button",
    { class: "toast-close", type: "button", "aria-label": "Dismiss", onclick: () => element.remove() },
    icon("close"),
  );
  const element = h("div", { class: `toast toast-${kind}` }, h("span", {}, text), dismiss);
  region.append(element);
  while (region.children.length > MOST) region.firstChild.remove();
  setTimeout(() => element.remove(), SHOWN_MS);
}

/** Shows an error in words. */
export const toastError = (error) => toast(sentence(error), "error");
