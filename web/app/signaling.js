// The socket: one stock socket.io-client, its identity, and requests that are answered or refused.
import { io } from "/vendor/socket.io.esm.min.js";
import { Refusal } from "./refusals.js";

const ACK_TIMEOUT_MS = 6_000;
// An emit is repeated this often, over reconnects too. Each carries an id, so the server relays it once.
const RETRIES = 8;

/**
 * Opens a socket. With `retries` the client sends one emit at a time and waits for its acknowledgement,
 * so what a peer is sent arrives in order whatever happens to the connection in between.
 *
 * @param {import("./session.js").Session} session whose token is presented at each connection
 */
export function openSocket(session) {
  // Known only after a reload: the seat that this page held before. It is presented once; from then on
  // the client presents its own, which an explicit `pid` here would override.
  let formerPid = session.seat?.pid;
  const socket = io({
    autoConnect: false,
    retries: RETRIES,
    ackTimeout: ACK_TIMEOUT_MS,
    reconnectionDelay: 400,
    reconnectionDelayMax: 4_000,
    auth: (present) => {
      const pid = formerPid;
      present({ token: session.token, ...(pid && { pid }) });
    },
  });
  socket.on("connect", () => {
    formerPid = undefined;
    if (session.seat) session.setSeat({ ...session.seat, pid: socket._pid });
  });
  return socket;
}

/**
 * Emits an event and waits for its acknowledgement.
 *
 * @throws {Refusal} with the server's code, or `UNREACHABLE` when no answer came after all retries
 */
export function request(socket, event, payload = {}) {
  return new Promise((resolve, reject) => {
    socket.emit(event, { id: crypto.randomUUID(), ...payload }, (error, answer) => {
      if (error) reject(new Refusal({ code: "UNREACHABLE" }));
      else if (answer?.success === false) reject(new Refusal(answer));
      else resolve(answer);
    });
  });
}

/** Emits what is not worth repeating: lost when the socket is not connected at this moment. */
export function hint(socket, event, payload) {
  if (socket.connected) socket.volatile.timeout(ACK_TIMEOUT_MS).emit(event, payload, () => {});
}
