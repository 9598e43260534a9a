// REST client. Every answer has the same envelope; every failure is a Refusal.
import { Refusal } from "./refusals.js";

const TIMEOUT_MS = 15_000;

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
    const admission = await this.#authorized("POST", "/video-calls/join", form).catch((error) => {
      const guestExpired = this.#session.identity?.isGuest && ["TOKEN_EXPIRED", "TOKEN_INVALID"].includes(error.code);
      if (!guestExpired) throw error;
      this.#session.setIdentity(null);
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
    const { identity } = this.#session;
    if (!identity?.refreshToken) throw new Refusal({ code: "TOKEN_EXPIRED" });
    const fresh = await this.#request("POST", "/auth/refresh", { refreshToken: identity.refreshToken });
    this.#session.setIdentity({ ...identity, token: fresh.token, refreshToken: fresh.refreshToken });
  }

  async #signIn(path, form) {
    const { user, token, refreshToken } = await this.#request("POST", path, form);
    this.#session.setIdentity({ user, token, refreshToken, isGuest: false });
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
