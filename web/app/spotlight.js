// Spotlight: the person whom the host or a moderator shows large to all. It is a message of the
// page and no state of the room, so it ends with the page that has set it.
import { Emitter, outranks } from "../vendor/switchboard.js";

const KIND = "spotlight";
const mayDirect = ({ role }) => outranks(role, "participant");

/** The spotlight of a room. Emits `change` when it was set or ended by a message. */
export class Spotlight extends Emitter {
  #room;
  /** The person, the participant who has set it, and the socket of that participant's page. */
  #current = null;
  /** Sockets of the pages that know the spotlight of this page, by peer id. */
  #told = new Map();

  /** @param {import("../vendor/switchboard.js").Room} room */
  constructor(room) {
    super();
    this.#room = room;
    room.on("data", (from, kind, message) => {
      if (kind === KIND && mayDirect(from)) this.#apply(from, message?.peerId);
    });
    room.on("change", () => this.#tell());
  }

  /** Peer id of the person in the spotlight, or null. */
  get peerId() {
    if (this.#current && !this.#holds(this.#current)) this.#current = null;
    return this.#current?.peerId ?? null;
  }

  /** Puts a person in the spotlight, or nobody. @param {string | null} peerId */
  async set(peerId) {
    this.#told = this.#pages();
    await this.#room.sendData(KIND, { peerId });
    // Not earlier, so that of two moderators each takes the other's message in the room's order.
    this.#apply(this.#room.self, peerId);
  }

  /** Whether the page that has set the spotlight is in the call, and may still direct it. */
  #holds({ peerId, by, socketId }) {
    const { participants } = this.#room;
    return participants.has(peerId) && participants.get(by.peerId) === by && by.socketId === socketId && mayDirect(by);
  }

  #apply(by, peerId) {
    this.#current = peerId ? { peerId, by, socketId: by.socketId } : null;
    this.emit("change");
  }

  #pages() {
    return new Map(this.#room.others.map(({ peerId, socketId }) => [peerId, socketId]));
  }

  /** Tells the spotlight of this page to each page that is new. */
  #tell() {
    const { peerId } = this;
    if (!peerId || !this.#current.by.isSelf) return;
    for (const [other, socketId] of this.#pages()) {
      if (this.#told.get(other) === socketId) continue;
      this.#told.set(other, socketId);
      this.#room.sendData(KIND, { peerId }, other).catch(() => {});
    }
  }
}
