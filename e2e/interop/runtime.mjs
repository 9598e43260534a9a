// Clients in three languages behind one interface, so that each of them does the same list.
//
// The JavaScript peers run in this process. The others run in a process for each language, which
// reads commands and writes events, one JSON object a line:
//
//   {task, peer, do: "connect", url, transports, auth, headers, recovers}
//   {task, peer, do: "emit", name, payloads}     one answer for each payload, in order
//   {task, peer, do: "transport" | "close"}      one answer
//   {task, answer}
//   {peer, event: "connect", transport, recovered}
//   {peer, event: "connect_error", code}
//   {peer, event: "message", name, payload}
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { until } from "../support/until.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = here("../../.tools/python/bin/python");
const JAVA_CLASSES = here("../../.tools/java");

/** A client and what it was told. */
class Peer {
  connects = [];
  errors = [];
  received = [];

  /** Resolves with the first payload of this event that matches, received already or not. */
  event(name, matches = () => true) {
    return until(`the event ${name}`, () => this.all(name).find(matches));
  }

  /** Payloads of this event, in order. */
  all(name) {
    return this.received.filter((event) => event.name === name).map(({ payload }) => payload);
  }

  /** Resolves with the answer to one event. */
  async call(name, payload) {
    return (await this.burst(name, [payload]))[0];
  }

  /** Resolves when the client is connected for the `count`th time. */
  async connected(count = 1) {
    await until(`${count} connects`, () => this.connects.length >= count || this.errors.some(({ code }) => code));
    if (this.connects.length < count) throw new Error(`refused: ${this.errors.at(-1).code}`);
    return this.connects[count - 1];
  }

  /** Resolves with the code of the first refusal. */
  refusal() {
    return until("a refusal", () => this.errors.find(({ code }) => code)?.code);
  }

  async settled(transport) {
    await until(`the client is on ${transport}`, async () => (await this.transport()) === transport);
  }
}

class JavaScriptPeer extends Peer {
  connect({ url, transports, auth = {}, headers = {}, recovers = true }) {
    const socket = io(url, {
      auth,
      extraHeaders: headers,
      forceNew: true,
      reconnectionDelay: 100,
      reconnectionDelayMax: 500,
      ...(transports && { transports }),
    });
    this.socket = socket;
    socket.on("connect", () => this.connects.push({ recovered: socket.recovered }));
    socket.on("connect_error", ({ data }) => this.errors.push({ code: data?.code }));
    socket.onAny((name, payload) => this.received.push({ name, payload }));
    // The library always recovers if it can. Without these two it is a client that cannot.
    socket.on("disconnect", () => {
      if (!recovers) socket._pid = socket._lastOffset = undefined;
    });
  }

  burst(name, payloads) {
    return Promise.all(payloads.map((payload) => this.socket.timeout(30_000).emitWithAck(name, payload)));
  }

  transport() {
    return this.socket.io.engine?.transport.name;
  }

  close() {
    this.socket?.disconnect();
  }
}

/** The peers of this process. */
class JavaScriptPeers {
  #peers = [];

  open() {
    const peer = new JavaScriptPeer();
    this.#peers.push(peer);
    return peer;
  }

  stop() {
    for (const peer of this.#peers) peer.close();
  }
}

/** A process with the peers of one language. */
class PeerProcess {
  #child;
  #peers = new Map();
  #answers = new Map();

  constructor(command, ...args) {
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#read(JSON.parse(line)));
  }

  open() {
    const peer = new RemotePeer(this, `p${this.#peers.size}`);
    this.#peers.set(peer.name, peer);
    return peer;
  }

  send(command) {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
  }

  /** Sends a command. Resolves with its answers when there are `count` of them. */
  async ask(command, count = 1) {
    const task = this.#answers.size + 1;
    const answers = [];
    this.#answers.set(task, answers);
    this.send({ task, ...command });
    await until(`${count} answers of ${command.do} ${command.name ?? ""}`, () => answers.length >= count);
    return answers;
  }

  async stop() {
    this.#child.kill();
    await once(this.#child, "exit");
  }

  #read({ task, answer, peer, event, ...fields }) {
    if (task) return this.#answers.get(task).push(answer);
    const to = this.#peers.get(peer);
    const list = { connect: to.connects, connect_error: to.errors, message: to.received }[event];
    return list.push(fields);
  }
}

class RemotePeer extends Peer {
  #process;

  constructor(process, name) {
    super();
    this.#process = process;
    this.name = name;
  }

  connect({ url, transports = null, auth = {}, headers = {}, recovers = true }) {
    this.#process.send({ peer: this.name, do: "connect", url, transports, auth, headers, recovers });
  }

  burst(name, payloads) {
    return this.#process.ask({ peer: this.name, do: "emit", name, payloads }, payloads.length);
  }

  async transport() {
    return (await this.#process.ask({ peer: this.name, do: "transport" }))[0];
  }

  close() {
    return this.#process.ask({ peer: this.name, do: "close" });
  }
}

/**
 * The languages. `missing` says what a language lacks on this machine, or is undefined. `start`
 * starts its peers: `{ open(), stop() }`.
 */
export const LANGUAGES = [
  {
    name: "socket.io-client",
    missing: undefined,
    start: () => new JavaScriptPeers(),
  },
  {
    name: "python-socketio",
    missing: existsSync(PYTHON) ? undefined : "its packages (run `scripts/setup test`)",
    start: () => new PeerProcess(PYTHON, here("peer.py")),
  },
  {
    name: "io.socket:socket.io-client (Java)",
    missing: existsSync(`${JAVA_CLASSES}/Peer.class`) ? undefined : "a JDK or its artifacts (see .tools/setup.log)",
    start: () => new PeerProcess("java", "-cp", `${JAVA_CLASSES}/*:${JAVA_CLASSES}`, "Peer"),
  },
];
