// Roles and moderation over three nodes: who may do what to whom, what everybody is told, and who cannot come back.
// Over 400 lines: all of it is about one table of roles, with one set of accounts.
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { Client, account, admitted, guest, newCall, rest } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("roles and moderation on several nodes", { timeout: 180_000 }, () => {
  const [one, two, three = two] = nodeUrls();
  let host;
  let ann;
  let bob;
  let eve;
  let clients = [];

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    [host, ann, bob, eve] = await Promise.all(["Chair", "Ann", "Bob", "Eve"].map((name) => account(name)));
  });
  afterEach(() => {
    clients.forEach((client) => client.close());
    clients = [];
  });

  async function connected(url, token) {
    const client = await Client.connected(url, { token });
    clients.push(client);
    return client;
  }
  async function seated(url, roomId, who) {
    const client = await connected(url, who.token);
    await client.join(roomId);
    return client;
  }
  const seatedGuest = async (url, roomId, name) => seated(url, roomId, await guest(roomId, name));

  /** The host's call, and somebody of each role on several nodes. */
  async function meeting(fields = {}) {
    const { roomId, id } = await newCall(host, fields);
    const chair = await seated(one, roomId, host);
    const moderator = await seated(two, roomId, ann);
    const participant = await seated(three, roomId, bob);
    const visitor = await seatedGuest(one, roomId, "Visitor");
    await come(chair, visitor);
    await role(chair, moderator, "moderator");
    return { roomId, id, chair, moderator, participant, visitor };
  }

  /** Gives somebody a role, and waits until it knows. */
  async function role(by, client, wanted) {
    await done(by, "participant:set-role", { peerId: client.peerId, role: wanted });
    await is(client, client, wanted);
  }
  /** Waits until `client` was told last that `other` has this role. */
  const is = (client, other, wanted) =>
    until(`${other.peerId} is ${wanted}`, () => {
      const changes = client.all("participant:role-changed").filter(({ peerId }) => peerId === other.peerId);
      return changes.at(-1)?.role === wanted && changes.at(-1);
    });
  const come = (client, other) => client.event("room:user-joined", ({ participant }) => participant.peerId === other.peerId);
  const left = (client, other, why) =>
    client.event("room:user-left", ({ peerId, reason }) => peerId === other.peerId && reason === why);

  async function refused(client, event, payload, code) {
    const answer = await client.emit(event, payload);
    assert.deepEqual([answer.success, answer.code], [false, code], `${event} ${JSON.stringify(payload)}`);
  }
  async function done(client, event, payload) {
    const answer = await client.emit(event, payload);
    assert.equal(answer.success, true, `${event} ${JSON.stringify(answer)}`);
    return answer;
  }
  /** Tokens count seconds: one that is certainly newer than what happened so far. */
  async function newToken(who) {
    const second = Math.floor(Date.now() / 1000);
    await until("the next second", () => Math.floor(Date.now() / 1000) > second);
    Object.assign(who, await rest("POST", "/auth/refresh", { refreshToken: who.refreshToken }));
    return who;
  }
  const code = ({ success, code: refusal }) => (success ? "OK" : refusal);
  const media = async (client, other) =>
    (await done(client, "webrtc:get-stats", {})).participants.find(({ peerId }) => peerId === other.peerId).mediaState;

  test("each role may do what the table says, and gets the right refusal for the rest", async () => {
    const { roomId, chair, moderator, participant, visitor } = await meeting();
    await done(chair, "room:update", { settings: { waitingRoomEnabled: true, autoAdmitGuests: true } });
    const target = async () => ({ peerId: (await seatedGuest(two, roomId, "Target")).peerId });
    const waiter = await connected(two, eve.token);
    const waits = async () => {
      // Turned away, let in or waiting still: it asks anew.
      await waiter.emit("room:leave");
      assert.equal((await waiter.emit("room:join", { roomId })).waiting, true);
      return { peerId: eve.user.id };
    };
    const rows = [
      ["room:lock", async () => ({ locked: false }), "FORBIDDEN", ["moderator", "host"]],
      ["room:admit", async () => ({ all: true }), "FORBIDDEN", ["moderator", "host"]],
      ["room:deny", waits, "FORBIDDEN", ["moderator", "host"]],
      ["participant:mute", async () => ({ ...(await target()), kind: "video" }), "FORBIDDEN", ["moderator", "host"]],
      ["participant:kick", target, "FORBIDDEN", ["moderator", "host"]],
      ["participant:set-role", async () => ({ ...(await target()), role: "participant" }), "HOST_REQUIRED", ["host"]],
      ["room:update", async () => ({ name: "Renamed" }), "HOST_REQUIRED", ["host"]],
      ["room:transfer-host", async () => ({ peerId: participant.peerId }), "HOST_REQUIRED", ["host"]],
    ];
    for (const [name, client] of Object.entries({ guest: visitor, participant, moderator, host: chair })) {
      for (const [event, payload, refusal, may] of rows) {
        const answer = await client.emit(event, await payload());
        assert.equal(code(answer), may.includes(name) ? "OK" : refusal, `${event} of a ${name}`);
      }
      if (name !== "host") await refused(client, "room:end-call", { roomId }, "HOST_REQUIRED");
    }
    await is(participant, participant, "host");
    await refused(chair, "room:end-call", { roomId }, "HOST_REQUIRED");
    await done(participant, "room:end-call", { roomId });
    await visitor.event("room:call-ended", () => true);
  });

  test("nobody acts on an equal or a higher role, on itself, on its own other device or on somebody who is not there", async () => {
    const { roomId, chair, moderator, participant, visitor } = await meeting();
    const device = await seated(three, roomId, ann);
    const second = await seated(two, roomId, host);
    assert.deepEqual([device.joined.role, second.joined.role], ["moderator", "host"]);
    for (const [client, others] of [
      [moderator, [moderator, device, chair, second]],
      [chair, [chair, second]],
    ]) {
      for (const { peerId } of others) {
        await refused(client, "participant:mute", { peerId, kind: "audio" }, "FORBIDDEN");
        await refused(client, "participant:kick", { peerId }, "FORBIDDEN");
      }
    }
    await refused(chair, "participant:set-role", { peerId: chair.peerId, role: "guest" }, "FORBIDDEN");
    await refused(chair, "room:transfer-host", { peerId: second.peerId }, "FORBIDDEN");
    await refused(chair, "room:transfer-host", { peerId: visitor.peerId }, "FORBIDDEN");
    for (const [event, fields] of [
      ["participant:mute", { kind: "audio" }],
      ["participant:kick", {}],
      ["participant:set-role", { role: "guest" }],
      ["room:transfer-host", {}],
      ["room:admit", {}],
      ["room:deny", {}],
    ]) {
      await refused(chair, event, { peerId: eve.user.id, ...fields }, "PEER_NOT_FOUND");
      await refused(chair, event, { peerId: 7, ...fields }, "VALIDATION_ERROR");
      await refused(chair, event, fields, "VALIDATION_ERROR");
    }
    // An event about oneself is about oneself, whoever's id it carries.
    const meddling = { peerId: chair.peerId, userId: chair.peerId, audioEnabled: false };
    await done(participant, "participant:update-media-state", meddling);
    const changed = await visitor.event("participant:media-state-changed", () => true);
    assert.deepEqual([changed.peerId, changed.mediaState.audioEnabled], [participant.peerId, false]);
    assert.equal((await media(visitor, chair)).audioEnabled, true);
    assert.equal(visitor.all("participant:media-state-changed").length, 1);
    assert.equal(visitor.all("room:user-left").length, 0);
  });

  test("everybody is told of a role and of a new host, and a demoted host's command is refused", async () => {
    const { roomId, chair, moderator, participant, visitor } = await meeting();
    const all = [chair, moderator, participant, visitor];
    await role(chair, visitor, "moderator");
    for (const client of all) assert.equal((await is(client, visitor, "moderator")).hostId, chair.peerId);
    await refused(chair, "participant:set-role", { peerId: visitor.peerId, role: "host" }, "VALIDATION_ERROR");
    await refused(chair, "participant:set-role", { peerId: visitor.peerId, role: "king" }, "VALIDATION_ERROR");

    const answers = await Promise.all([
      chair.emit("room:transfer-host", { peerId: participant.peerId }),
      chair.emit("room:update", { name: "Too late" }),
    ]);
    assert.deepEqual(answers.map(code), ["OK", "HOST_REQUIRED"]);
    for (const client of all) {
      await is(client, chair, "moderator");
      assert.equal((await is(client, participant, "host")).hostId, participant.peerId);
      const updated = await client.event("room:updated", () => true);
      assert.deepEqual([updated.hostId, updated.ownerId, updated.name], [bob.user.id, bob.user.id, "Signals"]);
    }
    await refused(chair, "participant:kick", { peerId: participant.peerId }, "FORBIDDEN");

    // The call is the new host's now: also when both come again.
    participant.close();
    await left(chair, participant, "left");
    await is(chair, chair, "host");
    const again = await seated(one, roomId, bob);
    assert.deepEqual([again.joined.role, again.joined.hostId], ["host", bob.user.id]);
    await is(visitor, chair, "moderator");
  });

  test("the longest present of the highest role stands in for a host who left, a guest only when nobody else is there", async () => {
    const { roomId } = await newCall(host);
    const chair = await seated(one, roomId, host);
    const visitor = await seatedGuest(two, roomId, "Visitor");
    const participant = await seated(three, roomId, ann);
    const first = await seated(one, roomId, bob);
    const second = await seated(two, roomId, eve);
    await role(chair, second, "moderator");
    await role(chair, first, "moderator");
    let leaver = chair;
    for (const heir of [first, second, participant, visitor]) {
      leaver.close();
      await left(visitor, leaver, "left");
      assert.equal((await is(visitor, heir, "host")).hostId, heir.joined.user.id);
      await done(heir, "room:update", { name: `Under ${heir.joined.user.name}` });
      leaver = heir;
    }
    const back = await seated(three, roomId, host);
    assert.deepEqual([back.joined.role, back.joined.isHost, back.joined.hostId], ["host", true, host.user.id]);
    assert.equal((await is(visitor, visitor, "guest")).hostId, host.user.id);
    await refused(visitor, "room:update", { name: "Mine still" }, "HOST_REQUIRED");
    const moderator = await seated(one, roomId, eve);
    assert.equal(moderator.joined.role, "moderator", "a role that was given stays");
  });

  test("a host who loses its socket is host when it comes back", async () => {
    const { chair, moderator } = await meeting();
    const back = chair.nextConnect();
    chair.socket.io.engine.close();
    await back;
    assert.equal(chair.socket.recovered, true);
    await done(chair, "room:update", { name: "Still mine" });
    await moderator.event("room:updated", ({ name, hostId }) => name === "Still mine" && hostId === host.user.id);
    assert.equal(moderator.all("participant:role-changed").filter(({ role: given }) => given === "host").length, 0);
  });

  test("who was muted is told, all see it, and it stays muted when the call says so", async () => {
    const { chair, moderator, participant, visitor } = await meeting({ settings: { allowParticipantUnmute: false } });
    await done(visitor, "webrtc:screen-share", { enabled: true });
    for (const [kind, field] of [
      ["audio", "audioEnabled"],
      ["video", "videoEnabled"],
      ["screenShare", "screenShareEnabled"],
    ]) {
      await done(moderator, "participant:mute", { peerId: visitor.peerId, kind });
      const muted = await visitor.event("participant:muted", (one) => one.kind === kind);
      assert.deepEqual([muted.peerId, muted.by, muted.mediaState[field]], [visitor.peerId, moderator.peerId, false]);
      for (const client of [chair, moderator, participant]) {
        await client.event(
          "participant:media-state-changed",
          ({ peerId, mediaState }) => peerId === visitor.peerId && mediaState[field] === false,
        );
      }
      await refused(visitor, "participant:update-media-state", { [field]: true }, "FORBIDDEN");
      assert.equal((await media(participant, visitor))[field], false);
    }
    await refused(moderator, "participant:mute", { peerId: visitor.peerId, kind: "smell" }, "VALIDATION_ERROR");
    await done(participant, "participant:update-media-state", { audioEnabled: false });
    await done(participant, "participant:update-media-state", { audioEnabled: true });
    await done(chair, "participant:mute", { peerId: moderator.peerId, kind: "audio" });
    await done(moderator, "participant:update-media-state", { audioEnabled: true });

    await done(chair, "room:update", { settings: { allowParticipantUnmute: true } });
    await done(visitor, "participant:update-media-state", { audioEnabled: true });
    await until("all see it", async () => (await media(chair, visitor)).audioEnabled);
    assert.equal(chair.all("participant:muted").length + participant.all("participant:muted").length, 0);
  });

  test("who is removed goes with all devices, cannot return with the token it has, and can with a newer one", async () => {
    const { roomId, chair, moderator, participant } = await meeting();
    const device = await seated(one, roomId, bob);
    await come(moderator, device);
    // Whoever answers in the very instant in which it is told is in no room by then.
    const answers = [participant, device].map(
      ({ socket }) =>
        new Promise((resolve) => {
          socket.once("room:kicked", () => resolve(socket.emitWithAck("room:join", { roomId })));
        }),
    );
    await done(moderator, "participant:kick", { peerId: participant.peerId, reason: "too loud" });
    assert.deepEqual((await Promise.all(answers)).map(code), ["BANNED", "BANNED"]);
    for (const client of [participant, device]) {
      const kicked = await client.event("room:kicked", () => true);
      assert.deepEqual(kicked, { roomId, peerId: client.peerId, banned: false, reason: "too loud" });
      await left(chair, client, "kicked");
      await refused(client, "webrtc:get-stats", {}, "NOT_IN_ROOM");
      await refused(client, "chat:message", { message: "still here?" }, "NOT_IN_ROOM");
      await refused(client, "room:join", { roomId }, "BANNED");
      assert.equal(client.socket.connected, true);
    }
    await refused(await connected(two, bob.token), "room:join", { roomId }, "BANNED");
    await refused(moderator, "participant:kick", { peerId: participant.peerId }, "PEER_NOT_FOUND");
    const fresh = await newToken(bob);
    const back = await seated(two, roomId, fresh);
    assert.equal(back.joined.role, "participant");
    await until("it is seen to come a second time", () => {
      const comings = moderator.all("room:user-joined").map(({ participant: { peerId } }) => peerId);
      return comings.filter((peerId) => peerId === back.peerId).length === 2;
    });
  });

  test("who is banned does not come back: a user with no token, a guest under no name from its address", async () => {
    const { roomId, chair, participant, visitor } = await meeting();
    await done(chair, "participant:kick", { peerId: participant.peerId, ban: true });
    assert.equal((await participant.event("room:kicked", () => true)).banned, true);
    await refused(await connected(one, (await newToken(bob)).token), "room:join", { roomId }, "BANNED");
    const other = await guest(roomId, "Other");
    await done(chair, "participant:kick", { peerId: visitor.peerId, ban: true });
    await visitor.event("room:kicked", ({ banned }) => banned);
    await refused(await connected(two, other.token), "room:join", { roomId }, "BANNED");
    await refused(await connected(three), "room:join", { roomId, guestName: "Nobody" }, "BANNED");
    await seated(three, roomId, eve);
  });

  test("two moderators who act on one person at once both get a sane answer, and it happens once", async () => {
    const { roomId, chair, moderator, participant } = await meeting();
    const other = await seated(three, roomId, eve);
    await role(chair, other, "moderator");
    const both = async (...commands) => {
      const answers = await Promise.all(commands.map(([client, event, payload]) => client.emit(event, payload)));
      return answers.map(code);
    };
    const codes = await both(
      [moderator, "participant:kick", { peerId: other.peerId }],
      [other, "participant:kick", { peerId: moderator.peerId }],
    );
    assert.deepEqual(codes, ["FORBIDDEN", "FORBIDDEN"]);

    for (let round = 0; round < 5; round += 1) {
      const target = await seatedGuest(one, roomId, "Target");
      const { peerId } = target;
      const kicks = await both([moderator, "participant:kick", { peerId }], [other, "participant:kick", { peerId }]);
      assert.deepEqual(kicks.sort(), ["OK", "PEER_NOT_FOUND"]);
      const muted = await seatedGuest(two, roomId, "Muted");
      const [mute, kick] = await both(
        [moderator, "participant:mute", { peerId: muted.peerId, kind: "audio" }],
        [other, "participant:kick", { peerId: muted.peerId }],
      );
      assert.ok(kick === "OK" && ["OK", "PEER_NOT_FOUND"].includes(mute), `${mute} ${kick}`);
      for (const gone of [target, muted]) {
        await gone.event("room:kicked", () => true);
        await left(participant, gone, "kicked");
      }
    }
    assert.equal(participant.all("room:user-left").length, 10, "each of them left once");

    // Taken the role while it acts: it is before or after, and never half.
    const last = await seatedGuest(one, roomId, "Last");
    const [demoted, kicked] = await both(
      [chair, "participant:set-role", { peerId: other.peerId, role: "participant" }],
      [other, "participant:kick", { peerId: last.peerId }],
    );
    assert.ok(demoted === "OK" && ["OK", "FORBIDDEN"].includes(kicked), `${demoted} ${kicked}`);
    const { participants } = await done(chair, "webrtc:get-stats", {});
    assert.equal(participants.some(({ peerId }) => peerId === last.peerId), kicked === "FORBIDDEN");
    await is(other, other, "participant");
    await refused(other, "participant:kick", { peerId: participant.peerId }, "FORBIDDEN");
  });

  test("a locked room takes nobody new but host and moderators, and keeps who is in", async () => {
    const { roomId, chair, moderator, participant, visitor } = await meeting();
    await done(moderator, "room:lock", { locked: true });
    for (const client of [chair, moderator, participant, visitor]) {
      assert.equal((await client.event("room:updated", () => true)).locked, true);
    }
    const stranger = await connected(two, eve.token);
    await refused(stranger, "room:join", { roomId }, "ROOM_LOCKED");
    await refused(await connected(three), "room:join", { roomId, guestName: "Nobody" }, "ROOM_LOCKED");
    const back = participant.nextConnect();
    participant.socket.io.engine.close();
    await back;
    assert.equal(participant.socket.recovered, true);
    await done(participant, "chat:message", { message: "still in" });
    moderator.close();
    await left(chair, moderator, "left");
    const again = await seated(one, roomId, ann);
    assert.deepEqual([again.joined.role, again.joined.locked], ["moderator", true]);
    await refused(again, "room:lock", { locked: "no" }, "VALIDATION_ERROR");
    await done(again, "room:lock", { locked: false });
    await visitor.event("room:updated", ({ locked }) => !locked);
    await stranger.join(roomId);
  });

  test("a changed call is told all, is in the next one's snapshot and in the REST answer; bad values change nothing", async () => {
    const { roomId, id, chair, moderator, participant, visitor } = await meeting();
    for (const payload of [
      { name: "" },
      { name: " \t" },
      { name: "a\u0000b" },
      { name: "x".repeat(201) },
      { name: 7 },
      { maxParticipants: 1 },
      { maxParticipants: 501 },
      { maxParticipants: 2.5 },
      { maxParticipants: "4" },
      { settings: { chatEnabled: "no" } },
      { settings: { chatEnabled: null } },
      { settings: [] },
    ]) {
      await refused(chair, "room:update", payload, "VALIDATION_ERROR");
    }
    const change = { name: "  Plans  ", maxParticipants: 4, settings: { chatEnabled: false, unknown: true } };
    await done(chair, "room:update", change);
    for (const client of [chair, moderator, participant, visitor]) {
      const { name, maxParticipants, settings, locked, hostId } = await client.event("room:updated", () => true);
      assert.deepEqual([name, maxParticipants, settings.chatEnabled], ["Plans", 4, false], "the refused ones were told nobody");
      assert.deepEqual([locked, hostId, settings.unknown, settings.videoEnabled], [false, host.user.id, undefined, true]);
    }
    await refused(chair, "chat:message", { message: "hello" }, "FORBIDDEN");
    const stranger = await connected(two, eve.token);
    await refused(stranger, "room:join", { roomId }, "ROOM_FULL");
    await done(chair, "room:update", { maxParticipants: 5 });
    const { name, maxParticipants, settings } = await stranger.join(roomId);
    assert.deepEqual([name, maxParticipants, settings.chatEnabled], ["Plans", 5, false]);
    await until("REST says the same", async () => {
      const call = await rest("GET", `/video-calls/${id}`, undefined, host.token);
      return call.title === "Plans" && call.maxParticipants === 5 && call.settings.chatEnabled === false;
    });
  });
});
