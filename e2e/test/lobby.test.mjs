// The waiting room over three nodes: a waiting participant receives nothing and may do nothing, and
// is admitted or denied while others join, leave and reconnect.
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { Client, account, admitted, guest, newCall } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { TcpProxy } from "../support/tcp-proxy.mjs";
import { until } from "../support/until.mjs";

const WAITING = { waitingRoomEnabled: true, autoAdmitGuests: false };

describe("the waiting room on several nodes", { timeout: 180_000 }, () => {
  const [one, two, three = two] = nodeUrls();
  let host;
  let ann;
  let bob;
  let opened = [];

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    [host, ann, bob] = await Promise.all(["Lobby Host", "Ann", "Bob"].map((name) => account(name)));
  });
  afterEach(() => {
    opened.forEach((each) => each.close());
    opened = [];
  });

  function opening(each) {
    opened.push(each);
    return each;
  }

  async function seated(url, roomId, member) {
    return opening(await Client.seated(url, roomId, member.user.isGuest ? member : await admitted(roomId, member)));
  }

  /** Connects a client, joins, and asserts that it must wait. */
  async function waiter(url, roomId, member) {
    const client = opening(await Client.connected(url, { token: member.token }));
    const answer = await client.emit("room:join", { roomId });
    assert.deepEqual(answer, { success: true, roomId, waiting: true });
    assert.deepEqual(await client.event("room:waiting", () => true), { roomId, waiting: true });
    client.id = member.user.id;
    return client;
  }

  /** Creates the host's call. The host joins it unless `late` is set. */
  async function held({ late, ...fields } = {}) {
    const { roomId } = await newCall(host, { settings: WAITING, ...fields });
    const hostClient = late ? undefined : await seated(one, roomId, host);
    return { roomId, hostClient };
  }

  const requested = (client, peer) => client.event("room:join-request", ({ participant }) => participant.peerId === peer);
  const letIn = (client) => client.event("room:joined", () => true);
  const come = (client, peer) => client.event("room:user-joined", ({ participant }) => participant.peerId === peer);
  const ids = (participants) => participants.map(({ peerId }) => peerId).sort();
  const events = (client) => client.received.map(({ event }) => event).filter((event) => event !== "server:tick");

  async function refused(client, event, payload, code) {
    const answer = await client.emit(event, payload);
    assert.deepEqual([answer.success, answer.code], [false, code], `${event} ${JSON.stringify(payload)}`);
  }
  async function done(client, event, payload) {
    const answer = await client.emit(event, payload);
    assert.equal(answer.success, true, `${event} ${JSON.stringify(answer)}`);
    return answer;
  }

  test("guests wait as soon as the host switches the waiting room on, unless the host lets them skip it", async () => {
    const { roomId } = await newCall(host);
    const hostClient = await seated(one, roomId, host);
    await done(hostClient, "room:update", { settings: { waitingRoomEnabled: true } });
    const { settings } = await hostClient.event("room:updated", () => true);
    assert.deepEqual([settings.waitingRoomEnabled, settings.autoAdmitGuests], [true, false]);
    const stranger = opening(await Client.connected(two));
    const answer = await stranger.emit("room:join", { roomId, guestName: "Stranger" });
    assert.deepEqual(answer, { success: true, roomId, waiting: true });
    await done(hostClient, "room:update", { settings: { autoAdmitGuests: true } });
    await letIn(stranger);
  });

  test("only host and moderators receive join requests, and a waiting participant receives and may do nothing", async () => {
    const { roomId, hostClient } = await held();
    await done(hostClient, "room:update", { settings: { waitingRoomEnabled: false } });
    const moderator = await seated(two, roomId, ann);
    const participant = await seated(three, roomId, bob);
    await done(hostClient, "participant:set-role", { peerId: moderator.peerId, role: "moderator" });
    await moderator.event("participant:role-changed", ({ role }) => role === "moderator");
    await done(hostClient, "room:update", { settings: WAITING });

    const client = await waiter(two, roomId, await guest(roomId, "Patient"));
    for (const hears of [hostClient, moderator]) {
      const { participant: request } = await requested(hears, client.id);
      assert.deepEqual([request.user.name, request.role, request.connectionState], ["Patient", "guest", "waiting"]);
    }
    const to = hostClient.peerId;
    for (const [event, payload] of [
      ["webrtc:offer", { to, offer: { type: "offer", sdp: "v=0\r\n" } }],
      ["webrtc:answer", { to, answer: { type: "answer", sdp: "v=0\r\n" } }],
      ["webrtc:ice-candidate", { to, candidate: { candidate: "candidate:1" } }],
      ["webrtc:connection-state", { to, state: "connected" }],
      ["webrtc:renegotiation-needed", { to }],
      ["webrtc:data-channel", { message: "hello", type: "text" }],
      ["webrtc:screen-share", { enabled: true }],
      ["webrtc:get-stats", {}],
      ["participant:update-media-state", { audioEnabled: false }],
      ["participant:mute", { peerId: to, kind: "audio" }],
      ["participant:kick", { peerId: to }],
      ["participant:set-role", { peerId: client.id, role: "moderator" }],
      ["chat:message", { message: "hello" }],
      ["chat:history", {}],
      ["chat:typing", { isTyping: true }],
      ["room:admit", { all: true }],
      ["room:deny", { peerId: client.id }],
      ["room:lock", { locked: true }],
      ["room:update", { name: "Mine" }],
      ["room:transfer-host", { peerId: client.id }],
    ]) {
      await refused(client, event, payload, "NOT_IN_ROOM");
    }
    assert.deepEqual(await done(client, "room:join", { roomId }), { success: true, roomId, waiting: true });
    assert.equal((await done(client, "webrtc:get-ice-servers")).success, true);
    await refused(hostClient, "webrtc:offer", { to: client.id, offer: { type: "offer", sdp: "v=0\r\n" } }, "PEER_NOT_FOUND");

    await done(hostClient, "chat:message", { message: "among ourselves" });
    await participant.event("chat:message", () => true);
    const { participants, call } = await done(hostClient, "webrtc:get-stats", {});
    assert.deepEqual([ids(participants).includes(client.id), call.waiting], [false, 1]);
    assert.deepEqual(participant.all("room:join-request"), []);
    await refused(participant, "room:admit", { peerId: client.id }, "FORBIDDEN");

    assert.deepEqual((await done(moderator, "room:admit", { peerId: client.id })).admitted, [client.id]);
    const joined = await letIn(client);
    assert.deepEqual(ids(joined.participants), ids([...participants, { peerId: client.id }]));
    const ice = (event) => event !== "webrtc:ice-servers";
    assert.deepEqual(events(client).filter(ice), ["room:waiting", "room:waiting", "room:joined"], "a waiting participant receives nothing else");
    await come(participant, client.id);
    await done(client, "chat:message", { message: "thank you" });
    await hostClient.event("chat:message", ({ from }) => from === client.id);
    assert.equal(hostClient.all("room:join-request").length, 1);
  });

  test("a late host and a new moderator learn who is waiting, and one command admits all", async () => {
    const { roomId } = await held({ late: true });
    const users = [await waiter(two, roomId, ann), await waiter(three, roomId, bob)];
    const last = await waiter(one, roomId, await guest(roomId, "Last"));
    const hostClient = await seated(one, roomId, host);
    assert.deepEqual(ids(hostClient.joined.waiting), [...users, last].map(({ id }) => id).sort());
    assert.deepEqual(ids(hostClient.joined.participants), [hostClient.peerId]);

    await done(hostClient, "room:admit", { peerId: users[0].id });
    const promoted = await letIn(users[0]);
    assert.equal(promoted.waiting, undefined, "a participant does not see the waiting room");
    await done(hostClient, "participant:set-role", { peerId: promoted.peerId, role: "moderator" });
    await requested(users[0], users[1].id);
    await requested(users[0], last.id);

    const { admitted: all } = await done(users[0], "room:admit", { all: true });
    assert.deepEqual([...all].sort(), [users[1].id, last.id].sort());
    for (const client of [users[1], last]) {
      await letIn(client);
      await come(hostClient, client.id);
    }
    assert.deepEqual((await done(hostClient, "room:admit", { all: true })).admitted, [], "no one is waiting");
  });

  test("when the waiting room is switched off in a full call, waiting participants get free places in order", async () => {
    const { roomId, hostClient } = await held({ maxParticipants: 2 });
    const waiting = [await waiter(two, roomId, ann), await waiter(three, roomId, bob)];
    await requested(hostClient, waiting[1].id);
    await done(hostClient, "room:update", { settings: { waitingRoomEnabled: false } });
    await letIn(waiting[0]);
    assert.deepEqual(waiting[1].all("room:joined"), [], "every place is taken");
    await done(waiting[0], "room:leave", {});
    const joined = await letIn(waiting[1]);
    assert.deepEqual(ids(joined.participants), [hostClient.peerId, waiting[1].id].sort());
    await come(hostClient, waiting[1].id);
  });

  test("a denied participant receives the reason, is in no room, and may ask again", async () => {
    const { roomId, hostClient } = await held();
    const client = await waiter(two, roomId, ann);
    await requested(hostClient, client.id);
    await refused(hostClient, "room:deny", { peerId: client.id, reason: "x".repeat(201) }, "VALIDATION_ERROR");
    await refused(hostClient, "room:deny", { peerId: hostClient.peerId }, "PEER_NOT_FOUND");
    // The client joins again as soon as it is denied: by then the server no longer has it in the
    // room.
    const again = new Promise((resolve) => {
      client.socket.once("room:denied", () => resolve(client.emit("room:join", { roomId })));
    });
    await done(hostClient, "room:deny", { peerId: client.id, reason: "after lunch" });
    assert.deepEqual(await client.event("room:denied", () => true), { roomId, reason: "after lunch" });
    const cancelled = await hostClient.event("room:join-request-cancelled", () => true);
    assert.deepEqual(cancelled, { peerId: client.id, userId: client.id, reason: "denied" });
    assert.deepEqual(await again, { success: true, roomId, waiting: true });
    await until("a second request", () => hostClient.all("room:join-request").length === 2);
    await done(hostClient, "room:admit", { peerId: client.id });
    await letIn(client);
  });

  test("a participant who left the waiting room cannot be admitted", async () => {
    const { roomId, hostClient } = await held();
    const leaves = await waiter(two, roomId, ann);
    const closes = await waiter(three, roomId, bob);
    for (const client of [leaves, closes]) await requested(hostClient, client.id);
    await done(leaves, "room:leave", { roomId });
    closes.close();
    for (const { id } of [leaves, closes]) {
      const { reason } = await hostClient.event("room:join-request-cancelled", ({ peerId }) => peerId === id);
      assert.equal(reason, "left");
      await refused(hostClient, "room:admit", { peerId: id }, "PEER_NOT_FOUND");
    }
    assert.deepEqual((await done(hostClient, "room:admit", { all: true })).admitted, []);
    assert.deepEqual(hostClient.all("room:user-joined"), []);
  });

  test("a waiting participant keeps the place when their own or the host's socket is lost", async () => {
    const { roomId, hostClient } = await held();
    const client = await waiter(two, roomId, ann);
    await requested(hostClient, client.id);
    for (const each of [client, hostClient]) {
      const back = each.nextConnect();
      each.socket.io.engine.close();
      await back;
      assert.equal(each.socket.recovered, true);
    }
    await refused(client, "chat:message", { message: "hello" }, "NOT_IN_ROOM");
    assert.equal((await done(hostClient, "webrtc:get-stats", {})).call.waiting, 1);
    assert.deepEqual(hostClient.all("room:join-request-cancelled"), []);
    await done(hostClient, "room:admit", { peerId: client.id });
    await letIn(client);
    await done(client, "chat:message", { message: "here" });
    await hostClient.event("chat:message", ({ from }) => from === client.id);
  });

  test("a participant admitted while disconnected is in the room after reconnecting to another node", async () => {
    const { roomId, hostClient } = await held();
    const proxy = opening(await TcpProxy.to(two));
    const client = await waiter(proxy.url, roomId, ann);
    await requested(hostClient, client.id);
    // The client cannot reconnect until it is admitted.
    proxy.pointTo("http://127.0.0.1:1");
    const gone = client.nextDisconnect();
    proxy.cut();
    await gone;
    await done(hostClient, "room:admit", { peerId: client.id });
    await come(hostClient, client.id);
    await done(hostClient, "chat:message", { message: "while you were away" });
    const back = client.nextConnect();
    proxy.pointTo(three);
    await back;
    assert.equal(client.socket.recovered, true);
    const joined = await letIn(client);
    assert.deepEqual(ids(joined.participants), ids([{ peerId: client.id }, { peerId: hostClient.peerId }]));
    await client.event("chat:message", ({ message }) => message === "while you were away");
    await done(client, "chat:message", { message: "here I am" });
    await hostClient.event("chat:message", ({ from }) => from === client.id);
    assert.equal(client.all("room:joined").length, 1);
  });

  test("a full call admits no one, and the others keep waiting", async () => {
    const { roomId, hostClient } = await held({ maxParticipants: 2 });
    const first = await waiter(two, roomId, ann);
    await requested(hostClient, first.id);
    const second = await waiter(three, roomId, bob);
    await requested(hostClient, second.id);
    assert.deepEqual((await done(hostClient, "room:admit", { all: true })).admitted, [first.id], "in order of arrival");
    await letIn(first);
    await refused(hostClient, "room:admit", { peerId: second.id }, "CALL_FULL");
    await refused(hostClient, "room:admit", { all: true }, "CALL_FULL");
    assert.deepEqual(second.all("room:joined"), []);
    await done(first, "room:leave");
    await hostClient.event("room:user-left", ({ peerId }) => peerId === first.id);
    await done(hostClient, "room:admit", { peerId: second.id });
    await letIn(second);
  });

  test("with autoAdmitGuests waiting and new guests are admitted without a moderator, and users still wait", async () => {
    const { roomId, hostClient } = await held();
    const early = await waiter(two, roomId, await guest(roomId, "Early"));
    const user = await waiter(three, roomId, ann);
    await requested(hostClient, user.id);
    await done(hostClient, "room:update", { settings: { autoAdmitGuests: true } });
    await letIn(early);
    const late = await seated(two, roomId, await guest(roomId, "Late"));
    await come(hostClient, late.peerId);
    const requests = hostClient.all("room:join-request").map(({ participant }) => participant);
    assert.deepEqual(ids(requests), [early.id, user.id].sort());
    assert.deepEqual(user.all("room:joined"), []);
    await done(hostClient, "room:update", { settings: { waitingRoomEnabled: false } });
    await letIn(user);
    const { call } = await done(hostClient, "webrtc:get-stats", {});
    assert.deepEqual([call.waiting, call.currentParticipants], [0, 4]);
  });
});
