// Redis failures from the clients' view: when Redis loses its data, stops or restarts, sockets stay
// open and rooms continue.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { baseUrl, control, counterSum, metricsUrls, nodeUrls, redisCommand } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("Redis failures", { timeout: 240_000 }, () => {
  const [one, two] = nodeUrls();
  const opened = [];
  let host;

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    host = await account("Redis Host");
  });
  after(() => opened.forEach((client) => client.close()));

  async function seated(url, roomId, name) {
    const admission = await guest(roomId, name);
    const client = await Client.connected(url, admission);
    opened.push(client);
    await client.join(roomId, admission);
    return client;
  }

  /** Seats two clients on two nodes. `lost` collects the reason of each disconnect. */
  async function pair() {
    const { roomId } = await newCall(host);
    const left = await seated(one, roomId, "Left");
    const right = await seated(two, roomId, "Right");
    const lost = [];
    for (const client of [left, right]) client.socket.on("disconnect", (reason) => lost.push(reason));
    return { roomId, left, right, lost };
  }

  /** Repeats an event with the same id until it succeeds, as a careful client does. */
  async function emitUntilAcknowledged(from, to, message) {
    await until(`"${message}" is acknowledged`, async () => {
      const event = { to: to.peerId, message, type: "text", id: message };
      // No answer within the client's bound is one more reason to repeat it.
      const answer = await from.emit("webrtc:data-channel", event).catch(() => null);
      return answer?.success;
    });
  }

  const numbers = (client) => client.all("webrtc:data-channel").map(({ message }) => message);

  test("when Redis loses its data, clients keep socket, seat and peer id, and signaling continues", async () => {
    const { roomId, left, right, lost } = await pair();
    await emitUntilAcknowledged(left, right, "before");
    await redisCommand("FLUSHALL");
    await emitUntilAcknowledged(left, right, "after");
    await emitUntilAcknowledged(right, left, "back");
    await right.event("webrtc:data-channel", ({ message }) => message === "after");
    await left.event("webrtc:data-channel", ({ message, from }) => message === "back" && from === right.peerId);
    assert.deepEqual(numbers(right), ["before", "after"]);
    assert.deepEqual(lost, [], "no socket was dropped");
    const third = await seated(one, roomId, "Third");
    const names = third.joined.participants.map(({ user }) => user.name).sort();
    assert.deepEqual(names, ["Left", "Right", "Third"], "the room is complete again");
  });

  test("while Redis is paused events are refused with a code, and succeed afterwards", async () => {
    const { left, right, lost } = await pair();
    await control("redis", "stop");
    try {
      const answer = await left.emit("webrtc:data-channel", { to: right.peerId, message: "late", type: "text", id: "late" });
      assert.deepEqual([answer.success, answer.code], [false, "SERVICE_UNAVAILABLE"]);
    } finally {
      await control("redis", "cont");
    }
    await emitUntilAcknowledged(left, right, "late");
    await emitUntilAcknowledged(left, right, "later");
    await right.event("webrtc:data-channel", ({ message }) => message === "later");
    assert.deepEqual(numbers(right), ["late", "later"], "delivered once and in order, though repeated");
    assert.deepEqual(lost, [], "no socket was dropped");
  });

  test("every client, seated or not, gets one event when Redis stops answering and one when it is back", async (context) => {
    const pods = metricsUrls().nodes;
    const sum = (name, pod) => counterSum(name, "", [pod]);
    const restored = async () =>
      (await Promise.all(pods.map((pod) => sum("switchboard_cluster_degraded", pod)))).every((gauge) => gauge === 0);
    const degradations = () => Promise.all(pods.map((pod) => sum("switchboard_cluster_degradations_total", pod)));

    // A client that connects to a degraded node is told so, and the test before stopped Redis. So
    // the clients connect while no node is degraded, or others take their place. Those that are
    // refused try again, as clients do.
    let before;
    let clients;
    let left;
    let right;
    let lost;
    await until("clients are connected, and no node is degraded meanwhile", async () => {
      before = await degradations();
      if (!(await restored())) return false;
      const seats = await pair().catch((error) => context.diagnostic(`refused: ${error.message}`));
      if (!seats) return false;
      ({ left, right, lost } = seats);
      const idle = await Client.connected(two);
      idle.socket.on("disconnect", (reason) => lost.push(reason));
      opened.push(idle);
      clients = [[left, 0], [right, 1], [idle, 1]];
      return (await restored()) && String(await degradations()) === String(before);
    });
    const events = ([client]) => client.received.map(({ event }) => event).filter((event) => event.startsWith("cluster:"));
    await control("redis", "stop");
    try {
      await until("every node is degraded", async () =>
        (await degradations()).every((times, index) => times > before[index]),
      );
      // The load balancer still has ready nodes for a new client.
      const late = await Client.connected(baseUrl());
      opened.push(late);
      await late.event("cluster:degraded", () => true);
    } finally {
      await control("redis", "cont");
    }
    // On a machine whose disk stalls, Redis can stop to answer another time.
    await until("no node is degraded any more", restored);
    const after = await degradations();
    for (const client of clients) {
      const times = after[client[1]] - before[client[1]];
      const expected = Array(times).fill(["cluster:degraded", "cluster:restored"]).flat();
      await until("each change is told", () => events(client).length >= expected.length).catch((error) =>
        context.diagnostic(error.message),
      );
      const received = client[0].received.map(({ event }) => event);
      const state = `node ${client[1]}: degraded ${before} to ${after} times, lost [${lost}], received ${received}`;
      assert.deepEqual(events(client), expected, state);
    }
    await emitUntilAcknowledged(left, right, "settled");
    assert.deepEqual(lost, [], "no socket was dropped");
  });

  test("when Redis is killed and restarts with its data, no acknowledged event is lost", async () => {
    const { left, right, lost } = await pair();
    await emitUntilAcknowledged(left, right, "kept");
    await control("redis", "kill");
    await control("redis", "start");
    await emitUntilAcknowledged(left, right, "on");
    await right.event("webrtc:data-channel", ({ message }) => message === "on");
    assert.deepEqual(numbers(right), ["kept", "on"]);
    assert.deepEqual(lost, [], "no socket was dropped");
  });
});
