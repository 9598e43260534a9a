// Modal dialogs that ask for confirmation.
import { h } from "../dom.js";
import { toastError } from "./toasts.js";

/**
 * Asks for confirmation of an action that cannot be undone, and runs `act` on yes. The dialog is
 * removed when it closes.
 * @param {{title: string, text: string, yes: string, no?: string, act: () => Promise<unknown>}}
 *   question
 */
export function confirm({ title, text, yes, no = "Cancel", act }) {
  const dialog = h(
    "dialog",
    { class: "card", "aria-labelledby": "question-title", onclose: () => dialog.remove() },
    h("h2", { id: "question-title" }, title),
    h("p", {}, text),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, no),
      h(
        "button",
        { type: "button", class: "danger", onclick: () => (dialog.close(), act().catch(toastError)) },
        yes,
      ),
    ),
  );
  document.querySelector(".call").append(dialog);
  dialog.showModal();
}
