// A room as docs/PROTOCOL.md tells it, without network and clock: what each event is answered with, and who is told what.
//
// Members are plain objects of the test's: `{ name, uid, guest }`. What is told is collected as lines, by member.
const RANK = { guest: 0, participant: 1, moderator: 2, host: 3 };
const MODERATOR = RANK.moderator;
const LEAST = { admit: "moderator", deny: "moderator", mute: "moderator", kick: "moderator", lock: "moderator" };
const MEDIA = { videoEnabled: true, audioEnabled: true, screenShareEnabled: false };

/** A participant's media as one word: what is on. */
export const onAir = ({ videoEnabled, audioEnabled, screenShareEnabled }) =>
  `${videoEnabled ? "V" : "-"}${audioEnabled ? "A" : "-"}${screenShareEnabled ? "S" : "-"}`;

export class Room {
  /** Who is in, or waits, in the order of coming. */
  seats = [];
  locked = false;
  /** What somebody was made, by user. */
  given = new Map();
  bans = new Set();
  guestsBanned = false;
  /** How often a user was removed: tokens from before are no good. */
  removals = new Map();
  /** Lines that were told and not yet taken. */
  told = [];
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

  /** What joining would give: a role, and whether to wait. */
  admission(member) {
    const role =
      member.uid === this.owner || member.uid === this.host
        ? "host"
        : (this.given.get(member.uid) ?? (member.guest ? "guest" : "participant"));
    const { waitingRoomEnabled, autoAdmitGuests } = this.settings;
    return { role, waits: waitingRoomEnabled && RANK[role] < MODERATOR && !(member.guest && autoAdmitGuests) };
  }

  /** `removals`: how often the user had been removed when the token was issued that it comes with. */
  join(member, removals) {
    if (this.seatOf(member)) return "ALREADY_IN_ROOM";
    const { role, waits } = this.admission(member);
    const kept = this.bans.has(member.uid) || (member.guest && this.guestsBanned);
    if (kept || (this.removals.get(member.uid) ?? 0) > removals) return "BANNED";
    if (this.locked && RANK[role] < MODERATOR) return "ROOM_LOCKED";
    if (!waits && this.seated.length >= this.places) return "ROOM_FULL";
    if (role === "host" && this.host !== member.uid) this.#makeHost(member.uid);
    let peer = member.uid;
    for (let device = 2; this.at(peer); device += 1) peer = `${member.uid}#${device}`;
    const seat = { member, peer, role, waits, media: { ...MEDIA }, held: false, position: this.#position };
    if (waits) {
      this.#tellModerators(`room:join-request ${peer}`);
    } else {
      this.#announce(`room:user-joined ${peer} ${role}`);
      seat.position = this.#position;
    }
    this.seats.push(seat);
    this.#tell(seat, waits ? "room:waiting" : `room:joined ${peer} ${role}`, 0);
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
      const { admitted, full } = this.#letIn((seat) => all || seat.peer === peerId);
      if (admitted === 0 && full) return "CALL_FULL";
      return admitted === 0 && !all ? "PEER_NOT_FOUND" : "OK";
    });
  }

  deny(by, { peerId, reason }) {
    return this.#command(by, "deny", undefined, () => {
      const seat = this.at(peerId);
      if (!seat?.waits) return "PEER_NOT_FOUND";
      this.#tell(seat, `room:denied ${reason}`);
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
      seat.held = true;
      this.#announce(`participant:media-state-changed ${seat.peer} ${onAir(seat.media)}`, seat);
      this.#tell(seat, `participant:muted ${seat.peer} audio`);
      return "OK";
    });
  }

  /** Its own microphone. */
  switchAudio(member, { audioEnabled }) {
    const seat = this.seatOf(member);
    if (!seat || seat.waits) return "NOT_IN_ROOM";
    if (audioEnabled && !seat.media.audioEnabled) {
      const free = RANK[seat.role] >= MODERATOR || this.settings.allowParticipantUnmute;
      if (seat.held && !free) return "FORBIDDEN";
      seat.held = false;
    }
    seat.media.audioEnabled = audioEnabled;
    this.#announce(`participant:media-state-changed ${seat.peer} ${onAir(seat.media)}`, seat);
    return "OK";
  }

  kick(by, { peerId, ban }) {
    return this.#command(by, "kick", peerId, (rank) => {
      const found = this.at(peerId);
      if (!found) return "PEER_NOT_FOUND";
      if (RANK[found.role] >= rank) return "FORBIDDEN";
      const { uid, guest } = found.member;
      this.removals.set(uid, (this.removals.get(uid) ?? 0) + 1);
      if (ban) this.bans.add(uid);
      // Every client of the test has one address.
      if (ban && guest) this.guestsBanned = true;
      for (const seat of this.#sorted(this.seats.filter(({ member }) => member.uid === uid))) {
        this.#tell(seat, `room:kicked ${seat.peer} ${ban}`);
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
      this.given.set(found.member.uid, role);
      for (const seat of this.seated) {
        if (seat.member.uid === found.member.uid && seat.role !== role) this.#changeRole(seat, role);
      }
      return "OK";
    });
  }

  transferHost(by, { peerId }) {
    return this.#command(by, "transferHost", peerId, (rank) => {
      if (peerId.startsWith("guest-")) return "FORBIDDEN";
      const heir = this.at(peerId);
      if (!heir || heir.waits) return "PEER_NOT_FOUND";
      if (RANK[heir.role] >= rank) return "FORBIDDEN";
      if (this.owner === this.host) this.owner = heir.member.uid;
      this.given.set(this.host, "moderator");
      this.#makeHost(heir.member.uid);
      this.#announceUpdate();
      return "OK";
    });
  }

  lock(by, { locked }) {
    return this.#command(by, "lock", undefined, () => {
      this.locked = locked;
      this.#announceUpdate();
      return "OK";
    });
  }

  update(by, { settings = {}, maxParticipants = this.places }) {
    return this.#command(by, "update", undefined, () => {
      const before = this.settings;
      this.settings = { ...before, ...settings };
      this.places = maxParticipants;
      this.#announceUpdate();
      const wait = this.settings.waitingRoomEnabled;
      if (before.waitingRoomEnabled && !wait) this.#letIn(() => true);
      else if (wait && before.waitingRoomEnabled && !before.autoAdmitGuests && this.settings.autoAdmitGuests) {
        this.#letIn(({ member }) => member.guest);
      }
      return "OK";
    });
  }

  /** Who is there, as figures and snapshots show it. */
  people() {
    return this.seated.map(({ peer, role, media }) => `${peer} ${role} ${onAir(media)}`).sort();
  }

  #command(by, name, target, act) {
    const seat = this.seatOf(by);
    if (!seat || seat.waits) return "NOT_IN_ROOM";
    const least = LEAST[name] ?? "host";
    if (RANK[seat.role] < RANK[least]) return least === "host" ? "HOST_REQUIRED" : "FORBIDDEN";
    if (target === seat.peer) return "FORBIDDEN";
    return act(RANK[seat.role]);
  }

  #unseat(gone, reason) {
    this.seats = this.seats.filter((seat) => seat !== gone);
    const { peer, member, role, waits } = gone;
    if (waits) return this.#tellModerators(`room:join-request-cancelled ${peer} ${reason}`);
    this.#announce(`room:user-left ${peer} ${reason}`);
    if (role !== "host" || this.seated.some((seat) => seat.member.uid === member.uid)) return;
    const heir = this.seated.reduce((best, seat) => (best && RANK[best.role] >= RANK[seat.role] ? best : seat), undefined);
    if (heir) this.#makeHost(heir.member.uid);
  }

  /** Lets in those who wait and are wanted, who came first first, while there are places. */
  #letIn(wanted) {
    let admitted = 0;
    let full = false;
    for (const seat of this.waiting.filter(wanted)) {
      if (this.seated.length >= this.places) {
        full = true;
        continue;
      }
      this.#announce(`room:user-joined ${seat.peer} ${seat.role}`);
      Object.assign(seat, { waits: false, position: this.#position });
      this.#tell(seat, `room:joined ${seat.peer} ${seat.role}`);
      admitted += 1;
    }
    return { admitted, full };
  }

  #makeHost(uid) {
    this.host = uid;
    for (const seat of this.seated) {
      const { member } = seat;
      const plain = this.given.get(member.uid) ?? (member.guest ? "guest" : "participant");
      const role = member.uid === uid ? "host" : seat.role === "host" ? plain : seat.role;
      if (role !== seat.role) this.#changeRole(seat, role);
    }
  }

  #changeRole(seat, role) {
    const hears = RANK[seat.role] < MODERATOR && RANK[role] >= MODERATOR;
    seat.role = role;
    this.#announce(`participant:role-changed ${seat.peer} ${role} ${this.host}`);
    if (hears) for (const { peer } of this.waiting) this.#tell(seat, `room:join-request ${peer}`);
  }

  #announceUpdate() {
    const { waitingRoomEnabled, autoAdmitGuests, allowParticipantUnmute } = this.settings;
    const facts = [this.locked, this.places, this.host, this.owner, waitingRoomEnabled, autoAdmitGuests, allowParticipantUnmute];
    this.#announce(`room:updated ${facts.join(" ")}`);
  }

  #announce(line, except) {
    this.#position += 1;
    for (const seat of this.seated) if (seat !== except) this.told.push({ member: seat.member, line });
  }

  #tell(seat, line, positions = 1) {
    this.#position += positions;
    this.told.push({ member: seat.member, line });
  }

  #tellModerators(line) {
    for (const seat of this.seated) if (RANK[seat.role] >= MODERATOR) this.#tell(seat, line);
  }

  #sorted(seats) {
    return seats.sort((a, b) => a.position - b.position || (a.peer < b.peer ? -1 : 1));
  }
}
