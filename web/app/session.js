// Identity and seat of this tab. They live in sessionStorage: a reload keeps them, and another tab
// is another participant.

const IDENTITY = "switchboard.identity";
const SEAT = "switchboard.seat";

function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    // The stored value is damaged or from another version of the page: treat it as signed out.
    return null;
  }
}

/** Identity of the tab (account or guest) and its seat in a call. */
export class Session {
  #storage;

  constructor(storage = window.sessionStorage) {
    this.#storage = storage;
    this.identity = read(storage, IDENTITY);
    this.seat = read(storage, SEAT);
  }

  /** Bearer token of the account or guest, or undefined. */
  get token() {
    return this.identity?.token;
  }

  /** User of the account that is signed in, or null for guests and visitors. */
  get account() {
    return this.identity && !this.identity.isGuest ? this.identity.user : null;
  }

  /**
   * @param {{user: object, token: string, refreshToken?: string, isGuest: boolean} | null} identity
   */
  setIdentity(identity) {
    this.identity = identity;
    this.#write(IDENTITY, identity);
  }

  /**
   * Stores the seat, so that a reloaded page can join again.
   * @param {{roomId: string, joinToken: string, pid?: string} | null} seat
   */
  setSeat(seat) {
    this.seat = seat;
    this.#write(SEAT, seat);
  }

  #write(key, value) {
    if (value === null) this.#storage.removeItem(key);
    else this.#storage.setItem(key, JSON.stringify(value));
  }
}
