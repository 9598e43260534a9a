// Signaling socket: a stock socket.io-client, and events that arrive once and in order although
// many of them are in flight.
import { io, type Socket } from "socket.io-client";
import { SwitchboardError, type Refusal } from "./errors.js";
import type { ClientEvents } from "./generated/events.js";
import { randomId } from "./random.js";
import type { Seat, Session } from "./session.js";

const ACK_TIMEOUT_MS = 6_000;
/** Events that wait for their acknowledgement at the same time. */
const IN_FLIGHT_MAX = 64;
/** Events that wait for the connection or for a place in flight. */
const QUEUE_MAX = 2_000;
/** Time after which an event fails with `UNREACHABLE`: a little more than the recovery window. */
const EVENT_TIMEOUT_MS = 100_000;
/** Times that an event is sent. */
const ATTEMPTS_MAX = 9;
/** Pause after a refusal that names no time. */
const PAUSE_MS = 1_000;

/** Ways to reach the service, in the order in which they are tried. */
export type Transport = "polling" | "websocket";

/** Packet of Socket.IO, as its client decodes it. */
interface Packet {
  type: number;
  data?: { pid?: string };
}
/** Type of the packet that opens a session. */
const CONNECT = 0;

export type Answer = Record<string, any>;

export interface SocketOptions {
  /** Address of the service; a path in it comes before `/socket.io/`. */
  url: URL;
  transports?: Transport[];
  session: Session;
  /** Seat of the room alone, with its join token. */
  seat: Seat;
}

/**
 * Creates a socket that is not connected yet.
 * @param noToken called when the application could not give a token, with the socket disconnected
 */
export function openSocket({ url, transports, session, seat }: SocketOptions, noToken: (error: unknown) => void): Socket {
  // Private id of this page's session before a reload. It is sent once. After that the client sends
  // its own, which an explicit `pid` here would override.
  let previousPid = seat.pid;
  const socket = io(url.origin, {
    path: new URL("socket.io/", url).pathname,
    autoConnect: false,
    forceNew: true,
    ...(transports && { transports }),
    reconnectionDelay: 400,
    reconnectionDelayMax: 4_000,
    auth: (send) => {
      const pid = previousPid;
      session.token(seat.roomId).then(
        (token) => send({ token, ...(pid && { pid }) }),
        // Without a token the server would take the page for a visitor, who has no seat.
        (error) => {
          socket.disconnect();
          noToken(error);
        },
      );
    },
  });
  // socket.io-client has no public field for the private id, and the name of its private one
  // differs in its minified build. So it is taken from the packet that brings it.
  const packets = socket.io as unknown as { on(event: "packet", listener: (packet: Packet) => void): void };
  packets.on("packet", ({ type, data }) => {
    if (type !== CONNECT) return;
    previousPid = undefined;
    session.updateSeat(seat, { pid: data?.pid });
  });
  return socket;
}

/**
 * Sends an event once and waits for its acknowledgement.
 * @throws {SwitchboardError} with the server's code, or `UNREACHABLE`
 */
export function emit(socket: Socket, event: keyof ClientEvents, payload: object = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    socket.timeout(ACK_TIMEOUT_MS).emit(event, payload, (error: Error | null, answer?: Answer & Refusal) => {
      if (error) reject(new SwitchboardError({ code: "UNREACHABLE" }));
      else if (answer?.success === false) reject(new SwitchboardError(answer));
      else resolve(answer ?? {});
    });
  });
}

/** Sends an event without repetition. Drops it when the socket is not connected. */
export function sendVolatile(socket: Socket, event: keyof ClientEvents, payload: object): void {
  if (socket.connected) socket.volatile.timeout(ACK_TIMEOUT_MS).emit(event, payload, () => {});
}

interface Entry {
  event: keyof ClientEvents;
  payload: object;
  repeats: boolean;
  attempts: number;
  inFlight: boolean;
  timer: ReturnType<typeof setTimeout>;
  resolve: (answer: Answer) => void;
  reject: (error: SwitchboardError) => void;
}

/**
 * Sends events in order, up to `IN_FLIGHT_MAX` of them at the same time. Each carries an id, with
 * which the server relays it once. An event whose acknowledgement was lost is sent again, also
 * after a reconnect.
 *
 * Candidates carry no id, because one that comes twice does no harm: without ids, those that are
 * sent together cost the service a fraction.
 */
export class EventQueue {
  #socket: Socket;
  #entries: Entry[] = [];
  #open = false;
  #pausedUntil = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("disconnect", () => (this.#open = false));
  }

  /** Sends the waiting events, and every further one. Called when the socket has its seat. */
  open(): void {
    this.#open = true;
    this.#pump();
  }

  /**
   * Sends an event and waits for its acknowledgement.
   * @param options.repeats whether the event is sent again when it is refused for a moment only
   * @throws {SwitchboardError} with the server's code, `UNREACHABLE`, `QUEUE_FULL` or `LEFT`
   */
  send(event: keyof ClientEvents, payload: object = {}, { repeats = false } = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#entries.length >= QUEUE_MAX) return reject(new SwitchboardError({ code: "QUEUE_FULL" }));
      const entry: Entry = {
        event,
        payload: event === "webrtc:ice-candidate" ? payload : { id: randomId(), ...payload },
        repeats,
        attempts: 0,
        inFlight: false,
        timer: setTimeout(() => this.#fail(entry, "UNREACHABLE"), EVENT_TIMEOUT_MS),
        resolve,
        reject,
      };
      this.#entries.push(entry);
      this.#pump();
    });
  }

  /** Fails every event that matches, because nobody waits for it any more. */
  drop(matches: (event: string) => boolean): void {
    for (const entry of [...this.#entries]) if (matches(entry.event)) this.#fail(entry, "LEFT");
  }

  #pump(): void {
    if (!this.#open || !this.#socket.connected || Date.now() < this.#pausedUntil) return;
    let free = IN_FLIGHT_MAX;
    for (const entry of this.#entries) {
      if (free-- === 0) return;
      if (!entry.inFlight) this.#transmit(entry);
    }
  }

  #transmit(entry: Entry): void {
    entry.inFlight = true;
    emit(this.#socket, entry.event, entry.payload).then(
      (answer) => {
        if (this.#remove(entry)) entry.resolve(answer);
      },
      (error: SwitchboardError) => this.#refused(entry, error),
    ).finally(() => this.#pump());
  }

  #refused(entry: Entry, error: SwitchboardError): void {
    entry.inFlight = false;
    const lost = error.code === "UNREACHABLE";
    // A connection that ended is no attempt.
    if (!lost || this.#socket.connected) entry.attempts += 1;
    const again = lost || (entry.repeats && error.isTemporary);
    if (!again || entry.attempts >= ATTEMPTS_MAX) {
      if (this.#remove(entry)) entry.reject(error);
    } else if (!lost) {
      // The rate is that of the socket, so that the events behind would be refused as well.
      const milliseconds = Math.max(PAUSE_MS, (error.retryAfter ?? 0) * 1_000);
      this.#pausedUntil = Date.now() + milliseconds;
      setTimeout(() => this.#pump(), milliseconds + 10);
    }
  }

  #fail(entry: Entry, code: string): void {
    if (this.#remove(entry)) entry.reject(new SwitchboardError({ code }));
  }

  #remove(entry: Entry): boolean {
    clearTimeout(entry.timer);
    const index = this.#entries.indexOf(entry);
    if (index !== -1) this.#entries.splice(index, 1);
    return index !== -1;
  }
}
