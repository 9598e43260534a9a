// A participant of the room, with media that can be shown.
import { Emitter } from "./emitter.js";
import type { Peer } from "./peer.js";
import type { ConnectionQuality } from "./quality.js";
import type { MediaState, Permissions, Role, User, WireParticipant } from "./types.js";

/** Kind of a participant's stream: camera with microphone, or a screen. */
export type Source = "camera" | "screen";

/** Where the streams of a participant come from. */
export interface MediaOf {
  peer(peerId: string): Peer | undefined;
  own(source: Source): MediaStream | null;
  /** The browser refuses to play the sound of this element before a click or key on the page. */
  silenced(element: HTMLMediaElement): void;
}

/**
 * A participant. The object stays the same while the participant is in the call. Emits `change`
 * when one of its fields or streams changes.
 */
export class Participant extends Emitter<{ change: [] }> {
  readonly peerId: string;
  /** Whether this is the participant of this page. */
  readonly isSelf: boolean;
  userId?: string;
  user?: User;
  role: Role = "participant";
  /** What the user of an app may do. Accounts and guests may do everything that their role may. */
  permissions: Permissions = { canPublish: true, canShareScreen: true, canChat: true };
  /** Time at which the hand was raised (RFC 3339); null while it is down. */
  handRaisedAt: string | null = null;
  mediaState: MediaState = { audioEnabled: true, videoEnabled: true, screenShareEnabled: false };
  /** `connected`, or `reconnecting` while the participant's socket is lost. */
  connectionState = "connected";
  joinedAt?: string;
  /** Name of the participant's signaling node, for debugging. */
  node?: string;
  socketId?: string;
  #media: MediaOf;

  /** @internal */
  constructor(wire: WireParticipant, isSelf: boolean, media: MediaOf) {
    super();
    this.peerId = wire.peerId;
    this.isSelf = isSelf;
    this.#media = media;
    this.merge(wire);
  }

  get name(): string {
    return this.user?.name || "Guest";
  }

  /** The peer connection to this participant; undefined for oneself and without one. */
  get connection(): Peer | undefined {
    return this.isSelf ? undefined : this.#media.peer(this.peerId);
  }

  /** Quality of the connection to this participant; null until it was measured, and for oneself. */
  get quality(): ConnectionQuality | null {
    return this.connection?.quality ?? null;
  }

  /** Camera and microphone, or null without a connection. */
  get camera(): MediaStream | null {
    return this.isSelf ? this.#media.own("camera") : (this.connection?.streams.camera ?? null);
  }

  /** The shared screen, or null. */
  get screen(): MediaStream | null {
    return this.isSelf ? this.#media.own("screen") : (this.connection?.streams.screen ?? null);
  }

  /**
   * Shows camera and microphone, or the screen, in this element from now on, also when tracks or
   * connections are replaced. One's own sound is muted. Returns a function that ends it.
   */
  attach(element: HTMLMediaElement, source: Source = "camera"): () => void {
    element.autoplay = true;
    element.setAttribute("playsinline", "");
    element.muted = this.isSelf;
    const show = () => {
      const stream = this[source];
      // An element whose stream has no tracks keeps the page in the loading state.
      const shown = stream && stream.getTracks().length > 0 ? stream : null;
      if (element.srcObject === shown) return;
      element.srcObject = shown;
      if (shown) void this.#play(element);
    };
    show();
    const off = this.on("change", show);
    return () => {
      off();
      element.srcObject = null;
    };
  }

  /** Plays the element. Where the browser refuses the sound, the picture alone. */
  async #play(element: HTMLMediaElement): Promise<void> {
    try {
      await element.play();
    } catch (error) {
      if ((error as Error).name !== "NotAllowedError" || element.muted) return;
      element.muted = true;
      this.#media.silenced(element);
      await element.play().catch(() => {});
    }
  }

  /** Takes the fields that the server sent. @internal */
  merge({ mediaState, ...fields }: Partial<WireParticipant>): void {
    Object.assign(this, Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)));
    this.mediaState = { ...this.mediaState, ...mediaState };
  }
}
