// Identity and seat of this tab. They live in sessionStorage: a reload keeps them, and another tab
// is another participant. A duplicated tab begins with a copy of both.
import { randomId } from "./random.js";
import { openStorage } from "./storage.js";

const IDENTITY = "switchboard.identity";
const SEAT = "switchboard.seat";
const TAB = "switchboard.tab";
// Prefix of the latest tokens of a sign-in in localStorage. Duplicated tabs share the sign-in, and
// each of its refresh tokens works once.
const TOKENS = "switchboard.tokens.";
const TOKENS_KEPT_MS = 7 * 24 * 3600 * 1000;
// Time in which a page that is being reloaded gives up the id of its tab.
const UNLOAD_MS = 500;

function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    // The stored value is damaged or from another version of the page: treat it as signed out.
    return null;
  }
}

/**
 * Takes the id of a tab for the life of this page. Returns false when another page keeps it.
 * Without locks (a page over plain http) no duplicate is recognized.
 */
function hold(tab) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const keep = () => {
      resolve(true);
      return new Promise(() => {});
    };
    const options = { signal: AbortSignal.timeout(UNLOAD_MS) };
    navigator.locks.request(`switchboard.tab.${tab}`, options, keep).catch(() => resolve(false));
  });
}

/** Identity of the tab (account or guest) and its seat in a call. */
export class Session {
  #storage;
  #shared;

  constructor(storage = openStorage("sessionStorage"), shared = openStorage("localStorage")) {
    this.#storage = storage;
    this.#shared = shared;
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
   * Makes this tab a participant of its own. Call it before the seat is used. A duplicate gives up
   * the private id of the seat, because it would take the seat from the tab that it was made from.
   */
  async claim() {
    const tab = this.#storage.getItem(TAB);
    if (tab && (await hold(tab))) return;
    if (tab && this.seat) this.setSeat({ ...this.seat, pid: undefined });
    const own = randomId();
    this.#storage.setItem(TAB, own);
    await hold(own);
  }

  /**
   * @param {{user: object, token: string, isGuest: boolean, refreshToken?: string, signIn?: string,
   *   at?: number} | null} identity `signIn` names the sign-in of an account in this browser, `at`
   *   is the time of its tokens
   */
  setIdentity(identity) {
    if (!identity && this.identity?.signIn) this.#shared.removeItem(TOKENS + this.identity.signIn);
    this.identity = identity;
    this.#write(IDENTITY, identity);
    if (!identity?.signIn) return;
    const { token, refreshToken, signIn, at } = identity;
    this.#shared.setItem(TOKENS + signIn, JSON.stringify({ token, refreshToken, at }));
    this.#forgetOldTokens();
  }

  /**
   * Exchanges the refresh token of the sign-in for new tokens, in one tab at a time: with the
   * latest refresh token, which another tab may have got.
   *
   * @param {(refreshToken: string) => Promise<{token: string, refreshToken: string}>} exchange
   */
  renew(exchange) {
    const { signIn } = this.identity;
    const run = async () => {
      const latest = read(this.#shared, TOKENS + signIn);
      const newer = latest?.at > this.identity.at ? latest : {};
      const { token, refreshToken } = await exchange(newer.refreshToken ?? this.identity.refreshToken);
      // The user may have signed out meanwhile.
      if (this.identity?.signIn !== signIn) return;
      this.setIdentity({ ...this.identity, token, refreshToken, at: Date.now() });
    };
    return navigator.locks ? navigator.locks.request(`switchboard.refresh.${signIn}`, run) : run();
  }

  /**
   * Stores the seat, so that a reloaded page can join again.
   * @param {{roomId: string, joinToken: string, pid?: string} | null} seat
   */
  setSeat(seat) {
    this.seat = seat;
    this.#write(SEAT, seat);
  }

  /** Removes the tokens of sign-ins whose tabs were closed. */
  #forgetOldTokens() {
    const keys = Array.from({ length: this.#shared.length }, (_, index) => this.#shared.key(index));
    for (const key of keys.filter((key) => key.startsWith(TOKENS))) {
      if (!(read(this.#shared, key)?.at > Date.now() - TOKENS_KEPT_MS)) this.#shared.removeItem(key);
    }
  }

  #write(key, value) {
    if (value === null) this.#storage.removeItem(key);
    else this.#storage.setItem(key, JSON.stringify(value));
  }
}
