// Chat, media states and statistics over two nodes with the stock client: delivery, history, and
// refusals by the call's settings.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Client, account, admitted, guest, newCall } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { TcpProxy } from "../support/tcp-proxy.mjs";
import { until } from "../support/until.mjs";

describe("chat, media and statistics on two nodes", { timeout: 180_000 }, () => {
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

  /** Creates a call with its host on the first node and a guest on the second. */
  async function pair(settings) {
    const { roomId } = await newCall(host, settings && { settings });
    const hostClient = await seated(one, roomId, await admitted(roomId, host));
    const other = await seated(two, roomId, await guest(roomId, "Other"));
    return { roomId, hostClient, other };
  }

  const history = async (client, fields = {}) => {
    const answer = await client.emit("chat:history", fields);
    assert.equal(answer.success, true, JSON.stringify(answer));
    return answer;
  };
  const texts = ({ messages }) => messages.map(({ message }) => message);

  test("a late participant reads the messages to all, and only the two participants read private ones", async () => {
    const { roomId, hostClient, other } = await pair();
    const third = await seated(one, roomId, await guest(roomId, "Third"));
    const open = await hostClient.emit("chat:message", { message: "<b>to all</b>\r\n\tnext line" });
    await hostClient.emit("chat:message", { message: "to other", to: other.peerId });
    await other.emit("chat:message", { message: "back", to: hostClient.joined.user.id });
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
    for (const client of [hostClient, other]) {
      assert.deepEqual(texts(await history(client)), ["<b>to all</b>\n\tnext line", "to other", "back", "last"]);
    }
    assert.deepEqual(texts(await history(third)), ["<b>to all</b>\n\tnext line", "last"]);
    assert.ok(third.all("chat:message").every(({ to }) => to === undefined), "private messages reach only their receiver");

    const page = await history(hostClient, { limit: 1 });
    assert.deepEqual([texts(page), page.hasMore], [["last"], true]);
    const before = await history(hostClient, { before: page.messages[0].id, limit: 2 });
    assert.deepEqual([texts(before), before.hasMore], [["to other", "back"], true]);
    assert.equal((await late.emit("chat:history", { limit: 101 })).code, "VALIDATION_ERROR");
  });

  test("a repeated message gets the id and time of the first, also on another node", async () => {
    const { roomId } = await newCall(host);
    const proxy = await TcpProxy.to(one);
    after(() => proxy.close());
    const hostClient = await seated(proxy.url, roomId, await admitted(roomId, host));
    const other = await seated(two, roomId, await guest(roomId, "Other"));
    const first = await hostClient.emit("chat:message", { id: "mine", message: "once" });
    proxy.pointTo(two);
    const back = hostClient.nextConnect();
    proxy.cut();
    await back;
    assert.equal(hostClient.socket.recovered, true);
    const again = await hostClient.emit("chat:message", { id: "mine", message: "once" });
    assert.deepEqual(again, first);
    await hostClient.emit("chat:message", { id: "next", message: "twice" });
    await other.event("chat:message", ({ message }) => message === "twice");
    assert.deepEqual(
      other.all("chat:message").map(({ message }) => message),
      ["once", "twice"],
    );
  });

  test("typing reaches the others, is not in the history and does not advance the offset", async () => {
    const { hostClient, other } = await pair();
    await hostClient.emit("chat:message", { message: "hello" });
    await other.event("chat:message", () => true);
    const { _lastOffset: offset } = other.socket;
    const arguments_ = [];
    other.socket.onAny((event, ...all) => event === "chat:typing" && arguments_.push(all));
    assert.equal((await hostClient.emit("chat:typing", { isTyping: true })).success, true);
    await until("typing arrives", () => arguments_.length === 1);
    assert.equal(arguments_[0].length, 1, "no offset");
    assert.deepEqual(Object.keys(arguments_[0][0]).sort(), ["from", "fromUser", "isTyping"]);
    assert.equal(arguments_[0][0].from, hostClient.peerId);
    assert.ok(other.socket._lastOffset === offset || other.all("server:tick").length > 0);
    assert.deepEqual(texts(await history(other)), ["hello"]);
  });

  test("settings turn off chat, history, cameras and screens for all but the host", async () => {
    const { hostClient, other } = await pair({ chatEnabled: false, videoEnabled: false, allowParticipantScreenShare: false });
    for (const [event, payload] of [
      ["chat:message", { message: "hi" }],
      ["chat:typing", { isTyping: true }],
      ["webrtc:screen-share", { enabled: true }],
    ]) {
      assert.equal((await other.emit(event, payload)).code, "FORBIDDEN", event);
    }
    const joinEvent = await hostClient.event("room:user-joined", () => true);
    assert.equal(joinEvent.participant.mediaState.videoEnabled, false, "a participant joins without forbidden media");
    const off = { videoEnabled: false, audioEnabled: true, screenShareEnabled: false };
    assert.equal((await other.emit("participant:update-media-state", off)).success, true);
    assert.equal((await other.emit("participant:update-media-state", { videoEnabled: true })).code, "FORBIDDEN");
    assert.equal((await hostClient.emit("participant:screen-share-changed", { enabled: true })).success, true);
    const shared = await other.event("participant:screen-share-changed", () => true);
    assert.deepEqual([shared.peerId, shared.enabled], [hostClient.peerId, true]);
    const changed = await hostClient.event("participant:media-state-changed", () => true);
    assert.deepEqual([changed.peerId, changed.mediaState], [other.peerId, off]);
    assert.equal(hostClient.all("participant:media-state-changed").length, 1, "refused changes are announced to no one");
    const { participants } = await other.emit("webrtc:get-stats", {});
    const state = (peerId) => participants.find((participant) => participant.peerId === peerId).mediaState;
    assert.deepEqual(state(other.peerId), off);
    assert.equal(state(hostClient.peerId).screenShareEnabled, true);

    const forgetful = await pair({ chatHistoryEnabled: false });
    assert.equal((await forgetful.hostClient.emit("chat:message", { message: "gone" })).success, true);
    await forgetful.other.event("chat:message", () => true);
    assert.deepEqual(texts(await history(forgetful.other)), []);
  });

  test("concurrent media changes of one participant are all applied", async () => {
    const { hostClient, other } = await pair();
    const changes = [{ videoEnabled: false }, { audioEnabled: false }, { screenShareEnabled: true }, { videoEnabled: true }];
    await Promise.all(changes.map((change) => other.emit("participant:update-media-state", change)));
    const last = { videoEnabled: true, audioEnabled: false, screenShareEnabled: true };
    await hostClient.event(
      "participant:media-state-changed",
      ({ mediaState }) => JSON.stringify(mediaState) === JSON.stringify(last),
    );
  });

  test("invalid text is refused and delivered to no one", async () => {
    const { hostClient, other } = await pair();
    for (const message of ["", "  \n ", "a\u0000b", "a\u001b[31m", "a\u0085", "é".repeat(4001), 7, null, ["a"], {}]) {
      assert.equal((await hostClient.emit("chat:message", { message })).code, "VALIDATION_ERROR", JSON.stringify(message));
    }
    assert.equal((await hostClient.emit("chat:message", { message: "hi", to: "nobody" })).code, "PEER_NOT_FOUND");
    assert.equal((await hostClient.emit("chat:message", { message: "é".repeat(4000) })).success, true);
    await other.event("chat:message", ({ message }) => message.length === 4000);
    assert.equal(other.all("chat:message").length, 1);
  });

  test("a message to a user id reaches the user's remaining device", async () => {
    const { roomId, hostClient } = await pair();
    const user = await account("Two Devices");
    const first = await seated(one, roomId, await admitted(roomId, user));
    const second = await seated(two, roomId, await admitted(roomId, user));
    assert.equal(second.peerId, `${user.user.id}#2`);
    first.close();
    await hostClient.event("room:user-left", ({ peerId }) => peerId === first.peerId);
    for (const [event, payload] of [
      ["webrtc:offer", { offer: { type: "offer", sdp: "v=0\r\n" } }],
      ["chat:message", { message: "psst" }],
    ]) {
      assert.equal((await hostClient.emit(event, { to: user.user.id, ...payload })).success, true);
      assert.equal((await second.event(event, () => true)).to, second.peerId);
    }
  });

  test("statistics are current: all see who is connected, and the host but not a guest sees the call's totals", async () => {
    const { roomId, hostClient, other } = await pair();
    const third = await seated(one, roomId, await guest(roomId, "Third"));
    await other.emit("chat:message", { message: "counted" });
    third.close();
    await hostClient.event("room:user-left", ({ peerId }) => peerId === third.peerId);
    const stats = await hostClient.emit("webrtc:get-stats", {});
    assert.deepEqual([stats.roomId, stats.connected, stats.reconnecting], [roomId, 2, 0]);
    assert.deepEqual(stats.participants.map(({ peerId, role, connectionState }) => [peerId, role, connectionState]), [
      [hostClient.peerId, "host", "connected"],
      [other.peerId, "guest", "connected"],
    ]);
    const { currentParticipants, maxConcurrentParticipants, waiting, chatMessages, callId } = stats.call;
    assert.deepEqual([currentParticipants, maxConcurrentParticipants, waiting, chatMessages], [2, 3, 0, 1]);
    assert.equal(callId, hostClient.joined.callId);
    assert.ok(stats.participants[0].duration >= stats.participants[1].duration && stats.call.duration >= 0);
    assert.equal((await other.emit("webrtc:get-stats", {})).call, undefined);
  });
});
