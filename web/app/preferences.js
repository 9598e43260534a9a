// Choices of this user in this browser. They outlast the page, unless the browser stores nothing.

const KEY = "switchboard.preferences";

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

const chosen = stored();

/** Returns a choice, or `otherwise` when the user has made none. */
export const preference = (name, otherwise) => chosen[name] ?? otherwise;

/** Stores a choice. */
export function prefer(name, value) {
  chosen[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(chosen));
  } catch {
    // No storage, or it is full: the choice lasts as long as the page.
  }
}
