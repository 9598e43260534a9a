// `@switchboard/client`: docs/INTEGRATING.md shows how to use it.

export { SwitchboardError, type FieldError } from "./errors.js";
export { Emitter } from "./emitter.js";
export { LocalMedia, type DeviceKind } from "./media.js";
export { KINDS, outranks, type MediaKind, type Moderation, type RoomChanges } from "./moderation.js";
export { VIDEO_PARTICIPANTS_MAX } from "./media-policy.js";
export type { ConnectionQuality, Quality } from "./quality.js";
export { Participant, type Source } from "./participant.js";
export type { Peer, PeerStats } from "./peer.js";
export type { Chat } from "./chat.js";
export { Room, type Ending } from "./room.js";
export type { RoomEvents, RoomState, RoomStatus } from "./room-state.js";
export type { Seat, TokenProvider } from "./session.js";
export type { Transport } from "./signaling.js";
export {
  Switchboard,
  type AdmissionOptions,
  type JoinOptions,
  type ListOptions,
  type SwitchboardOptions,
} from "./switchboard.js";
export type * from "./types.js";
