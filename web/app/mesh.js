// Peer connections to all other participants of the room.
import { Peer } from "./peer.js";

/** Names the page behind a participant. A page that resumes keeps its name. */
export const pageOf = ({ peerId, joinedAt, socketId }) => `${peerId} ${joinedAt} ${socketId}`;

/** Dispatches `change` when a peer's connection or streams change. */
export class Mesh extends EventTarget {
  #peers = new Map();
  #options;

  /**
   * @param {object} options
   * @param {string} options.selfId
   * @param {(event: string, payload: {to: string}) => void} options.signal
   * @param {import("./media.js").LocalMedia} options.local
   * @param {() => RTCIceServer[]} options.iceServers
   */
  constructor(options) {
    super();
    this.#options = options;
    this.updateMedia = () => this.#peers.forEach(({ peer }) => peer.updateMedia());
    options.local.addEventListener("change", this.updateMedia);
  }

  get(peerId) {
    return this.#peers.get(peerId)?.peer;
  }

  get peers() {
    return [...this.#peers.values()].map(({ peer }) => peer);
  }

  /**
   * Connects to a participant. A new seat, or another `socketId` in the same seat, means a new page,
   * for example after a reload: the old connection is replaced.
   */
  add(participant) {
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
    peer.addEventListener("change", () => this.dispatchEvent(new Event("change")));
    this.#peers.set(peerId, { peer, page });
    this.dispatchEvent(new Event("change"));
  }

  /** Lets the connections use new ICE servers when they restart. */
  useIceServers() {
    for (const { peer } of this.#peers.values()) peer.useIceServers();
  }

  remove(peerId) {
    this.#peers.get(peerId)?.peer.close();
    this.#peers.delete(peerId);
    this.dispatchEvent(new Event("change"));
  }

  /** Adds and removes peers until the mesh holds exactly these participants. */
  reconcile(participants) {
    const present = new Set(participants.map(({ peerId }) => peerId));
    for (const peerId of this.#peers.keys()) if (!present.has(peerId)) this.remove(peerId);
    for (const participant of participants) this.add(participant);
  }

  close() {
    this.#options.local.removeEventListener("change", this.updateMedia);
    for (const { peer } of this.#peers.values()) peer.close();
    this.#peers.clear();
  }
}
