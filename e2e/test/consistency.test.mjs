// REST API and sockets show the same state: a change through one holds for the other immediately,
// on every node.
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { Client, PASSWORD, account, admitted, guest, newCall, operatorRequest, rest } from "../support/clients.mjs";
import { counterSum, metricsUrls, nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("REST and sockets show the same state", { timeout: 240_000 }, () => {
  const [one, two] = nodeUrls();
  let host;
  let clients = [];

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    host = await account("Consistent Host");
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

  /** Creates a call with its host on the first node and a guest on the second. */
  async function pair(fields) {
    const call = await newCall(host, fields);
    const { roomId } = call;
    const hostClient = await seated(one, roomId, await admitted(roomId, host));
    const other = await seated(two, roomId, await guest(roomId, "Other"));
    return { ...call, hostClient, other };
  }

  const refused = (request, status, code) =>
    assert.rejects(request, (error) => {
      assert.deepEqual([error.status, error.code], [status, code], error.message);
      return true;
    });
  const join = (roomId, fields) => rest("POST", "/video-calls/join", { roomId, ...fields });
  const patch = (id, changes) => rest("PATCH", `/video-calls/${id}`, changes, host.token);
  /** Asserts that an event is acknowledged with success. */
  const done = async (answer) => assert.equal((await answer).success, true, JSON.stringify(await answer));
  /** Resolves with the code of a refusal. */
  const code = async (answer) => (await answer).code;

  /**
   * Polls the call over REST until it matches, because the record follows the room with a delay.
   */
  const recorded = (id, what, matches) =>
    until(`REST answers ${what}`, async () => {
      const call = await rest("GET", `/video-calls/${id}`, undefined, host.token);
      return matches(call) && call;
    });

  /** Polls the call's statistics over REST until they match. */
  const statistics = (id, matches) =>
    until("the statistics match", async () => {
      const stats = await rest("GET", `/video-calls/${id}/stats`, undefined, host.token);
      return matches(stats) && stats;
    });

  /** Lists every open room, page by page. */
  async function openRooms() {
    const rooms = [];
    for (;;) {
      const after = rooms.length > 0 ? `&after=${rooms.at(-1).roomId}` : "";
      const page = await operatorRequest("GET", `/rooms?limit=100${after}`);
      if (page.length === 0) return rooms;
      rooms.push(...page);
    }
  }

  /** Waits for each client's first event of this name that matches. */
  const eventOfEach = (receivers, event, matches = () => true) =>
    Promise.all(receivers.map((client) => client.event(event, matches)));

  test("title, settings and maxParticipants changed over REST reach clients on every node and apply immediately", async () => {
    const { id, roomId, hostClient, other } = await pair();
    const late = await guest(roomId, "Late");
    const off = { videoEnabled: false, audioEnabled: true, screenShareEnabled: false };
    await done(other.emit("participant:update-media-state", off));

    const changed = await patch(id, { title: "Changed", settings: { videoEnabled: false }, maxParticipants: 2 });
    assert.deepEqual([changed.title, changed.settings.videoEnabled, changed.maxParticipants], ["Changed", false, 2]);
    for (const update of await eventOfEach([hostClient, other], "room:updated")) {
      assert.deepEqual([update.roomId, update.name, update.maxParticipants], [roomId, "Changed", 2]);
      assert.deepEqual(update.settings, changed.settings);
    }
    assert.equal(await code(other.emit("participant:update-media-state", { videoEnabled: true })), "FORBIDDEN");
    await refused(guest(roomId, "Later"), 403, "CALL_FULL");
    const joiner = await open(Client.connected(one, { token: late.token }));
    assert.equal(await code(joiner.emit("room:join", { roomId, token: late.joinToken })), "ROOM_FULL");

    await patch(id, { settings: { videoEnabled: true }, maxParticipants: 3 });
    await eventOfEach([hostClient, other], "room:updated", ({ maxParticipants }) => maxParticipants === 3);
    await done(other.emit("participant:update-media-state", { videoEnabled: true }));
    const { name, settings, maxParticipants } = await joiner.join(roomId, late);
    assert.deepEqual([name, settings.videoEnabled, maxParticipants], ["Changed", true, 3]);
  });

  test("a passcode and a call type set over REST apply to the next join, over REST and over the socket", async () => {
    const { id, roomId, hostClient, other } = await pair();
    const stranger = await open(Client.connected(two));
    const ask = (fields) => stranger.emit("room:join", { roomId, guestName: "Stranger", ...fields });

    assert.equal((await patch(id, { passcode: "sesame" })).hasPasscode, true);
    await refused(guest(roomId, "Stranger"), 401, "INVALID_PASSCODE");
    assert.equal(await code(ask({})), "INVALID_PASSCODE");
    await patch(id, { passcode: null, type: "private" });
    await eventOfEach([hostClient, other], "room:updated", ({ isPrivate }) => isPrivate);
    await refused(guest(roomId, "Stranger"), 401, "UNAUTHORIZED");
    assert.equal(await code(ask({})), "UNAUTHORIZED");
    await patch(id, { type: "public" });
    await done(ask({}));
  });

  test("a right, wrong or missing passcode has the same outcome over REST and over the socket", async () => {
    const { roomId } = await newCall(host, { passcode: "s3cret" });
    const ask = (passcode) => join(roomId, { passcode, guestName: "Grace" });
    const stranger = await open(Client.connected(one));
    for (const passcode of [undefined, "wrong", "S3CRET", ""]) {
      await refused(ask(passcode), 401, "INVALID_PASSCODE");
      const answer = stranger.emit("room:join", { roomId, guestName: "Grace", passcode });
      assert.equal(await code(answer), "INVALID_PASSCODE", String(passcode));
    }
    await done(stranger.emit("room:join", { roomId, guestName: "Grace", passcode: "s3cret" }));
    // A join token proves the passcode, and the host never needs it.
    await seated(two, roomId, await ask("s3cret"));
    assert.equal((await seated(one, roomId, await admitted(roomId, host))).joined.isHost, true);
  });

  test("a join token stands for the passcode of its time: after a change the socket asks for the new one", async () => {
    const { id, roomId } = await newCall(host, { passcode: "first" });
    const { joinToken, token } = await join(roomId, { passcode: "first", guestName: "Grace" });
    const moderator = await admitted(roomId, host);
    await patch(id, { passcode: "second" });
    const late = await open(Client.connected(two, { token }));
    assert.equal(await code(late.emit("room:join", { roomId, token: joinToken })), "INVALID_PASSCODE");
    assert.equal(await code(late.emit("room:join", { roomId, token: joinToken, passcode: "first" })), "INVALID_PASSCODE");
    await done(late.emit("room:join", { roomId, token: joinToken, passcode: "second" }));
    assert.equal((await seated(one, roomId, moderator)).joined.isHost, true);

    // Another change: a participant who has a seat is not asked on a new socket.
    await patch(id, { passcode: "third" });
    late.socket.io.reconnection(false);
    late.socket.io.engine.close();
    const back = await open(Client.connected(one, { token }));
    await done(back.emit("room:join", { roomId, token: joinToken }));
  });

  const ENDS = [
    ["ended over REST", "ended_by_host", ({ id }) => rest("POST", `/video-calls/${id}/end`, undefined, host.token)],
    ["deleted", "deleted", ({ id }) => rest("DELETE", `/video-calls/${id}`, undefined, host.token)],
    ["ended by its host's socket", "ended_by_host", ({ roomId, hostClient }) => done(hostClient.emit("room:end-call", { roomId }))],
    ["ended by an operator", "ended_by_operator", ({ roomId }) => operatorRequest("POST", `/rooms/${roomId}/end`)],
  ];
  for (const [how, reason, end] of ENDS) {
    test(`a call that was ${how} is over for all participants on every node, and refuses joins`, async () => {
      const call = await pair();
      const { id, roomId, hostClient, other } = call;
      const late = await guest(roomId, "Late");
      await end(call);
      for (const event of await eventOfEach([hostClient, other], "room:call-ended")) assert.deepEqual(event, { roomId, reason });
      for (const client of [hostClient, other]) {
        assert.equal(client.socket.connected, true, "a socket outlives its call");
        assert.equal(await code(client.emit("chat:message", { message: "still there?" })), "NOT_IN_ROOM");
      }
      await refused(guest(roomId, "Later"), 403, "CALL_ENDED");
      for (const url of [one, two]) {
        const joiner = await open(Client.connected(url, { token: late.token }));
        assert.equal(await code(joiner.emit("room:join", { roomId, token: late.joinToken })), "CALL_ENDED");
      }
      assert.equal(await code(hostClient.emit("room:join", { roomId })), "CALL_ENDED");
      if (how === "deleted") {
        await refused(rest("GET", `/video-calls/${id}`, undefined, host.token), 404, "CALL_NOT_FOUND");
        await refused(patch(id, { title: "Late" }), 404, "CALL_NOT_FOUND");
      } else {
        const over = await recorded(id, "that the call has ended", ({ status }) => status === "ended");
        assert.equal(over.currentParticipants, 0);
        await refused(patch(id, { title: "Late" }), 403, "CALL_ENDED");
      }
    });
  }

  test("REST shows changes made by the host's socket, and keeps the fields that were not changed", async () => {
    const { id, roomId, hostClient, other, settings } = await pair({ title: "Before", description: "Kept" });
    await patch(id, { passcode: "s3cret" });
    const changes = { name: "From the socket", settings: { chatEnabled: false }, maxParticipants: 7 };
    await done(hostClient.emit("room:update", changes));
    const after = await recorded(id, "the new title", ({ title }) => title === "From the socket");
    assert.deepEqual(after.settings, { ...settings, chatEnabled: false });
    assert.deepEqual([after.maxParticipants, after.description, after.hasPasscode], [7, "Kept", true]);
    const [update] = await eventOfEach([other], "room:updated", ({ name }) => name === "From the socket");
    assert.deepEqual(update.settings, after.settings);

    await done(hostClient.emit("room:lock", { locked: true }));
    await refused(join(roomId, { passcode: "s3cret", guestName: "Late" }), 403, "ROOM_LOCKED");
    await done(hostClient.emit("room:lock", { locked: false }));
    await seated(two, roomId, await join(roomId, { passcode: "s3cret", guestName: "Late" }));
  });

  test("concurrent changes over REST and the socket leave the same state in both", async () => {
    const { id, hostClient, other } = await pair();
    for (let round = 0; round < 3; round += 1) {
      const titles = Array.from({ length: 4 }, (_, index) => `Title ${round}.${index}`);
      const change = (title, index) => (index % 2 ? patch(id, { title }) : done(hostClient.emit("room:update", { name: title })));
      await Promise.all(titles.map(change));
      // The last change comes from the socket, so that the record can have it only from the room.
      const places = 10 + round;
      await done(hostClient.emit("room:update", { maxParticipants: places }));
      const isLast = ({ maxParticipants }) => maxParticipants === places;
      const [mine, theirs] = await eventOfEach([hostClient, other], "room:updated", isLast);
      assert.ok(titles.includes(mine.name), mine.name);
      assert.deepEqual(mine, theirs);
      await recorded(id, JSON.stringify(mine), (call) => call.title === mine.name && call.maxParticipants === places);
    }
  });

  test("an operator lists present and waiting participants, and removes them", async () => {
    const settings = { waitingRoomEnabled: true, autoAdmitGuests: true };
    const { id, roomId, hostClient, other } = await pair({ settings });
    const user = await account("Waiting User");
    const waiting = await open(Client.connected(two, user));
    await done(waiting.emit("room:join", { roomId }));
    const [request] = await eventOfEach([hostClient], "room:join-request");

    const listed = await operatorRequest("GET", `/rooms/${roomId}/participants`);
    const expected = [
      [hostClient.peerId, "host", "connected", hostClient.joined.node],
      [other.peerId, "guest", "connected", other.joined.node],
      [request.participant.peerId, "participant", "waiting", other.joined.node],
    ];
    const seats = listed.map(({ peerId, role, connectionState, node }) => [peerId, role, connectionState, node]);
    assert.deepEqual(seats.sort(), expected.sort());
    const nodes = (await operatorRequest("GET", "/nodes")).map((node) => node.id);
    assert.ok([hostClient, other].every(({ joined }) => nodes.includes(joined.node)), nodes.join());
    const room = (await openRooms()).find((room) => room.roomId === roomId);
    assert.deepEqual([room.callId, room.participants, room.locked], [id, 2, false]);

    await operatorRequest("DELETE", `/rooms/${roomId}/participants/${other.peerId}`);
    const [kicked] = await eventOfEach([other], "room:kicked");
    assert.deepEqual([kicked.peerId, kicked.banned], [other.peerId, false]);
    await eventOfEach([hostClient], "room:user-left", ({ peerId, reason }) => peerId === other.peerId && reason === "kicked");
    assert.equal(await code(other.emit("chat:message", { message: "hello?" })), "NOT_IN_ROOM");
    assert.equal(await code(other.emit("room:join", { roomId })), "REMOVED");
    await operatorRequest("DELETE", `/rooms/${roomId}/participants/${request.participant.peerId}`);
    await eventOfEach([waiting], "room:kicked");
    await operatorRequest("DELETE", `/rooms/${roomId}/participants/${hostClient.peerId}`);
    await eventOfEach([hostClient], "room:kicked");
    assert.deepEqual(await operatorRequest("GET", `/rooms/${roomId}/participants`), []);
    await refused(operatorRequest("DELETE", `/rooms/${roomId}/participants/${other.peerId}`), 404, "PEER_NOT_FOUND");
    await refused(rest("GET", "/admin/nodes", undefined, host.token), 401, "UNAUTHORIZED");
  });

  test("REST join says who must wait, guests too once the waiting room is switched on, and a PATCH that disables waiting admits all", async () => {
    const { id, roomId, hostClient } = await pair();
    const user = await account("Waiting User");
    const waits = async (admission) => (await admission).waits;
    const admissions = () => [guest(roomId, "Guest"), admitted(roomId, user), admitted(roomId, host)];
    for (const [settings, expected] of [
      [{ waitingRoomEnabled: true }, [true, true, false]],
      [{ autoAdmitGuests: true }, [false, true, false]],
      [{ waitingRoomEnabled: true }, [false, true, false]],
      [{ waitingRoomEnabled: false }, [false, false, false]],
      // A client that sends back all that it has read: guests wait too.
      [{ waitingRoomEnabled: true, autoAdmitGuests: true }, [true, true, false]],
      [{ waitingRoomEnabled: true, autoAdmitGuests: true }, [false, true, false]],
    ]) {
      await patch(id, { settings });
      assert.deepEqual(await Promise.all(admissions().map(waits)), expected, JSON.stringify(settings));
    }
    await patch(id, { settings: { autoAdmitGuests: false } });
    const admission = await guest(roomId, "Guest");
    assert.equal(admission.waits, true);
    const waiting = await open(Client.connected(two, { token: admission.token }));
    await done(waiting.emit("room:join", { roomId, token: admission.joinToken }));
    await eventOfEach([waiting], "room:waiting");
    assert.deepEqual(waiting.all("room:joined"), []);
    await patch(id, { settings: { waitingRoomEnabled: false } });
    const [joined] = await eventOfEach([waiting], "room:joined");
    assert.equal(joined.settings.waitingRoomEnabled, false);
    await eventOfEach([hostClient], "room:user-joined", ({ participant }) => participant.peerId === joined.peerId);
    assert.equal(await waits(admitted(roomId, user)), false);
  });

  test("a private call that names invited users refuses all others, over REST and over the socket", async () => {
    const [invited, other] = await Promise.all([account("Invited"), account("Not Invited")]);
    const { id, roomId } = await newCall(host, { type: "private" });
    await open(Client.seated(one, roomId, await admitted(roomId, other)));
    await patch(id, { invitedUserIds: [invited.user.id] });
    await refused(admitted(roomId, other), 403, "FORBIDDEN");
    const [inside, outside] = [await open(Client.connected(two, invited)), await open(Client.connected(two, other))];
    assert.equal(await code(outside.emit("room:join", { roomId })), "FORBIDDEN");
    await inside.join(roomId);
    assert.equal((await rest("GET", `/video-calls/${id}`, undefined, invited.token)).requiresInvitation, true);
  });

  test("a user joins with the name of the account, whatever name the token has", async () => {
    const { roomId, hostClient } = await pair();
    const user = await account("Maiden Name");
    await rest("PATCH", "/auth/profile", { name: "Married Name" }, user.token);
    const client = await open(Client.connected(two, user));
    const joined = await client.join(roomId);
    assert.equal(joined.user.name, "Married Name");
    const seen = ({ participant }) => participant.peerId === client.peerId;
    const [{ participant }] = await eventOfEach([hostClient], "room:user-joined", seen);
    assert.equal(participant.user.name, "Married Name");
    await done(client.emit("chat:message", { message: "hello" }));
    const [{ fromUser }] = await eventOfEach([hostClient], "chat:message", ({ message }) => message === "hello");
    assert.equal(fromUser.name, "Married Name");
    assert.equal((await admitted(roomId, user)).user.name, "Married Name");
    // The token of before still has the old name, and resumes the seat without bringing it back.
    const back = client.nextConnect();
    client.socket.io.engine.close();
    await back;
    assert.equal(client.socket.recovered, true);
    await done(client.emit("chat:message", { message: "back" }));
    const [again] = await eventOfEach([hostClient], "chat:message", ({ message }) => message === "back");
    assert.equal(again.fromUser.name, "Married Name");
  });

  test("a removed user cannot return with tokens issued before, but can with a newer sign-in", async () => {
    const { roomId, hostClient } = await pair();
    const user = await account("Removed User");
    const admission = await admitted(roomId, user);
    const removed = await seated(two, roomId, admission);
    await done(hostClient.emit("participant:kick", { peerId: removed.peerId }));
    await eventOfEach([removed], "room:kicked");
    for (const url of [one, two]) {
      const back = await open(Client.connected(url, user));
      for (const token of [admission.joinToken, undefined]) {
        assert.equal(await code(back.emit("room:join", { roomId, token })), "REMOVED");
      }
    }
    await refused(admitted(roomId, user), 403, "REMOVED");
    const again = await rest("POST", "/auth/login", { email: user.user.email, password: PASSWORD });
    await seated(one, roomId, await admitted(roomId, again));
  });

  test("chat is recorded only while recording is on, and refused while chat is off", async () => {
    const { id, hostClient, other } = await pair();
    const stored = () => counterSum("switchboard_facts_recorded_total", 'kind="chat"', metricsUrls().api);
    const say = (client, message) => client.emit("chat:message", { message });
    const before = await stored();
    await done(say(hostClient, "off the record"));
    await patch(id, { settings: { chatRecordingEnabled: true } });
    await done(say(hostClient, "for the record"));
    await done(say(other, "this too"));
    await done(other.emit("chat:message", { message: "between us", to: hostClient.peerId }));
    await until("all three messages are in MongoDB", async () => (await stored()) >= before + 3);
    const read = (token) => rest("GET", `/video-calls/${id}/messages`, undefined, token);
    const [first, second, direct] = await read(host.token);
    assert.deepEqual([first, second, direct].map(({ message }) => message), ["for the record", "this too", "between us"]);
    assert.deepEqual([first.from, first.fromUser.name, first.to], [host.user.id, host.user.name, null]);
    assert.deepEqual([second.from, direct.to], [other.joined.user.id, host.user.id]);
    await refused(read((await account("Stranger")).token), 403, "FORBIDDEN");
    await done(hostClient.emit("room:update", { settings: { chatRecordingEnabled: false } }));
    await done(say(other, "off the record again"));
    await patch(id, { settings: { chatEnabled: false } });
    for (const client of [hostClient, other]) assert.equal(await code(say(client, "refused")), "FORBIDDEN");
    // A call's facts are recorded in order: when its end is recorded, so are all earlier messages.
    await rest("POST", `/video-calls/${id}/end`, undefined, host.token);
    await statistics(id, ({ participantStats }) => participantStats.every(({ leftAt }) => leftAt));
    assert.equal(await stored(), before + 3);
    await rest("DELETE", `/video-calls/${id}`, undefined, host.token);
    await refused(read(host.token), 404, "CALL_NOT_FOUND");
  });

  test("the statistics over the socket equal the statistics over REST after the call", async () => {
    const { id, roomId, hostClient, other } = await pair();
    const third = await seated(one, roomId, await guest(roomId, "Third"));
    third.close();
    await eventOfEach([hostClient], "room:user-left", ({ peerId }) => peerId === third.peerId);
    const fourth = await seated(two, roomId, await guest(roomId, "Fourth"));
    const { call, participants } = await hostClient.emit("webrtc:get-stats", {});
    assert.deepEqual([call.callId, call.currentParticipants, call.maxConcurrentParticipants], [id, 3, 3]);
    const present = [hostClient, other, fourth].map(({ peerId }) => peerId);
    assert.deepEqual(participants.map(({ peerId }) => peerId), present);
    // The recorder writes participants first, then the counts of the call.
    const live = await recorded(id, "all participants", ({ totalParticipants }) => totalParticipants === 4);
    assert.equal(live.currentParticipants, call.currentParticipants);

    await rest("POST", `/video-calls/${id}/end`, undefined, host.token);
    const over = await statistics(id, ({ participantStats }) => participantStats.every(({ leftAt }) => leftAt));
    assert.deepEqual([over.totalParticipants, over.maxConcurrentParticipants], [4, call.maxConcurrentParticipants]);
    const roles = new Map(over.participantStats.map(({ userId, role }) => [userId, role]));
    for (const { userId, role } of participants) assert.equal(roles.get(userId), role);
  });

  test("a new host is host over REST too, and the former host is not", async () => {
    const newHost = await account("New Host");
    const { id, roomId, hostClient } = await pair();
    const next = await seated(two, roomId, await admitted(roomId, newHost));
    await done(hostClient.emit("room:transfer-host", { peerId: next.peerId }));
    await eventOfEach([hostClient, next], "room:updated", ({ ownerId }) => ownerId === newHost.user.id);
    await recorded(id, "the new host", ({ hostId }) => hostId === newHost.user.id);
    assert.equal((await rest("PATCH", `/video-calls/${id}`, { title: "Mine now" }, newHost.token)).title, "Mine now");
    await refused(patch(id, { title: "Still mine?" }), 403, "HOST_REQUIRED");
    await refused(rest("POST", `/video-calls/${id}/end`, undefined, host.token), 403, "HOST_REQUIRED");
    await rest("POST", `/video-calls/${id}/end`, undefined, newHost.token);
  });
});
