// Types of the service's answers, and of the fields that applications read. docs/PROTOCOL.md has
// the meaning of each field.

export type Role = "host" | "moderator" | "participant" | "guest";

/** A user as others see it. Names are not unique: show `isGuest` and the role beside them. */
export interface User {
  id: string;
  name: string;
  avatar?: string;
  isGuest?: boolean;
}

/** What a user of an app may do in a call, besides the rights of the role. */
export interface Permissions {
  /** Switch camera and microphone on. */
  canPublish: boolean;
  /** Share the screen. */
  canShareScreen: boolean;
  /** Send messages, typing notices and reactions. */
  canChat: boolean;
}

export interface MediaState {
  audioEnabled: boolean;
  videoEnabled: boolean;
  screenShareEnabled: boolean;
}

/** Settings of a call that the SDK reads. A setting that is missing is on. */
export type CallSettings = Record<string, boolean | undefined>;

/** A call as REST returns it. Those who may not read it in full get the first fields alone. */
export interface CallRecord {
  id: string;
  title: string;
  type: "public" | "private" | "invited_only";
  maxParticipants: number;
  currentParticipants?: number;
  requiresAuth?: boolean;
  requiresPasscode?: boolean;
  requiresInvitation?: boolean;
  roomId?: string;
  hostId?: string;
  hasPasscode?: boolean;
  status?: "scheduled" | "waiting" | "live" | "ended" | "cancelled";
  scheduledAt?: string | null;
  createdAt?: string;
  settings?: CallSettings;
}

/** Fields of a new call. `scheduledAt` is RFC 3339. */
export interface NewCall {
  title: string;
  description?: string;
  scheduledAt?: string;
  type?: CallRecord["type"];
  settings?: CallSettings;
  maxParticipants?: number;
  passcode?: string;
  invitedUserIds?: string[];
}

/** The answer to a request to join. */
export interface Admission {
  roomId: string;
  joinToken: string;
  user?: User;
  role?: Role;
  /** Whether the participant goes to the lobby first. */
  waits?: boolean;
  isGuest?: boolean;
  token?: string;
  call?: CallRecord;
  iceServers?: RTCIceServer[];
}

export interface ChatMessage {
  id: string;
  /** Peer id of the sender. */
  from: string;
  fromUser?: User;
  /** Peer id of the only receiver, if the message is private. */
  to?: string;
  /** Plain text: do not display it as markup. */
  message: string;
  timestamp: string;
  /** Whether this page sent it. */
  mine: boolean;
  toName?: string;
}

/** A participant in the server's events. */
export interface WireParticipant {
  peerId: string;
  userId?: string;
  user?: User & { _id?: string };
  role?: Role;
  permissions?: Permissions;
  mediaState?: Partial<MediaState>;
  handRaisedAt?: string | null;
  connectionState?: string;
  joinedAt?: string;
  node?: string;
  socketId?: string;
}

/** The snapshot that a new seat gets. */
export interface JoinedSnapshot extends WireParticipant {
  roomId?: string;
  id?: string;
  callId: string;
  name: string;
  hostId: string;
  participants: WireParticipant[];
  waiting?: WireParticipant[];
  settings?: CallSettings;
  maxParticipants?: number;
  locked?: boolean;
  iceServers?: RTCIceServer[];
  iceTtl?: number;
}
