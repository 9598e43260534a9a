// Roles and moderation over three nodes: permissions, announcements, removal and bans. The file has
// more than 400 lines, because all tests share one table of roles and one set of accounts.
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { Client, account, guest, newCall, rest } from "../support/clients.mjs";
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
    [host, ann, bob, eve] = await Promise.all(["Host", "Ann", "Bob", "Eve"].map((name) => account(name)));
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
  async function seated(url, roomId, signIn) {
    const client = await connected(url, signIn.token);
    await client.join(roomId);
    return client;
  }
  const seatedGuest = async (url, roomId, name) => seated(url, roomId, await guest(roomId, name));

  /** Creates the host's call with one participant of each role, on several nodes. */
  async function meeting(fields = {}) {
    const { roomId, id } = await newCall(host, fields);
    const hostClient = await seated(one, roomId, host);
    const moderator = await seated(two, roomId, ann);
    const participant = await seated(three, roomId, bob);
    const visitor = await seatedGuest(one, roomId, "Visitor");
    await joined(hostClient, visitor);
    await giveRole(hostClient, moderator, "moderator");
    return { roomId, id, hostClient, moderator, participant, visitor };
  }

  /** Gives a client a role, and waits until it is announced to that client. */
  async function giveRole(by, client, role) {
    await done(by, "participant:set-role", { peerId: client.peerId, role });
    await roleOf(client, client, role);
  }
  /**
   * Waits until the last role of `other` announced to `client` is this one. Resolves with the
   * event.
   */
  const roleOf = (client, other, role) =>
    until(`${other.peerId} is ${role}`, () => {
      const changes = client.all("participant:role-changed").filter(({ peerId }) => peerId === other.peerId);
      return changes.at(-1)?.role === role && changes.at(-1);
    });
  /** Waits until the join of `other` is announced to `client`. */
  const joined = (client, other) =>
    client.event("room:user-joined", ({ participant }) => participant.peerId === other.peerId);
  /** Waits until the leave of `other` with this reason is announced to `client`. */
  const left = (client, other, expected) =>
    client.event("room:user-left", ({ peerId, reason }) => peerId === other.peerId && reason === expected);

  async function refused(client, event, payload, code) {
    const answer = await client.emit(event, payload);
    assert.deepEqual([answer.success, answer.code], [false, code], `${event} ${JSON.stringify(payload)}`);
  }
  async function done(client, event, payload) {
    const answer = await client.emit(event, payload);
    assert.equal(answer.success, true, `${event} ${JSON.stringify(answer)}`);
    return answer;
  }
  /** Renews a token at once: one that is younger by a millisecond counts as newer. */
  async function newToken(signIn) {
    Object.assign(signIn, await rest("POST", "/auth/refresh", { refreshToken: signIn.refreshToken }));
    return signIn;
  }
  const code = ({ success, code: refusal }) => (success ? "OK" : refusal);
  const media = async (client, other) =>
    (await done(client, "webrtc:get-stats", {})).participants.find(({ peerId }) => peerId === other.peerId).mediaState;

  test("each role may use the commands in the table, and gets the right refusal for the others", async () => {
    const { roomId, hostClient, moderator, participant, visitor } = await meeting();
    await done(hostClient, "room:update", { settings: { waitingRoomEnabled: true } });
    await done(hostClient, "room:update", { settings: { autoAdmitGuests: true } });
    const target = async () => ({ peerId: (await seatedGuest(two, roomId, "Target")).peerId });
    const waiter = await connected(two, eve.token);
    const waits = async () => {
      // The client leaves and joins again, whether it was denied, admitted or is still waiting.
      await waiter.emit("room:leave");
      assert.equal((await waiter.emit("room:join", { roomId })).waiting, true);
      return { peerId: eve.user.id };
    };
    const rows = [
      ["room:lock", async () => ({ locked: false }), "FORBIDDEN", ["moderator", "host"]],
      ["room:admit", async () => ({ all: true }), "FORBIDDEN", ["moderator", "host"]],
      ["room:deny", waits, "FORBIDDEN", ["moderator", "host"]],
      ["participant:mute", async () => ({ ...(await target()), kind: "video" }), "FORBIDDEN", ["moderator", "host"]],
      ["participant:lower-hand", target, "FORBIDDEN", ["moderator", "host"]],
      ["participant:kick", target, "FORBIDDEN", ["moderator", "host"]],
      ["participant:set-role", async () => ({ ...(await target()), role: "participant" }), "HOST_REQUIRED", ["host"]],
      ["room:update", async () => ({ name: "Renamed" }), "HOST_REQUIRED", ["host"]],
      ["room:transfer-host", async () => ({ peerId: participant.peerId }), "HOST_REQUIRED", ["host"]],
    ];
    for (const [name, client] of Object.entries({ guest: visitor, participant, moderator, host: hostClient })) {
      for (const [event, payload, refusal, may] of rows) {
        const answer = await client.emit(event, await payload());
        assert.equal(code(answer), may.includes(name) ? "OK" : refusal, `${event} of a ${name}`);
      }
      if (name !== "host") await refused(client, "room:end-call", { roomId }, "HOST_REQUIRED");
    }
    await roleOf(participant, participant, "host");
    await refused(hostClient, "room:end-call", { roomId }, "HOST_REQUIRED");
    await done(participant, "room:end-call", { roomId });
    await visitor.event("room:call-ended", () => true);
  });

  test("no one can moderate an equal or higher role, themselves, their own devices or an absent user", async () => {
    const { roomId, hostClient, moderator, participant, visitor } = await meeting();
    const device = await seated(three, roomId, ann);
    const second = await seated(two, roomId, host);
    assert.deepEqual([device.joined.role, second.joined.role], ["moderator", "host"]);
    for (const [client, others] of [
      [moderator, [moderator, device, hostClient, second]],
      [hostClient, [hostClient, second]],
    ]) {
      for (const { peerId } of others) {
        await refused(client, "participant:mute", { peerId, kind: "audio" }, "FORBIDDEN");
        await refused(client, "participant:kick", { peerId }, "FORBIDDEN");
      }
    }
    await refused(hostClient, "participant:set-role", { peerId: hostClient.peerId, role: "guest" }, "FORBIDDEN");
    await refused(hostClient, "room:transfer-host", { peerId: second.peerId }, "FORBIDDEN");
    await refused(hostClient, "room:transfer-host", { peerId: visitor.peerId }, "FORBIDDEN");
    for (const [event, fields] of [
      ["participant:mute", { kind: "audio" }],
      ["participant:kick", {}],
      ["participant:set-role", { role: "guest" }],
      ["room:transfer-host", {}],
      ["room:admit", {}],
      ["room:deny", {}],
    ]) {
      await refused(hostClient, event, { peerId: eve.user.id, ...fields }, "PEER_NOT_FOUND");
      await refused(hostClient, event, { peerId: 7, ...fields }, "VALIDATION_ERROR");
      await refused(hostClient, event, fields, "VALIDATION_ERROR");
    }
    // The server ignores ids in an event about the sender's own state.
    const forged = { peerId: hostClient.peerId, userId: hostClient.peerId, audioEnabled: false };
    await done(participant, "participant:update-media-state", forged);
    const changed = await visitor.event("participant:media-state-changed", () => true);
    assert.deepEqual([changed.peerId, changed.mediaState.audioEnabled], [participant.peerId, false]);
    assert.equal((await media(visitor, hostClient)).audioEnabled, true);
    assert.equal(visitor.all("participant:media-state-changed").length, 1);
    assert.equal(visitor.all("room:user-left").length, 0);
  });

  test("a new role and a new host are announced to all, and a demoted host's command is refused", async () => {
    const { roomId, hostClient, moderator, participant, visitor } = await meeting();
    const all = [hostClient, moderator, participant, visitor];
    await giveRole(hostClient, visitor, "moderator");
    for (const client of all) assert.equal((await roleOf(client, visitor, "moderator")).hostId, hostClient.peerId);
    await refused(hostClient, "participant:set-role", { peerId: visitor.peerId, role: "host" }, "VALIDATION_ERROR");
    await refused(hostClient, "participant:set-role", { peerId: visitor.peerId, role: "king" }, "VALIDATION_ERROR");

    const answers = await Promise.all([
      hostClient.emit("room:transfer-host", { peerId: participant.peerId }),
      hostClient.emit("room:update", { name: "Too late" }),
    ]);
    assert.deepEqual(answers.map(code), ["OK", "HOST_REQUIRED"]);
    for (const client of all) {
      await roleOf(client, hostClient, "moderator");
      assert.equal((await roleOf(client, participant, "host")).hostId, participant.peerId);
      const updated = await client.event("room:updated", () => true);
      assert.deepEqual([updated.hostId, updated.ownerId, updated.name], [bob.user.id, bob.user.id, "Signals"]);
    }
    await refused(hostClient, "participant:kick", { peerId: participant.peerId }, "FORBIDDEN");

    // The new host owns the call, so they are host again after both have rejoined.
    participant.close();
    await left(hostClient, participant, "left");
    await roleOf(hostClient, hostClient, "host");
    const again = await seated(one, roomId, bob);
    assert.deepEqual([again.joined.role, again.joined.hostId], ["host", bob.user.id]);
    await roleOf(visitor, hostClient, "moderator");
  });

  test("when the host leaves, the longest present participant of the highest role becomes host, a guest last", async () => {
    const { roomId } = await newCall(host);
    const hostClient = await seated(one, roomId, host);
    const visitor = await seatedGuest(two, roomId, "Visitor");
    const participant = await seated(three, roomId, ann);
    const first = await seated(one, roomId, bob);
    const second = await seated(two, roomId, eve);
    await giveRole(hostClient, second, "moderator");
    await giveRole(hostClient, first, "moderator");
    let leaver = hostClient;
    for (const successor of [first, second, participant, visitor]) {
      leaver.close();
      await left(visitor, leaver, "left");
      assert.equal((await roleOf(visitor, successor, "host")).hostId, successor.joined.user.id);
      // A stand-in changes nothing that outlasts the host's absence.
      await refused(successor, "room:update", { name: `Under ${successor.joined.user.name}` }, "FORBIDDEN");
      leaver = successor;
    }
    const back = await seated(three, roomId, host);
    assert.deepEqual([back.joined.role, back.joined.isHost, back.joined.hostId], ["host", true, host.user.id]);
    assert.equal((await roleOf(visitor, visitor, "guest")).hostId, host.user.id);
    await refused(visitor, "room:update", { name: "Mine still" }, "HOST_REQUIRED");
    const moderator = await seated(one, roomId, eve);
    assert.equal(moderator.joined.role, "moderator", "an assigned role survives a rejoin");
  });

  test("a host who loses the socket is still host after recovery", async () => {
    const { hostClient, moderator } = await meeting();
    const back = hostClient.nextConnect();
    hostClient.socket.io.engine.close();
    await back;
    assert.equal(hostClient.socket.recovered, true);
    await done(hostClient, "room:update", { name: "Still mine" });
    await moderator.event("room:updated", ({ name, hostId }) => name === "Still mine" && hostId === host.user.id);
    assert.equal(moderator.all("participant:role-changed").filter(({ role: given }) => given === "host").length, 0);
  });

  test("a mute is announced to all, and with allowParticipantUnmute off the participant cannot unmute", async () => {
    const { hostClient, moderator, participant, visitor } = await meeting({ settings: { allowParticipantUnmute: false } });
    await done(visitor, "webrtc:screen-share", { enabled: true });
    for (const [kind, field] of [
      ["audio", "audioEnabled"],
      ["video", "videoEnabled"],
      ["screenShare", "screenShareEnabled"],
    ]) {
      await done(moderator, "participant:mute", { peerId: visitor.peerId, kind });
      const muted = await visitor.event("participant:muted", (one) => one.kind === kind);
      assert.deepEqual([muted.peerId, muted.by, muted.mediaState[field]], [visitor.peerId, moderator.peerId, false]);
      for (const client of [hostClient, moderator, participant]) {
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
    await done(hostClient, "participant:mute", { peerId: moderator.peerId, kind: "audio" });
    await done(moderator, "participant:update-media-state", { audioEnabled: true });

    await done(hostClient, "room:update", { settings: { allowParticipantUnmute: true } });
    await done(visitor, "participant:update-media-state", { audioEnabled: true });
    await until("the unmute is visible", async () => (await media(hostClient, visitor)).audioEnabled);
    assert.equal(hostClient.all("participant:muted").length + participant.all("participant:muted").length, 0);
  });

  test("a kick removes all devices of a user, who cannot return with the old token but can with a newer one", async () => {
    const { roomId, hostClient, moderator, participant } = await meeting();
    const device = await seated(one, roomId, bob);
    await joined(moderator, device);
    // A client that joins again as soon as it is kicked is refused.
    const answers = [participant, device].map(
      ({ socket }) =>
        new Promise((resolve) => {
          socket.once("room:kicked", () => resolve(socket.emitWithAck("room:join", { roomId })));
        }),
    );
    await done(moderator, "participant:kick", { peerId: participant.peerId, reason: "too loud" });
    assert.deepEqual((await Promise.all(answers)).map(code), ["REMOVED", "REMOVED"]);
    for (const client of [participant, device]) {
      const kicked = await client.event("room:kicked", () => true);
      assert.deepEqual(kicked, { roomId, peerId: client.peerId, banned: false, reason: "too loud" });
      await left(hostClient, client, "kicked");
      await refused(client, "webrtc:get-stats", {}, "NOT_IN_ROOM");
      await refused(client, "chat:message", { message: "still here?" }, "NOT_IN_ROOM");
      await refused(client, "room:join", { roomId }, "REMOVED");
      assert.equal(client.socket.connected, true);
    }
    await refused(await connected(two, bob.token), "room:join", { roomId }, "REMOVED");
    await refused(moderator, "participant:kick", { peerId: participant.peerId }, "PEER_NOT_FOUND");
    const fresh = await newToken(bob);
    const back = await seated(two, roomId, fresh);
    assert.equal(back.joined.role, "participant");
    await until("the second join is announced", () => {
      const joins = moderator.all("room:user-joined").map(({ participant: { peerId } }) => peerId);
      return joins.filter((peerId) => peerId === back.peerId).length === 2;
    });
  });

  test("a banned user cannot return with any token, nor as a guest; others with an account can come from there", async () => {
    const { roomId, hostClient, participant } = await meeting();
    const other = await guest(roomId, "Other");
    await done(hostClient, "participant:kick", { peerId: participant.peerId, ban: true });
    assert.equal((await participant.event("room:kicked", () => true)).banned, true);
    await refused(await connected(one, (await newToken(bob)).token), "room:join", { roomId }, "BANNED");
    await refused(await connected(two, other.token), "room:join", { roomId }, "BANNED");
    await refused(await connected(three), "room:join", { roomId, guestName: "Bob again" }, "BANNED");
    await assert.rejects(guest(roomId, "Bob again"), { status: 403, code: "BANNED" });
    await seated(three, roomId, eve);
  });

  test("a banned guest cannot return under another name", async () => {
    const { roomId, hostClient, visitor } = await meeting();
    const other = await guest(roomId, "Other");
    await done(hostClient, "participant:kick", { peerId: visitor.peerId, ban: true });
    await visitor.event("room:kicked", ({ banned }) => banned);
    await refused(await connected(two, other.token), "room:join", { roomId }, "BANNED");
    await refused(await connected(three), "room:join", { roomId, guestName: "Nobody" }, "BANNED");
    await seated(three, roomId, eve);
  });

  test("when two moderators act on one participant at the same time, both get an acknowledgement and the action happens once", async () => {
    const { roomId, hostClient, moderator, participant } = await meeting();
    const other = await seated(three, roomId, eve);
    await giveRole(hostClient, other, "moderator");
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

    // A demotion during a command takes effect either before or after the command.
    const last = await seatedGuest(one, roomId, "Last");
    const [demoted, kicked] = await both(
      [hostClient, "participant:set-role", { peerId: other.peerId, role: "participant" }],
      [other, "participant:kick", { peerId: last.peerId }],
    );
    assert.ok(demoted === "OK" && ["OK", "FORBIDDEN"].includes(kicked), `${demoted} ${kicked}`);
    const { participants } = await done(hostClient, "webrtc:get-stats", {});
    assert.equal(participants.some(({ peerId }) => peerId === last.peerId), kicked === "FORBIDDEN");
    await roleOf(other, other, "participant");
    await refused(other, "participant:kick", { peerId: participant.peerId }, "FORBIDDEN");
  });

  test("a locked room admits only host and moderators, and keeps its participants", async () => {
    const { roomId, hostClient, moderator, participant, visitor } = await meeting();
    await done(moderator, "room:lock", { locked: true });
    for (const client of [hostClient, moderator, participant, visitor]) {
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
    await left(hostClient, moderator, "left");
    const again = await seated(one, roomId, ann);
    assert.deepEqual([again.joined.role, again.joined.locked], ["moderator", true]);
    await refused(again, "room:lock", { locked: "no" }, "VALIDATION_ERROR");
    await done(again, "room:lock", { locked: false });
    await visitor.event("room:updated", ({ locked }) => !locked);
    await stranger.join(roomId);
  });

  test("a changed call is announced to all and is in the next snapshot and in REST; invalid values change nothing", async () => {
    const { roomId, id, hostClient, moderator, participant, visitor } = await meeting();
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
      { settings: [] },
    ]) {
      await refused(hostClient, "room:update", payload, "VALIDATION_ERROR");
    }
    const change = { name: "  Plans  ", maxParticipants: 4, settings: { chatEnabled: false, unknown: true } };
    await done(hostClient, "room:update", change);
    for (const client of [hostClient, moderator, participant, visitor]) {
      const { name, maxParticipants, settings, locked, hostId } = await client.event("room:updated", () => true);
      assert.deepEqual([name, maxParticipants, settings.chatEnabled], ["Plans", 4, false], "refused changes are announced to no one");
      assert.deepEqual([locked, hostId, settings.unknown, settings.videoEnabled], [false, host.user.id, undefined, true]);
    }
    await refused(hostClient, "chat:message", { message: "hello" }, "FORBIDDEN");
    const stranger = await connected(two, eve.token);
    await refused(stranger, "room:join", { roomId }, "ROOM_FULL");
    await done(hostClient, "room:update", { maxParticipants: 5 });
    const { name, maxParticipants, settings } = await stranger.join(roomId);
    assert.deepEqual([name, maxParticipants, settings.chatEnabled], ["Plans", 5, false]);
    await until("REST shows the same", async () => {
      const call = await rest("GET", `/video-calls/${id}`, undefined, host.token);
      return call.title === "Plans" && call.maxParticipants === 5 && call.settings.chatEnabled === false;
    });
  });
});
