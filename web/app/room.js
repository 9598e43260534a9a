// Model of the room that this page is in. Only server events change it.

/** Returns a participant with every field that the views need. */
const complete = (participant) => ({
  connectionState: "connected",
  ...participant,
  mediaState: { audioEnabled: true, videoEnabled: true, screenShareEnabled: false, ...participant.mediaState },
});

/** Settings that must be on for each medium. They do not apply to the host and moderators. */
const REQUIRED_SETTINGS = {
  audioEnabled: ["audioEnabled"],
  videoEnabled: ["videoEnabled"],
  screenShareEnabled: ["screenShareEnabled", "allowParticipantScreenShare"],
};

/**
 * Dispatches `change`. Participants are keyed by peer id and kept in the order in which they
 * joined.
 */
export class Room extends EventTarget {
  selfId = null;
  callId = null;
  roomId = null;
  name = "";
  hostId = null;
  /** Name of the signaling node that serves this page. */
  node = null;
  settings = {};
  locked = false;
  maxParticipants = null;
  participants = new Map();
  /** Participants in the waiting room. Only the host and moderators receive them. */
  waiting = new Map();

  get self() {
    return this.participants.get(this.selfId);
  }

  get others() {
    return [...this.participants.values()].filter(({ peerId }) => peerId !== this.selfId);
  }

  get isHost() {
    const { self } = this;
    return self !== undefined && (self.role === "host" || self.userId === this.hostId);
  }

  /** Whether this user may admit, mute and remove others. */
  get isModerator() {
    return this.isHost || this.self?.role === "moderator";
  }

  /** Returns whether the settings let this user switch a medium on. */
  allows(field) {
    return this.isModerator || REQUIRED_SETTINGS[field].every((setting) => this.settings[setting] !== false);
  }

  /**
   * Returns the media of a state to switch off: those that the settings forbid. If there are none,
   * those that were not on before.
   */
  forbidden(state, before = state) {
    const on = Object.keys(REQUIRED_SETTINGS).filter((field) => state[field]);
    const off = on.filter((field) => !this.allows(field));
    return off.length > 0 ? off : on.filter((field) => !before[field]);
  }

  /** Replaces the whole model with the snapshot in `room:joined`. */
  enter({ peerId, callId, roomId, id, name, hostId, node, settings, participants, user, role, joinedAt, ...more }) {
    Object.assign(this, {
      selfId: peerId,
      callId,
      roomId: roomId ?? id,
      name,
      hostId,
      node: node ?? null,
      settings: settings ?? {},
      locked: more.locked ?? false,
      maxParticipants: more.maxParticipants ?? null,
      waiting: new Map((more.waiting ?? []).map((participant) => [participant.peerId, participant])),
    });
    const all = participants.some((participant) => participant.peerId === peerId)
      ? participants
      : [...participants, { peerId, userId: user?.id ?? user?._id, user, role, joinedAt }];
    this.participants = new Map(all.map((participant) => [participant.peerId, complete(participant)]));
    this.#changed();
  }

  add(participant) {
    this.waiting.delete(participant.peerId);
    this.participants.set(participant.peerId, complete(participant));
    this.#changed();
  }

  remove(peerId) {
    this.participants.delete(peerId);
    this.#changed();
  }

  addWaiting(participant) {
    this.waiting.set(participant.peerId, participant);
    this.#changed();
  }

  removeWaiting(peerId) {
    if (this.waiting.delete(peerId)) this.#changed();
  }

  /** Merges fields into a participant. An update for a participant who has left is dropped. */
  update(peerId, fields) {
    const known = this.participants.get(peerId);
    if (!known) return;
    const mediaState = { ...known.mediaState, ...fields.mediaState };
    this.participants.set(peerId, { ...known, ...fields, mediaState });
    this.#changed();
  }

  /** Changes the name or picture of a participant in the call or in the waiting room. */
  changeUser(peerId, user) {
    const waiting = this.waiting.get(peerId);
    if (waiting) this.addWaiting({ ...waiting, user });
    else this.update(peerId, { user });
  }

  /** Merges fields into the room. Undefined fields stay as they are. */
  assign(fields) {
    Object.assign(this, Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)));
    // Only the host and moderators see the waiting room.
    if (!this.isModerator) this.waiting.clear();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
