// State of the room in this page. Only server events change it.
import type { SwitchboardError } from "./errors.js";
import { Emitter } from "./emitter.js";
import type { ServerEvents } from "./generated/events.js";
import type { MediaKind } from "./moderation.js";
import { Participant, type MediaOf } from "./participant.js";
import type { Quality } from "./quality.js";
import type { CallSettings, JoinedSnapshot, MediaState, User, WireParticipant } from "./types.js";

export type RoomStatus = "connecting" | "waiting" | "live" | "reconnecting" | "over";

/** Events of a room, with the arguments of their listeners. */
export interface RoomEvents {
  /** Anything that a view may show has changed. */
  change: [];
  /** `room.status` or `room.degraded` has changed. */
  status: [RoomStatus];
  participantJoined: [Participant];
  participantLeft: [Participant];
  /** Role, permissions, name, media state, connection or streams of a participant have changed. */
  participantChanged: [Participant];
  /** A person waits in the lobby. Only host and moderators are told. */
  joinRequested: [Participant];
  /** A participant shows an emoji for a moment. This page's own reactions come here too. */
  reaction: [Participant, string];
  /** A participant sent a message of the application: its kind, and the message. */
  data: [Participant, string, unknown];
  /** The backend of the app has sent an event: to all in the call, or to this page alone. */
  serverEvent: [ServerEvents["server:event"]];
  /** The quality of the connection to a participant has another grade. */
  quality: [Participant, Quality];
  /** There are too many participants to send them cameras, or not any more. */
  videoLimited: [boolean];
  /** A moderator, or a change of permissions, has switched off one of this page's media. */
  muted: [MediaKind];
  /** The server refused something that the SDK did by itself. */
  error: [SwitchboardError];
}

/** Settings that must be on for each medium. They do not apply to the host and moderators. */
const REQUIRED_SETTINGS: Record<keyof MediaState, string[]> = {
  audioEnabled: ["audioEnabled"],
  videoEnabled: ["videoEnabled"],
  screenShareEnabled: ["screenShareEnabled", "allowParticipantScreenShare"],
};
/** Permission that each medium needs, whatever the role is. */
const REQUIRED_PERMISSION = {
  audioEnabled: "canPublish",
  videoEnabled: "canPublish",
  screenShareEnabled: "canShareScreen",
} as const;
const MEDIA = Object.keys(REQUIRED_SETTINGS) as (keyof MediaState)[];

/** The room as the server describes it. */
export abstract class RoomState extends Emitter<RoomEvents> {
  roomId: string;
  callId: string | null = null;
  name = "";
  hostId: string | null = null;
  /** Name of the signaling node that serves this page, for debugging. */
  node: string | null = null;
  settings: CallSettings = {};
  locked = false;
  maxParticipants: number | null = null;
  /** Peer id of this page, once it has a seat. */
  selfId: string | null = null;
  /** Participants with a seat, this page included, by peer id in the order in which they joined. */
  participants = new Map<string, Participant>();
  /** Participants in the lobby. Only host and moderators receive them. */
  waiting = new Map<string, Participant>();

  protected abstract media: MediaOf;

  constructor(roomId: string) {
    super();
    this.roomId = roomId;
  }

  get self(): Participant | undefined {
    return this.selfId === null ? undefined : this.participants.get(this.selfId);
  }

  get others(): Participant[] {
    return [...this.participants.values()].filter(({ isSelf }) => !isSelf);
  }

  /** Participants whose hand is up, in the order in which they raised it. */
  get raisedHands(): Participant[] {
    const raised = [...this.participants.values()].filter(({ handRaisedAt }) => handRaisedAt);
    return raised.sort((one, other) => Date.parse(one.handRaisedAt!) - Date.parse(other.handRaisedAt!));
  }

  /**
   * Calls `arrived` with each participant: those who are in the call, this page's own included, and
   * each who joins it later. The function that `arrived` returns is called when that participant
   * leaves. Ends when the returned function is called or `signal` aborts.
   */
  eachParticipant(
    arrived: (participant: Participant) => (() => void) | void,
    options: { signal?: AbortSignal } = {},
  ): () => void {
    const departed = new Map<Participant, (() => void) | void>();
    const arrive = (participant: Participant) => void departed.set(participant, arrived(participant));
    const depart = (participant: Participant) => {
      departed.get(participant)?.();
      departed.delete(participant);
    };
    const ends = [this.on("participantJoined", arrive, options), this.on("participantLeft", depart, options)];
    this.participants.forEach(arrive);
    return () => ends.forEach((end) => end());
  }

  get isHost(): boolean {
    const { self } = this;
    return self !== undefined && (self.role === "host" || self.userId === this.hostId);
  }

  /** Whether this user may admit, mute and remove others. */
  get isModerator(): boolean {
    return this.isHost || this.self?.role === "moderator";
  }

  /** Whether settings and permissions let this user send messages. */
  get canChat(): boolean {
    return this.settings.chatEnabled !== false && this.self?.permissions.canChat !== false;
  }

  /** Returns whether settings and permissions let this user switch a medium on. */
  allows(field: keyof MediaState): boolean {
    if (this.self?.permissions[REQUIRED_PERMISSION[field]] === false) return false;
    return this.isModerator || REQUIRED_SETTINGS[field].every((setting) => this.settings[setting] !== false);
  }

  /**
   * Returns the media of a state to switch off: those that settings or permissions forbid. If there
   * are none, those that were not on before.
   */
  protected forbidden(state: MediaState, before: Partial<MediaState> = state): (keyof MediaState)[] {
    const on = MEDIA.filter((field) => state[field]);
    const off = on.filter((field) => !this.allows(field));
    return off.length > 0 ? off : on.filter((field) => !before[field]);
  }

  /** Takes the snapshot in `room:joined`. */
  protected enter(snapshot: JoinedSnapshot): void {
    const { peerId, participants, waiting = [] } = snapshot;
    this.selfId = peerId;
    this.callId = snapshot.callId;
    this.roomId = snapshot.roomId ?? snapshot.id ?? this.roomId;
    this.name = snapshot.name;
    this.hostId = snapshot.hostId;
    this.node = snapshot.node ?? null;
    this.settings = snapshot.settings ?? {};
    this.locked = snapshot.locked ?? false;
    this.maxParticipants = snapshot.maxParticipants ?? null;
    this.waiting = new Map(waiting.map((wire) => [wire.peerId, this.#create(wire)]));
    const { user, role, joinedAt } = snapshot;
    const own = { peerId, userId: user?.id ?? user?._id, user, role, joinedAt };
    const all = participants.some((wire) => wire.peerId === peerId) ? participants : [...participants, own];
    const present = new Set(all.map((wire) => wire.peerId));
    for (const known of [...this.participants.keys()]) if (!present.has(known)) this.remove(known);
    for (const wire of all) this.put(wire);
    this.changed();
  }

  /** Adds a participant, or updates the one with this peer id. */
  protected put(wire: WireParticipant): void {
    this.waiting.delete(wire.peerId);
    if (this.participants.has(wire.peerId)) {
      return this.update(wire.peerId, { connectionState: "connected", handRaisedAt: null, ...wire });
    }
    const participant = this.#create(wire);
    this.participants.set(wire.peerId, participant);
    this.emit("participantJoined", participant);
    this.changed();
  }

  protected remove(peerId: string): void {
    const participant = this.participants.get(peerId);
    if (!participant) return;
    this.participants.delete(peerId);
    this.emit("participantLeft", participant);
    participant.emit("change");
    this.changed();
  }

  protected addWaiting(wire: WireParticipant): void {
    const known = this.waiting.has(wire.peerId);
    const participant = this.#create(wire);
    this.waiting.set(wire.peerId, participant);
    if (!known) this.emit("joinRequested", participant);
    this.changed();
  }

  protected removeWaiting(peerId: string): void {
    if (this.waiting.delete(peerId)) this.changed();
  }

  /** Merges fields into a participant. An update for a participant who has left is dropped. */
  protected update(peerId: string, fields: Partial<WireParticipant> = {}): void {
    const participant = this.participants.get(peerId);
    if (!participant) return;
    participant.merge(fields);
    participant.emit("change");
    this.emit("participantChanged", participant);
    this.changed();
  }

  /** Changes the name or picture of a participant in the call or in the lobby. */
  protected changeUser(peerId: string, user: User): void {
    this.waiting.get(peerId)?.merge({ user });
    this.update(peerId, { user });
    this.changed();
  }

  /** Merges fields into the room. Undefined fields stay as they are. */
  protected assign(fields: Partial<JoinedSnapshot>): void {
    Object.assign(this, Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)));
    // Only the host and moderators see the lobby.
    if (!this.isModerator) this.waiting.clear();
    this.changed();
  }

  protected changed(): void {
    this.emit("change");
  }

  #create(wire: WireParticipant): Participant {
    return new Participant(wire, wire.peerId === this.selfId, this.media);
  }
}
