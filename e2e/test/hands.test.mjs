// Raised hands and reactions over two nodes.
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";

describe("hands and reactions on two nodes", { timeout: 60_000 }, () => {
  const [one, two] = nodeUrls();
  let host;
  let clients = [];

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    host = await account("Host");
  });
  afterEach(() => {
    clients.forEach((client) => client.close());
    clients = [];
  });

  async function seated(url, roomId, admission) {
    const client = await Client.seated(url, roomId, admission);
    clients.push(client);
    return client;
  }
  async function meeting() {
    const { roomId } = await newCall(host);
    return { roomId, hostClient: await seated(one, roomId, host), visitor: await seated(two, roomId, await guest(roomId, "Visitor")) };
  }
  const done = async (client, event, payload) => {
    const answer = await client.emit(event, payload);
    assert.equal(answer.success, true, `${event} ${JSON.stringify(answer)}`);
  };
  const hand = (client, matches) => client.event("participant:hand-changed", matches);

  test("a raised hand is seen by everyone, by newcomers and after a resume, until it is lowered", async () => {
    const { roomId, hostClient, visitor } = await meeting();
    await done(visitor, "participant:set-hand", { raised: true });
    const [seen, own] = await Promise.all([hostClient, visitor].map((client) => hand(client, ({ raised }) => raised)));
    assert.deepEqual(seen, own);
    assert.deepEqual(Object.keys(seen).sort(), ["handRaisedAt", "peerId", "raised", "userId"]);
    assert.equal(seen.peerId, visitor.peerId);
    // Raised again, the hand keeps its time.
    await done(visitor, "participant:set-hand", { raised: true });
    const newcomer = await seated(one, roomId, await guest(roomId, "Newcomer"));
    const handOf = ({ joined }, other) => joined.participants.find(({ peerId }) => peerId === other.peerId).handRaisedAt;
    assert.equal(handOf(newcomer, visitor), seen.handRaisedAt);
    assert.equal(handOf(newcomer, hostClient), undefined);

    const back = visitor.nextConnect();
    visitor.socket.io.engine.close();
    await back;
    assert.equal(visitor.socket.recovered, true);
    const later = await seated(two, roomId, await guest(roomId, "Later"));
    assert.equal(handOf(later, visitor), seen.handRaisedAt);

    await done(visitor, "participant:set-hand", { raised: false });
    const lowered = await hand(newcomer, ({ raised }) => !raised);
    assert.deepEqual(lowered, { userId: seen.userId, peerId: visitor.peerId, raised: false });
  });

  test("a moderator lowers a hand, and a participant lowers nobody else's", async () => {
    const { hostClient, visitor } = await meeting();
    await done(visitor, "participant:set-hand", { raised: true });
    await done(hostClient, "participant:set-hand", { raised: true });
    const refused = await visitor.emit("participant:lower-hand", { peerId: hostClient.peerId });
    assert.equal(refused.code, "FORBIDDEN");
    await done(hostClient, "participant:lower-hand", { peerId: visitor.peerId });
    const lowered = await hand(visitor, ({ peerId, raised }) => peerId === visitor.peerId && !raised);
    assert.equal(lowered.by, hostClient.peerId);
  });

  test("a reaction reaches the others and carries no offset, and more than the rate are refused", async () => {
    const { hostClient, visitor } = await meeting();
    const extra = new Promise((resolve) => hostClient.socket.on("participant:reaction", (...args) => resolve(args)));
    await done(visitor, "participant:reaction", { emoji: "👩🏽‍🚀" });
    assert.deepEqual(await extra, [{ userId: visitor.joined.user.id, peerId: visitor.peerId, emoji: "👩🏽‍🚀" }]);
    for (const emoji of ["yes", "👍👍", "", "<b>", 7]) {
      assert.equal((await visitor.emit("participant:reaction", { emoji })).code, "VALIDATION_ERROR", `${emoji}`);
    }
    const answers = await Promise.all(Array.from({ length: 40 }, () => visitor.emit("participant:reaction", { emoji: "👍" })));
    const refused = answers.filter(({ success }) => !success);
    assert.ok(refused.length > 0 && refused.length < 40, `${refused.length} refused`);
    assert.ok(refused.every(({ code, retryAfter }) => code === "RATE_LIMIT_EXCEEDED" && retryAfter > 0));
    await hostClient.event("participant:reaction", ({ emoji }) => emoji === "👍");
    assert.equal(visitor.all("participant:reaction").length, 0, "the sender gets none");
  });
});
