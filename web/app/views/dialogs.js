// Modal dialogs. Each is created when it opens, and removed when it closes.
import { h } from "../dom.js";
import { t } from "../language.js";
import { toastError } from "./toasts.js";

let opened = 0;

/**
 * Opens a dialog with this title. Returns the element; `close()` closes it.
 * @param {{title: string, content: (Node | false | null)[], class?: string, closed?: () => void}}
 *   options
 */
export function openDialog({ title, content, class: kind = "", closed = () => {} }) {
  // A dialog may be opened over another one.
  const id = `dialog-title-${(opened += 1)}`;
  const dialog = h(
    "dialog",
    { class: `card ${kind}`, "aria-labelledby": id },
    h("h2", { id }, title),
    ...content,
  );
  const view = document.querySelector(".call") ?? document.getElementById("app");
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
    // The element that opened the dialog may be gone, for example the row of a participant.
    if (document.activeElement === document.body) document.getElementById("app").focus();
  });
  view.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Creates the button that closes the dialog it is in. */
export const closeButton = (label = t("close")) =>
  h("button", { type: "button", class: "secondary", onclick: ({ target }) => target.closest("dialog").close() }, label);

/**
 * Asks for confirmation of an action that cannot be undone, and runs `act` on yes.
 * @param {{title: string, text: string, yes: string, act: () => Promise<unknown>}} question
 */
export function confirm({ title, text, yes, act }) {
  const dialog = openDialog({
    title,
    content: [
      h("p", {}, text),
      h(
        "div",
        { class: "row" },
        closeButton(t("cancel")),
        h("button", { type: "button", class: "danger", onclick: () => (dialog.close(), act().catch(toastError)) }, yes),
      ),
    ],
  });
}
