// Signaling socket: a stock socket.io-client, its credentials, and requests with acknowledgements.
import { io } from "/vendor/socket.io.esm.min.js";
import { randomId } from "./random.js";
import { Refusal } from "./refusals.js";

const ACK_TIMEOUT_MS = 6_000;
// Number of repetitions of an emit, across reconnects too. Each carries an id, so that the server
// relays it once.
const RETRIES = 8;

/**
 * Creates a socket. With `retries` the client sends one emit at a time and waits for its
 * acknowledgement, so that signals arrive in order even when the connection is lost in between.
 *
 * @param {import("./session.js").Session} session its token is sent with each connection
 */
export function openSocket(session) {
  // Private id of this page's session before a reload. It is sent once. After that the client sends
  // its own, which an explicit `pid` here would override.
  let previousPid = session.seat?.pid;
  const socket = io({
    autoConnect: false,
    retries: RETRIES,
    ackTimeout: ACK_TIMEOUT_MS,
    reconnectionDelay: 400,
    reconnectionDelayMax: 4_000,
    auth: (callback) => {
      const pid = previousPid;
      callback({ token: session.token, ...(pid && { pid }) });
    },
  });
  socket.on("connect", () => {
    previousPid = undefined;
    if (session.seat) session.setSeat({ ...session.seat, pid: socket._pid });
  });
  return socket;
}

/**
 * Emits an event and waits for its acknowledgement.
 *
 * @throws {Refusal} with the server's code, or `UNREACHABLE` when no retry was acknowledged
 */
export function request(socket, event, payload = {}) {
  return new Promise((resolve, reject) => {
    socket.emit(event, { id: randomId(), ...payload }, (error, answer) => {
      if (error) reject(new Refusal({ code: "UNREACHABLE" }));
      else if (answer?.success === false) reject(new Refusal(answer));
      else resolve(answer);
    });
  });
}

/** Emits an event once, without retries. Drops it when the socket is not connected. */
export function sendVolatile(socket, event, payload) {
  if (socket.connected) socket.volatile.timeout(ACK_TIMEOUT_MS).emit(event, payload, () => {});
}
