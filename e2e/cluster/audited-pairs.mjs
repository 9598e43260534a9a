// Pairs of stock clients, each pair in a call of its own. Each client sends numbered events to its
// partner without a pause, and every acknowledged event is audited: none lost, doubled or
// reordered.
import { setTimeout as pause } from "node:timers/promises";
import { io } from "socket.io-client";
import { account, newCall } from "../support/clients.mjs";
import { until } from "../support/until.mjs";

/** Time between the acknowledgement of an event and the next event, or the next attempt. */
const INTERVAL_MS = 200;
/** Time limit of an acknowledgement, above every timeout of the server. */
const ACK_MS = 12_000;

class AuditedClient {
  /** Numbers of the partner's events, in order of arrival. */
  received = [];
  /** Number of this client's acknowledged events: 0 to `acknowledged` - 1. */
  acknowledged = 0;
  socketsLost = 0;
  resumed = 0;
  newSessions = 0;
  longestOutageMs = 0;
  /** Refused requests by code, and events that the protocol forbids. */
  refused = {};
  violations = [];
  #lostAt;
  #peerId;
  #partnerId;
  #sending = true;
  #joining;
  #stopped = false;

  constructor(name, partner, roomId, url, index) {
    Object.assign(this, { name, partner, roomId });
    const extraHeaders = { "x-forwarded-for": `198.51.100.${index + 1}` };
    // Every other pair begins with long-polling, whose requests reach any pod.
    const transports = index % 4 < 2 ? { transports: ["websocket"] } : {};
    this.socket = io(url, { forceNew: true, extraHeaders, ...transports });
    this.socket.on("connect", () => this.#connected());
    this.socket.on("disconnect", (reason) => this.#disconnected(reason));
    this.socket.on("connect_error", ({ data }) => data?.code && this.#count(`CONNECT ${data.code}`));
    this.socket.on("room:user-joined", ({ participant: { user, peerId } }) => user.name === partner && (this.#partnerId = peerId));
    this.socket.on("webrtc:data-channel", ({ user, message }) => {
      if (user.name === partner) this.received.push(Number(message));
      else this.violations.push(`${name} received an event of ${user.name}`);
    });
    this.socket.on("room:call-ended", () => this.violations.push(`the call of ${name} ended`));
    this.#run();
  }

  #count(code) {
    this.refused[code] = (this.refused[code] ?? 0) + 1;
  }

  #connected() {
    if (this.#lostAt) {
      this.longestOutageMs = Math.max(this.longestOutageMs, Date.now() - this.#lostAt);
      this.#lostAt = undefined;
      if (this.socket.recovered) this.resumed += 1;
      else this.newSessions += 1;
    }
    if (!this.socket.recovered) this.#join();
  }

  #disconnected(reason) {
    if (this.#stopped) return;
    this.socketsLost += 1;
    this.#lostAt ??= Date.now();
    // The stock client does not come back by itself after the server's DISCONNECT.
    if (reason === "io server disconnect") {
      this.violations.push(`the server disconnected ${this.name}`);
      this.socket.connect();
    }
  }

  /** Joins, again until it is accepted. A later call replaces an earlier one. */
  async #join() {
    this.#peerId = this.#partnerId = undefined;
    const attempt = (this.#joining = Symbol("join"));
    while (this.#joining === attempt && !this.#stopped) {
      const answer = await this.#ask("room:join", { roomId: this.roomId, guestName: this.name });
      if (this.#joining !== attempt) return;
      if (answer?.success) {
        this.#joining = undefined;
        this.#peerId = answer.peerId;
        this.#partnerId = answer.participants.findLast(({ user }) => user.name === this.partner)?.peerId ?? this.#partnerId;
        return;
      }
      await pause(INTERVAL_MS);
    }
  }

  /** Emits, and resolves with the answer; with nothing if the socket or the time is lost. */
  async #ask(event, payload) {
    if (!this.socket.connected) return undefined;
    let lost;
    const ended = new Promise((resolve) => this.socket.once("disconnect", (lost = () => resolve(undefined))));
    const answer = await Promise.race([this.socket.timeout(ACK_MS).emitWithAck(event, payload).catch(() => undefined), ended]);
    this.socket.off("disconnect", lost);
    if (answer && !answer.success) {
      this.#count(answer.code);
      if (answer.code === "NOT_IN_ROOM" && this.#joining === undefined) this.#join();
    }
    return answer;
  }

  async #run() {
    while (!this.#stopped) {
      await pause(INTERVAL_MS);
      if (!this.#sending || !this.#peerId || !this.#partnerId) continue;
      const number = this.acknowledged;
      // A repeated event has the same id, so that the server delivers it once.
      const event = { to: this.#partnerId, message: String(number), type: "text", id: `${this.name}-${number}` };
      this.attempted = number;
      if ((await this.#ask("webrtc:data-channel", event))?.success) this.acknowledged += 1;
    }
  }

  send(on) {
    this.#sending = on;
  }

  stop() {
    this.#stopped = true;
    this.socket.disconnect();
  }
}

/** Counts of one direction: from `sender` to `receiver`. */
export function audit({ acknowledged }, { received }) {
  const first = new Set();
  const counts = { acknowledged, lost: 0, doubled: 0, reordered: 0 };
  let newest = -1;
  for (const number of received) {
    if (first.has(number)) counts.doubled += 1;
    else if (number < newest) counts.reordered += 1;
    first.add(number);
    newest = Math.max(newest, number);
  }
  for (let number = 0; number < acknowledged; number += 1) if (!first.has(number)) counts.lost += 1;
  return counts;
}

export class AuditedPairs {
  #pairs = [];

  /** Starts `count` pairs, and waits until each client has an event acknowledged. */
  static async start(count, url) {
    const pairs = new AuditedPairs();
    const host = await account("Host of pairs");
    for (let index = 0; index < count; index += 1) {
      const { roomId } = await newCall(host);
      const [left, right] = [`Left-${index}`, `Right-${index}`];
      pairs.#pairs.push([
        new AuditedClient(left, right, roomId, url, 2 * index),
        new AuditedClient(right, left, roomId, url, 2 * index + 1),
      ]);
    }
    await pairs.progress().catch((error) => {
      pairs.stop();
      throw error;
    });
    return pairs;
  }

  get clients() {
    return this.#pairs.flat();
  }

  /** Waits until every client has one more event acknowledged. */
  async progress(bound = 90_000) {
    const before = this.clients.map(({ acknowledged }) => acknowledged);
    const stuck = () => this.clients.filter((client, index) => client.acknowledged <= before[index]);
    await until("every client has an event acknowledged", () => stuck().length === 0, bound).catch((error) => {
      throw new Error(`${error.message}: ${stuck().map(({ name, refused }) => `${name} ${JSON.stringify(refused)}`)}`);
    });
  }

  /** Stops new events, and waits until what was acknowledged has arrived, or 20 s. */
  async settle() {
    for (const client of this.clients) client.send(false);
    const missing = () => this.figures().lost;
    await until("every acknowledged event has arrived", () => missing() === 0, 20_000).catch(() => {});
    for (const client of this.clients) client.send(true);
  }

  /** Sums over all clients since their start. The outage is the longest since the last call. */
  figures() {
    const sum = { acknowledged: 0, lost: 0, doubled: 0, reordered: 0, socketsLost: 0, resumed: 0, newSessions: 0 };
    for (const [left, right] of this.#pairs) {
      for (const counts of [audit(left, right), audit(right, left)]) for (const name in counts) sum[name] += counts[name];
    }
    for (const client of this.clients) for (const name of ["socketsLost", "resumed", "newSessions"]) sum[name] += client[name];
    return sum;
  }

  /** Longest time of a client without a socket, in seconds, since the last call. */
  longestOutage() {
    const longest = Math.max(...this.clients.map(({ longestOutageMs }) => longestOutageMs));
    for (const client of this.clients) client.longestOutageMs = 0;
    return longest / 1000;
  }

  /** Violations since the last call, without repetitions. */
  violations() {
    return [...new Set(this.clients.flatMap(({ violations }) => violations.splice(0)))];
  }

  stop() {
    for (const client of this.clients) client.stop();
  }
}
