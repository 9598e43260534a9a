// Peer connections to all other participants of the room.
import { Emitter } from "./emitter.js";
import { Peer, type PeerOptions } from "./peer.js";
import type { WireParticipant } from "./types.js";

/** Names the page behind a participant. A page that resumes keeps its name. */
export const pageOf = ({ peerId, joinedAt, socketId }: WireParticipant) => `${peerId} ${joinedAt} ${socketId}`;

export interface MeshOptions extends Omit<PeerOptions, "peerId" | "signal"> {
  signal: (event: string, payload: object) => void;
}

/** Emits `change` with the peer id when a connection or its streams change. */
export class Mesh extends Emitter<{ change: [string] }> {
  #peers = new Map<string, { peer: Peer; page: string }>();
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
   * Connects to a participant. A new seat, or another `socketId` in the same seat, means a new page,
   * for example after a reload: the old connection is replaced.
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
      signal: (event, payload) => this.#options.signal(event, { ...payload, to: peerId }),
    });
    this.#peers.set(peerId, { peer, page });
    peer.on("change", () => this.emit("change", peerId));
    this.emit("change", peerId);
  }

  remove(peerId: string): void {
    this.#peers.get(peerId)?.peer.close();
    this.#peers.delete(peerId);
    this.emit("change", peerId);
  }

  /** Adds and removes peers until the mesh holds exactly these participants. */
  reconcile(participants: readonly WireParticipant[]): void {
    const present = new Set(participants.map(({ peerId }) => peerId));
    for (const peerId of this.#peers.keys()) if (!present.has(peerId)) this.remove(peerId);
    for (const participant of participants) this.add(participant);
  }

  close(): void {
    this.#off();
    for (const { peer } of this.#peers.values()) peer.close();
    this.#peers.clear();
  }
}
