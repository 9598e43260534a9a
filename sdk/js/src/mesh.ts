// Peer connections to all other participants of the room.
import { Emitter } from "./emitter.js";
import type { ClientEvents } from "./generated/events.js";
import { Peer, type PeerOptions } from "./peer.js";
import type { WireParticipant } from "./types.js";

/** Names the page behind a participant. A page that resumes keeps its name. */
export const pageOf = ({ peerId, joinedAt, socketId }: WireParticipant) => `${peerId} ${joinedAt} ${socketId}`;

/** Time between two measurements of the connections. */
const MEASURE_INTERVAL_MS = 2_000;

export interface MeshOptions extends Omit<PeerOptions, "peerId" | "signal" | "participants"> {
  signal: (event: keyof ClientEvents, payload: object) => void;
}

/**
 * Emits `change` with the peer id when a connection or its streams change, `quality` with the peer
 * id when the grade of its quality changes, and `videoLimited` when cameras are not sent any more,
 * or are sent again.
 */
export class Mesh extends Emitter<{ change: [string]; quality: [string]; videoLimited: [boolean] }> {
  /** Whether there are too many participants to send them cameras. */
  videoLimited = false;
  #peers = new Map<string, { peer: Peer; page: string }>();
  #timer = setInterval(() => this.peers.forEach((peer) => void peer.measure()), MEASURE_INTERVAL_MS);
  #options: MeshOptions;
  #off: () => void;

  constructor(options: MeshOptions) {
    super();
    this.#options = options;
    this.#off = options.local.on("change", () => this.peers.forEach((peer) => peer.updateMedia()));
  }

  get(peerId: string): Peer | undefined {
    return this.#peers.get(peerId)?.peer;
  }

  get peers(): Peer[] {
    return [...this.#peers.values()].map(({ peer }) => peer);
  }

  /**
   * Connects to a participant. A new seat, or another `socketId` in the same seat, means a new
   * page, for example after a reload: the old connection is replaced.
   */
  add(participant: WireParticipant): void {
    const { peerId } = participant;
    const page = pageOf(participant);
    const known = this.#peers.get(peerId);
    if (known?.page === page) return;
    known?.peer.close();
    const peer = new Peer({
      ...this.#options,
      peerId,
      participants: () => this.#peers.size + 1,
      signal: (event, payload) => this.#options.signal(event, { ...payload, to: peerId }),
    });
    this.#peers.set(peerId, { peer, page });
    peer.on("change", () => this.emit("change", peerId));
    peer.on("quality", () => this.emit("quality", peerId));
    this.#resized();
    this.emit("change", peerId);
  }

  remove(peerId: string): void {
    this.#peers.get(peerId)?.peer.close();
    this.#peers.delete(peerId);
    this.#resized();
    this.emit("change", peerId);
  }

  /** Adds and removes peers until the mesh holds exactly these participants. */
  reconcile(participants: readonly WireParticipant[]): void {
    const present = new Set(participants.map(({ peerId }) => peerId));
    for (const peerId of this.#peers.keys()) if (!present.has(peerId)) this.remove(peerId);
    for (const participant of participants) this.add(participant);
  }

  /** Bounds what is sent to each, because the number of participants has changed. */
  #resized(): void {
    for (const peer of this.peers) peer.limit();
    const limited = this.#peers.size + 1 > this.#options.videoMax;
    if (limited === this.videoLimited) return;
    this.videoLimited = limited;
    this.emit("videoLimited", limited);
  }

  close(): void {
    this.#off();
    clearInterval(this.#timer);
    for (const { peer } of this.#peers.values()) peer.close();
    this.#peers.clear();
  }
}
