// Moderation commands of host and moderators. Each resolves when the server has done it.
import type { ClientEvents } from "./generated/events.js";
import type { CallSettings, MediaState, Role } from "./types.js";

const RANK: Record<Role, number> = { guest: 0, participant: 1, moderator: 2, host: 3 };

/** Kind of medium in `participant:mute`. */
export type MediaKind = "audio" | "video" | "screen";

/** Kind of medium by the field of a media state. */
export const KINDS: Record<keyof MediaState, MediaKind> = {
  audioEnabled: "audio",
  videoEnabled: "video",
  screenShareEnabled: "screen",
};

/**
 * Returns whether role `own` may moderate role `other`: moderators and hosts act on lower roles.
 */
export const outranks = (own: Role | undefined, other: Role): boolean =>
  own !== undefined && RANK[own] >= RANK.moderator && RANK[own] > RANK[other];

export interface RoomChanges {
  name?: string;
  maxParticipants?: number;
  settings?: CallSettings;
}

/** Sends a command, whose fields are those of the protocol. */
type Send = <Name extends keyof ClientEvents>(event: Name, payload: ClientEvents[Name]) => Promise<unknown>;

/**
 * Every command rejects with a SwitchboardError, for example `HOST_REQUIRED`, `FORBIDDEN` or
 * `PEER_NOT_FOUND`.
 */
export class Moderation {
  #send: Send;

  /** @internal */
  constructor(send: Send) {
    this.#send = send;
  }

  admit = (peerId: string) => this.#send("room:admit", { peerId });
  admitAll = () => this.#send("room:admit", { all: true });
  deny = (peerId: string, reason?: string) => this.#send("room:deny", { peerId, reason });
  mute = (peerId: string, kind: MediaKind) =>
    this.#send("participant:mute", { peerId, kind: kind === "screen" ? "screenShare" : kind });
  lowerHand = (peerId: string) => this.#send("participant:lower-hand", { peerId });
  remove = (peerId: string, { ban = false, reason }: { ban?: boolean; reason?: string } = {}) =>
    this.#send("participant:kick", { peerId, ban, reason });
  setRole = (peerId: string, role: Exclude<Role, "host">) => this.#send("participant:set-role", { peerId, role });
  transferHost = (peerId: string) => this.#send("room:transfer-host", { peerId });
  lock = (locked: boolean) => this.#send("room:lock", { locked });
  update = (changes: RoomChanges) => this.#send("room:update", changes);
}
