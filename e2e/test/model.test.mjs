// Random sequences of events from random roles on several nodes, against a small model of a room: each answer, everything that anybody is
// told, and what figures and newcomers see are as the model says. `MODEL_SEED` repeats a run, whose seed is printed.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Client, PASSWORD, account, guest, newCall, rest } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { Room, onAir } from "../support/model.mjs";
import { until } from "../support/until.mjs";

const SEED = Number(process.env.MODEL_SEED ?? Date.now() % 1_000_000);
const ROOMS = 4;
const STEPS = 110;
/** Between two losses of one's socket: what took the seat back less than a second ago keeps it. */
const APART_MS = 2000;

/** Random numbers that a seed repeats (mulberry32). */
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

/** What the model says of an event; those it does not speak of are none of its lines. */
const LINES = {
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
  "participant:media-state-changed": ({ peerId, mediaState }) => ` ${peerId} ${onAir(mediaState)}`,
  "participant:muted": ({ peerId, kind }) => ` ${peerId} ${kind}`,
};
const SILENT = ["webrtc:ice-servers", "server:tick", "participant:connection-changed"];

function lines(client) {
  return client.received
    .filter(({ event }) => !SILENT.includes(event))
    .map(({ event, payload }) => event + (LINES[event]?.(payload) ?? " is of no model"));
}

/** The events of the wire by the model's names for them. */
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

/** One room of the cluster beside its model, and those who come and go there. */
class Trial {
  trail = [];

  constructor(seed) {
    Object.assign(this, random(seed), { seed });
  }

  static async open(seed, [owner, ann, bob]) {
    const trial = new Trial(seed);
    const settings = { waitingRoomEnabled: trial.chance(0.6), autoAdmitGuests: trial.chance(0.4), allowParticipantUnmute: false };
    const { roomId } = await newCall(owner, { settings, maxParticipants: 4 });
    const guests = await Promise.all(["Gus", "Gil"].map((name) => guest(roomId, name)));
    // Sign-ins of this room's own: their tokens are renewed.
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
      taken: 0,
      blinked: 0,
    }));
    trial.model = new Room(trial.members[0], { places: 4, settings });
    await Promise.all(trial.members.map((member) => trial.connect(member)));
    return trial;
  }

  async connect(member) {
    member.client?.close();
    member.client = await Client.connected(member.url, { token: member.token });
    member.taken = 0;
  }

  close() {
    for (const { client } of this.members) client?.close();
  }

  /** One event from somebody: answered as the model answers, and told as the model tells. */
  async step() {
    const { model } = this;
    const member = this.actor();
    const seat = model.seatOf(member);
    if (!seat && this.chance(0.6)) return this.join(member);
    if (!seat && (model.removals.get(member.uid) ?? 0) > member.removals && !model.bans.has(member.uid)) {
      return this.renew(member);
    }
    const [name, fields] = this.wish();
    if (name === "join") return this.join(member);
    if (name === "blink") return this.blink(member);
    if (name === "leave") {
      const predicted = model.leave(member);
      return this.compare(`${member.name} leaves`, predicted, await member.client.emit("room:leave", this.roomId));
    }
    const predicted = model[name](member, fields);
    const answer = await member.client.emit(COMMANDS[name], fields);
    return this.compare(`${member.name} ${name} ${JSON.stringify(fields)}`, predicted, answer);
  }

  /** More often than not one who may do something. */
  actor() {
    const able = this.model.seated.filter(({ role }) => role === "host" || role === "moderator");
    return able.length > 0 && this.chance(0.45) ? this.pick(able).member : this.pick(this.members);
  }

  /** What somebody is to do, as the model names it, and with which fields. */
  wish() {
    const { model } = this;
    const wishes = "admit admit all deny mute mute audio audio audio kick role role role transfer lock cap set set leave join blink blink";
    const anybody = this.pick(this.members);
    const peerId = model.seatOf(anybody)?.peer ?? anybody.uid;
    const waits = this.chance(0.8) && model.waiting.length > 0 ? this.pick(model.waiting).peer : peerId;
    const setting = this.pick(["waitingRoomEnabled", "autoAdmitGuests", "allowParticipantUnmute"]);
    const wish = this.pick(wishes.split(" "));
    switch (wish) {
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
        return [wish, {}];
    }
  }

  async join(member) {
    const { model } = this;
    if (model.admission(member).waits && !this.mayWait(member)) return;
    const predicted = model.join(member, member.removals);
    const answer = await member.client.emit("room:join", { roomId: this.roomId });
    await this.compare(`${member.name} joins`, predicted, answer);
    if (predicted !== "OK") return;
    const seat = model.seatOf(member);
    if (seat.waits) {
      assert.deepEqual(answer, { success: true, roomId: this.roomId, waiting: true }, this.story());
    } else {
      this.sees(seat, answer);
    }
  }

  /**
   * Whose turn it is among those who wait is known by what the room was told between them, so somebody has to be told; and which role holds
   * when a user's changes while another device of it waits is not this test's.
   */
  mayWait(self) {
    const { seats, seated, waiting } = this.model;
    const hear = seated.some(({ role }) => role === "host" || role === "moderator");
    return (hear || waiting.length === 0) && seats.every(({ member }) => member === self || member.uid !== self.uid);
  }

  /** A newcomer sees the room as the model has it. */
  sees({ peer, role }, { peerId, role: given, participants, hostId, locked, maxParticipants, settings, waiting }) {
    const { model } = this;
    const seen = { peerId, given, hostId, locked, maxParticipants, people: people(participants) };
    const { host, locked: isLocked, places } = model;
    const expected = { peerId: peer, given: role, hostId: host, locked: isLocked, maxParticipants: places };
    assert.deepEqual(seen, { ...expected, people: model.people() }, this.story());
    assert.deepEqual({ ...settings, ...model.settings }, settings, this.story());
    const hears = role === "host" || role === "moderator";
    const expectedWaiting = hears ? model.waiting.map((seat) => seat.peer).sort() : undefined;
    assert.deepEqual(waiting?.map((one) => one.peerId).sort(), expectedWaiting, this.story());
  }

  /** Loses its socket and comes back: nothing has changed. */
  async blink(member) {
    const seat = this.model.seatOf(member);
    if (!seat || Date.now() - member.blinked < APART_MS) return;
    const back = member.client.nextConnect();
    member.client.socket.io.engine.close();
    await back;
    member.blinked = Date.now();
    assert.equal(member.client.socket.recovered, true, `${member.name} keeps its place\n${this.story()}`);
    await this.compare(`${member.name} blinks`, "OK", { success: true });
  }

  /** Comes with a token from after its removal. Tokens count seconds. */
  async renew(member) {
    const second = Math.floor(Date.now() / 1000);
    await until("the next second", () => Math.floor(Date.now() / 1000) > second);
    if (member.guest) {
      const body = { roomId: this.roomId, guestName: member.name };
      const admission = await rest("POST", "/video-calls/join", body, member.token).catch(({ code }) => ({ code }));
      // Refused by the API for as long as the room is closed to it.
      if (!admission.token) return;
      assert.equal(admission.user.id, member.uid, this.story());
      member.token = admission.token;
    } else {
      const { token, refreshToken } = await rest("POST", "/auth/refresh", { refreshToken: member.refreshToken });
      Object.assign(member, { token, refreshToken });
    }
    member.removals = this.model.removals.get(member.uid);
    await this.connect(member);
    this.trail.push(`${member.name} has a new token`);
  }

  async compare(what, predicted, answer) {
    const code = answer.success ? "OK" : answer.code;
    this.trail.push(`${what}: ${code}`);
    assert.equal(code, predicted, this.story());
    const told = this.model.told.splice(0);
    for (const member of this.members) {
      const expected = told.filter((one) => one.member === member).map(({ line }) => line);
      const arrived = () => lines(member.client).slice(member.taken);
      const deadline = Date.now() + 20_000;
      while (arrived().length < expected.length && Date.now() < deadline) await pause(5);
      assert.deepEqual(arrived(), expected, `what ${member.name} is told\n${this.story()}`);
      member.taken += expected.length;
      const sentAway = expected.some((line) => line.startsWith("room:kicked") || line.startsWith("room:denied"));
      // Its node hears of it next: until then it is in the room for the rules.
      if (sentAway) await member.client.emit("room:leave");
    }
  }

  /** Everybody who is in sees the same figures. */
  async figures() {
    const { seated, waiting } = this.model;
    for (const { member, role } of seated) {
      const figures = await member.client.emit("webrtc:get-stats", {});
      assert.deepEqual(people(figures.participants), this.model.people(), this.story());
      assert.deepEqual([figures.connected, figures.reconnecting], [seated.length, 0], this.story());
      const hears = role === "host" || role === "moderator";
      assert.equal(figures.call?.waiting, hears ? waiting.length : undefined, this.story());
    }
  }

  story() {
    return `seed ${this.seed}; the last steps:\n  ${this.trail.slice(-25).join("\n  ")}`;
  }
}

const people = (participants) =>
  participants.map(({ peerId, role, mediaState }) => `${peerId} ${role} ${onAir(mediaState)}`).sort();

describe("a room and its model", { timeout: 180_000 }, () => {
  let accounts;
  const trials = [];

  before(async () => {
    assert.ok(nodeUrls().length > 1, "these tests need two nodes");
    accounts = await Promise.all(["Owner", "Ann", "Bob"].map((name) => account(name)));
  });
  after(() => trials.forEach((trial) => trial.close()));

  for (let index = 0; index < ROOMS; index += 1) {
    const seed = SEED + index;
    test(`do the same in a random sequence of events, seed ${seed}`, async () => {
      const trial = await Trial.open(seed, accounts);
      trials.push(trial);
      for (let step = 0; step < STEPS; step += 1) {
        await trial.step();
        if (step % 20 === 19) await trial.figures();
      }
      await trial.figures();
      const done = trial.trail.filter((line) => line.endsWith(": OK")).length;
      assert.ok(done >= 10, `most of it was refused\n${trial.story()}`);
      trial.close();
    });
  }
});
