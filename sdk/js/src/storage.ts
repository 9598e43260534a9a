// Storage of the browser, which it may deny.

/** The part of the browser's `Storage` that is used here. */
export type Store = Pick<Storage, "length" | "key" | "getItem" | "setItem" | "removeItem">;

/**
 * Returns a storage of the browser. Where the browser allows none, one that lasts as long as the
 * page.
 */
export function openStorage(name: "sessionStorage" | "localStorage"): Store {
  try {
    return globalThis[name] ?? memoryStorage();
  } catch {
    return memoryStorage();
  }
}

function memoryStorage(): Store {
  const items = new Map<string, string>();
  return {
    get length() {
      return items.size;
    },
    key: (index) => [...items.keys()][index] ?? null,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  };
}
