// Who this tab is, and which seat it holds. sessionStorage: a reload keeps it, another tab is another person.

const IDENTITY = "switchboard.identity";
const SEAT = "switchboard.seat";

function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    // Storage that was tampered with, or by another version of the page, is nobody's sign-in.
    return null;
  }
}

/** The tab's identity (account or guest) and its seat in a call. */
export class Session {
  #storage;

  constructor(storage = window.sessionStorage) {
    this.#storage = storage;
    this.identity = read(storage, IDENTITY);
    this.seat = read(storage, SEAT);
  }

  /** The bearer token, or undefined. A guest's token is one too. */
  get token() {
    return this.identity?.token;
  }

  /** Signed in with an account, not as a guest. */
  get account() {
    return this.identity && !this.identity.isGuest ? this.identity.user : null;
  }

  /** @param {{user: object, token: string, refreshToken?: string, isGuest: boolean} | null} identity */
  setIdentity(identity) {
    this.identity = identity;
    this.#write(IDENTITY, identity);
  }

  /** @param {{roomId: string, joinToken: string, pid?: string} | null} seat what a reloaded page needs to sit down again */
  setSeat(seat) {
    this.seat = seat;
    this.#write(SEAT, seat);
  }

  #write(key, value) {
    if (value === null) this.#storage.removeItem(key);
    else this.#storage.setItem(key, JSON.stringify(value));
  }
}
