// The connections to everybody else in the room, kept in step with who is there.
import { Peer } from "./peer.js";

/** Dispatches `change` when any peer's connection or streams changed. */
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

  /** Connects to a participant. One that sat down anew (a reload) has a new browser behind it: connect anew. */
  add({ peerId, joinedAt }) {
    const known = this.#peers.get(peerId);
    if (known?.joinedAt === joinedAt) return;
    known?.peer.close();
    const peer = new Peer({
      ...this.#options,
      peerId,
      signal: (event, payload) => this.#options.signal(event, { ...payload, to: peerId }),
    });
    peer.addEventListener("change", () => this.dispatchEvent(new Event("change")));
    this.#peers.set(peerId, { peer, joinedAt });
    this.dispatchEvent(new Event("change"));
  }

  remove(peerId) {
    this.#peers.get(peerId)?.peer.close();
    this.#peers.delete(peerId);
    this.dispatchEvent(new Event("change"));
  }

  /** Makes the mesh hold exactly these participants. */
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
