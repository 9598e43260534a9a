// Identity and seat of this tab. They live in sessionStorage: a reload keeps them, and another tab
// is another participant. A duplicated tab begins with a copy of both, and a new tab with the
// account that is signed in in this browser.
import { randomId } from "./random.js";
import { openStorage, type Store } from "./storage.js";
import type { User } from "./types.js";

const IDENTITY = "switchboard.identity";
const SEAT = "switchboard.seat";
// Account that is signed in in this browser, in localStorage: new tabs begin with it.
const ACCOUNT = "switchboard.account";
const TAB = "switchboard.tab";
// Prefix of the latest tokens of a sign-in in localStorage. Duplicated tabs share the sign-in, and
// each of its refresh tokens works once.
const TOKENS = "switchboard.tokens.";
const TOKENS_KEPT_MS = 7 * 24 * 3600 * 1000;
// Time in which a page that is being reloaded gives up the id of its tab.
const UNLOAD_MS = 500;

/** An account that signed in here, or a guest of one room. */
export interface Identity {
  user: User;
  token: string;
  isGuest: boolean;
  /** Room of a guest. */
  roomId?: string;
  refreshToken?: string;
  /** Names the sign-in of an account in this browser. */
  signIn?: string;
  /** Time of the tokens, in milliseconds since 1970. */
  at?: number;
}

/** Seat of this tab. With it a reloaded page joins again without asking. */
export interface Seat {
  roomId: string;
  joinToken: string;
  /** Private id of the session. Anyone who knows it can take the seat. */
  pid?: string;
  title?: string;
  /** Passcode of the call: a page that is reloaded after its join token expired asks again. */
  passcode?: string;
  /** Whether microphone and camera were on. */
  media?: { audio: boolean; video: boolean };
}

/** Gives the access token of the application's user. Called again when it is refused. */
export type TokenProvider = () => string | Promise<string>;

export interface Tokens {
  token: string;
  refreshToken: string;
}

function read<T>(store: Store, key: string): T | null {
  try {
    return JSON.parse(store.getItem(key) ?? "null");
  } catch {
    // The stored value is damaged or from another version of the page: treat it as signed out.
    return null;
  }
}

/**
 * Takes the id of a tab for the life of this page. Resolves with false when another page keeps it.
 * Without locks (a page over plain http) no duplicate is recognized.
 */
async function hold(tab: string): Promise<boolean> {
  if (!navigator.locks) return true;
  return new Promise((resolve) => {
    const keep = () => {
      resolve(true);
      return new Promise<void>(() => {});
    };
    const options = { signal: AbortSignal.timeout(UNLOAD_MS) };
    navigator.locks.request(`switchboard.tab.${tab}`, options, keep).catch(() => resolve(false));
  });
}

/**
 * Identity of the tab (account or guest) and its seat in a call. Each room of the page has a seat
 * of its own; the latest one is stored.
 */
export class Session {
  identity: Identity | null;
  /** Stored seat of the tab. */
  seat: Seat | null;
  /** Seat from before a reload, until a room of this page takes it. */
  #former: Seat | null;
  /** Guests that this page is, by room: a guest has an identity for one room alone. */
  #guests = new Map<string, Identity>();
  #storage = openStorage("sessionStorage");
  #shared = openStorage("localStorage");
  #provide: TokenProvider | null;
  #provided: Promise<string> | null = null;
  #claimed: Promise<void> | null = null;

  /** @param provide gives the token if the application has its own sign-in */
  constructor(provide: TokenProvider | null = null) {
    this.#provide = provide;
    this.identity = provide ? null : (read<Identity>(this.#storage, IDENTITY) ?? this.#sharedAccount());
    this.seat = this.#former = read<Seat>(this.#storage, SEAT);
    this.#rememberGuest();
    if (!provide) globalThis.addEventListener?.("storage", ({ key }) => this.#storedElsewhere(key));
  }

  /** Whether the application gives the token, so that no identity is kept here. */
  get isProvided(): boolean {
    return this.#provide !== null;
  }

  /** User of the account that signed in here, or null for guests and visitors. */
  get account(): User | null {
    return this.identity && !this.identity.isGuest ? this.identity.user : null;
  }

  /**
   * Bearer token of the account or guest, or undefined for visitors.
   * @param roomId room whose guest this page may be, although the tab has another identity now
   */
  async token(roomId = ""): Promise<string | undefined> {
    if (!this.#provide) return (this.#guests.get(roomId) ?? this.identity)?.token;
    this.#provided ??= Promise.resolve(this.#provide());
    return this.#provided.catch((error) => {
      this.#provided = null;
      throw error;
    });
  }

  /** Asks the application for another token at the next use. */
  forgetToken(): void {
    this.#provided = null;
  }

  /**
   * Makes this tab a participant of its own. A duplicate gives up the private id of the seat,
   * because it would take the seat from the tab that it was made from.
   */
  claim(): Promise<void> {
    return (this.#claimed ??= this.#claim());
  }

  async #claim(): Promise<void> {
    const tab = this.#storage.getItem(TAB);
    if (tab && (await hold(tab))) return;
    if (tab && this.#former) this.updateSeat(this.#former, { pid: undefined });
    const own = randomId();
    this.#put(this.#storage, TAB, own);
    await hold(own);
  }

  setIdentity(identity: Identity | null): void {
    if (!identity && this.identity?.signIn) {
      this.#shared.removeItem(TOKENS + this.identity.signIn);
      const shared = read<Partial<Identity>>(this.#shared, ACCOUNT);
      if (shared?.signIn === this.identity.signIn) this.#shared.removeItem(ACCOUNT);
    }
    this.identity = identity;
    this.#rememberGuest();
    this.#write(IDENTITY, identity);
    if (!identity?.signIn) return;
    const { user, token, refreshToken, signIn, at } = identity;
    this.#put(this.#shared, TOKENS + signIn, JSON.stringify({ token, refreshToken, at }));
    this.#put(this.#shared, ACCOUNT, JSON.stringify({ user, signIn }));
    this.#forgetOldTokens();
  }

  /** Makes a guest the guest of this room: the one that this page is there, or a new one. */
  changeGuest(roomId: string): void {
    if (!this.identity?.isGuest || this.identity.roomId === roomId) return;
    this.setIdentity(this.#guests.get(roomId) ?? null);
  }

  /** Whether this page is a guest in a room. */
  isGuestOf(roomId: string): boolean {
    return this.#guests.has(roomId);
  }

  /** Forgets the guest that this page is in a room. */
  forgetGuest(roomId: string): void {
    this.#guests.delete(roomId);
    if (this.identity?.isGuest && this.identity.roomId === roomId) this.setIdentity(null);
  }

  #rememberGuest(): void {
    if (this.identity?.isGuest) this.#guests.set(this.identity.roomId!, this.identity);
  }

  /**
   * Exchanges the refresh token of the sign-in for new tokens, in one tab at a time: with the
   * latest refresh token, which another tab may have got.
   */
  async renew(exchange: (refreshToken: string) => Promise<Tokens>): Promise<void> {
    const { signIn, at = 0, refreshToken: own = "" } = this.identity!;
    const run = async () => {
      const latest = read<Partial<Identity>>(this.#shared, TOKENS + signIn);
      const newer = latest?.at && latest.at > at ? latest.refreshToken : undefined;
      const { token, refreshToken } = await exchange(newer ?? own);
      // The user may have signed out meanwhile.
      if (this.identity?.signIn !== signIn) return;
      this.setIdentity({ ...this.identity!, token, refreshToken, at: Date.now() });
    };
    await (navigator.locks ? navigator.locks.request(`switchboard.refresh.${signIn}`, run) : run());
  }

  /** Returns the seat in a room from before a reload, unless a room of this page has taken it. */
  formerSeat(roomId: string): Seat | null {
    return this.#former?.roomId === roomId ? this.#former : null;
  }

  /**
   * Makes the seat of a room, and stores it, so that a reloaded page can join again. Continues the
   * seat from before a reload, once.
   */
  openSeat({ roomId, joinToken, title, passcode }: Seat): Seat {
    const former = this.formerSeat(roomId);
    this.#former = null;
    title ??= former?.title;
    passcode ??= former?.passcode;
    this.seat = { ...former, roomId, joinToken, title, passcode };
    this.#write(SEAT, this.seat);
    return this.seat;
  }

  /** Merges fields into a seat. */
  updateSeat(seat: Seat, fields: Partial<Seat>): void {
    Object.assign(seat, fields);
    if (this.seat === seat) this.#write(SEAT, seat);
  }

  /** Removes a seat from the storage, unless another room has stored its own since. */
  closeSeat(seat: Seat): void {
    if (this.seat !== seat) return;
    this.seat = null;
    this.#write(SEAT, null);
  }

  /** Returns the account that is signed in in this browser, with its latest tokens, or null. */
  #sharedAccount(): Identity | null {
    const account = read<Pick<Identity, "user" | "signIn">>(this.#shared, ACCOUNT);
    const tokens = account && read<Tokens & { at: number }>(this.#shared, TOKENS + account.signIn);
    return tokens && { ...account, ...tokens, isGuest: false };
  }

  /** Another tab has signed in or out. A guest stays a guest. */
  #storedElsewhere(key: string | null): void {
    if (key !== ACCOUNT) return;
    const signIn = this.identity?.signIn;
    const signedOut = signIn && this.#shared.getItem(TOKENS + signIn) === null;
    if (this.identity && !signedOut) return;
    this.identity = this.#sharedAccount();
    this.#write(IDENTITY, this.identity);
  }

  /** Removes the tokens of sign-ins whose tabs were closed. */
  #forgetOldTokens(): void {
    const keys = Array.from({ length: this.#shared.length }, (_, index) => this.#shared.key(index)!);
    for (const key of keys.filter((key) => key.startsWith(TOKENS))) {
      const { at = 0 } = read<Partial<Identity>>(this.#shared, key) ?? {};
      if (at <= Date.now() - TOKENS_KEPT_MS) this.#shared.removeItem(key);
    }
  }

  #write(key: string, value: unknown): void {
    if (value === null) this.#storage.removeItem(key);
    else this.#put(this.#storage, key, JSON.stringify(value));
  }

  #put(store: Store, key: string, text: string): void {
    try {
      store.setItem(key, text);
    } catch {
      // The storage is full: the call goes on, and only a reload forgets.
    }
  }
}
