// The waiting room over three nodes: who waits sees nothing and can do nothing, and is let in or turned away whoever comes and goes meanwhile.
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { Client, account, admitted, guest, newCall } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { Line } from "../support/line.mjs";
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

  async function seated(url, roomId, who) {
    return opening(await Client.seated(url, roomId, who.user.isGuest ? who : await admitted(roomId, who)));
  }

  /** Comes in, and is told to wait. */
  async function waiter(url, roomId, who) {
    const client = opening(await Client.connected(url, { token: who.token }));
    const answer = await client.emit("room:join", { roomId });
    assert.deepEqual(answer, { success: true, roomId, waiting: true });
    assert.deepEqual(await client.event("room:waiting", () => true), { roomId, waiting: true });
    client.id = who.user.id;
    return client;
  }

  /** The host's call, with the host in it unless it is to be late. */
  async function held({ late, ...fields } = {}) {
    const { roomId } = await newCall(host, { settings: WAITING, ...fields });
    const chair = late ? undefined : await seated(one, roomId, host);
    return { roomId, chair };
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

  test("host and moderators hear who waits, the others do not, and who waits sees nothing and may do nothing", async () => {
    const { roomId, chair } = await held();
    await done(chair, "room:update", { settings: { waitingRoomEnabled: false } });
    const moderator = await seated(two, roomId, ann);
    const participant = await seated(three, roomId, bob);
    await done(chair, "participant:set-role", { peerId: moderator.peerId, role: "moderator" });
    await moderator.event("participant:role-changed", ({ role }) => role === "moderator");
    await done(chair, "room:update", { settings: WAITING });

    const client = await waiter(two, roomId, await guest(roomId, "Patient"));
    for (const hears of [chair, moderator]) {
      const { participant: who } = await requested(hears, client.id);
      assert.deepEqual([who.user.name, who.role, who.connectionState], ["Patient", "guest", "waiting"]);
    }
    const to = chair.peerId;
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
    await refused(client, "room:join", { roomId }, "ALREADY_IN_ROOM");
    assert.equal((await done(client, "webrtc:get-ice-servers")).success, true);
    await refused(chair, "webrtc:offer", { to: client.id, offer: { type: "offer", sdp: "v=0\r\n" } }, "PEER_NOT_FOUND");

    await done(chair, "chat:message", { message: "among ourselves" });
    await participant.event("chat:message", () => true);
    const { participants, call } = await done(chair, "webrtc:get-stats", {});
    assert.deepEqual([ids(participants).includes(client.id), call.waiting], [false, 1]);
    assert.deepEqual(participant.all("room:join-request"), []);
    await refused(participant, "room:admit", { peerId: client.id }, "FORBIDDEN");

    assert.deepEqual((await done(moderator, "room:admit", { peerId: client.id })).admitted, [client.id]);
    const joined = await letIn(client);
    assert.deepEqual(ids(joined.participants), ids([...participants, { peerId: client.id }]));
    const ice = (event) => event !== "webrtc:ice-servers";
    assert.deepEqual(events(client).filter(ice), ["room:waiting", "room:joined"], "who waited was told nothing else");
    await come(participant, client.id);
    await done(client, "chat:message", { message: "thank you" });
    await chair.event("chat:message", ({ from }) => from === client.id);
    assert.equal(chair.all("room:join-request").length, 1);
  });

  test("the host who arrives late sees who waits, a newly made moderator too, and all are let in at once", async () => {
    const { roomId } = await held({ late: true });
    const users = [await waiter(two, roomId, ann), await waiter(three, roomId, bob)];
    const last = await waiter(one, roomId, await guest(roomId, "Last"));
    const chair = await seated(one, roomId, host);
    assert.deepEqual(ids(chair.joined.waiting), [...users, last].map(({ id }) => id).sort());
    assert.deepEqual(ids(chair.joined.participants), [chair.peerId]);

    await done(chair, "room:admit", { peerId: users[0].id });
    const promoted = await letIn(users[0]);
    assert.equal(promoted.waiting, undefined, "a participant is not told who waits");
    await done(chair, "participant:set-role", { peerId: promoted.peerId, role: "moderator" });
    await requested(users[0], users[1].id);
    await requested(users[0], last.id);

    const { admitted: all } = await done(users[0], "room:admit", { all: true });
    assert.deepEqual([...all].sort(), [users[1].id, last.id].sort());
    for (const client of [users[1], last]) {
      await letIn(client);
      await come(chair, client.id);
    }
    assert.deepEqual((await done(chair, "room:admit", { all: true })).admitted, [], "nobody is left");
  });

  test("who finds no place when the waiting room is switched off gets the next that is free, who came first first", async () => {
    const { roomId, chair } = await held({ maxParticipants: 2 });
    const waiting = [await waiter(two, roomId, ann), await waiter(three, roomId, bob)];
    await requested(chair, waiting[1].id);
    await done(chair, "room:update", { settings: { waitingRoomEnabled: false } });
    await letIn(waiting[0]);
    assert.deepEqual(waiting[1].all("room:joined"), [], "every place is taken");
    await done(waiting[0], "room:leave", {});
    const joined = await letIn(waiting[1]);
    assert.deepEqual(ids(joined.participants), [chair.peerId, waiting[1].id].sort());
    await come(chair, waiting[1].id);
  });

  test("who is turned away is told why, is in no room, and may ask again", async () => {
    const { roomId, chair } = await held();
    const client = await waiter(two, roomId, ann);
    await requested(chair, client.id);
    await refused(chair, "room:deny", { peerId: client.id, reason: "x".repeat(201) }, "VALIDATION_ERROR");
    await refused(chair, "room:deny", { peerId: chair.peerId }, "PEER_NOT_FOUND");
    // Asked in the very instant in which it is told: it is in no room by then.
    const again = new Promise((resolve) => {
      client.socket.once("room:denied", () => resolve(client.emit("room:join", { roomId })));
    });
    await done(chair, "room:deny", { peerId: client.id, reason: "after lunch" });
    assert.deepEqual(await client.event("room:denied", () => true), { roomId, reason: "after lunch" });
    const cancelled = await chair.event("room:join-request-cancelled", () => true);
    assert.deepEqual(cancelled, { peerId: client.id, userId: client.id, reason: "denied" });
    assert.deepEqual(await again, { success: true, roomId, waiting: true });
    await until("a second request", () => chair.all("room:join-request").length === 2);
    await done(chair, "room:admit", { peerId: client.id });
    await letIn(client);
  });

  test("who left its place in the lobby cannot be let in any more", async () => {
    const { roomId, chair } = await held();
    const leaves = await waiter(two, roomId, ann);
    const closes = await waiter(three, roomId, bob);
    for (const client of [leaves, closes]) await requested(chair, client.id);
    await done(leaves, "room:leave", { roomId });
    closes.close();
    for (const { id } of [leaves, closes]) {
      const { reason } = await chair.event("room:join-request-cancelled", ({ peerId }) => peerId === id);
      assert.equal(reason, "left");
      await refused(chair, "room:admit", { peerId: id }, "PEER_NOT_FOUND");
    }
    assert.deepEqual((await done(chair, "room:admit", { all: true })).admitted, []);
    assert.deepEqual(chair.all("room:user-joined"), []);
  });

  test("who waits keeps its place over a lost socket of its own, or the host's", async () => {
    const { roomId, chair } = await held();
    const client = await waiter(two, roomId, ann);
    await requested(chair, client.id);
    for (const each of [client, chair]) {
      const back = each.nextConnect();
      each.socket.io.engine.close();
      await back;
      assert.equal(each.socket.recovered, true);
    }
    await refused(client, "chat:message", { message: "hello" }, "NOT_IN_ROOM");
    assert.equal((await done(chair, "webrtc:get-stats", {})).call.waiting, 1);
    assert.deepEqual(chair.all("room:join-request-cancelled"), []);
    await done(chair, "room:admit", { peerId: client.id });
    await letIn(client);
    await done(client, "chat:message", { message: "here" });
    await chair.event("chat:message", ({ from }) => from === client.id);
  });

  test("who is let in while its socket is away finds itself in the room, on another node", async () => {
    const { roomId, chair } = await held();
    const line = opening(await Line.to(two));
    const client = await waiter(line.url, roomId, ann);
    await requested(chair, client.id);
    // Nothing to connect to until it is let in.
    line.lay("http://127.0.0.1:1");
    const gone = client.nextDisconnect();
    line.cut();
    await gone;
    await done(chair, "room:admit", { peerId: client.id });
    await come(chair, client.id);
    await done(chair, "chat:message", { message: "while you were away" });
    const back = client.nextConnect();
    line.lay(three);
    await back;
    assert.equal(client.socket.recovered, true);
    const joined = await letIn(client);
    assert.deepEqual(ids(joined.participants), ids([{ peerId: client.id }, { peerId: chair.peerId }]));
    await client.event("chat:message", ({ message }) => message === "while you were away");
    await done(client, "chat:message", { message: "here I am" });
    await chair.event("chat:message", ({ from }) => from === client.id);
    assert.equal(client.all("room:joined").length, 1);
  });

  test("nobody is let in without a place, and who is left waits on", async () => {
    const { roomId, chair } = await held({ maxParticipants: 2 });
    const first = await waiter(two, roomId, ann);
    await requested(chair, first.id);
    const second = await waiter(three, roomId, bob);
    await requested(chair, second.id);
    assert.deepEqual((await done(chair, "room:admit", { all: true })).admitted, [first.id], "who came first");
    await letIn(first);
    await refused(chair, "room:admit", { peerId: second.id }, "CALL_FULL");
    await refused(chair, "room:admit", { all: true }, "CALL_FULL");
    assert.deepEqual(second.all("room:joined"), []);
    await done(first, "room:leave");
    await chair.event("room:user-left", ({ peerId }) => peerId === first.id);
    await done(chair, "room:admit", { peerId: second.id });
    await letIn(second);
  });

  test("guests are let in by themselves when the call says so, also those who wait already; users still wait", async () => {
    const { roomId, chair } = await held();
    const early = await waiter(two, roomId, await guest(roomId, "Early"));
    const user = await waiter(three, roomId, ann);
    await requested(chair, user.id);
    await done(chair, "room:update", { settings: { autoAdmitGuests: true } });
    await letIn(early);
    const late = await seated(two, roomId, await guest(roomId, "Late"));
    await come(chair, late.peerId);
    const requests = chair.all("room:join-request").map(({ participant }) => participant);
    assert.deepEqual(ids(requests), [early.id, user.id].sort());
    assert.deepEqual(user.all("room:joined"), []);
    await done(chair, "room:update", { settings: { waitingRoomEnabled: false } });
    await letIn(user);
    const { call } = await done(chair, "webrtc:get-stats", {});
    assert.deepEqual([call.waiting, call.currentParticipants], [0, 4]);
  });
});
