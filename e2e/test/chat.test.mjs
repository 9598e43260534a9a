// Chat, media and figures over two nodes, by the stock client: who gets what, who may read what later, and what settings refuse.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Client, account, admitted, guest, newCall } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { Line } from "../support/line.mjs";
import { until } from "../support/until.mjs";

describe("chat, media and figures on two nodes", { timeout: 180_000 }, () => {
  const [one, two] = nodeUrls();
  let host;
  let clients = [];

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    host = await account("Chat Host");
  });
  afterEach(() => {
    clients.forEach((client) => client.close());
    clients = [];
  });

  async function seated(url, roomId, admission, options) {
    const client = await Client.seated(url, roomId, admission, options);
    clients.push(client);
    return client;
  }

  /** A call of the host's on the first node, and a guest on the second. */
  async function pair(settings) {
    const { roomId } = await newCall(host, settings && { settings });
    const chair = await seated(one, roomId, await admitted(roomId, host));
    const other = await seated(two, roomId, await guest(roomId, "Other"));
    return { roomId, chair, other };
  }

  const history = async (client, fields = {}) => {
    const answer = await client.emit("chat:history", fields);
    assert.equal(answer.success, true, JSON.stringify(answer));
    return answer;
  };
  const texts = ({ messages }) => messages.map(({ message }) => message);

  test("who joins late reads what was said to all, and private messages stay with the two", async () => {
    const { roomId, chair, other } = await pair();
    const third = await seated(one, roomId, await guest(roomId, "Third"));
    const open = await chair.emit("chat:message", { message: "<b>to all</b>\n\tnext line" });
    await chair.emit("chat:message", { message: "to other", to: other.peerId });
    await other.emit("chat:message", { message: "back", to: chair.joined.user.id });
    await third.emit("chat:message", { message: "last" });
    const got = await other.event("chat:message", ({ message }) => message === "last");
    assert.equal(got.type, "text");

    const late = await seated(two, roomId, await guest(roomId, "Late"));
    const seen = await history(late);
    assert.deepEqual(texts(seen), ["<b>to all</b>\n\tnext line", "last"]);
    assert.equal(seen.hasMore, false);
    assert.deepEqual(seen.messages[0], (await other.event("chat:message", () => true)) , "as it was delivered");
    assert.equal(seen.messages[0].id, open.id);
    assert.equal(seen.messages[0].timestamp, open.timestamp);
    for (const client of [chair, other]) {
      assert.deepEqual(texts(await history(client)), ["<b>to all</b>\n\tnext line", "to other", "back", "last"]);
    }
    assert.deepEqual(texts(await history(third)), ["<b>to all</b>\n\tnext line", "last"]);
    assert.ok(third.all("chat:message").every(({ to }) => to === undefined), "private messages reach nobody else");

    const page = await history(chair, { limit: 1 });
    assert.deepEqual([texts(page), page.hasMore], [["last"], true]);
    const before = await history(chair, { before: page.messages[0].id, limit: 2 });
    assert.deepEqual([texts(before), before.hasMore], [["to other", "back"], true]);
    assert.equal((await late.emit("chat:history", { limit: 101 })).code, "VALIDATION_ERROR");
  });

  test("a message that is sent again has the id and the time of the first, on another node too", async () => {
    const { roomId } = await newCall(host);
    const line = await Line.to(one);
    after(() => line.close());
    const chair = await seated(line.url, roomId, await admitted(roomId, host));
    const other = await seated(two, roomId, await guest(roomId, "Other"));
    const first = await chair.emit("chat:message", { id: "mine", message: "once" });
    line.lay(two);
    const back = chair.nextConnect();
    line.cut();
    await back;
    assert.equal(chair.socket.recovered, true);
    const again = await chair.emit("chat:message", { id: "mine", message: "once" });
    assert.deepEqual(again, first);
    await chair.emit("chat:message", { id: "next", message: "twice" });
    await other.event("chat:message", ({ message }) => message === "twice");
    assert.deepEqual(
      other.all("chat:message").map(({ message }) => message),
      ["once", "twice"],
    );
  });

  test("typing reaches the others, is in no history and moves no offset", async () => {
    const { chair, other } = await pair();
    await chair.emit("chat:message", { message: "hello" });
    await other.event("chat:message", () => true);
    const { _lastOffset: offset } = other.socket;
    const arguments_ = [];
    other.socket.onAny((event, ...all) => event === "chat:typing" && arguments_.push(all));
    assert.equal((await chair.emit("chat:typing", { isTyping: true })).success, true);
    await until("typing arrives", () => arguments_.length === 1);
    assert.equal(arguments_[0].length, 1, "no offset");
    assert.deepEqual(Object.keys(arguments_[0][0]).sort(), ["from", "fromUser", "isTyping"]);
    assert.equal(arguments_[0][0].from, chair.peerId);
    assert.ok(other.socket._lastOffset === offset || other.all("server:tick").length > 0);
    assert.deepEqual(texts(await history(other)), ["hello"]);
  });

  test("settings refuse chat, history, cameras, microphones and screens, and not to the host", async () => {
    const { chair, other } = await pair({ chatEnabled: false, videoEnabled: false, allowParticipantScreenShare: false });
    for (const [event, payload] of [
      ["chat:message", { message: "hi" }],
      ["chat:typing", { isTyping: true }],
      ["webrtc:screen-share", { enabled: true }],
    ]) {
      assert.equal((await other.emit(event, payload)).code, "FORBIDDEN", event);
    }
    const came = await chair.event("room:user-joined", () => true);
    assert.equal(came.participant.mediaState.videoEnabled, false, "nobody comes in with what is forbidden");
    const off = { videoEnabled: false, audioEnabled: true, screenShareEnabled: false };
    assert.equal((await other.emit("participant:update-media-state", off)).success, true);
    assert.equal((await other.emit("participant:update-media-state", { videoEnabled: true })).code, "FORBIDDEN");
    assert.equal((await chair.emit("participant:screen-share-changed", { enabled: true })).success, true);
    const shared = await other.event("participant:screen-share-changed", () => true);
    assert.deepEqual([shared.peerId, shared.enabled], [chair.peerId, true]);
    const changed = await chair.event("participant:media-state-changed", () => true);
    assert.deepEqual([changed.peerId, changed.mediaState], [other.peerId, off]);
    assert.equal(chair.all("participant:media-state-changed").length, 1, "what was refused was told nobody");
    const { participants } = await other.emit("webrtc:get-stats", {});
    const state = (peerId) => participants.find((participant) => participant.peerId === peerId).mediaState;
    assert.deepEqual(state(other.peerId), off);
    assert.equal(state(chair.peerId).screenShareEnabled, true);

    const forgetful = await pair({ chatHistoryEnabled: false });
    assert.equal((await forgetful.chair.emit("chat:message", { message: "gone" })).success, true);
    await forgetful.other.event("chat:message", () => true);
    assert.deepEqual(texts(await history(forgetful.other)), []);
  });

  test("media changes sent in one go all hold", async () => {
    const { chair, other } = await pair();
    const changes = [{ videoEnabled: false }, { audioEnabled: false }, { screenShareEnabled: true }, { videoEnabled: true }];
    await Promise.all(changes.map((change) => other.emit("participant:update-media-state", change)));
    const last = { videoEnabled: true, audioEnabled: false, screenShareEnabled: true };
    await chair.event(
      "participant:media-state-changed",
      ({ mediaState }) => JSON.stringify(mediaState) === JSON.stringify(last),
    );
  });

  test("text that is no text is refused and nobody gets it", async () => {
    const { chair, other } = await pair();
    for (const message of ["", "  \n ", "a\u0000b", "a\u001b[31m", "a\u0085", "é".repeat(4001), 7, null, ["a"], {}]) {
      assert.equal((await chair.emit("chat:message", { message })).code, "VALIDATION_ERROR", JSON.stringify(message));
    }
    assert.equal((await chair.emit("chat:message", { message: "hi", to: "nobody" })).code, "PEER_NOT_FOUND");
    assert.equal((await chair.emit("chat:message", { message: "é".repeat(4000) })).success, true);
    await other.event("chat:message", ({ message }) => message.length === 4000);
    assert.equal(other.all("chat:message").length, 1);
  });

  test("a user's id reaches the device that is left", async () => {
    const { roomId, chair } = await pair();
    const user = await account("Two Devices");
    const first = await seated(one, roomId, await admitted(roomId, user));
    const second = await seated(two, roomId, await admitted(roomId, user));
    assert.equal(second.peerId, `${user.user.id}#2`);
    first.close();
    await chair.event("room:user-left", ({ peerId }) => peerId === first.peerId);
    for (const [event, payload] of [
      ["webrtc:offer", { offer: { type: "offer", sdp: "v=0\r\n" } }],
      ["chat:message", { message: "psst" }],
    ]) {
      assert.equal((await chair.emit(event, { to: user.user.id, ...payload })).success, true);
      assert.equal((await second.event(event, () => true)).to, second.peerId);
    }
  });

  test("figures are of this moment: all see who is connected, who runs the call sees the call", async () => {
    const { roomId, chair, other } = await pair();
    const third = await seated(one, roomId, await guest(roomId, "Third"));
    await other.emit("chat:message", { message: "counted" });
    third.close();
    await chair.event("room:user-left", ({ peerId }) => peerId === third.peerId);
    const stats = await chair.emit("webrtc:get-stats", {});
    assert.deepEqual([stats.roomId, stats.connected, stats.reconnecting], [roomId, 2, 0]);
    assert.deepEqual(stats.participants.map(({ peerId, role, connectionState }) => [peerId, role, connectionState]), [
      [chair.peerId, "host", "connected"],
      [other.peerId, "guest", "connected"],
    ]);
    const { currentParticipants, maxConcurrentParticipants, waiting, chatMessages, callId } = stats.call;
    assert.deepEqual([currentParticipants, maxConcurrentParticipants, waiting, chatMessages], [2, 3, 0, 1]);
    assert.equal(callId, chair.joined.callId);
    assert.ok(stats.participants[0].duration >= stats.participants[1].duration && stats.call.duration >= 0);
    assert.equal((await other.emit("webrtc:get-stats", {})).call, undefined);
  });
});
