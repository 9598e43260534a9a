// Language of the page: that of the browser, unless the user has chosen another one.
import { CATALOGUE, LANGUAGES } from "./catalogue.js";
import { h } from "./dom.js";
import { prefer, preference } from "./preferences.js";

const codes = Object.keys(LANGUAGES);
const base = (tag) => tag?.split("-")[0].toLowerCase();

let current =
  [preference("language"), ...navigator.languages].map(base).find((code) => codes.includes(code)) ?? codes[0];
let changed = () => {};
document.documentElement.lang = current;

/** Returns the sentence with this key of the catalogue, with values in the place of `{name}`. */
export const t = (key, values = {}) =>
  CATALOGUE[key][codes.indexOf(current)].replace(/\{(\w+)\}/g, (_, name) => values[name]);

/** Whether the page is in the language of the server's messages. */
export const isEnglish = () => current === "en";

/** Formats dates and times in the language of the page. */
export const dateFormat = (options) => new Intl.DateTimeFormat(current === base(navigator.language) ? undefined : current, options);

/** Calls `listener` when the user chooses another language. */
export const onLanguage = (listener) => (changed = listener);

/** Creates the list from which the user chooses the language of the page. */
export function languageChoice() {
  const options = codes.map((code) => h("option", { value: code, lang: code, selected: code === current }, LANGUAGES[code]));
  const select = h("select", { name: "language", "aria-label": t("language") }, options);
  select.addEventListener("change", () => {
    current = select.value;
    prefer("language", current);
    document.documentElement.lang = current;
    changed();
    // The list has been created again in the new language.
    document.querySelector("select[name=language]")?.focus();
  });
  return select;
}

/** Returns a participant's name, or "Guest" when the server sent none. */
export const nameOf = (participant) => participant?.user?.name || t("guest");
