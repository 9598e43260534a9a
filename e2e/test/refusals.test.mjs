// Invalid input from a stock client: each kind has its refusal code, and other clients see nothing.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, account, guest, newCall, rest, signed } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { until, within } from "../support/until.mjs";

const sdp = (size) => ({ type: "offer", sdp: "v".repeat(size) });

describe("invalid input is refused with a code", { timeout: 120_000 }, () => {
  const [one, two] = nodeUrls();
  const opened = [];
  let host;
  let roomId;
  let bystander;
  let eventsBefore;
  const open = async (promise) => {
    const client = await promise;
    opened.push(client);
    return client;
  };
  const seat = async (name, url = one) => open(Client.seated(url, roomId, await guest(roomId, name)));

  before(async () => {
    host = await account("Refusing Host");
    ({ roomId } = await newCall(host));
    bystander = await seat("Bystander", two);
  });
  after(() => opened.forEach((client) => client.close()));

  /** Asserts both forms of a refusal: the acknowledgement, and the `error` event without one. */
  async function refused(client, event, args, code) {
    const answer = await client.emit(event, ...args);
    assert.deepEqual([answer.success, answer.code], [false, code], `${event} ${JSON.stringify(args)}`);
    assert.equal(typeof answer.message, "string");
    const known = client.all("error").length;
    client.socket.emit(event, ...args);
    const error = await until(`an error event for ${event}`, () => client.all("error")[known]);
    assert.deepEqual([error.code, error.event], [code, event]);
  }

  /** Resolves with the connect error of a client that is refused. */
  function rejection(client) {
    opened.push(client);
    return within("a connect error", new Promise((resolve) => client.socket.once("connect_error", resolve)));
  }

  test("missing, mistyped, malformed and oversized fields, and unknown events, are refused", async () => {
    const client = await seat("Fumbler");
    eventsBefore = bystander.received.length;
    const to = bystander.peerId;
    for (const [event, args, code] of [
      ["no:such-event", [{}], "UNKNOWN_EVENT"],
      ["toString", [{}], "UNKNOWN_EVENT"],
      ["room:join", [], "VALIDATION_ERROR"],
      ["room:join", [{}], "VALIDATION_ERROR"],
      ["room:join", [{ roomId: { $gt: "" } }], "VALIDATION_ERROR"],
      ["room:join", [{ roomId: "no spaces allowed" }], "VALIDATION_ERROR"],
      ["room:join", [7], "VALIDATION_ERROR"],
      ["webrtc:offer", [], "VALIDATION_ERROR"],
      ["webrtc:offer", [{ offer: sdp(10) }], "VALIDATION_ERROR"],
      ["webrtc:offer", [{ to }], "VALIDATION_ERROR"],
      ["webrtc:offer", [{ to, offer: "v=0" }], "VALIDATION_ERROR"],
      ["webrtc:offer", [{ to, offer: { type: "offer", sdp: 7 } }], "VALIDATION_ERROR"],
      ["webrtc:offer", [{ to, offer: sdp(140_000) }], "PAYLOAD_TOO_LARGE"],
      ["webrtc:offer", [{ to, offer: sdp(300_000) }], "PAYLOAD_TOO_LARGE"],
      ["no:such-event", ["x".repeat(1_000_000)], "PAYLOAD_TOO_LARGE"],
      ["webrtc:answer", [{ to: 7, answer: sdp(10) }], "VALIDATION_ERROR"],
      ["webrtc:ice-candidate", [{ to, candidate: 7 }], "VALIDATION_ERROR"],
      ["webrtc:ice-candidate", [{ to, candidate: { candidate: "c".repeat(5_000) } }], "PAYLOAD_TOO_LARGE"],
      ["participant:update-media-state", [{ videoEnabled: "yes" }], "VALIDATION_ERROR"],
      ["webrtc:offer", [{ to, offer: { type: "offer", sdp: Buffer.from("v=0") } }], "BINARY_NOT_SUPPORTED"],
    ]) {
      await refused(client, event, args, code);
    }
  });

  test("unknown rooms and peers are refused", async () => {
    const client = await seat("Seeker");
    eventsBefore = bystander.received.length;
    await refused(client, "webrtc:offer", [{ to: "guest-0000000000000000", offer: sdp(10) }], "PEER_NOT_FOUND");
    const loner = await open(Client.connected(one));
    await refused(loner, "room:join", [{ roomId: "NOSUCHROOM00", guestName: "Loner" }], "ROOM_NOT_FOUND");
  });

  test("a candidate to a peer who has left is refused in its acknowledgement, without an error event", async () => {
    const client = await seat("Late Sender");
    const args = { to: "guest-0000000000000000", candidate: { candidate: "candidate:1" } };
    assert.equal((await client.emit("webrtc:ice-candidate", args)).code, "PEER_NOT_FOUND");
    client.socket.emit("webrtc:ice-candidate", args);
    // Events are handled in order: when this one is refused, the candidate before it was handled.
    client.socket.emit("no:such-event", {});
    await client.event("error", ({ event }) => event === "no:such-event");
    assert.deepEqual(
      client.all("error").map(({ event }) => event),
      ["no:such-event"],
    );
  });

  test("room events before joining a room are refused", async () => {
    const { token } = await guest(roomId, "Impatient");
    const client = await open(Client.connected(one, { token }));
    const to = bystander.peerId;
    for (const [event, payload] of [
      ["webrtc:offer", { to, offer: sdp(10) }],
      ["webrtc:answer", { to, answer: sdp(10) }],
      ["webrtc:ice-candidate", { to, candidate: {} }],
      ["participant:update-media-state", { videoEnabled: true, audioEnabled: true, screenShareEnabled: false }],
    ]) {
      await refused(client, event, [payload], "NOT_IN_ROOM");
    }
  });

  test("a client that is refused by a full room stays in its current room", async () => {
    const small = await newCall(host, { maxParticipants: 2 });
    for (const name of ["First", "Second"]) {
      await open(Client.seated(two, small.roomId, await guest(small.roomId, name)));
    }
    const client = await open(Client.connected(one));
    await client.join(roomId, { guestName: "Wanderer" });
    await refused(client, "room:join", [{ roomId: small.roomId, guestName: "Wanderer" }], "ROOM_FULL");
    assert.equal((await client.emit("webrtc:offer", { to: client.peerId, offer: sdp(10) })).success, true);
    const spare = await newCall(host);
    await client.emit("room:join", { roomId: spare.roomId });
    await bystander.event("room:user-left", ({ peerId }) => peerId === client.peerId);
  });

  test("a participant who is not host cannot end the call", async () => {
    const client = await seat("Usurper");
    await refused(client, "room:end-call", [{ roomId }], "HOST_REQUIRED");
    assert.deepEqual(bystander.all("room:call-ended"), []);
  });

  test("a wrong passcode, a forged join token and another user's join token are refused", async () => {
    const secret = await newCall(host, { passcode: "open sesame" });
    const stranger = await open(Client.connected(one));
    await refused(
      stranger,
      "room:join",
      [{ roomId: secret.roomId, guestName: "Stranger", passcode: "wrong" }],
      "INVALID_PASSCODE",
    );
    await refused(
      stranger,
      "room:join",
      [{ roomId: secret.roomId, guestName: "Stranger", token: "a.b.c" }],
      "TOKEN_INVALID",
    );
    const { joinToken } = await rest("POST", "/video-calls/join", {
      roomId: secret.roomId,
      guestName: "Rightful",
      passcode: "open sesame",
    });
    const { token } = await guest(roomId, "Thief");
    const thief = await open(Client.connected(two, { token }));
    const answer = await thief.emit("room:join", { roomId: secret.roomId, token: joinToken });
    assert.equal(answer.success, false);
  });

  test("a forged token and an unknown namespace are connect errors", async () => {
    const forged = await rejection(new Client(one, { token: "not.a.token" }));
    assert.equal(forged.data.code, "TOKEN_INVALID");
    const unknown = await rejection(new Client(`${two}/nowhere`));
    assert.equal(unknown.message, "Invalid namespace");
  });

  test("an expired token is a connect error, also together with an unknown private session id", async () => {
    const token = signed(host.token, { exp: 1_000_000_000 });
    const pid = `${"a".repeat(22)}.${"b".repeat(22)}`;
    for (const auth of [{ token }, { token, pid }, { token, pid, offset: `${Date.now()}-0.${roomId}` }]) {
      assert.equal((await rejection(new Client(one, { auth }))).data.code, "TOKEN_EXPIRED");
    }
  });

  test("offers of many tracks are relayed, and one that is too large is refused again and again", async () => {
    for (const transports of [["websocket"], ["polling"]]) {
      const { token, joinToken } = await guest(roomId, "Conductor");
      const client = await open(Client.seated(one, roomId, { token, joinToken }, { transports }));
      const to = bystander.peerId;
      for (const size of [60_000, 70_000, 120_000]) {
        assert.equal((await client.emit("webrtc:offer", { to, offer: sdp(size) })).success, true);
        await bystander.event("webrtc:offer", ({ from, offer }) => from === client.peerId && offer.sdp.length === size);
      }
      for (let round = 0; round < 10; round += 1) {
        assert.equal((await client.emit("webrtc:offer", { to, offer: sdp(500_000) })).code, "PAYLOAD_TOO_LARGE");
      }
      assert.equal(client.socket.connected, true);
      client.close();
    }
    bystander.received = bystander.received.filter(({ event }) => event !== "webrtc:offer");
  });

  test("a message beyond every bound closes only its sender's connection", async () => {
    const client = await seat("Shouter");
    const closed = client.nextDisconnect();
    client.socket.emit("webrtc:data-channel", { message: "x".repeat(1_200_000), type: "shout" });
    await closed;
    assert.equal(bystander.socket.connected, true);
  });

  test("after all these refusals another client has seen only joins and leaves", async () => {
    assert.ok(eventsBefore > 0, "the bystander received events from the start");
    const client = await seat("Last");
    await bystander.event("room:user-joined", ({ participant }) => participant.peerId === client.peerId);
    const harmless = new Set([
      "webrtc:ice-servers",
      "room:joined",
      "room:user-joined",
      "room:user-left",
      "participant:connection-changed",
      "server:tick",
    ]);
    assert.deepEqual(
      bystander.received.map(({ event }) => event).filter((event) => !harmless.has(event)),
      [],
    );
    assert.equal(bystander.socket.connected, true);
    assert.equal((await client.emit("webrtc:offer", { to: bystander.peerId, offer: sdp(10) })).success, true);
    await bystander.event("webrtc:offer", ({ from }) => from === client.peerId);
  });
});
