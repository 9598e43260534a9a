// What clients notice when Redis loses its data, or goes away and comes back: their sockets stay, and the room goes on.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { baseUrl, command, control, nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("Redis in trouble", { timeout: 240_000 }, () => {
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

  /** Two clients in a room, on two nodes; and how often either lost its socket. */
  async function pair() {
    const { roomId } = await newCall(host);
    const left = await seated(one, roomId, "Left");
    const right = await seated(two, roomId, "Right");
    const lost = [];
    for (const client of [left, right]) client.socket.on("disconnect", (reason) => lost.push(reason));
    return { roomId, left, right, lost };
  }

  /** Emits until it is acknowledged with success: what a careful client does with its own id. */
  async function insist(from, to, message) {
    await until(`"${message}" is acknowledged`, async () => {
      const answer = await from.emit("webrtc:data-channel", { to: to.peerId, message, type: "text", id: message });
      return answer.success;
    });
  }

  const numbers = (client) => client.all("webrtc:data-channel").map(({ message }) => message);

  test("its data lost: everybody keeps socket, seat and peer id, and signals on", async () => {
    const { roomId, left, right, lost } = await pair();
    await insist(left, right, "before");
    await command("FLUSHALL");
    await insist(left, right, "after");
    await insist(right, left, "back");
    await right.event("webrtc:data-channel", ({ message }) => message === "after");
    await left.event("webrtc:data-channel", ({ message, from }) => message === "back" && from === right.peerId);
    assert.deepEqual(numbers(right), ["before", "after"]);
    assert.deepEqual(lost, [], "no socket was dropped");
    const third = await seated(one, roomId, "Third");
    const names = third.joined.participants.map(({ user }) => user.name).sort();
    assert.deepEqual(names, ["Left", "Right", "Third"], "the room is whole again");
  });

  test("paused: events are refused with a code, and go through after it", async () => {
    const { left, right, lost } = await pair();
    await control("redis", "stop");
    try {
      const answer = await left.emit("webrtc:data-channel", { to: right.peerId, message: "late", type: "text", id: "late" });
      assert.deepEqual([answer.success, answer.code], [false, "SERVICE_UNAVAILABLE"]);
    } finally {
      await control("redis", "cont");
    }
    await insist(left, right, "late");
    await insist(left, right, "later");
    await right.event("webrtc:data-channel", ({ message }) => message === "later");
    assert.deepEqual(numbers(right), ["late", "later"], "once, and in order, though it was sent again");
    assert.deepEqual(lost, [], "no socket was dropped");
  });

  test("silent: every client is told once, and once when it is back, in a room or not", async () => {
    const { left, right, lost } = await pair();
    const idle = await Client.connected(two);
    opened.push(idle);
    const told = (client) =>
      client.received.map(({ event }) => event).filter((event) => event.startsWith("cluster:"));
    const clients = [left, right, idle];
    await until("all is well", () => clients.every((client) => told(client).length % 2 === 0));
    const before = clients.map((client) => told(client).length);
    const news = () => clients.map((client, index) => told(client).slice(before[index]));
    await control("redis", "stop");
    try {
      await until("all are told", () => news().every((events) => events.length > 0));
      // The load balancer still has nodes to send it to.
      const late = await Client.connected(baseUrl());
      opened.push(late);
      await late.event("cluster:degraded", () => true);
    } finally {
      await control("redis", "cont");
    }
    await until("all are told again", () => news().every((events) => events.length > 1));
    assert.deepEqual(news(), clients.map(() => ["cluster:degraded", "cluster:restored"]));
    await insist(left, right, "settled");
    assert.deepEqual(lost, [], "no socket was dropped");
  });

  test("killed and started again with its data: nothing acknowledged is lost", async () => {
    const { left, right, lost } = await pair();
    await insist(left, right, "kept");
    await control("redis", "kill");
    await control("redis", "start");
    await insist(left, right, "on");
    await right.event("webrtc:data-channel", ({ message }) => message === "on");
    assert.deepEqual(numbers(right), ["kept", "on"]);
    assert.deepEqual(lost, [], "no socket was dropped");
  });
});
