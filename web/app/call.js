// One call from joining to leaving: socket, room, mesh and chat, and recovery of a lost socket.
import { Chat } from "./chat.js";
import { Mesh, pageOf } from "./mesh.js";
import { KINDS, moderation } from "./moderation.js";
import { Refusal, persist } from "./refusals.js";
import { Room } from "./room.js";
import { openSocket, request, sendVolatile } from "./signaling.js";

// Refusals that a new admission resolves: the old one expired or belonged to an earlier sign-in.
const RENEWABLE = new Set(["TOKEN_EXPIRED", "TOKEN_INVALID", "UNAUTHORIZED"]);
// Refusals of a join that are endings: this page was away when it was removed.
const ENDINGS = { REMOVED: "removed", BANNED: "banned" };
// Failures of a refresh after which it is tried again.
const TEMPORARY = new Set(["UNREACHABLE", "SERVICE_UNAVAILABLE", "DATABASE_ERROR", "RATE_LIMIT_EXCEEDED"]);
const REFRESHES_MAX = 30;
const REFRESH_PAUSE_MS = 2_000;
// Refusals that are not shown, because the user can do nothing about them: the mesh repairs itself.
const NOT_SHOWN = new Set(["PEER_NOT_FOUND", "NOT_IN_ROOM", "UNREACHABLE"]);

/**
 * State of one call. `status` is `connecting`, `waiting` (in the lobby), `live`, `reconnecting` or
 * `over`. Dispatches `status` on each change, `refused` (a CustomEvent with the Refusal to show),
 * `muted` (a CustomEvent with the kind) and `seated` (for each new seat).
 *
 * When the call is over, `ending` gives the cause: `left`, `ended`, `removed`, `banned`, `denied`,
 * `changed`, `elsewhere`, `disconnected`, or the Refusal of the join. `reason` is the host's or
 * moderator's text.
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
  #renewal = null;
  #socket;
  /** Name of this page in the others' meshes, once it is in the call. */
  #page = null;
  #waited = false;
  /** Last media state that the server accepted. */
  #acceptedMedia = {};

  /**
   * @param {object} options
   * @param {import("./session.js").Session} options.session holds the seat's `roomId` and
   *   `joinToken`
   * @param {() => Promise<{joinToken: string}>} options.admit gets a new admission to the same room
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
      typing: (isTyping) => sendVolatile(this.#socket, "chat:typing", { isTyping }),
      history: (page) => request(this.#socket, "chat:history", { limit: 50, ...page }),
    });
    this.moderation = moderation((event, payload) => request(this.#socket, event, payload));
    this.#listen();
    this.announceMedia = () => this.#announceMedia();
    local.addEventListener("change", this.announceMedia);
    this.#socket.connect();
  }

  /** Leaves the call. Disconnects explicitly, so that the others see it immediately. */
  leave() {
    this.#finish("left");
  }

  /** Ends the call for all participants. @throws {Refusal} */
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
    on("room:denied", ({ reason }) =>
      reason === "DOOR_CHANGED" ? this.#finish("changed") : this.#finish("denied", reason),
    );
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
    on("participant:profile-changed", ({ peerId, user }) => room.changeUser(peerId, user));
    on("participant:muted", ({ kind, mediaState }) => this.#muted(kind, mediaState));
    on("participant:media-state-changed", ({ peerId, mediaState }) => room.update(peerId, { mediaState }));
    on("participant:screen-share-changed", ({ peerId, enabled }) =>
      room.update(peerId, { mediaState: { screenShareEnabled: enabled } }),
    );
    on("participant:connection-changed", ({ peerId, state, node, socketId }) => {
      // An event about this page's own seat is outdated: this page is connected.
      if (peerId === room.selfId) return;
      room.update(peerId, { connectionState: state, ...(node && { node }), ...(socketId && { socketId }) });
      // The participant's page may be a new one, which has none of the former connections.
      const participant = room.participants.get(peerId);
      if (participant) this.mesh?.add(participant);
    });

    on("webrtc:offer", ({ from, offer }) => this.mesh?.get(from)?.receiveDescription(offer));
    on("webrtc:answer", ({ from, answer }) => this.mesh?.get(from)?.receiveDescription(answer));
    on("webrtc:ice-candidate", ({ from, candidate }) => this.mesh?.get(from)?.receiveCandidate(candidate));
    on("webrtc:renegotiation-needed", ({ from }) => this.mesh?.get(from)?.receiveStartOver());
    on("webrtc:ice-servers", ({ iceServers, iceTtl, node }) => {
      this.#useIceServers(iceServers, iceTtl);
      // Sent at each connect: a recovered socket learns here which node serves it now.
      if (node) room.assign({ node });
    });

    on("chat:message", (message) => chat.received(message));
    on("chat:typing", ({ from, fromUser, isTyping }) => chat.typed(from, fromUser, isTyping));

    on("cluster:degraded", () => this.#setDegraded(true));
    on("cluster:restored", () => this.#setDegraded(false));
    on("error", (refusal) => this.#showRefusal(new Refusal(refusal)));
  }

  #connected() {
    // A recovered socket gets the events that it missed. The seat and peer connections are
    // unchanged.
    if (this.#socket.recovered && this.mesh) this.#setStatus("live");
    else if (this.#socket.recovered && this.#waited) this.#setStatus("waiting");
    else this.#joinRoom();
  }

  /**
   * Joins the room. Renews the admission once if it has expired, and repeats a join that is refused
   * for a moment only.
   */
  async #joinRoom(renewed = false) {
    const { roomId, joinToken } = this.#session.seat;
    const { id } = this.#socket;
    // Another connection joins by itself.
    const isCurrent = () => this.status !== "over" && this.#socket.id === id;
    try {
      const join = () => request(this.#socket, "room:join", { roomId, token: joinToken });
      await persist(join, ({ code }) => code !== "UNREACHABLE" && isCurrent());
    } catch (refusal) {
      if (!isCurrent()) return;
      // The connection was lost, and the next one joins again.
      if (refusal.code === "UNREACHABLE") return;
      if (!RENEWABLE.has(refusal.code) || renewed) return this.#finish(ENDINGS[refusal.code] ?? refusal);
      try {
        const { joinToken: fresh } = await persist(this.#admit, isCurrent);
        this.#session.setSeat({ ...this.#session.seat, joinToken: fresh });
        await this.#joinRoom(true);
      } catch (refusalOfRenewal) {
        if (isCurrent()) this.#finish(ENDINGS[refusalOfRenewal.code] ?? refusalOfRenewal);
      }
    }
  }

  /**
   * Uses these ICE servers from now on. Asks for new ones before the TURN credentials expire.
   * @param {RTCIceServer[]} iceServers
   * @param {number} [iceTtl] seconds
   */
  #useIceServers(iceServers, iceTtl) {
    this.#iceServers = iceServers;
    this.mesh?.useIceServers();
    clearTimeout(this.#renewal);
    if (iceTtl) this.#renewal = setTimeout(() => this.#renewIceServers(), iceTtl * 750);
  }

  /** Asks again a little later if that fails. A socket that is away gets new servers on return. */
  #renewIceServers() {
    if (this.status !== "live") return;
    this.#renewal = setTimeout(() => this.#renewIceServers(), 30_000);
    request(this.#socket, "webrtc:get-ice-servers", {}).catch(() => {});
  }

  #joined(joined) {
    const { room } = this;
    this.#useIceServers(joined.iceServers, joined.iceTtl);
    room.enter(joined);
    if (!this.#page && room.settings.joinMuted && !room.isModerator) this.local.setAudio(false);
    const page = pageOf(room.self);
    if (page !== this.#page) {
      // The seat is new, or was taken over by a new session. The others closed their connections to
      // the old one, so close ours too.
      this.mesh?.close();
      this.mesh = new Mesh({
        selfId: joined.peerId,
        local: this.local,
        iceServers: () => this.#iceServers,
        signal: (event, payload) => this.#send(event, payload),
      });
      this.#page = page;
      this.dispatchEvent(new Event("seated"));
    }
    this.mesh.reconcile(room.others);
    this.chat.load(joined.peerId);
    this.#setStatus("live");
    this.#acceptedMedia = {};
    this.local.withdraw(room.forbidden(this.local.state));
    this.#announceMedia();
  }

  #disconnected(reason) {
    if (this.status === "over") return;
    // The server closed the session for good: only the user may decide to join again.
    if (reason === "io server disconnect") this.#finish("disconnected");
    else this.#setStatus("reconnecting");
  }

  async #notConnected(error, attempt = 1) {
    if (this.status === "over" || this.#socket.active) return;
    const refusal = new Refusal({ code: error.data?.code, message: error.message });
    if (refusal.code !== "TOKEN_EXPIRED") return this.#finish(refusal);
    try {
      await persist(this.refresh, () => this.status !== "over");
      this.#socket.connect();
    } catch (failure) {
      if (!TEMPORARY.has(failure.code) || attempt >= REFRESHES_MAX) return this.#finish(refusal);
      // The answer may be lost. Then the server accepts the same refresh token once more.
      setTimeout(() => this.#notConnected(error, attempt + 1), REFRESH_PAUSE_MS);
    }
  }

  /** Announces the local media state. Switches off locally any medium that the server refuses. */
  async #announceMedia() {
    if (!this.room.self || this.status !== "live") return;
    const announced = this.local.state;
    this.room.update(this.room.selfId, { mediaState: announced });
    try {
      await request(this.#socket, "participant:update-media-state", announced);
      this.#acceptedMedia = announced;
    } catch (refusal) {
      if (NOT_SHOWN.has(refusal.code)) return;
      this.#showRefusal(refusal);
      if (refusal.code === "FORBIDDEN") this.local.withdraw(this.room.forbidden(announced, this.#acceptedMedia));
    }
  }

  /** Handles a mute by a moderator: the server has already switched this page's medium off. */
  #muted(kind, mediaState) {
    this.#acceptedMedia = mediaState;
    this.local.withdraw(Object.keys(KINDS).filter((field) => !mediaState[field]));
    this.dispatchEvent(new CustomEvent("muted", { detail: kind }));
  }

  #send(event, payload) {
    if (this.status === "over") return;
    request(this.#socket, event, payload).catch((refusal) => {
      if (!NOT_SHOWN.has(refusal.code)) this.#showRefusal(refusal);
    });
  }

  #showRefusal(refusal) {
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
    clearTimeout(this.#renewal);
    this.local.removeEventListener("change", this.announceMedia);
    this.mesh?.close();
    this.#socket.disconnect();
  }
}
