// One call, from sitting down to getting up: socket, room, mesh and chat, and what happens when the socket is lost.
import { Chat } from "./chat.js";
import { Mesh } from "./mesh.js";
import { KINDS, moderation } from "./moderation.js";
import { Refusal } from "./refusals.js";
import { Room } from "./room.js";
import { hint, openSocket, request } from "./signaling.js";

// Refusals that a new admission may cure: the old one ran out or was for a former sign-in.
const RENEWABLE = new Set(["TOKEN_EXPIRED", "TOKEN_INVALID", "UNAUTHORIZED"]);
// Refusals to signals that the person at the screen can do nothing about; the mesh repairs itself.
const QUIET = new Set(["PEER_NOT_FOUND", "NOT_IN_ROOM", "UNREACHABLE"]);

/**
 * `status` is `connecting`, `waiting` (in the lobby), `live`, `reconnecting` or `over`. Dispatches `status` when it
 * changes, `refused` (a CustomEvent with the Refusal) and `muted` (with the kind) for what the person should be told.
 * Once over, `ending` says why: `left`, `ended`, `removed`, `banned`, `denied`, `elsewhere`, `disconnected`, or the
 * Refusal that kept this page out; `reason` is what somebody said about it.
 */
export class Call extends EventTarget {
  status = "connecting";
  ending = null;
  reason = "";
  degraded = false;
  room = new Room();
  mesh = null;
  #session;
  #admit;
  #iceServers;
  #socket;
  #seatedAt = null;
  #waited = false;
  /** The media state that the server has last taken. */
  #taken = {};

  /**
   * @param {object} options
   * @param {import("./session.js").Session} options.session holding the seat's `roomId` and `joinToken`
   * @param {() => Promise<{joinToken: string}>} options.admit asks for a new admission to the same room
   * @param {() => Promise<void>} options.refresh renews the session's access token
   * @param {import("./media.js").LocalMedia} options.local
   * @param {RTCIceServer[]} options.iceServers
   */
  constructor({ session, admit, refresh, local, iceServers }) {
    super();
    this.#session = session;
    this.#admit = admit;
    this.#iceServers = iceServers;
    this.local = local;
    this.refresh = refresh;
    this.#socket = openSocket(session);
    this.chat = new Chat({
      send: (payload) => request(this.#socket, "chat:message", payload),
      typing: (isTyping) => hint(this.#socket, "chat:typing", { isTyping }),
      history: (page) => request(this.#socket, "chat:history", { limit: 50, ...page }),
    });
    this.moderation = moderation((event, payload) => request(this.#socket, event, payload));
    this.#listen();
    this.announceMedia = () => this.#announceMedia();
    local.addEventListener("change", this.announceMedia);
    this.#socket.connect();
  }

  /** Gets up. The socket says goodbye, so the others see it at once. */
  leave() {
    this.#finish("left");
  }

  /** Ends the call for everybody. @throws {Refusal} */
  async endForAll() {
    await request(this.#socket, "room:end-call", { roomId: this.room.roomId });
    this.#finish("ended");
  }

  #listen() {
    const socket = this.#socket;
    const { room, chat } = this;
    const on = (event, handle) => socket.on(event, (payload) => handle(payload ?? {}));

    socket.on("connect", () => this.#connected());
    socket.on("disconnect", (reason) => this.#disconnected(reason));
    socket.on("connect_error", (error) => this.#notConnected(error));

    on("room:joined", (joined) => this.#joined(joined));
    on("room:waiting", () => {
      this.#waited = true;
      this.#setStatus("waiting");
    });
    on("room:denied", ({ reason }) => this.#finish("denied", reason));
    on("room:kicked", ({ banned, reason }) => this.#finish(banned ? "banned" : "removed", reason));
    on("room:join-request", ({ participant }) => room.addWaiting(participant));
    on("room:join-request-cancelled", ({ peerId }) => room.removeWaiting(peerId));
    on("room:user-joined", ({ participant }) => {
      room.add(participant);
      this.mesh?.add(participant);
    });
    on("room:user-left", ({ peerId }) => {
      if (peerId === room.selfId) return this.#finish("elsewhere");
      room.remove(peerId);
      this.mesh?.remove(peerId);
      chat.stoppedTyping(peerId);
    });
    on("room:call-ended", () => this.#finish("ended"));
    on("room:updated", ({ name, settings, hostId, locked, maxParticipants }) =>
      room.assign({ name, settings, hostId, locked, maxParticipants }),
    );
    on("participant:role-changed", ({ peerId, role, hostId }) => {
      room.update(peerId, { role });
      room.assign({ hostId });
    });
    on("participant:muted", ({ kind, mediaState }) => this.#muted(kind, mediaState));
    on("participant:media-state-changed", ({ peerId, mediaState }) => room.update(peerId, { mediaState }));
    on("participant:screen-share-changed", ({ peerId, enabled }) =>
      room.update(peerId, { mediaState: { screenShareEnabled: enabled } }),
    );
    on("participant:connection-changed", ({ peerId, state, node }) => {
      // What is told of this page's own seat is old news by now.
      if (peerId !== room.selfId) room.update(peerId, { connectionState: state, ...(node && { node }) });
    });

    on("webrtc:offer", ({ from, offer }) => this.mesh?.get(from)?.receiveDescription(offer));
    on("webrtc:answer", ({ from, answer }) => this.mesh?.get(from)?.receiveDescription(answer));
    on("webrtc:ice-candidate", ({ from, candidate }) => this.mesh?.get(from)?.receiveCandidate(candidate));
    on("webrtc:renegotiation-needed", ({ from }) => this.mesh?.get(from)?.receiveStartOver());
    on("webrtc:ice-servers", ({ iceServers, node }) => {
      this.#iceServers = iceServers;
      // Sent at each connect: a resumed socket learns here through which node it goes now.
      if (node) room.assign({ node });
    });

    on("chat:message", (message) => chat.received(message));
    on("chat:typing", ({ from, fromUser, isTyping }) => chat.typed(from, fromUser, isTyping));

    on("cluster:degraded", () => this.#setDegraded(true));
    on("cluster:restored", () => this.#setDegraded(false));
    on("error", (refusal) => this.#tell(new Refusal(refusal)));
  }

  #connected() {
    // A recovered socket got what it missed; the seat and all peer connections are as they were.
    if (this.#socket.recovered && this.mesh) this.#setStatus("live");
    else if (this.#socket.recovered && this.#waited) this.#setStatus("waiting");
    else this.#sitDown();
  }

  /** Takes the seat; renews the admission once when it ran out. */
  async #sitDown(renewed = false) {
    const { roomId, joinToken } = this.#session.seat;
    try {
      await request(this.#socket, "room:join", { roomId, token: joinToken });
    } catch (refusal) {
      if (this.status === "over") return;
      // The connection went away while we asked: the next one asks again. Or the answer did, and this was a repetition.
      if (["UNREACHABLE", "ALREADY_IN_ROOM"].includes(refusal.code)) return;
      if (!RENEWABLE.has(refusal.code) || renewed) return this.#finish(refusal);
      try {
        const { joinToken: fresh } = await this.#admit();
        this.#session.setSeat({ ...this.#session.seat, joinToken: fresh });
        await this.#sitDown(true);
      } catch (again) {
        this.#finish(again);
      }
    }
  }

  #joined(joined) {
    const { room } = this;
    room.enter(joined);
    const seatedAt = `${joined.peerId} ${room.self.joinedAt}`;
    if (seatedAt !== this.#seatedAt) {
      // A new seat: the others have dropped their connections to a former one, so ours go as well.
      this.mesh?.close();
      this.mesh = new Mesh({
        selfId: joined.peerId,
        local: this.local,
        iceServers: () => this.#iceServers,
        signal: (event, payload) => this.#send(event, payload),
      });
      this.#seatedAt = seatedAt;
      this.dispatchEvent(new Event("seated"));
    }
    this.mesh.reconcile(room.others);
    this.chat.load(joined.peerId);
    this.#setStatus("live");
    this.#taken = {};
    this.local.withdraw(room.forbidden(this.local.state));
    this.#announceMedia();
  }

  #disconnected(reason) {
    if (this.status === "over") return;
    // The server closed the session for good: only a person may decide to come back.
    if (reason === "io server disconnect") this.#finish("disconnected");
    else this.#setStatus("reconnecting");
  }

  async #notConnected(error) {
    if (this.status === "over" || this.#socket.active) return;
    const refusal = new Refusal({ code: error.data?.code, message: error.message });
    if (refusal.code !== "TOKEN_EXPIRED") return this.#finish(refusal);
    try {
      await this.refresh();
      this.#socket.connect();
    } catch {
      this.#finish(refusal);
    }
  }

  /** Tells the others which media are on. What the server refuses goes off here as well. */
  async #announceMedia() {
    if (!this.room.self || this.status !== "live") return;
    const told = this.local.state;
    this.room.update(this.room.selfId, { mediaState: told });
    try {
      await request(this.#socket, "participant:update-media-state", told);
      this.#taken = told;
    } catch (refusal) {
      if (QUIET.has(refusal.code)) return;
      this.#tell(refusal);
      if (refusal.code === "FORBIDDEN") this.local.withdraw(this.room.forbidden(told, this.#taken));
    }
  }

  /** A moderator has switched something of this page's off. */
  #muted(kind, mediaState) {
    this.#taken = mediaState;
    this.local.withdraw(Object.keys(KINDS).filter((field) => !mediaState[field]));
    this.dispatchEvent(new CustomEvent("muted", { detail: kind }));
  }

  #send(event, payload) {
    if (this.status === "over") return;
    request(this.#socket, event, payload).catch((refusal) => {
      if (!QUIET.has(refusal.code)) this.#tell(refusal);
    });
  }

  #tell(refusal) {
    this.dispatchEvent(new CustomEvent("refused", { detail: refusal }));
  }

  #setDegraded(degraded) {
    this.degraded = degraded;
    this.dispatchEvent(new Event("status"));
  }

  #setStatus(status) {
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }

  #finish(ending, reason = "") {
    if (this.status === "over") return;
    Object.assign(this, { ending, reason });
    this.#setStatus("over");
    this.local.removeEventListener("change", this.announceMedia);
    this.mesh?.close();
    this.#socket.disconnect();
  }
}
