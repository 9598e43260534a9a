// Test clients: the stock socket.io-client and the REST API, used as an application uses them.
import { createHmac, randomUUID } from "node:crypto";
import { io } from "socket.io-client";
import { baseUrl, nodeUrls, operatorKey } from "./cluster.mjs";
import { until, within } from "./until.mjs";

const ACK_TIMEOUT_MS = 15_000;

/**
 * Sends a request to the API through the load balancer. Throws with `status` and `code` on refusal.
 */
export const rest = (method, path, body, token) => ask(method, path, body, token && { authorization: `Bearer ${token}` });

/** Sends a request under `/admin` with the operator key that may change state. */
export const operatorRequest = (method, path, body) => ask(method, `/admin${path}`, body, { "x-api-key": operatorKey() });

/** Sends a request of an app's backend, with its API key. */
export const serverRequest = ({ keyId, secret }, method, path, body, headers) =>
  ask(method, `/server${path}`, body, { authorization: `Basic ${btoa(`${keyId}:${secret}`)}`, ...headers });

/** Creates an app with one API key of all scopes: `{ id, keyId, secret }`. */
export async function newApp(name) {
  const { id } = await operatorRequest("POST", "/apps", { name });
  return { id, ...(await operatorRequest("POST", `/apps/${id}/keys`, {})) };
}

async function ask(method, path, body, credentials) {
  const response = await fetch(`${baseUrl()}/api${path}`, {
    method,
    headers: { ...(body && { "content-type": "application/json" }), ...credentials },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(ACK_TIMEOUT_MS),
  });
  const envelope = await response.json();
  if (envelope.success) return envelope.data;
  throw Object.assign(new Error(`${method} ${path}: ${response.status} ${envelope.code}`), {
    status: response.status,
    code: envelope.code,
  });
}

/** Returns a token with changed claims, signed as the API signs it. */
export function signed(token, changes) {
  const [head, body] = token.split(".");
  const claims = { ...JSON.parse(Buffer.from(body, "base64url")), ...changes };
  const message = `${head}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
  const signature = createHmac("sha256", process.env.JWT_ACCESS_SECRET).update(message).digest("base64url");
  return `${message}.${signature}`;
}

/** Password of every test account. */
export const PASSWORD = "a quiet line, please";

/** Registers an account: `{ user, token, refreshToken }`. */
export function account(name) {
  const email = `${randomUUID()}@example.com`;
  return rest("POST", "/auth/register", { name, email, password: PASSWORD });
}

/** Creates a call of this account. It is public unless `fields` say otherwise. */
export async function newCall({ token }, fields = {}) {
  const data = await rest("POST", "/video-calls", { title: "Signals", type: "public", ...fields }, token);
  return data.call ?? data;
}

/** Gets an admission as a guest: `{ token, joinToken, user, ... }`. */
export function guest(roomId, guestName) {
  return rest("POST", "/video-calls/join", { roomId, guestName });
}

/** Gets an admission for an account: `{ token, joinToken, ... }`. */
export async function admitted(roomId, { token }) {
  return { token, ...(await rest("POST", "/video-calls/join", { roomId }, token)) };
}

/** Stock client that records every event it receives, in order. */
export class Client {
  /** Received events, `{ event, payload }`, oldest first. */
  received = [];

  constructor(url, { token, pid, ...options } = {}) {
    this.socket = io(url, {
      transports: ["websocket"],
      forceNew: true,
      reconnectionDelay: 100,
      reconnectionDelayMax: 500,
      auth: { ...(token && { token }), ...(pid && { pid }) },
      // The nodes trust one proxy. Without one, they would not know the client's address.
      extraHeaders: { "x-forwarded-for": "127.0.0.1" },
      ...options,
      // "default" selects the library's own default, which this class overrides above.
      ...(options.transports === "default" && { transports: ["polling", "websocket"] }),
    });
    this.socket.onAny((event, payload) => this.received.push({ event, payload }));
  }

  /**
   * Creates a client and waits until it is connected. Deletes `auth.pid`, because from then on the
   * client sends the private session id that the server gave it.
   */
  static async connected(url, options) {
    const client = new Client(url, options);
    await until("a socket is connected", () => client.socket.connected);
    delete client.socket.auth.pid;
    return client;
  }

  /** Connects with an admission's token and joins the room. */
  static async seated(url, roomId, admission, options) {
    const client = await Client.connected(url, { token: admission.token, ...options });
    try {
      await client.join(roomId, admission);
    } catch (error) {
      // An open socket would keep the test's process alive.
      client.close();
      throw error;
    }
    return client;
  }

  /** Joins a room. Resolves with the payload of `room:joined`. */
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

  /** Emits an event. Resolves with the acknowledgement, also when it is a refusal. */
  emit(event, ...args) {
    return this.socket.timeout(ACK_TIMEOUT_MS).emitWithAck(event, ...args);
  }

  /** Returns the payloads of this event received so far, in order. */
  all(event) {
    return this.received.filter((received) => received.event === event).map(({ payload }) => payload);
  }

  /** Resolves with the first payload of this event, already received or not, that matches. */
  event(event, matches, bound) {
    return until(`the event ${event}`, () => this.all(event).find(matches), bound);
  }

  /** Resolves at the next `disconnect`, with its reason. Call it before causing the disconnect. */
  nextDisconnect() {
    return within("a disconnect", new Promise((resolve) => this.socket.once("disconnect", resolve)));
  }

  /** Resolves at the next `connect`. Call it before causing the disconnect. */
  nextConnect() {
    return within("a connect", new Promise((resolve) => this.socket.once("connect", resolve)));
  }

  close() {
    this.socket.disconnect();
  }
}

/** Returns the index in NODE_URLS of the node with this name, which `room:joined` contains. */
export async function positionOf(name) {
  const owner = await account("Node Finder");
  const { roomId } = await newCall(owner);
  for (const [position, url] of nodeUrls().entries()) {
    const client = await Client.seated(url, roomId, await admitted(roomId, owner));
    client.close();
    if (client.joined.node === name) return position;
  }
  throw new Error(`no node has the name ${name}`);
}
