// Signaling and seats with the stock socket.io-client, connected directly to the nodes.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, account, admitted, guest, newCall, rest } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { TcpProxy } from "../support/tcp-proxy.mjs";
import { until } from "../support/until.mjs";

const ROOMS = 5;
const PAIRS_PER_ROOM = 10;
const CANDIDATES = 20;

const description = (type, from, to) => ({ type, sdp: `v=0\r\no=- ${from} 2 IN IP4 127.0.0.1\r\ns=${to}\r\n` });
const candidate = (owner, index) => ({
  candidate: `candidate:${index} 1 udp 1 192.0.2.1 9 typ host`,
  sdpMid: "0",
  usernameFragment: `${owner}${index}`,
});
const SIGNALS = ["webrtc:offer", "webrtc:answer", "webrtc:ice-candidate", "webrtc:connection-state"];

describe("signaling between two nodes", { timeout: 240_000 }, () => {
  let host;
  const clients = [];
  const [one, two] = nodeUrls();
  const seated = async (...args) => {
    const client = await Client.seated(...args);
    clients.push(client);
    return client;
  };

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    host = await account("Signal Host");
  });
  after(() => clients.forEach((client) => client.close()));

  test("a code typed in lower case and with blanks names its room when joining and when leaving", async () => {
    const { roomId } = await newCall(host);
    const typed = ` ${roomId.slice(0, 4)} ${roomId.slice(4, 8)} ${roomId.slice(8)} `.toLowerCase();
    for (const [url, code] of [
      [one, typed],
      [two, roomId.toLowerCase()],
    ]) {
      const client = await seated(url, code, await guest(code, "Typist"));
      assert.equal(client.joined.roomId, roomId);
      assert.equal((await client.emit("room:leave", { roomId: code })).success, true);
    }
  });

  test("offers, answers and candidates of 50 pairs reach only their receiver, once and in order", async () => {
    const pairs = [];
    for (let room = 0; room < ROOMS; room += 1) {
      const { roomId } = await newCall(host);
      const pair = async (index) => {
        const [a, b] = await Promise.all([guest(roomId, `Caller ${index}`), guest(roomId, `Callee ${index}`)]);
        return Promise.all([seated(one, roomId, a), seated(two, roomId, b)]);
      };
      pairs.push(...(await Promise.all(Array.from({ length: PAIRS_PER_ROOM }, (_, index) => pair(index)))));
    }
    assert.equal(pairs.length, 50);
    assert.ok(
      pairs.every(([a, b]) => a.joined.node !== b.joined.node),
      "each pair is on two nodes",
    );

    const answers = await Promise.all(pairs.map(([a, b]) => converse(a, b)));
    assert.ok(
      answers.flat().every(({ success }) => success),
      "every signal is acknowledged",
    );

    for (const [a, b] of pairs) {
      assert.deepEqual(signalsOf(b), expectedFrom(a, b, "webrtc:offer", "offer"));
      assert.deepEqual(signalsOf(a), expectedFrom(b, a, "webrtc:answer", "answer"));
    }
  });

  test("the server replaces a forged `from` with the sender's peer id", async () => {
    const { roomId } = await newCall(host);
    const [a, b, victim] = await Promise.all(["A", "B", "Victim"].map((name) => guest(roomId, `Person ${name}`)));
    const sender = await seated(one, roomId, a);
    const receiver = await seated(two, roomId, b);
    const third = await seated(two, roomId, victim);
    const offer = description("offer", "a", "b");
    const answer = await sender.emit("webrtc:offer", {
      to: receiver.peerId,
      from: third.peerId,
      user: { name: "Forged" },
      offer,
    });
    assert.equal(answer.success, true);
    const got = await receiver.event("webrtc:offer", () => true);
    assert.equal(got.from, sender.peerId);
    assert.equal(got.user.name, "Person A");
    assert.equal(got.to, receiver.peerId);
    assert.equal(got.roomId, roomId);
  });

  test("a user id in `to` reaches that user's first device", async () => {
    const { roomId } = await newCall(host);
    const admission = await admitted(roomId, host);
    const first = await seated(one, roomId, admission);
    const second = await seated(two, roomId, await admitted(roomId, host));
    assert.notEqual(first.peerId, second.peerId);
    const caller = await seated(two, roomId, await guest(roomId, "Caller"));
    const answer = await caller.emit("webrtc:offer", { to: admission.user.id, offer: description("offer", "c", "h") });
    assert.equal(answer.success, true);
    await first.event("webrtc:offer", ({ from }) => from === caller.peerId);
    // This later event reaches the second device without an offer before it, so the offer went to
    // one.
    await caller.emit("webrtc:connection-state", { to: second.peerId, state: "connected" });
    await second.event("webrtc:connection-state", () => true);
    assert.deepEqual(second.all("webrtc:offer"), []);
  });

  test("media states and leaves reach the other participants on both nodes", async () => {
    const { roomId } = await newCall(host);
    const a = await seated(one, roomId, await guest(roomId, "Teller"));
    const [b, c] = [
      await seated(one, roomId, await guest(roomId, "Same node")),
      await seated(two, roomId, await guest(roomId, "Other node")),
    ];
    await a.emit("participant:update-media-state", {
      videoEnabled: false,
      audioEnabled: true,
      screenShareEnabled: false,
    });
    for (const other of [b, c]) {
      const { mediaState } = await other.event("participant:media-state-changed", ({ peerId }) => peerId === a.peerId);
      assert.deepEqual(mediaState, { videoEnabled: false, audioEnabled: true, screenShareEnabled: false });
    }
    const late = await seated(two, roomId, await guest(roomId, "Late"));
    assert.equal(late.joined.participants.find(({ peerId }) => peerId === a.peerId).mediaState.videoEnabled, false);
    assert.equal((await a.emit("room:leave", { roomId })).success, true);
    for (const other of [b, c, late]) await other.event("room:user-left", ({ peerId }) => peerId === a.peerId);
  });

  test("of 200 clients that join a room of 10 through two nodes at the same time, exactly 10 are seated", async () => {
    const { roomId } = await newCall(host, { maxParticipants: 10 });
    const racers = await Promise.all(
      Array.from({ length: 200 }, (_, index) => Client.connected([one, two][index % 2])),
    );
    clients.push(...racers);
    const answers = await Promise.all(
      racers.map((racer, index) => racer.emit("room:join", { roomId, guestName: `Racer ${index}` })),
    );
    const seatedCount = answers.filter(({ success }) => success).length;
    const codes = new Set(answers.filter(({ success }) => !success).map(({ code }) => code));
    assert.equal(seatedCount, 10);
    assert.deepEqual([...codes], ["ROOM_FULL"]);
    const winner = racers[answers.findIndex(({ success }) => success)];
    await until("one participant knows all ten", () => {
      const peers = new Set([
        ...winner.all("room:joined").flatMap(({ participants }) => participants.map(({ peerId }) => peerId)),
        ...winner.all("room:user-joined").map(({ participant }) => participant.peerId),
      ]);
      return peers.size === 10;
    });
    racers.forEach((racer) => racer.close());
  });

  test("a participant with a lost socket is shown as reconnecting immediately and leaves after the grace period", async () => {
    const { roomId } = await newCall(host);
    const proxy = await TcpProxy.to(one);
    const lost = await seated(proxy.url, roomId, await guest(roomId, "Lost"), { reconnection: false });
    const witness = await seated(two, roomId, await guest(roomId, "Witness"));
    proxy.close();
    const changed = await witness.event("participant:connection-changed", ({ peerId }) => peerId === lost.peerId);
    assert.equal(changed.state, "reconnecting");
    assert.deepEqual(witness.all("room:user-left"), []);
    await witness.event("room:user-left", ({ peerId }) => peerId === lost.peerId, 60_000);
  });

  test("the call's record contains every join and leave with its time, and the end of the call", async () => {
    const call = await newCall(host);
    const id = call.id ?? call._id;
    const hostSeat = await seated(one, call.roomId, await admitted(call.roomId, host));
    const admission = await guest(call.roomId, "Noted Guest");
    const visitor = await seated(two, call.roomId, admission);
    const record = () => rest("GET", `/video-calls/${id}`, undefined, host.token).then((data) => data.call ?? data);
    const entry = (found) => found.participants.find(({ userId }) => userId === admission.user.id);

    const during = await until("the record shows both in the call", async () => {
      const found = await record();
      return (
        entry(found)?.isConnected &&
        found.startedAt &&
        found.participants.some(({ userId, isConnected }) => userId === host.user.id && isConnected) &&
        found
      );
    });
    assert.ok(Date.parse(entry(during).joinedAt) >= Date.parse(during.createdAt));
    assert.equal(entry(during).leftAt ?? null, null);
    assert.equal(entry(during).user.name, "Noted Guest");

    await visitor.emit("room:leave", { roomId: call.roomId });
    const left = await until("the record shows that the guest has left", async () => {
      const found = await record();
      return entry(found).leftAt && found;
    });
    assert.equal(entry(left).isConnected, false);
    assert.ok(Date.parse(entry(left).leftAt) >= Date.parse(entry(left).joinedAt));

    assert.equal((await hostSeat.emit("room:end-call", { roomId: call.roomId })).success, true);
    await hostSeat.event("room:call-ended", ({ roomId }) => roomId === call.roomId);
    const ended = await until("the record shows the end", async () => {
      const found = await record();
      return found.status === "ended" && found.participants.every(({ isConnected }) => !isConnected) && found;
    });
    assert.ok(Date.parse(ended.endedAt) >= Date.parse(ended.startedAt));
    await assert.rejects(guest(call.roomId, "Too late"), { code: "CALL_ENDED" });
  });
});

/**
 * Exchanges all signals of one pair without waiting in between. The last signal in each direction
 * is a connection state, which must arrive after all others.
 */
async function converse(a, b) {
  const say = (sender, to, event, field) => [
    sender.emit(event, { to: to.peerId, [field]: description(field, sender.peerId, to.peerId) }),
    ...Array.from({ length: CANDIDATES }, (_, index) =>
      sender.emit("webrtc:ice-candidate", { to: to.peerId, candidate: candidate(sender.peerId, index) }),
    ),
    sender.emit("webrtc:connection-state", { to: to.peerId, state: "connected" }),
  ];
  const first = say(a, b, "webrtc:offer", "offer");
  await b.event("webrtc:offer", ({ from }) => from === a.peerId);
  const acknowledgements = await Promise.all([...first, ...say(b, a, "webrtc:answer", "answer")]);
  await Promise.all([a.event("webrtc:connection-state", () => true), b.event("webrtc:connection-state", () => true)]);
  return acknowledgements;
}

/** Returns the signals that a client received, reduced to the asserted fields. */
const signalsOf = (client) =>
  client.received
    .filter(({ event }) => SIGNALS.includes(event))
    .map(({ event, payload: { from, to, offer, answer, candidate: one, state } }) => ({
      event,
      from,
      to,
      content: offer ?? answer ?? one ?? state,
    }));

function expectedFrom(sender, receiver, event, field) {
  const common = { from: sender.peerId, to: receiver.peerId };
  return [
    { event, ...common, content: description(field, sender.peerId, receiver.peerId) },
    ...Array.from({ length: CANDIDATES }, (_, index) => ({
      event: "webrtc:ice-candidate",
      ...common,
      content: candidate(sender.peerId, index),
    })),
    { event: "webrtc:connection-state", ...common, content: "connected" },
  ];
}
