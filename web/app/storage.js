// Storage of the browser, which it may deny.

/**
 * Returns a storage of the browser. Where the browser allows none, one that lasts as long as the
 * page.
 * @param {"sessionStorage" | "localStorage"} name
 * @returns {Storage}
 */
export function openStorage(name) {
  try {
    return window[name];
  } catch {
    return memoryStorage();
  }
}

function memoryStorage() {
  const items = new Map();
  return {
    get length() {
      return items.size;
    },
    key: (index) => [...items.keys()][index] ?? null,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
  };
}
