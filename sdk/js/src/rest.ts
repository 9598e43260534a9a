// REST requests of a page: accounts, calls and admission.
import { SwitchboardError, needsOtherToken } from "./errors.js";
import { randomId } from "./random.js";
import { request } from "./request.js";
import type { Session, Tokens } from "./session.js";
import type { Admission, User } from "./types.js";

// Refusals of a join that a newer token resolves. A guest gets one with a new identity.
const NEEDS_NEWER_TOKEN = new Set(["TOKEN_EXPIRED", "TOKEN_INVALID", "REMOVED"]);

export interface JoinForm {
  roomId: string;
  passcode?: string;
  guestName?: string;
}

/**
 * Sends requests to `/api` with the session's token. When the access token has expired, or the
 * application's token is refused, it is renewed once and the request is repeated.
 */
export class Rest {
  #base: string;
  #session: Session;
  #renewing: Promise<void> | null = null;

  /** @param url address of the service, which ends with a slash */
  constructor(url: URL, session: Session) {
    this.#base = new URL("api", url).href;
    this.#session = session;
  }

  /** Registers or signs in. @throws {SwitchboardError} */
  async signIn(path: "/auth/register" | "/auth/login", form: object): Promise<User> {
    const { user, token, refreshToken } = await this.#request<Tokens & { user: User }>("POST", path, form);
    this.#session.setIdentity({ user, token, refreshToken, isGuest: false, signIn: randomId(), at: Date.now() });
    return user;
  }

  /** Signs out on this page immediately. The request to the server is sent, but not awaited. */
  signOut(): void {
    this.#request("POST", "/auth/logout").catch(() => {});
    this.#session.setIdentity(null);
  }

  /**
   * Asks for admission to a room. A guest gets an identity for that room alone. This tab keeps the
   * identity, so that the guest returns as the same participant.
   * @throws {SwitchboardError}
   */
  async join(form: JoinForm): Promise<Admission> {
    const session = this.#session;
    session.changeGuest(form.roomId);
    const ask = () => this.authorized<Admission>("POST", "/video-calls/join", form);
    const admission = await ask().catch(async (error: SwitchboardError) => {
      if (!NEEDS_NEWER_TOKEN.has(error.code)) throw error;
      if (session.identity?.isGuest) session.forgetGuest(form.roomId);
      // A removal refuses the tokens that were issued before it.
      else if (error.code === "REMOVED" && this.canRenew) await this.renew();
      else throw error;
      return ask();
    });
    if (admission.isGuest && !session.isProvided) {
      const token = admission.token ?? session.identity!.token;
      session.setIdentity({ user: admission.user!, token, isGuest: true, roomId: form.roomId });
    } else session.forgetGuest(form.roomId);
    return { ...admission, roomId: form.roomId };
  }

  /** Whether there is a way to a newer access token. */
  get canRenew(): boolean {
    return this.#session.isProvided || Boolean(this.#session.identity?.refreshToken);
  }

  /**
   * Renews the access token. Concurrent callers share one exchange, because each refresh token
   * works once.
   * @throws {SwitchboardError}
   */
  renew(): Promise<void> {
    return (this.#renewing ??= this.#renew().finally(() => (this.#renewing = null)));
  }

  async #renew(): Promise<void> {
    const session = this.#session;
    if (!this.canRenew) throw new SwitchboardError({ code: "TOKEN_EXPIRED" });
    if (session.isProvided) session.forgetToken();
    else await session.renew((refreshToken) => this.#request("POST", "/auth/refresh", { refreshToken }));
  }

  /** Sends a request with the session's token. @throws {SwitchboardError} */
  async authorized<T>(method: string, path: string, body?: object): Promise<T> {
    try {
      return await this.#request<T>(method, path, body);
    } catch (error) {
      const { code } = error as SwitchboardError;
      if (!needsOtherToken(code, this.#session.isProvided) || !this.canRenew) throw error;
      await this.renew();
      return this.#request<T>(method, path, body);
    }
  }

  async #request<T>(method: string, path: string, body?: object): Promise<T> {
    return request(method, this.#base + path, { body, token: await this.#session.token() });
  }
}
