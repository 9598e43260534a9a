// Model of a room as docs/PROTOCOL.md describes it, without network and clock. It predicts the
// answer to each event and the events that each member receives.
//
// Members are plain objects of the test: `{ name, uid, guest }`. Predicted events are lines of
// text.
const RANK = { guest: 0, participant: 1, moderator: 2, host: 3 };
const MODERATOR = RANK.moderator;
/** Lowest role for each command. All other commands need the host. */
const REQUIRED_ROLE = { admit: "moderator", deny: "moderator", mute: "moderator", kick: "moderator", lock: "moderator" };
const MEDIA = { videoEnabled: true, audioEnabled: true, screenShareEnabled: false };

/** Returns a media state as three letters, for example `VA-`. */
export const mediaLetters = ({ videoEnabled, audioEnabled, screenShareEnabled }) =>
  `${videoEnabled ? "V" : "-"}${audioEnabled ? "A" : "-"}${screenShareEnabled ? "S" : "-"}`;

export class RoomModel {
  /** Seats of participants and waiting members, in order of arrival. */
  seats = [];
  locked = false;
  /** Roles assigned in this room, by user id. */
  assignedRoles = new Map();
  bans = new Set();
  guestsBanned = false;
  /** Number of removals, by user id. A token from before a removal is refused. */
  removals = new Map();
  /** Predicted events, `{ member, line }`, that the test has not compared yet. */
  events = [];
  #position = 0;

  constructor(owner, { places, settings }) {
    Object.assign(this, { owner: owner.uid, host: owner.uid, places, settings: { ...settings } });
  }

  seatOf(member) {
    return this.seats.find((seat) => seat.member === member);
  }
  at(peer) {
    return this.seats.find((seat) => seat.peer === peer);
  }
  get seated() {
    return this.#sorted(this.seats.filter((seat) => !seat.waits));
  }
  get waiting() {
    return this.#sorted(this.seats.filter((seat) => seat.waits));
  }

  /** Returns the role that a member would join with, and whether they must wait. */
  admission(member) {
    const role =
      member.uid === this.owner || member.uid === this.host
        ? "host"
        : (this.assignedRoles.get(member.uid) ?? (member.guest ? "guest" : "participant"));
    const { waitingRoomEnabled, autoAdmitGuests } = this.settings;
    return { role, waits: waitingRoomEnabled && RANK[role] < MODERATOR && !(member.guest && autoAdmitGuests) };
  }

  /** Joins. `removals` is the user's number of removals when their token was issued. */
  join(member, removals) {
    const known = this.seatOf(member);
    if (known) {
      this.#sendTo(known, known.waits ? "room:waiting" : `room:joined ${known.peer} ${known.role}`, 0);
      return "OK";
    }
    const { role, waits } = this.admission(member);
    const banned = this.bans.has(member.uid) || (member.guest && this.guestsBanned);
    if (banned) return "BANNED";
    if ((this.removals.get(member.uid) ?? 0) > removals) return "REMOVED";
    if (this.locked && RANK[role] < MODERATOR) return "ROOM_LOCKED";
    const isAbsentOwner = member.uid === this.owner && !this.seated.some((seat) => seat.member.uid === member.uid);
    if (!waits && this.seated.length >= this.places && !isAbsentOwner) return "ROOM_FULL";
    if (role === "host" && this.host !== member.uid) this.#makeHost(member.uid);
    let peer = member.uid;
    for (let device = 2; this.at(peer); device += 1) peer = `${member.uid}#${device}`;
    const seat = { member, peer, role, waits, media: { ...MEDIA }, muted: false, position: this.#position };
    if (waits) {
      this.#sendToModerators(`room:join-request ${peer}`);
    } else {
      this.#announce(`room:user-joined ${peer} ${role}`);
      seat.position = this.#position;
    }
    this.seats.push(seat);
    this.#sendTo(seat, waits ? "room:waiting" : `room:joined ${peer} ${role}`, 0);
    return "OK";
  }

  leave(member) {
    const seat = this.seatOf(member);
    if (!seat) return "NOT_IN_ROOM";
    this.#unseat(seat, "left");
    return "OK";
  }

  admit(by, { peerId, all }) {
    return this.#command(by, "admit", undefined, () => {
      const { admitted, full } = this.#admit((seat) => all || seat.peer === peerId);
      if (admitted === 0 && full) return "CALL_FULL";
      return admitted === 0 && !all ? "PEER_NOT_FOUND" : "OK";
    });
  }

  deny(by, { peerId, reason }) {
    return this.#command(by, "deny", undefined, () => {
      const seat = this.at(peerId);
      if (!seat?.waits) return "PEER_NOT_FOUND";
      this.#sendTo(seat, `room:denied ${reason}`);
      this.#unseat(seat, "denied");
      return "OK";
    });
  }

  muteAudio(by, { peerId }) {
    return this.#command(by, "mute", peerId, (rank) => {
      const seat = this.at(peerId);
      if (!seat || seat.waits) return "PEER_NOT_FOUND";
      if (RANK[seat.role] >= rank) return "FORBIDDEN";
      seat.media.audioEnabled = false;
      seat.muted = true;
      this.#announce(`participant:media-state-changed ${seat.peer} ${mediaLetters(seat.media)}`, seat);
      this.#sendTo(seat, `participant:muted ${seat.peer} audio`);
      return "OK";
    });
  }

  /** Switches the member's own microphone. */
  switchAudio(member, { audioEnabled }) {
    const seat = this.seatOf(member);
    if (!seat || seat.waits) return "NOT_IN_ROOM";
    if (audioEnabled && !seat.media.audioEnabled) {
      const free = RANK[seat.role] >= MODERATOR || this.settings.allowParticipantUnmute;
      if (seat.muted && !free) return "FORBIDDEN";
      seat.muted = false;
    }
    seat.media.audioEnabled = audioEnabled;
    this.#announce(`participant:media-state-changed ${seat.peer} ${mediaLetters(seat.media)}`, seat);
    return "OK";
  }

  kick(by, { peerId, ban }) {
    return this.#command(by, "kick", peerId, (rank) => {
      const found = this.at(peerId);
      if (!found) return "PEER_NOT_FOUND";
      if (RANK[found.role] >= rank) return "FORBIDDEN";
      if (ban && RANK[this.#lastingRole(by)] < MODERATOR) return "FORBIDDEN";
      const { uid } = found.member;
      this.removals.set(uid, (this.removals.get(uid) ?? 0) + 1);
      if (ban) this.bans.add(uid);
      // Every client of the test has one address, from which a ban refuses guests.
      if (ban) this.guestsBanned = true;
      for (const seat of this.#sorted(this.seats.filter(({ member }) => member.uid === uid))) {
        this.#sendTo(seat, `room:kicked ${seat.peer} ${ban}`);
        this.#unseat(seat, "kicked");
      }
      return "OK";
    });
  }

  setRole(by, { peerId, role }) {
    return this.#command(by, "setRole", peerId, (rank) => {
      const found = this.at(peerId);
      if (!found || found.waits) return "PEER_NOT_FOUND";
      if (RANK[found.role] >= rank) return "FORBIDDEN";
      if (RANK[role] > RANK[this.#lastingRole(by)]) return "FORBIDDEN";
      this.assignedRoles.set(found.member.uid, role);
      for (const seat of this.seated) {
        if (seat.member.uid === found.member.uid && seat.role !== role) this.#changeRole(seat, role);
      }
      return "OK";
    });
  }

  transferHost(by, { peerId }) {
    return this.#command(by, "transferHost", peerId, (rank) => {
      if (peerId.startsWith("guest-")) return "FORBIDDEN";
      const target = this.at(peerId);
      if (!target || target.waits) return "PEER_NOT_FOUND";
      if (RANK[target.role] >= rank) return "FORBIDDEN";
      if (this.#lastingRole(by) !== "host") return "FORBIDDEN";
      this.owner = target.member.uid;
      this.assignedRoles.set(this.host, "moderator");
      this.#makeHost(target.member.uid);
      this.#announceUpdate();
      return "OK";
    });
  }

  lock(by, { locked }) {
    return this.#command(by, "lock", undefined, () => {
      if (RANK[this.#lastingRole(by)] < MODERATOR) return "FORBIDDEN";
      this.locked = locked;
      this.#announceUpdate();
      return "OK";
    });
  }

  update(by, { settings = {}, maxParticipants = this.places }) {
    return this.#command(by, "update", undefined, () => {
      if (this.#lastingRole(by) !== "host") return "FORBIDDEN";
      const before = this.settings;
      const morePlaces = maxParticipants > this.places;
      this.settings = { ...before, ...settings };
      const switchedOn = settings.waitingRoomEnabled && !before.waitingRoomEnabled;
      // A value that the call has already does not let guests skip the waiting room.
      const named = settings.autoAdmitGuests !== before.autoAdmitGuests && settings.autoAdmitGuests;
      if (switchedOn) this.settings.autoAdmitGuests = named ?? false;
      this.places = maxParticipants;
      this.#announceUpdate();
      const { waitingRoomEnabled: wait, autoAdmitGuests: skip } = this.settings;
      if (this.locked) return "OK";
      if (!wait && (before.waitingRoomEnabled || morePlaces)) this.#admit(() => true);
      else if (wait && before.waitingRoomEnabled && skip && (morePlaces || !before.autoAdmitGuests)) {
        this.#admit(({ member }) => member.guest);
      }
      return "OK";
    });
  }

  /**
   * Returns the participants in the format that the test compares with snapshots and statistics.
   */
  people() {
    return this.seated.map(({ peer, role, media }) => `${peer} ${role} ${mediaLetters(media)}`).sort();
  }

  /** Returns a member's role without the one as stand-in for an absent host. */
  #lastingRole(member) {
    const { role } = this.seatOf(member);
    if (role !== "host" || member.uid === this.owner) return role;
    return this.assignedRoles.get(member.uid) ?? (member.guest ? "guest" : "participant");
  }

  /** Checks that `by` may use a command, then runs it. No member may target their own seat. */
  #command(by, name, target, run) {
    const seat = this.seatOf(by);
    if (!seat || seat.waits) return "NOT_IN_ROOM";
    const required = REQUIRED_ROLE[name] ?? "host";
    if (RANK[seat.role] < RANK[required]) return required === "host" ? "HOST_REQUIRED" : "FORBIDDEN";
    if (target === seat.peer) return "FORBIDDEN";
    return run(RANK[seat.role]);
  }

  #unseat(gone, reason) {
    this.seats = this.seats.filter((seat) => seat !== gone);
    const { peer, member, role, waits } = gone;
    if (waits) return this.#sendToModerators(`room:join-request-cancelled ${peer} ${reason}`);
    this.#announce(`room:user-left ${peer} ${reason}`);
    if (role !== "host" || this.seated.some((seat) => seat.member.uid === member.uid)) return;
    const next = this.seated.reduce((best, seat) => (best && RANK[best.role] >= RANK[seat.role] ? best : seat), undefined);
    if (next) this.#makeHost(next.member.uid);
  }

  /** Admits the waiting members that match, in order of arrival, while there are places. */
  #admit(matches) {
    let admitted = 0;
    let full = false;
    for (const seat of this.waiting.filter(matches)) {
      if (this.seated.length >= this.places) {
        full = true;
        continue;
      }
      this.#announce(`room:user-joined ${seat.peer} ${seat.role}`);
      Object.assign(seat, { waits: false, position: this.#position });
      this.#sendTo(seat, `room:joined ${seat.peer} ${seat.role}`);
      admitted += 1;
    }
    return { admitted, full };
  }

  #makeHost(uid) {
    this.host = uid;
    for (const seat of this.seated) {
      const { member } = seat;
      const plain = this.assignedRoles.get(member.uid) ?? (member.guest ? "guest" : "participant");
      const role = member.uid === uid ? "host" : seat.role === "host" ? plain : seat.role;
      if (role !== seat.role) this.#changeRole(seat, role);
    }
  }

  #changeRole(seat, role) {
    const becomesModerator = RANK[seat.role] < MODERATOR && RANK[role] >= MODERATOR;
    seat.role = role;
    this.#announce(`participant:role-changed ${seat.peer} ${role} ${this.host}`);
    if (becomesModerator) for (const { peer } of this.waiting) this.#sendTo(seat, `room:join-request ${peer}`);
  }

  #announceUpdate() {
    const { waitingRoomEnabled, autoAdmitGuests, allowParticipantUnmute } = this.settings;
    const facts = [this.locked, this.places, this.host, this.owner, waitingRoomEnabled, autoAdmitGuests, allowParticipantUnmute];
    this.#announce(`room:updated ${facts.join(" ")}`);
  }

  /** Predicts an event to all participants except one. */
  #announce(line, except) {
    this.#position += 1;
    for (const seat of this.seated) if (seat !== except) this.events.push({ member: seat.member, line });
  }

  /** Predicts an event to one member. `positions` is the number of offsets that the event takes. */
  #sendTo(seat, line, positions = 1) {
    this.#position += positions;
    this.events.push({ member: seat.member, line });
  }

  #sendToModerators(line) {
    for (const seat of this.seated) if (RANK[seat.role] >= MODERATOR) this.#sendTo(seat, line);
  }

  #sorted(seats) {
    return seats.sort((a, b) => a.position - b.position || (a.peer < b.peer ? -1 : 1));
  }
}
