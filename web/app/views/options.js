// Dialogs of this user's own choices: devices, view, sounds, language and keyboard shortcuts.
import { h, switchRow } from "../dom.js";
import { languageChoice, t } from "../language.js";
import { prefer, preference } from "../preferences.js";
import { devicePicker } from "./devices.js";
import { closeButton, openDialog } from "./dialogs.js";

/** Keys of the call view, with the sentence that says what each does. */
const SHORTCUTS = {
  M: "shortcutMicrophone",
  V: "shortcutCamera",
  C: "shortcutChat",
  P: "shortcutPeople",
  H: "shortcutHand",
  I: "shortcutInvite",
  L: "shortcutView",
  F: "shortcutFullScreen",
  "?": "shortcutHelp",
};

const choice = (label, name, otherwise, changed = () => {}) =>
  switchRow(label, {
    checked: preference(name, otherwise),
    onchange: ({ target }) => {
      prefer(name, target.checked);
      changed();
    },
  }).row;

/**
 * @param {{local: import("../../vendor/switchboard.js").LocalMedia, viewChanged: () => void}}
 *   context
 */
export function openOptions({ local, viewChanged }) {
  const picker = devicePicker(local);
  const section = (title, ...content) => h("section", { class: "option-group" }, h("h3", {}, title), ...content);
  openDialog({
    title: t("options"),
    class: "settings",
    closed: picker.close,
    content: [
      section(t("devices"), picker.element),
      section(
        t("view"),
        choice(t("speakerView"), "speakerView", false, viewChanged),
        choice(t("sounds"), "sounds", true),
      ),
      section(t("language"), languageChoice()),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "quiet", onclick: openShortcuts }, t("shortcuts")),
        closeButton(),
      ),
    ],
  });
}

/** Opens the list of the keyboard shortcuts. They can be turned off, because speech input types. */
export function openShortcuts() {
  const keys = [...Object.entries(SHORTCUTS), [t("escape"), "shortcutEscape"]];
  openDialog({
    title: t("shortcuts"),
    class: "settings",
    content: [
      h(
        "dl",
        { class: "shortcuts" },
        keys.map(([key, sentence]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, t(sentence)))),
      ),
      choice(t("shortcutsOn"), "shortcuts", true),
      h("div", { class: "row" }, closeButton()),
    ],
  });
}

/**
 * Runs the action of a shortcut at its key while `enabled` returns true, until `signal` aborts.
 * @param {Record<string, () => void>} actions by key of SHORTCUTS
 */
export function listenToShortcuts(actions, enabled, signal) {
  const pressed = (event) => {
    const { key, target, ctrlKey, metaKey, altKey, repeat } = event;
    const action = actions[key.toUpperCase()];
    if (!action || !enabled() || ctrlKey || metaKey || altKey || repeat || !preference("shortcuts", true)) return;
    // Letters that are typed, and those in an open dialog or list, are not shortcuts.
    if (target.closest?.("input, textarea, select, dialog[open]") || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    action();
  };
  document.addEventListener("keydown", pressed, { signal });
}
