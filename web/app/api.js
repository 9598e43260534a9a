// REST client. Every answer has the same envelope; every failure is a Refusal.
import { randomId } from "./random.js";
import { Refusal } from "./refusals.js";

const TIMEOUT_MS = 15_000;
// Refusals of a join that a newer token resolves. A guest gets one with a new identity.
const NEEDS_NEWER_TOKEN = new Set(["TOKEN_EXPIRED", "TOKEN_INVALID", "REMOVED"]);

/**
 * Sends requests to `/api` with the session's token. When the access token has expired, it is
 * refreshed once and the request is repeated.
 */
export class Api {
  #session;
  #refreshing = null;

  constructor(session) {
    this.#session = session;
  }

  register = (form) => this.#signIn("/auth/register", form);
  login = (form) => this.#signIn("/auth/login", form);
  createCall = (form) => this.#authorized("POST", "/video-calls", form);
  myCalls = () => this.#authorized("GET", "/video-calls?limit=6");
  reopenCall = (id) => this.#authorized("POST", `/video-calls/${id}/reopen`, {});
  callByRoom = (roomId) => this.#authorized("GET", `/video-calls/room/${encodeURIComponent(roomId)}`);

  /** Signs out on this page immediately. The request to the server is sent, but not awaited. */
  logout() {
    this.#request("POST", "/auth/logout").catch(() => {});
    this.#session.setIdentity(null);
  }

  /**
   * Asks for admission to a room. A guest gets an identity for that room alone. This tab keeps the
   * identity, so that the guest returns as the same participant.
   */
  async join(form) {
    const { identity } = this.#session;
    if (identity?.isGuest && identity.roomId !== form.roomId) this.#session.setIdentity(null);
    const admission = await this.#authorized("POST", "/video-calls/join", form).catch(async (error) => {
      if (!NEEDS_NEWER_TOKEN.has(error.code)) throw error;
      if (this.#session.identity?.isGuest) this.#session.setIdentity(null);
      // A removal refuses the tokens that were issued before it.
      else if (error.code === "REMOVED" && this.#session.identity) await this.refresh();
      else throw error;
      return this.#authorized("POST", "/video-calls/join", form);
    });
    if (admission.isGuest) {
      const token = admission.token ?? this.#session.token;
      this.#session.setIdentity({ user: admission.user, token, isGuest: true, roomId: form.roomId });
    }
    return admission;
  }

  /**
   * Exchanges the refresh token. Concurrent callers share one exchange, because each token works
   * once.
   */
  refresh() {
    this.#refreshing ??= this.#exchange().finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  async #exchange() {
    if (!this.#session.identity?.refreshToken) throw new Refusal({ code: "TOKEN_EXPIRED" });
    await this.#session.renew((refreshToken) => this.#request("POST", "/auth/refresh", { refreshToken }));
  }

  async #signIn(path, form) {
    const { user, token, refreshToken } = await this.#request("POST", path, form);
    const signIn = { signIn: randomId(), at: Date.now() };
    this.#session.setIdentity({ user, token, refreshToken, isGuest: false, ...signIn });
    return user;
  }

  async #authorized(method, path, body) {
    try {
      return await this.#request(method, path, body);
    } catch (error) {
      if (error.code !== "TOKEN_EXPIRED" || !this.#session.identity?.refreshToken) throw error;
      await this.refresh();
      return this.#request(method, path, body);
    }
  }

  async #request(method, path, body) {
    const headers = { accept: "application/json" };
    if (body !== undefined) headers["content-type"] = "application/json";
    if (this.#session.token) headers.authorization = `Bearer ${this.#session.token}`;
    let response;
    try {
      response = await fetch(`/api${path}`, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch {
      throw new Refusal({ code: "UNREACHABLE" });
    }
    const envelope = await response.json().catch(() => null);
    if (envelope?.success) return envelope.data;
    throw new Refusal(envelope ?? { code: "SERVICE_UNAVAILABLE" });
  }
}
