// Short notices. Their region is aria-live, so screen readers announce each of them.
import { h, icon } from "../dom.js";
import { t } from "../language.js";
import { sentence } from "../sentences.js";

const TOAST_TIMEOUT_MS = 7_000;
const TOASTS_MAX = 4;

/** Shows a notice for TOAST_TIMEOUT_MS. `kind` is `info` or `error`. */
export function toast(text, kind = "info") {
  const region = document.getElementById("toasts");
  region.setAttribute("aria-label", t("notices"));
  // A repeated notice replaces the earlier one.
  [...region.children].find((shown) => shown.firstChild.textContent === text)?.remove();
  const remove = () => {
    // A focus in the notice would be lost with it.
    if (element.contains(document.activeElement)) document.getElementById("app").focus();
    element.remove();
  };
  const dismiss = h(
    "button",
    { class: "toast-close", type: "button", "aria-label": t("dismiss"), onclick: remove },
    icon("close"),
  );
  const element = h("div", { class: `toast toast-${kind}` }, h("span", {}, text), dismiss);
  region.append(element);
  while (region.children.length > TOASTS_MAX) region.firstChild.remove();
  setTimeout(remove, TOAST_TIMEOUT_MS);
}

/** Tells a text to screen readers alone. It is for what others see by itself. */
export function announce(text) {
  document.getElementById("announcements").textContent = text;
}

/** Shows the sentence for an error. */
export const toastError = (error) => toast(sentence(error), "error");
