// The stock socket.io-client and the REST API, as any program uses them.
import { randomUUID } from "node:crypto";
import { io } from "socket.io-client";
import { baseUrl, operatorKey } from "./cluster.mjs";
import { until, within } from "./until.mjs";

const ACK_MS = 15_000;

/** Calls the API through the load balancer; throws with status and code unless it succeeds. */
export const rest = (method, path, body, token) => ask(method, path, body, token && { authorization: `Bearer ${token}` });

/** The same under `/admin`, as an operator who may intervene. */
export const operate = (method, path) => ask(method, `/admin${path}`, undefined, { "x-api-key": operatorKey() });

async function ask(method, path, body, credentials) {
  const response = await fetch(`${baseUrl()}/api${path}`, {
    method,
    headers: { ...(body && { "content-type": "application/json" }), ...credentials },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(ACK_MS),
  });
  const envelope = await response.json();
  if (envelope.success) return envelope.data;
  throw Object.assign(new Error(`${method} ${path}: ${response.status} ${envelope.code}`), {
    status: response.status,
    code: envelope.code,
  });
}

/** The password of every account here. */
export const PASSWORD = "a quiet line, please";

/** A new account: `{ user, token }`. */
export function account(name) {
  const email = `${randomUUID()}@example.com`;
  return rest("POST", "/auth/register", { name, email, password: PASSWORD });
}

/** A new public call of an account's. */
export async function newCall({ token }, fields = {}) {
  const data = await rest("POST", "/video-calls", { title: "Signals", type: "public", ...fields }, token);
  return data.call ?? data;
}

/** An admission as a guest: `{ token, joinToken, user, ... }`. */
export function guest(roomId, guestName) {
  return rest("POST", "/video-calls/join", { roomId, guestName });
}

/** An admission of an account. */
export async function admitted(roomId, { token }) {
  return { token, ...(await rest("POST", "/video-calls/join", { roomId }, token)) };
}

/** A stock client that remembers every event it received, in order. */
export class Client {
  /** `{ event, payload }`, oldest first. */
  received = [];

  constructor(url, { token, pid, ...options } = {}) {
    this.socket = io(url, {
      transports: ["websocket"],
      forceNew: true,
      reconnectionDelay: 100,
      reconnectionDelayMax: 500,
      auth: { ...(token && { token }), ...(pid && { pid }) },
      ...options,
      // Named so that a test can ask for the library's own default.
      ...(options.transports === "default" && { transports: ["polling", "websocket"] }),
    });
    this.socket.onAny((event, payload) => this.received.push({ event, payload }));
  }

  /** Connected; `auth.pid` is dropped, since from now on the client presents the one it was given. */
  static async connected(url, options) {
    const client = new Client(url, options);
    await until("a socket is connected", () => client.socket.connected);
    delete client.socket.auth.pid;
    return client;
  }

  /** Connects as whom an admission names, and takes a seat. */
  static async seated(url, roomId, admission, options) {
    const client = await Client.connected(url, { token: admission.token, ...options });
    await client.join(roomId, admission);
    return client;
  }

  /** Takes a seat: resolves with `room:joined`. */
  async join(roomId, { joinToken, ...fields } = {}) {
    const { guestName, passcode } = fields;
    const answer = await this.emit("room:join", { roomId, token: joinToken, guestName, passcode });
    if (!answer.success) throw Object.assign(new Error(`room:join: ${answer.code}`), { code: answer.code });
    this.joined = await this.event("room:joined", () => true);
    return this.joined;
  }

  get peerId() {
    return this.joined.peerId;
  }

  /** Emits and resolves with the acknowledgement, refusals included. */
  emit(event, ...args) {
    return this.socket.timeout(ACK_MS).emitWithAck(event, ...args);
  }

  /** The payloads of an event so far, in order. */
  all(event) {
    return this.received.filter((received) => received.event === event).map(({ payload }) => payload);
  }

  /** Resolves with the first payload of this event, past or to come, that fits. */
  event(event, fits, bound) {
    return until(`the event ${event}`, () => this.all(event).find(fits), bound);
  }

  /** Resolves at the next `disconnect`, with its reason. Ask before causing it. */
  nextDisconnect() {
    return within("a disconnect", new Promise((resolve) => this.socket.once("disconnect", resolve)));
  }

  /** Resolves at the next `connect`. Ask before causing it. */
  nextConnect() {
    return within("a connect", new Promise((resolve) => this.socket.once("connect", resolve)));
  }

  close() {
    this.socket.disconnect();
  }
}
