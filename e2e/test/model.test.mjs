// Model-based test: random events from random roles on several nodes, compared with a model of a
// room. Every answer, every event that a member receives, and every snapshot and statistic must
// equal the model's. Each run prints its seed; `MODEL_SEED` repeats a run.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Client, PASSWORD, account, guest, newCall, rest } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { RoomModel, mediaLetters } from "../support/model.mjs";
import { until } from "../support/until.mjs";

const SEED = Number(process.env.MODEL_SEED ?? Date.now() % 1_000_000);
const ROOMS = 4;
const STEPS = 110;
/**
 * Shortest time between two reconnects of a member: a seat stays with its socket for one second.
 */
const RECONNECT_INTERVAL_MS = 2000;

/** Returns a seeded random number generator (mulberry32). */
function random(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const pick = (list) => list[Math.floor(next() * list.length)];
  const chance = (share) => next() < share;
  return { pick, chance };
}

/** Converts an event to the line that the model predicts for it. */
const EVENT_LINES = {
  "room:waiting": () => "",
  "room:joined": ({ peerId, role }) => ` ${peerId} ${role}`,
  "room:user-joined": ({ participant }) => ` ${participant.peerId} ${participant.role}`,
  "room:user-left": ({ peerId, reason }) => ` ${peerId} ${reason}`,
  "room:join-request": ({ participant }) => ` ${participant.peerId}`,
  "room:join-request-cancelled": ({ peerId, reason }) => ` ${peerId} ${reason}`,
  "room:denied": ({ reason }) => ` ${reason}`,
  "room:kicked": ({ peerId, banned }) => ` ${peerId} ${banned}`,
  "room:updated": ({ locked, maxParticipants, hostId, ownerId, settings: s }) =>
    ` ${[locked, maxParticipants, hostId, ownerId, s.waitingRoomEnabled, s.autoAdmitGuests, s.allowParticipantUnmute].join(" ")}`,
  "participant:role-changed": ({ peerId, role, hostId }) => ` ${peerId} ${role} ${hostId}`,
  "participant:media-state-changed": ({ peerId, mediaState }) => ` ${peerId} ${mediaLetters(mediaState)}`,
  "participant:muted": ({ peerId, kind }) => ` ${peerId} ${kind}`,
};
/** Events that the model does not predict. */
const NOT_MODELED = ["webrtc:ice-servers", "server:tick", "participant:connection-changed"];

function lines(client) {
  return client.received
    .filter(({ event }) => !NOT_MODELED.includes(event))
    .map(({ event, payload }) => event + (EVENT_LINES[event]?.(payload) ?? " is not in the model"));
}

/** Event on the wire for each command of the model. */
const COMMANDS = {
  admit: "room:admit",
  deny: "room:deny",
  muteAudio: "participant:mute",
  kick: "participant:kick",
  setRole: "participant:set-role",
  transferHost: "room:transfer-host",
  lock: "room:lock",
  update: "room:update",
  switchAudio: "participant:update-media-state",
};

/** One room of the cluster with its members, and the model of that room. */
class Trial {
  /** Steps so far, for the error message. */
  steps = [];

  constructor(seed) {
    Object.assign(this, random(seed), { seed });
  }

  static async open(seed, [owner, ann, bob]) {
    const trial = new Trial(seed);
    const settings = { waitingRoomEnabled: trial.chance(0.6), autoAdmitGuests: trial.chance(0.4), allowParticipantUnmute: false };
    const { roomId } = await newCall(owner, { settings, maxParticipants: 4 });
    const guests = await Promise.all(["Gus", "Gil"].map((name) => guest(roomId, name)));
    // Each trial has its own sign-ins, because it renews their tokens.
    const users = [owner, ann, bob, owner].map(({ user }) => ({ email: user.email, password: PASSWORD }));
    const signedIn = users.map((credentials) => rest("POST", "/auth/login", credentials));
    const [first, second, third, device] = await Promise.all(signedIn);
    const urls = nodeUrls();
    trial.roomId = roomId;
    trial.members = [first, second, third, ...guests, device].map(({ user, token, refreshToken }, index) => ({
      name: `${user.name}${index}`,
      uid: user.id,
      guest: user.id.startsWith("guest-"),
      url: urls[index % urls.length],
      token,
      refreshToken,
      removals: 0,
      checked: 0,
      reconnectedAt: 0,
    }));
    trial.model = new RoomModel(trial.members[0], { places: 4, settings });
    await Promise.all(trial.members.map((member) => trial.connect(member)));
    return trial;
  }

  async connect(member) {
    member.client?.close();
    member.client = await Client.connected(member.url, { token: member.token });
    member.checked = 0;
  }

  close() {
    for (const { client } of this.members) client?.close();
  }

  /** Sends one random event, and compares its answer and the resulting events with the model. */
  async step() {
    const { model } = this;
    const member = this.randomActor();
    const seat = model.seatOf(member);
    if (!seat && this.chance(0.6)) return this.join(member);
    if (!seat && (model.removals.get(member.uid) ?? 0) > member.removals && !model.bans.has(member.uid)) {
      return this.renew(member);
    }
    const [name, fields] = this.randomCommand();
    if (name === "join") return this.join(member);
    if (name === "reconnect") return this.reconnect(member);
    if (name === "reload") return this.reload(member);
    if (name === "leave") {
      const predicted = model.leave(member);
      return this.compare(`${member.name} leaves`, predicted, await member.client.emit("room:leave", this.roomId));
    }
    if (name === "update" && this.leavesBehind(fields)) return;
    const predicted = model[name](member, fields);
    const answer = await member.client.emit(COMMANDS[name], fields);
    return this.compare(`${member.name} ${name} ${JSON.stringify(fields)}`, predicted, answer);
  }

  /** Picks a member. Prefers host and moderators, so that fewer commands are refused. */
  randomActor() {
    const able = this.model.seated.filter(({ role }) => role === "host" || role === "moderator");
    return able.length > 0 && this.chance(0.45) ? this.pick(able).member : this.pick(this.members);
  }

  /** Picks a command of the model with its fields. A repeated word is more likely. */
  randomCommand() {
    const { model } = this;
    const words =
      "admit admit all deny mute mute audio audio audio kick role role role transfer lock cap set set leave join reconnect reconnect reload reload";
    const target = this.pick(this.members);
    const peerId = model.seatOf(target)?.peer ?? target.uid;
    const waits = this.chance(0.8) && model.waiting.length > 0 ? this.pick(model.waiting).peer : peerId;
    const setting = this.pick(["waitingRoomEnabled", "autoAdmitGuests", "allowParticipantUnmute"]);
    const word = this.pick(words.split(" "));
    switch (word) {
      case "admit":
        return ["admit", { peerId: waits }];
      case "all":
        return ["admit", { all: true }];
      case "deny":
        return ["deny", { peerId: waits, reason: "not now" }];
      case "mute":
        return ["muteAudio", { peerId, kind: "audio" }];
      case "audio":
        return ["switchAudio", { audioEnabled: this.chance(0.7) }];
      case "kick":
        return ["kick", { peerId, ban: this.chance(0.15) }];
      case "role":
        return ["setRole", { peerId, role: this.pick(["moderator", "moderator", "participant", "guest"]) }];
      case "transfer":
        return ["transferHost", { peerId }];
      case "lock":
        return ["lock", { locked: this.chance(0.3) }];
      case "cap":
        return ["update", { maxParticipants: this.pick([2, 3, 4, 5, 6]) }];
      case "set":
        return ["update", { settings: { [setting]: this.chance(0.5) } }];
      default:
        return [word, {}];
    }
  }

  async join(member) {
    const { model } = this;
    if (model.admission(member).waits && !this.mayWait(member)) return;
    const predicted = model.join(member, member.removals);
    const answer = await member.client.emit("room:join", { roomId: this.roomId });
    await this.compare(`${member.name} joins`, predicted, answer);
    if (predicted === "OK") this.checkAnswer(model.seatOf(member), answer);
  }

  /** Compares the answer to a member who has joined with the model. */
  checkAnswer(seat, answer) {
    if (seat.waits) {
      assert.deepEqual(answer, { success: true, roomId: this.roomId, waiting: true }, this.story());
    } else {
      this.checkSnapshot(seat, answer);
    }
  }

  /**
   * Returns whether the model can predict a member's wait. The order of waiting members is visible
   * only by join requests, so a moderator must receive them. The role of a waiting device whose
   * user gets another role is outside the model, so no other device of the user may be in the room.
   */
  mayWait(self) {
    const { seats, seated, waiting } = this.model;
    const announced = seated.some(({ role }) => role === "host" || role === "moderator");
    return (announced || waiting.length === 0) && seats.every(({ member }) => member === self || member.uid !== self.uid);
  }

  /**
   * Returns whether a change of the settings would let members in whom the room has no place for,
   * or who stay in the lobby of a locked room. The server admits them later, when a seat becomes
   * free, which is outside the model.
   */
  leavesBehind({ settings = {} }) {
    const { waiting, seated, places, locked } = this.model;
    const admits = settings.waitingRoomEnabled === false || settings.autoAdmitGuests === true;
    return admits && waiting.length > (locked ? 0 : places - seated.length);
  }

  /** Compares the snapshot of a member who has joined with the model. */
  checkSnapshot({ peer, role }, { peerId, role: received, participants, hostId, locked, maxParticipants, settings, waiting }) {
    const { model } = this;
    const actual = { peerId, role: received, hostId, locked, maxParticipants, people: people(participants) };
    const { host, locked: isLocked, places } = model;
    const expected = { peerId: peer, role, hostId: host, locked: isLocked, maxParticipants: places };
    assert.deepEqual(actual, { ...expected, people: model.people() }, this.story());
    assert.deepEqual({ ...settings, ...model.settings }, settings, this.story());
    const moderates = role === "host" || role === "moderator";
    const expectedWaiting = moderates ? model.waiting.map((seat) => seat.peer).sort() : undefined;
    assert.deepEqual(waiting?.map((one) => one.peerId).sort(), expectedWaiting, this.story());
  }

  /** Closes a member's connection and waits for recovery, which must change nothing. */
  async reconnect(member) {
    const seat = this.model.seatOf(member);
    if (!seat || Date.now() - member.reconnectedAt < RECONNECT_INTERVAL_MS) return;
    const back = member.client.nextConnect();
    member.client.socket.io.engine.close();
    await back;
    member.reconnectedAt = Date.now();
    assert.equal(member.client.socket.recovered, true, `${member.name} keeps the seat\n${this.story()}`);
    await this.compare(`${member.name} reconnects`, "OK", { success: true });
  }

  /**
   * Ends a member's connection without a goodbye and joins with a new client, which kept the
   * private session id or nothing. The member has the seat as before, and the others see neither a
   * leave nor a join.
   */
  async reload(member) {
    const { model } = this;
    const seat = model.seatOf(member);
    // A member who waits only for a place may be admitted at any moment.
    if (!seat || (seat.waits && !model.admission(member).waits)) return;
    const { socket } = member.client;
    socket.io.reconnection(false);
    socket.io.engine.close();
    const pid = this.chance(0.5) ? socket._pid : undefined;
    member.client = await Client.connected(this.pick(nodeUrls()), { token: member.token, pid });
    member.checked = 0;
    const predicted = model.join(member, member.removals);
    const answer = await member.client.emit("room:join", { roomId: this.roomId });
    await this.compare(`${member.name} reloads`, predicted, answer);
    this.checkAnswer(seat, answer);
  }

  /** Gives a removed member a newer token. */
  async renew(member) {
    if (member.guest) {
      const body = { roomId: this.roomId, guestName: member.name };
      const admission = await rest("POST", "/video-calls/join", body, member.token).catch(({ code }) => ({ code }));
      // The API may refuse an admission, for example while the room is locked.
      if (!admission.token) return;
      assert.equal(admission.user.id, member.uid, this.story());
      member.token = admission.token;
    } else {
      const { token, refreshToken } = await rest("POST", "/auth/refresh", { refreshToken: member.refreshToken });
      Object.assign(member, { token, refreshToken });
    }
    member.removals = this.model.removals.get(member.uid);
    await this.connect(member);
    this.steps.push(`${member.name} has a new token`);
  }

  async compare(what, predicted, answer) {
    const code = answer.success ? "OK" : answer.code;
    this.steps.push(`${what}: ${code}`);
    assert.equal(code, predicted, this.story());
    const events = this.model.events.splice(0);
    for (const member of this.members) {
      const expected = events.filter((event) => event.member === member).map(({ line }) => line);
      const arrived = () => lines(member.client).slice(member.checked);
      const deadline = Date.now() + 20_000;
      while (arrived().length < expected.length && Date.now() < deadline) await pause(5);
      assert.deepEqual(arrived(), expected, `events for ${member.name}\n${this.story()}`);
      member.checked += expected.length;
      const removed = expected.some((line) => line.startsWith("room:kicked") || line.startsWith("room:denied"));
      // The member's node learns of the removal a little later. Until then it treats the member as
      // in the room, so leave explicitly.
      if (removed) await member.client.emit("room:leave");
    }
  }

  /** Compares the statistics that each participant gets with the model. */
  async checkStatistics() {
    const { seated, waiting } = this.model;
    for (const { member, role } of seated) {
      const stats = await member.client.emit("webrtc:get-stats", {});
      assert.deepEqual(people(stats.participants), this.model.people(), this.story());
      assert.deepEqual([stats.connected, stats.reconnecting], [seated.length, 0], this.story());
      const moderates = role === "host" || role === "moderator";
      assert.equal(stats.call?.waiting, moderates ? waiting.length : undefined, this.story());
    }
  }

  /** Returns the seed and the last steps, for an error message. */
  story() {
    return `seed ${this.seed}; the last steps:\n  ${this.steps.slice(-25).join("\n  ")}`;
  }
}

const people = (participants) =>
  participants.map(({ peerId, role, mediaState }) => `${peerId} ${role} ${mediaLetters(mediaState)}`).sort();

describe("a room compared with its model", { timeout: 180_000 }, () => {
  let accounts;
  const trials = [];

  before(async () => {
    assert.ok(nodeUrls().length > 1, "these tests need two nodes");
    accounts = await Promise.all(["Owner", "Ann", "Bob"].map((name) => account(name)));
  });
  after(() => trials.forEach((trial) => trial.close()));

  for (let index = 0; index < ROOMS; index += 1) {
    const seed = SEED + index;
    test(`room and model agree over a random sequence of events, seed ${seed}`, async () => {
      const trial = await Trial.open(seed, accounts);
      trials.push(trial);
      for (let step = 0; step < STEPS; step += 1) {
        await trial.step();
        if (step % 20 === 19) await trial.checkStatistics();
      }
      await trial.checkStatistics();
      const done = trial.steps.filter((step) => step.endsWith(": OK")).length;
      assert.ok(done >= 10, `most commands were refused\n${trial.story()}`);
      trial.close();
    });
  }
});
