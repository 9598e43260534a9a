// What this page knows about the room it is in: a plain model, changed by server events only.

/** A participant with every field the views rely on. */
const complete = (participant) => ({
  connectionState: "connected",
  ...participant,
  mediaState: { audioEnabled: true, videoEnabled: true, screenShareEnabled: false, ...participant.mediaState },
});

/** The settings that each medium rests on, for those whom host and moderators look after. */
const RESTS_ON = {
  audioEnabled: ["audioEnabled"],
  videoEnabled: ["videoEnabled"],
  screenShareEnabled: ["screenShareEnabled", "allowParticipantScreenShare"],
};

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
  locked = false;
  maxParticipants = null;
  participants = new Map();
  /** Who waits to be let in; only host and moderators are told. */
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

  /** Whether this page may let people in, mute and remove them. */
  get isModerator() {
    return this.isHost || this.self?.role === "moderator";
  }

  /** Whether the settings let this participant switch a medium on. */
  allows(field) {
    return this.isModerator || RESTS_ON[field].every((setting) => this.settings[setting] !== false);
  }

  /** The media of a state that must go off: those that the settings forbid, else those that were not on before. */
  forbidden(state, before = state) {
    const on = Object.keys(RESTS_ON).filter((field) => state[field]);
    const off = on.filter((field) => !this.allows(field));
    return off.length > 0 ? off : on.filter((field) => !before[field]);
  }

  /** Takes a `room:joined` in: everything before it is void. */
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
    const everybody = participants.some((participant) => participant.peerId === peerId)
      ? participants
      : [...participants, { peerId, userId: user?.id ?? user?._id, user, role, joinedAt }];
    this.participants = new Map(everybody.map((participant) => [participant.peerId, complete(participant)]));
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

  /** Merges fields into a participant; news about somebody who has left is dropped. */
  update(peerId, fields) {
    const known = this.participants.get(peerId);
    if (!known) return;
    const mediaState = { ...known.mediaState, ...fields.mediaState };
    this.participants.set(peerId, { ...known, ...fields, mediaState });
    this.#changed();
  }

  /** Merges fields of the room itself; what is not given stays. */
  assign(fields) {
    Object.assign(this, Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)));
    // Only who helps the host sees the lobby.
    if (!this.isModerator) this.waiting.clear();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
