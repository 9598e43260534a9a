// Links to calls.

const ID = "[A-Za-z0-9_-]{1,64}";
const LINK = new RegExp(`[?&]room=(${ID})|/r/(${ID})`);
const WHOLE_ID = new RegExp(`^${ID}$`);
const CODE = /^[A-Za-z0-9]{12}$/;

/** Address of the front page, which may be under a path: the scripts are in a folder beside it. */
export const HOME = new URL("../", import.meta.url);

const WEB = /\bhttps?:\/\/[^\s<>"]+/gi;
// Punctuation after a link belongs to the sentence.
// The look-behind tries each run of punctuation once. Without it the time is quadratic.
const TRAILING = /(?<![.,;:!?'")\]}])[.,;:!?'")\]}]+$/;

/**
 * Splits a text into strings and links. Only http and https become links.
 * @returns {(string | {href: string, label: string})[]}
 */
export function withLinks(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(WEB)) {
    const label = found.replace(TRAILING, "");
    if (!URL.canParse(label)) continue;
    parts.push(text.slice(end, index), { href: new URL(label).href, label });
    end = index + label.length;
  }
  return [...parts, text.slice(end)].filter(Boolean);
}

/** Returns the link that invites others to a room. */
export const linkTo = (roomId) => new URL(`?room=${encodeURIComponent(roomId)}`, HOME).href;

/**
 * Returns the room id in a link, or null. Text around the link does not matter: programs that show
 * links append slashes, full stops and brackets.
 */
export function roomInLink(text) {
  const found = LINK.exec(text);
  return found ? (found[1] ?? found[2]) : null;
}

/**
 * Returns the room id in a pasted link, the text itself when it is a room id, or a code that was
 * typed with blanks, else null. The service reads a code in any case.
 */
export function roomIn(text) {
  const linked = roomInLink(text);
  if (linked) return linked;
  if (WHOLE_ID.test(text)) return text;
  const code = text.replace(/[\s\u200b\u2060\ufeff]/g, "");
  return CODE.test(code) ? code.toUpperCase() : null;
}
