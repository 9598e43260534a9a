// One call from joining to leaving: socket, participants, connections, chat, and the recovery of a
// lost socket. The file has more than 400 lines, because they share the private state of one class.
import type { Socket } from "socket.io-client";
import { Chat } from "./chat.js";
import { PAUSES_MS, SwitchboardError, asSwitchboardError, needsOtherToken, persist } from "./errors.js";
import type { ClientEvents, ServerEvents } from "./generated/events.js";
import { LocalMedia } from "./media.js";
import { Mesh, pageOf } from "./mesh.js";
import { KINDS, Moderation, type MediaKind } from "./moderation.js";
import type { MediaOf } from "./participant.js";
import { RoomState, type RoomStatus } from "./room-state.js";
import { EventQueue, emit, openSocket, sendVolatile, type SocketOptions } from "./signaling.js";
import type { JoinedSnapshot, MediaState } from "./types.js";

// Refusals that a new admission resolves: the old one expired or belonged to an earlier sign-in.
const RENEWABLE = new Set(["TOKEN_EXPIRED", "TOKEN_INVALID", "UNAUTHORIZED"]);
// Refusals of a join that are endings: this page was away when it was removed.
const ENDINGS: Record<string, Ending> = { REMOVED: "removed", BANNED: "banned" };
/** Time for which a room may be `connecting`. Then it is over: `UNREACHABLE`. */
const CONNECTING_MAX_MS = 90_000;
/**
 * Time after a renewal of the token in which another refusal of the token is final. Without it, a
 * page whose token stays expired connects again and again without a pause.
 */
const RENEWAL_INTERVAL_MS = 60_000;
/**
 * Shortest time between two sessions that the server closes and that a new token brings back.
 * Without it, two pages with one session would take it from each other without a pause.
 */
const CLOSED_INTERVAL_MS = 10_000;
/** Pause before TURN credentials are asked for again. */
const ICE_SERVERS_PAUSE_MS = 30_000;
// Signals between two connections. Without these connections nobody needs them.
const SIGNALS = new Set(["webrtc:offer", "webrtc:answer", "webrtc:ice-candidate", "webrtc:renegotiation-needed"]);
// Refusals that are not shown, because the user can do nothing about them: the mesh repairs itself.
const NOT_SHOWN = new Set(["PEER_NOT_FOUND", "NOT_IN_ROOM", "UNREACHABLE", "LEFT", "QUEUE_FULL"]);

/** Why a room is over, if no refusal is the cause. */
export type Ending = "left" | "ended" | "removed" | "banned" | "denied" | "changed" | "elsewhere" | "disconnected";

/** @internal */
export interface RoomOptions extends SocketOptions {
  local: LocalMedia;
  /** Most participants whose cameras are sent. */
  videoMax: number;
  iceServers: RTCIceServer[];
  /** Gets a new admission to the same room and stores it in the seat. */
  admit: () => Promise<unknown>;
  /** Renews the access token. */
  renew: () => Promise<unknown>;
}

/**
 * A call that this page joins. `status` is `connecting`, `waiting` (in the lobby), `live`,
 * `reconnecting` or `over`. A lost connection is resumed without help of the application.
 *
 * When the room is over, `ending` gives the cause: `left`, `ended`, `removed`, `banned`, `denied`
 * (by the host), `changed` (the call has other rules for joining), `elsewhere` (the seat was taken
 * by another page), `disconnected` (by the server), or the SwitchboardError of the join. `reason`
 * is the host's or moderator's text.
 */
export class Room extends RoomState {
  status: RoomStatus = "connecting";
  ending: Ending | SwitchboardError | null = null;
  reason = "";
  /** Whether the service is recovering: media continue, joining and chat may take a moment. */
  degraded = false;
  readonly local: LocalMedia;
  readonly chat: Chat;
  readonly moderation: Moderation;
  /** Connections to the others, once this page has a seat. */
  mesh: Mesh | null = null;
  /** Resolves when the page has a seat or a place in the lobby. Rejects when it gets none. */
  readonly ready: Promise<void>;
  protected override media: MediaOf = {
    peer: (peerId) => this.mesh?.get(peerId),
    own: (source) => (source === "camera" ? this.local.stream : this.local.screen),
    silenced: (element) => {
      this.#silenced.add(element);
      this.changed();
    },
  };
  /** Elements whose sound the browser refuses to play before a click or key on the page. */
  #silenced = new Set<HTMLMediaElement>();
  #options: RoomOptions;
  #iceServers: RTCIceServer[];
  #iceTimer: ReturnType<typeof setTimeout> | undefined;
  #socket: Socket;
  #events: EventQueue;
  /** Name of this page in the others' meshes, once it has a seat. */
  #page: string | null = null;
  #waited = false;
  /** Whether the network, not the server, seems to have cut the socket. */
  #networkLost = false;
  /** Time at which the server last closed the session, in milliseconds since 1970. */
  #closedAt = 0;
  /** Connections in a row that were refused for a moment. */
  #refusals = 0;
  /** Time of the last renewal of the token, in milliseconds since 1970; 0 once it was accepted. */
  #renewedAt = 0;
  /** Last media state that the server accepted, and the one that is being announced. */
  #acceptedMedia: Partial<MediaState> = {};
  #announcing = false;
  #closed = new AbortController();

  /** @internal */
  constructor(options: RoomOptions) {
    super(options.seat.roomId);
    this.#options = options;
    this.#iceServers = options.iceServers;
    this.local = options.local;
    this.#socket = openSocket(options, (error) => {
      // The application's backend may be back in a moment.
      void this.#notConnected({ message: `no token: ${error}`, data: { code: "UNREACHABLE" } });
    });
    this.#events = new EventQueue(this.#socket);
    this.chat = new Chat({
      send: (payload) => this.#events.send("chat:message", payload),
      typing: (isTyping) => sendVolatile(this.#socket, "chat:typing", { isTyping }),
      history: (page) =>
        persist(() => emit(this.#socket, "chat:history", { limit: 50, ...page }), () => this.status === "live"),
    });
    this.moderation = new Moderation((event, payload) => this.#events.send(event, payload));
    this.ready = this.#seated();
    // An application that does not wait for `ready` reads `status` and `ending`.
    this.ready.catch(() => {});
    this.#listen();
    const { signal } = this.#closed;
    setTimeout(() => this.status === "connecting" && this.#refuse(unreachable()), CONNECTING_MAX_MS);
    this.local.on("change", () => this.#localChanged(), { signal });
    this.#rememberDevices();
    // The network has changed, and paths through the former one are dead.
    globalThis.addEventListener?.("online", () => this.#restartIce(), { signal });
    for (const gesture of ["click", "keydown"]) globalThis.addEventListener?.(gesture, () => this.startSound(), { signal });
    this.#socket.connect();
  }

  /** Whether the browser plays no sound before the user clicks on the page or presses a key. */
  get soundBlocked(): boolean {
    return this.#silenced.size > 0;
  }

  /** Plays the sound that the browser refused. Runs by itself at each click and key on the page. */
  startSound(): void {
    if (!this.soundBlocked) return;
    for (const element of this.#silenced) {
      element.muted = false;
      element.play().catch(() => {});
    }
    this.#silenced.clear();
    this.changed();
  }

  /** Leaves the call. Disconnects explicitly, so that the others see it immediately. */
  leave(): void {
    this.#finish("left");
  }

  /** Ends the call for all participants. @throws {SwitchboardError} `HOST_REQUIRED`, `FORBIDDEN` */
  async endForAll(): Promise<void> {
    await this.#events.send("room:end-call").catch((error) => {
      // The end was announced before it was acknowledged.
      if (this.ending !== "ended") throw error;
    });
    this.#finish("ended");
  }

  /**
   * Whether there are too many participants to send them cameras, so that the call is sound alone.
   */
  get videoLimited(): boolean {
    return this.mesh?.videoLimited ?? false;
  }

  /** Raises or lowers this page's hand. @throws {SwitchboardError} `RATE_LIMIT_EXCEEDED`, ... */
  async setHand(raised: boolean): Promise<void> {
    await this.#events.send("participant:set-hand", { raised });
  }

  /**
   * Shows an emoji to all participants for a moment. It is lost if the socket is away.
   * @throws {SwitchboardError} `VALIDATION_ERROR`, `RATE_LIMIT_EXCEEDED`, `UNREACHABLE`, ...
   */
  async react(emoji: string): Promise<void> {
    await emit(this.#socket, "participant:reaction", { emoji });
    if (this.self) this.emit("reaction", this.self, emoji);
  }

  /**
   * Sends a message of the application to all other participants, or to one of them. Participants
   * who join later do not get it.
   * @param kind name for the receivers, 64 bytes at most
   * @param message any JSON, 128 KiB at most
   * @param to peer id of the only receiver
   * @throws {SwitchboardError} `VALIDATION_ERROR`, `PAYLOAD_TOO_LARGE`, `PEER_NOT_FOUND`, ...
   */
  async sendData(kind: string, message: unknown, to?: string): Promise<void> {
    await this.#events.send("webrtc:data-channel", { type: kind, message, ...(to && { to }) });
  }

  #seated(): Promise<void> {
    return new Promise((resolve, reject) => {
      const off = this.on("status", (status) => {
        if (status === "connecting" || status === "reconnecting") return;
        off();
        if (status !== "over") resolve();
        else if (this.ending instanceof SwitchboardError) reject(this.ending);
        else reject(new SwitchboardError({ code: "LEFT", message: `the room is over: ${this.ending}` }));
      });
    });
  }

  #listen(): void {
    const socket = this.#socket;
    const { chat } = this;
    const on = <Name extends keyof ServerEvents>(event: Name, handle: (payload: ServerEvents[Name]) => void) =>
      socket.on(event as string, (payload) => handle(payload ?? {}));

    socket.on("connect", () => this.#connected());
    socket.on("disconnect", (reason) => this.#disconnected(reason));
    socket.on("connect_error", (error) => void this.#notConnected(error));

    on("room:joined", (joined) => this.#joined(joined));
    on("room:waiting", () => {
      this.#waited = true;
      this.#setStatus("waiting");
    });
    on("room:denied", ({ reason }) =>
      reason === "DOOR_CHANGED" ? this.#finish("changed") : this.#finish("denied", reason),
    );
    on("room:kicked", ({ banned, reason }) => this.#finish(banned ? "banned" : "removed", reason));
    on("room:join-request", ({ participant }) => this.addWaiting(participant));
    on("room:join-request-cancelled", ({ peerId }) => this.removeWaiting(peerId));
    on("room:user-joined", ({ participant }) => {
      this.put(participant);
      this.mesh?.add(participant);
    });
    on("room:user-left", ({ peerId }) => {
      if (peerId === this.selfId) return this.#finish("elsewhere");
      this.mesh?.remove(peerId);
      this.remove(peerId);
      chat.stoppedTyping(peerId);
    });
    on("room:call-ended", () => this.#finish("ended"));
    on("room:updated", ({ name, settings, hostId, locked, maxParticipants }) =>
      this.assign({ name, settings, hostId, locked, maxParticipants }),
    );
    on("participant:role-changed", ({ peerId, role, hostId }) => {
      this.update(peerId, { role });
      this.assign({ hostId });
    });
    on("participant:permissions-changed", ({ peerId, permissions }) => {
      this.waiting.get(peerId)?.merge({ permissions });
      this.update(peerId, { permissions });
    });
    on("participant:profile-changed", ({ peerId, user }) => this.changeUser(peerId, user));
    on("participant:muted", ({ kind, mediaState }) => this.#muted(kind === "screenShare" ? "screen" : kind, mediaState));
    on("participant:media-state-changed", ({ peerId, mediaState }) => this.update(peerId, { mediaState }));
    on("participant:hand-changed", ({ peerId, handRaisedAt = null }) => this.update(peerId, { handRaisedAt }));
    on("participant:reaction", ({ peerId, emoji }) => {
      const participant = this.participants.get(peerId);
      if (participant) this.emit("reaction", participant, emoji);
    });
    on("server:event", (event) => this.emit("serverEvent", event));
    on("participant:screen-share-changed", ({ peerId, enabled }) =>
      this.update(peerId, { mediaState: { screenShareEnabled: enabled } }),
    );
    on("participant:connection-changed", ({ peerId, state, node, socketId }) => {
      // An event about this page's own seat is outdated: this page is connected.
      if (peerId === this.selfId) return;
      this.update(peerId, { connectionState: state, node, socketId });
      // The participant's page may be a new one, which has none of the former connections.
      const participant = this.participants.get(peerId);
      if (participant) this.mesh?.add(participant);
    });

    on("webrtc:offer", ({ from, offer }) => this.mesh?.get(from)?.receiveDescription(offer as RTCSessionDescriptionInit));
    on("webrtc:answer", ({ from, answer }) => this.mesh?.get(from)?.receiveDescription(answer as RTCSessionDescriptionInit));
    on("webrtc:ice-candidate", ({ from, candidate }) => this.mesh?.get(from)?.receiveCandidate(candidate as RTCIceCandidateInit));
    on("webrtc:renegotiation-needed", ({ from }) => this.mesh?.get(from)?.receiveStartOver());
    on("webrtc:data-channel", ({ from, type, message }) => {
      const participant = this.participants.get(from);
      if (participant) this.emit("data", participant, type, message);
    });
    on("webrtc:ice-servers", ({ iceServers, iceTtl, node }) => {
      // Without a seat there are no TURN servers: those come with the seat.
      if (this.status === "live" || this.#socket.recovered) this.#useIceServers(iceServers, iceTtl);
      // Sent at each connect: a recovered socket learns here which node serves it now.
      if (node) this.assign({ node });
    });

    on("chat:message", (message) => chat.received(message));
    on("chat:typing", ({ from, fromUser, isTyping }) => chat.typed(from, fromUser, isTyping));

    on("cluster:degraded", () => this.#setDegraded(true));
    on("cluster:restored", () => this.#setDegraded(false));
    on("error", (refusal) => this.emit("error", new SwitchboardError(refusal)));
  }

  #connected(): void {
    this.#refusals = 0;
    this.#renewedAt = 0;
    // A recovered socket gets the events that it missed. The seat and peer connections are
    // unchanged.
    if (this.#socket.recovered && this.mesh) {
      this.#setStatus("live");
      this.#events.open();
      this.#restartIce({ always: this.#networkLost });
      void this.#announceMedia();
    } else if (this.#socket.recovered && this.#waited) this.#setStatus("waiting");
    else void this.#joinRoom();
  }

  /**
   * Joins the room. Renews the admission once if it has expired, and repeats a join that is refused
   * for a moment only.
   */
  async #joinRoom(renewed = false): Promise<void> {
    const { seat } = this.#options;
    const { id } = this.#socket;
    // Another connection joins by itself.
    const isCurrent = () => this.status !== "over" && this.#socket.connected && this.#socket.id === id;
    try {
      await persist(() => emit(this.#socket, "room:join", { roomId: seat.roomId, token: seat.joinToken }), isCurrent);
    } catch (error) {
      if (!isCurrent()) return;
      const refusal = asSwitchboardError(error);
      if (!RENEWABLE.has(refusal.code) || renewed) return this.#refuse(refusal);
      try {
        await persist(this.#options.admit, isCurrent);
      } catch (refusalOfRenewal) {
        if (isCurrent()) this.#refuse(asSwitchboardError(refusalOfRenewal));
        return;
      }
      if (isCurrent()) await this.#joinRoom(true);
    }
  }

  /**
   * Uses these ICE servers from now on. Asks for new ones before the TURN credentials expire.
   * @param iceTtl seconds
   */
  #useIceServers(iceServers: RTCIceServer[] = [], iceTtl?: number): void {
    this.#iceServers = iceServers;
    this.mesh?.peers.forEach((peer) => void peer.useIceServers());
    clearTimeout(this.#iceTimer);
    if (iceTtl) this.#iceTimer = setTimeout(() => this.#renewIceServers(), iceTtl * 750);
  }

  /** Asks again a little later if that fails. A socket that is away gets new servers on return. */
  #renewIceServers(): void {
    if (this.status !== "live") return;
    this.#iceTimer = setTimeout(() => this.#renewIceServers(), ICE_SERVERS_PAUSE_MS);
    emit(this.#socket, "webrtc:get-ice-servers").catch(() => {});
  }

  #restartIce(options?: { always: boolean }): void {
    this.mesh?.peers.forEach((peer) => peer.restartIce(options));
  }

  #joined(joined: JoinedSnapshot): void {
    this.#useIceServers(joined.iceServers, joined.iceTtl);
    this.enter(joined);
    if (!this.#page && this.settings.joinMuted && !this.isModerator) void this.local.setAudio(false);
    const page = pageOf(this.self!);
    if (page !== this.#page) {
      // The seat is new, or was taken over by a new session. The others closed their connections to
      // the old one, so close ours too, and drop the signals that belong to them.
      this.mesh?.close();
      this.#events.drop((event) => SIGNALS.has(event));
      this.mesh = new Mesh({
        selfId: joined.peerId,
        local: this.local,
        iceServers: () => this.#iceServers,
        videoMax: this.#options.videoMax,
        signal: (event, payload) => this.#signal(event, payload),
      });
      this.mesh.on("change", (peerId) => this.update(peerId));
      this.mesh.on("quality", (peerId) => {
        const participant = this.participants.get(peerId);
        if (participant?.quality) this.emit("quality", participant, participant.quality.quality);
      });
      this.mesh.on("videoLimited", (limited) => this.emit("videoLimited", limited));
      this.#page = page;
    }
    this.mesh!.reconcile(this.others);
    void this.chat.load(joined.peerId);
    this.#setStatus("live");
    this.#events.open();
    this.#acceptedMedia = {};
    this.local.withdraw(this.forbidden(this.local.state));
    void this.#announceMedia();
  }

  #disconnected(reason: string): void {
    if (this.status === "over") return;
    // A server that stops or dies closes the connection. Other ends mean that the path to it broke.
    this.#networkLost = reason !== "transport close";
    if (reason !== "io server disconnect") return this.#setStatus("reconnecting");
    // The sign-in was revoked. A page with a token function may get a token of another key.
    // Otherwise only the user may decide to join again.
    const isRepeated = Date.now() - this.#closedAt < CLOSED_INTERVAL_MS;
    if (!this.#options.session.isProvided || isRepeated) return this.#finish("disconnected");
    this.#closedAt = Date.now();
    this.#setStatus("reconnecting");
    void this.#connectWithNewToken();
  }

  async #connectWithNewToken(): Promise<void> {
    try {
      // If an answer is lost, the server accepts the same refresh token once more.
      await persist(this.#options.renew, () => !this.#isOver());
    } catch (failure) {
      return this.#refuse(asSwitchboardError(failure));
    }
    this.#renewedAt = Date.now();
    if (!this.#isOver()) this.#socket.connect();
  }

  async #notConnected(error: { message: string; data?: { code?: string; retryAfter?: number } }): Promise<void> {
    if (this.#isOver() || this.#socket.active) return;
    const refusal = new SwitchboardError({ ...error.data, message: error.message });
    if (refusal.isTemporary && this.#refusals < PAUSES_MS.length) {
      const milliseconds = Math.max(PAUSES_MS[this.#refusals++]!, (refusal.retryAfter ?? 0) * 1_000);
      setTimeout(() => this.#isOver() || this.#socket.connect(), milliseconds);
      return;
    }
    // The new token was refused too.
    const isRenewed = Date.now() - this.#renewedAt < RENEWAL_INTERVAL_MS;
    if (isRenewed || !needsOtherToken(refusal.code, this.#options.session.isProvided)) return this.#refuse(refusal);
    await this.#connectWithNewToken();
  }

  /** Keeps in the seat which devices are on, for a reloaded page. */
  #rememberDevices(): void {
    const { audioEnabled: audio, videoEnabled: video } = this.local.state;
    this.#options.session.updateSeat(this.#options.seat, { media: { audio, video } });
  }

  #localChanged(): void {
    this.#rememberDevices();
    if (this.selfId) this.update(this.selfId);
    void this.#announceMedia();
  }

  /**
   * Announces the local media state, one at a time, so that the last one is also the last to
   * arrive. Switches off locally any medium that the server refuses.
   */
  async #announceMedia(): Promise<void> {
    if (this.#announcing) return;
    this.#announcing = true;
    try {
      while (this.self && this.status === "live" && !sameMedia(this.local.state, this.#acceptedMedia)) {
        const announced = this.local.state;
        this.update(this.selfId!, { mediaState: announced });
        try {
          await this.#events.send("participant:update-media-state", announced, { repeats: true });
          this.#acceptedMedia = announced;
        } catch (error) {
          const refusal = asSwitchboardError(error);
          if (!NOT_SHOWN.has(refusal.code)) this.emit("error", refusal);
          if (refusal.code !== "FORBIDDEN") return;
          this.local.withdraw(this.forbidden(announced, this.#acceptedMedia));
          // Nothing was on that could be switched off: the next change announces again.
          if (sameMedia(this.local.state, announced)) return;
        }
      }
    } finally {
      this.#announcing = false;
    }
  }

  /** Handles a mute or a lost permission: the server has switched this page's medium off. */
  #muted(kind: MediaKind, mediaState: MediaState): void {
    this.#acceptedMedia = mediaState;
    this.local.withdraw((Object.keys(KINDS) as (keyof MediaState)[]).filter((field) => !mediaState[field]));
    this.emit("muted", kind);
  }

  #signal(event: keyof ClientEvents, payload: object): void {
    if (this.status === "over") return;
    this.#events.send(event, payload, { repeats: true }).catch((refusal: SwitchboardError) => {
      if (!NOT_SHOWN.has(refusal.code)) this.emit("error", refusal);
    });
  }

  #setDegraded(degraded: boolean): void {
    this.degraded = degraded;
    this.emit("status", this.status);
  }

  #setStatus(status: RoomStatus): void {
    if (this.#isOver()) return;
    this.status = status;
    this.emit("status", status);
  }

  #isOver(): boolean {
    return this.status === "over";
  }

  #refuse(refusal: SwitchboardError): void {
    this.#finish(ENDINGS[refusal.code] ?? refusal);
  }

  #finish(ending: Ending | SwitchboardError, reason = ""): void {
    if (this.#isOver()) return;
    Object.assign(this, { ending, reason });
    this.#closed.abort();
    clearTimeout(this.#iceTimer);
    this.#socket.disconnect();
    this.#events.drop(() => true);
    this.mesh?.close();
    this.local.stop();
    this.#options.session.closeSeat(this.#options.seat);
    this.#setStatus("over");
  }
}

const unreachable = () => new SwitchboardError({ code: "UNREACHABLE" });

const sameMedia = (one: Partial<MediaState>, other: Partial<MediaState>): boolean =>
  (Object.keys(KINDS) as (keyof MediaState)[]).every((field) => one[field] === other[field]);
