// REST and sockets agree: what one of them changes is so for the other at once, on every node.
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { Client, PASSWORD, account, admitted, guest, newCall, operate, rest } from "../support/clients.mjs";
import { counted, metricsUrls, nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("REST and sockets agree", { timeout: 240_000 }, () => {
  const [one, two] = nodeUrls();
  let host;
  let clients = [];

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    host = await account("Agreeing Host");
  });
  afterEach(() => {
    clients.forEach((client) => client.close());
    clients = [];
  });

  async function open(promise) {
    const client = await promise;
    clients.push(client);
    return client;
  }
  const seated = (...args) => open(Client.seated(...args));

  /** A call of the host's, who is on the first node, and a guest on the second. */
  async function pair(fields) {
    const call = await newCall(host, fields);
    const { roomId } = call;
    const chair = await seated(one, roomId, await admitted(roomId, host));
    const other = await seated(two, roomId, await guest(roomId, "Other"));
    return { ...call, chair, other };
  }

  const refused = (request, status, code) =>
    assert.rejects(request, (error) => {
      assert.deepEqual([error.status, error.code], [status, code], error.message);
      return true;
    });
  const join = (roomId, fields) => rest("POST", "/video-calls/join", { roomId, ...fields });
  const patch = (id, changes) => rest("PATCH", `/video-calls/${id}`, changes, host.token);
  /** An event is acknowledged. */
  const done = async (answer) => assert.equal((await answer).success, true, JSON.stringify(await answer));
  /** What an event is refused with. */
  const code = async (answer) => (await answer).code;

  /** The call as REST answers, once it fits: the record follows the room within a moment. */
  const recorded = (id, what, fits) =>
    until(`REST answers ${what}`, async () => {
      const call = await rest("GET", `/video-calls/${id}`, undefined, host.token);
      return fits(call) && call;
    });

  /** The call's statistics over REST, once they fit. */
  const statistics = (id, fits) =>
    until("the statistics tell it", async () => {
      const stats = await rest("GET", `/video-calls/${id}/stats`, undefined, host.token);
      return fits(stats) && stats;
    });

  /** Every open room, page by page. */
  async function openRooms() {
    const rooms = [];
    for (;;) {
      const after = rooms.length > 0 ? `&after=${rooms.at(-1).roomId}` : "";
      const page = await operate("GET", `/rooms?limit=100${after}`);
      if (page.length === 0) return rooms;
      rooms.push(...page);
    }
  }

  /** Every client's first event of this name that fits. */
  const told = (people, event, fits = () => true) => Promise.all(people.map((client) => client.event(event, fits)));

  test("title, settings and places changed over REST are told on every node, and hold for what comes next", async () => {
    const { id, roomId, chair, other } = await pair();
    const late = await guest(roomId, "Late");
    const off = { videoEnabled: false, audioEnabled: true, screenShareEnabled: false };
    await done(other.emit("participant:update-media-state", off));

    const changed = await patch(id, { title: "Changed", settings: { videoEnabled: false }, maxParticipants: 2 });
    assert.deepEqual([changed.title, changed.settings.videoEnabled, changed.maxParticipants], ["Changed", false, 2]);
    for (const update of await told([chair, other], "room:updated")) {
      assert.deepEqual([update.roomId, update.name, update.maxParticipants], [roomId, "Changed", 2]);
      assert.deepEqual(update.settings, changed.settings);
    }
    assert.equal(await code(other.emit("participant:update-media-state", { videoEnabled: true })), "FORBIDDEN");
    await refused(guest(roomId, "Later"), 403, "CALL_FULL");
    const knocking = await open(Client.connected(one, { token: late.token }));
    assert.equal(await code(knocking.emit("room:join", { roomId, token: late.joinToken })), "ROOM_FULL");

    await patch(id, { settings: { videoEnabled: true }, maxParticipants: 3 });
    await told([chair, other], "room:updated", ({ maxParticipants }) => maxParticipants === 3);
    await done(other.emit("participant:update-media-state", { videoEnabled: true }));
    const { name, settings, maxParticipants } = await knocking.join(roomId, late);
    assert.deepEqual([name, settings.videoEnabled, maxParticipants], ["Changed", true, 3]);
  });

  test("a passcode and a type set over REST hold at the very next door, here and there", async () => {
    const { id, roomId, chair, other } = await pair();
    const stranger = await open(Client.connected(two));
    const ask = (fields) => stranger.emit("room:join", { roomId, guestName: "Stranger", ...fields });

    assert.equal((await patch(id, { passcode: "sesame" })).hasPasscode, true);
    await refused(guest(roomId, "Stranger"), 401, "INVALID_PASSCODE");
    assert.equal(await code(ask({})), "INVALID_PASSCODE");
    await patch(id, { passcode: null, type: "private" });
    await told([chair, other], "room:updated", ({ isPrivate }) => isPrivate);
    await refused(guest(roomId, "Stranger"), 401, "UNAUTHORIZED");
    assert.equal(await code(ask({})), "UNAUTHORIZED");
    await patch(id, { type: "public" });
    await done(ask({}));
  });

  test("a passcode that is right, wrong or missing is the same over REST and over the socket", async () => {
    const { roomId } = await newCall(host, { passcode: "s3cret" });
    const ask = (passcode) => join(roomId, { passcode, guestName: "Grace" });
    const stranger = await open(Client.connected(one));
    for (const passcode of [undefined, "wrong", "S3CRET", ""]) {
      await refused(ask(passcode), 401, "INVALID_PASSCODE");
      const answer = stranger.emit("room:join", { roomId, guestName: "Grace", passcode });
      assert.equal(await code(answer), "INVALID_PASSCODE", String(passcode));
    }
    await done(stranger.emit("room:join", { roomId, guestName: "Grace", passcode: "s3cret" }));
    // Who showed it at one door need not show it at the other; the host never needs to.
    await seated(two, roomId, await ask("s3cret"));
    assert.equal((await seated(one, roomId, await admitted(roomId, host))).joined.isHost, true);
  });

  const ENDS = [
    ["ended over REST", "ended_by_host", ({ id }) => rest("POST", `/video-calls/${id}/end`, undefined, host.token)],
    ["deleted", "deleted", ({ id }) => rest("DELETE", `/video-calls/${id}`, undefined, host.token)],
    ["ended by its host's socket", "ended_by_host", ({ roomId, chair }) => done(chair.emit("room:end-call", { roomId }))],
    ["ended by an operator", "ended_by_operator", ({ roomId }) => operate("POST", `/rooms/${roomId}/end`)],
  ];
  for (const [how, reason, end] of ENDS) {
    test(`a call that was ${how} is over for everybody on every node, and nobody comes in any more`, async () => {
      const call = await pair();
      const { id, roomId, chair, other } = call;
      const late = await guest(roomId, "Late");
      await end(call);
      for (const event of await told([chair, other], "room:call-ended")) assert.deepEqual(event, { roomId, reason });
      for (const client of [chair, other]) {
        assert.equal(client.socket.connected, true, "a socket outlives its call");
        assert.equal(await code(client.emit("chat:message", { message: "still there?" })), "NOT_IN_ROOM");
      }
      await refused(guest(roomId, "Later"), 403, "CALL_ENDED");
      for (const url of [one, two]) {
        const knocking = await open(Client.connected(url, { token: late.token }));
        assert.equal(await code(knocking.emit("room:join", { roomId, token: late.joinToken })), "CALL_ENDED");
      }
      assert.equal(await code(chair.emit("room:join", { roomId })), "CALL_ENDED");
      if (how === "deleted") {
        await refused(rest("GET", `/video-calls/${id}`, undefined, host.token), 404, "CALL_NOT_FOUND");
        await refused(patch(id, { title: "Late" }), 404, "CALL_NOT_FOUND");
      } else {
        const over = await recorded(id, "that it is over", ({ status }) => status === "ended");
        assert.equal(over.currentParticipants, 0);
        await refused(patch(id, { title: "Late" }), 403, "CALL_ENDED");
      }
    });
  }

  test("what the host's socket changes is in REST's answer, and what it leaves alone stays", async () => {
    const { id, roomId, chair, other, settings } = await pair({ title: "Before", description: "Kept" });
    await patch(id, { passcode: "s3cret" });
    const changes = { name: "From the socket", settings: { chatEnabled: false }, maxParticipants: 7 };
    await done(chair.emit("room:update", changes));
    const after = await recorded(id, "the new title", ({ title }) => title === "From the socket");
    assert.deepEqual(after.settings, { ...settings, chatEnabled: false });
    assert.deepEqual([after.maxParticipants, after.description, after.hasPasscode], [7, "Kept", true]);
    const [update] = await told([other], "room:updated", ({ name }) => name === "From the socket");
    assert.deepEqual(update.settings, after.settings);

    await done(chair.emit("room:lock", { locked: true }));
    await refused(join(roomId, { passcode: "s3cret", guestName: "Late" }), 403, "ROOM_LOCKED");
    await done(chair.emit("room:lock", { locked: false }));
    await seated(two, roomId, await join(roomId, { passcode: "s3cret", guestName: "Late" }));
  });

  test("changes from both sides at the same time end up the same on both", async () => {
    const { id, chair, other } = await pair();
    for (let round = 0; round < 3; round += 1) {
      const titles = Array.from({ length: 4 }, (_, index) => `Title ${round}.${index}`);
      const change = (title, index) => (index % 2 ? patch(id, { title }) : done(chair.emit("room:update", { name: title })));
      await Promise.all(titles.map(change));
      // The last of all is the socket's, so that the record has it from the room or not at all.
      const places = 10 + round;
      await done(chair.emit("room:update", { maxParticipants: places }));
      const [mine, theirs] = await told([chair, other], "room:updated", ({ maxParticipants }) => maxParticipants === places);
      assert.ok(titles.includes(mine.name), mine.name);
      assert.deepEqual(mine, theirs);
      await recorded(id, JSON.stringify(mine), (call) => call.title === mine.name && call.maxParticipants === places);
    }
  });

  test("an operator sees who is there now, the lobby too, and removes them", async () => {
    const { id, roomId, chair, other } = await pair({ settings: { waitingRoomEnabled: true } });
    const user = await account("Waiting User");
    const waiting = await open(Client.connected(two, user));
    await done(waiting.emit("room:join", { roomId }));
    const [request] = await told([chair], "room:join-request");

    const there = await operate("GET", `/rooms/${roomId}/participants`);
    const expected = [
      [chair.peerId, "host", "connected", chair.joined.node],
      [other.peerId, "guest", "connected", other.joined.node],
      [request.participant.peerId, "participant", "waiting", other.joined.node],
    ];
    const seats = there.map(({ peerId, role, connectionState, node }) => [peerId, role, connectionState, node]);
    assert.deepEqual(seats.sort(), expected.sort());
    const nodes = (await operate("GET", "/nodes")).map((node) => node.id);
    assert.ok([chair, other].every(({ joined }) => nodes.includes(joined.node)), nodes.join());
    const room = (await openRooms()).find((room) => room.roomId === roomId);
    assert.deepEqual([room.callId, room.participants, room.locked], [id, 2, false]);

    await operate("DELETE", `/rooms/${roomId}/participants/${other.peerId}`);
    const [kicked] = await told([other], "room:kicked");
    assert.deepEqual([kicked.peerId, kicked.banned], [other.peerId, false]);
    await told([chair], "room:user-left", ({ peerId, reason }) => peerId === other.peerId && reason === "kicked");
    assert.equal(await code(other.emit("chat:message", { message: "hello?" })), "NOT_IN_ROOM");
    assert.equal(await code(other.emit("room:join", { roomId })), "BANNED");
    await operate("DELETE", `/rooms/${roomId}/participants/${request.participant.peerId}`);
    await told([waiting], "room:kicked");
    await operate("DELETE", `/rooms/${roomId}/participants/${chair.peerId}`);
    await told([chair], "room:kicked");
    assert.deepEqual(await operate("GET", `/rooms/${roomId}/participants`), []);
    await refused(operate("DELETE", `/rooms/${roomId}/participants/${other.peerId}`), 404, "PEER_NOT_FOUND");
    await refused(rest("GET", "/admin/nodes", undefined, host.token), 401, "UNAUTHORIZED");
  });

  test("who has to wait is told so over REST, and a host's PATCH lets everybody in", async () => {
    const { id, roomId, chair } = await pair({ settings: { waitingRoomEnabled: true } });
    const user = await account("Waiting User");
    const waits = async (admission) => (await admission).waits;
    const admissions = [guest(roomId, "Guest"), admitted(roomId, user), admitted(roomId, host)];
    assert.deepEqual(await Promise.all(admissions.map(waits)), [false, true, false]);
    await patch(id, { settings: { autoAdmitGuests: false } });
    const admission = await guest(roomId, "Guest");
    assert.equal(admission.waits, true);
    const waiting = await open(Client.connected(two, { token: admission.token }));
    await done(waiting.emit("room:join", { roomId, token: admission.joinToken }));
    await told([waiting], "room:waiting");
    assert.deepEqual(waiting.all("room:joined"), []);
    await patch(id, { settings: { waitingRoomEnabled: false } });
    const [joined] = await told([waiting], "room:joined");
    assert.equal(joined.settings.waitingRoomEnabled, false);
    await told([chair], "room:user-joined", ({ participant }) => participant.peerId === joined.peerId);
    assert.equal(await waits(admitted(roomId, user)), false);
  });

  test("who was removed does not come back with what REST gave out before, and does with a newer sign-in", async () => {
    const { roomId, chair } = await pair();
    const user = await account("Removed User");
    const admission = await admitted(roomId, user);
    const removed = await seated(two, roomId, admission);
    await done(chair.emit("participant:kick", { peerId: removed.peerId }));
    await told([removed], "room:kicked");
    for (const url of [one, two]) {
      const back = await open(Client.connected(url, user));
      for (const token of [admission.joinToken, undefined]) {
        assert.equal(await code(back.emit("room:join", { roomId, token })), "BANNED");
      }
    }
    await refused(admitted(roomId, user), 403, "BANNED");
    // A token tells its second: one of the next second is newer for sure.
    await until("a newer sign-in is let in", async () => {
      const again = await rest("POST", "/auth/login", { email: user.user.email, password: PASSWORD });
      const back = await open(Client.connected(one, again));
      const admission = await admitted(roomId, again).catch((error) => error);
      const answer = await back.emit("room:join", { roomId, token: admission.joinToken });
      if (!answer.success) assert.equal(answer.code, "BANNED");
      // Of one opinion, unless a second began in between.
      if (admission.joinToken === undefined) assert.equal(admission.code, "BANNED");
      return answer.success;
    });
  });

  test("what is said is recorded when the call's settings say so, and refused when there is no chat", async () => {
    const { id, chair, other } = await pair();
    const stored = () => counted("switchboard_facts_recorded_total", 'kind="chat"', metricsUrls().api);
    const say = (client, message) => client.emit("chat:message", { message });
    const before = await stored();
    await done(say(chair, "off the record"));
    await patch(id, { settings: { chatRecordingEnabled: true } });
    await done(say(chair, "for the record"));
    await done(say(other, "this too"));
    await done(other.emit("chat:message", { message: "between us", to: chair.peerId }));
    await until("all three messages are in MongoDB", async () => (await stored()) >= before + 3);
    const read = (token) => rest("GET", `/video-calls/${id}/messages`, undefined, token);
    const [said, too, private_] = await read(host.token);
    assert.deepEqual([said, too, private_].map(({ message }) => message), ["for the record", "this too", "between us"]);
    assert.deepEqual([said.from, said.fromUser.name, said.to], [host.user.id, host.user.name, null]);
    assert.deepEqual([too.from, private_.to], [other.joined.user.id, host.user.id]);
    await refused(read((await account("Stranger")).token), 403, "FORBIDDEN");
    await done(chair.emit("room:update", { settings: { chatRecordingEnabled: false } }));
    await done(say(other, "off the record again"));
    await patch(id, { settings: { chatEnabled: false } });
    for (const client of [chair, other]) assert.equal(await code(say(client, "nobody hears this")), "FORBIDDEN");
    // Facts of a call are recorded in their order: once the call is over, whatever was said before is.
    await rest("POST", `/video-calls/${id}/end`, undefined, host.token);
    await statistics(id, ({ participantStats }) => participantStats.every(({ leftAt }) => leftAt));
    assert.equal(await stored(), before + 3);
    await rest("DELETE", `/video-calls/${id}`, undefined, host.token);
    await refused(read(host.token), 404, "CALL_NOT_FOUND");
  });

  test("the figures over the socket are those of REST afterwards", async () => {
    const { id, roomId, chair, other } = await pair();
    const third = await seated(one, roomId, await guest(roomId, "Third"));
    third.close();
    await told([chair], "room:user-left", ({ peerId }) => peerId === third.peerId);
    const fourth = await seated(two, roomId, await guest(roomId, "Fourth"));
    const { call, participants } = await chair.emit("webrtc:get-stats", {});
    assert.deepEqual([call.callId, call.currentParticipants, call.maxConcurrentParticipants], [id, 3, 3]);
    const present = [chair, other, fourth].map(({ peerId }) => peerId);
    assert.deepEqual(participants.map(({ peerId }) => peerId), present);
    const live = await recorded(id, "who is there", ({ participants }) => participants.length === 4);
    assert.equal(live.currentParticipants, call.currentParticipants);

    await rest("POST", `/video-calls/${id}/end`, undefined, host.token);
    const over = await statistics(id, ({ participantStats }) => participantStats.every(({ leftAt }) => leftAt));
    assert.deepEqual([over.totalParticipants, over.maxConcurrentParticipants], [4, call.maxConcurrentParticipants]);
    const roles = new Map(over.participantStats.map(({ userId, role }) => [userId, role]));
    for (const { userId, role } of participants) assert.equal(roles.get(userId), role);
  });

  test("a call that was handed to somebody else is theirs over REST too", async () => {
    const heir = await account("Heir");
    const { id, roomId, chair } = await pair();
    const next = await seated(two, roomId, await admitted(roomId, heir));
    await done(chair.emit("room:transfer-host", { peerId: next.peerId }));
    await told([chair, next], "room:updated", ({ ownerId }) => ownerId === heir.user.id);
    await recorded(id, "the new host", ({ hostId }) => hostId === heir.user.id);
    assert.equal((await rest("PATCH", `/video-calls/${id}`, { title: "Mine now" }, heir.token)).title, "Mine now");
    await refused(patch(id, { title: "Still mine?" }), 403, "HOST_REQUIRED");
    await refused(rest("POST", `/video-calls/${id}/end`, undefined, host.token), 403, "HOST_REQUIRED");
    await rest("POST", `/video-calls/${id}/end`, undefined, heir.token);
  });
});
