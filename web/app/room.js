// What this page knows about the room it is in: a plain model, changed by server events only.

/** A participant with every field the views rely on. */
const complete = (participant) => ({
  connectionState: "connected",
  ...participant,
  mediaState: { audioEnabled: true, videoEnabled: true, screenShareEnabled: false, ...participant.mediaState },
});

/** Dispatches `change`. Participants are keyed by peer id and kept in the order in which they joined. */
export class Room extends EventTarget {
  selfId = null;
  callId = null;
  roomId = null;
  name = "";
  hostId = null;
  /** The signaling node this page is connected to. */
  node = null;
  settings = {};
  participants = new Map();

  get self() {
    return this.participants.get(this.selfId);
  }

  get others() {
    return [...this.participants.values()].filter(({ peerId }) => peerId !== this.selfId);
  }

  get isHost() {
    const { self } = this;
    return self?.role === "host" || (self !== undefined && self.userId === this.hostId);
  }

  /** Takes a `room:joined` in: everything before it is void. */
  enter({ peerId, callId, roomId, id, name, hostId, node, settings, participants, user, role, joinedAt }) {
    Object.assign(this, {
      selfId: peerId,
      callId,
      roomId: roomId ?? id,
      name,
      hostId,
      node: node ?? null,
      settings: settings ?? {},
    });
    const everybody = participants.some((participant) => participant.peerId === peerId)
      ? participants
      : [...participants, { peerId, userId: user?.id ?? user?._id, user, role, joinedAt }];
    this.participants = new Map(everybody.map((participant) => [participant.peerId, complete(participant)]));
    this.#changed();
  }

  add(participant) {
    this.participants.set(participant.peerId, complete(participant));
    this.#changed();
  }

  remove(peerId) {
    this.participants.delete(peerId);
    this.#changed();
  }

  /** Merges fields into a participant; news about somebody who has left is dropped. */
  update(peerId, fields) {
    const known = this.participants.get(peerId);
    if (!known) return;
    const mediaState = { ...known.mediaState, ...fields.mediaState };
    this.participants.set(peerId, { ...known, ...fields, mediaState });
    this.#changed();
  }

  /** Merges fields of the room itself. */
  assign(fields) {
    Object.assign(this, fields);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
