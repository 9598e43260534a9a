// The stock client on every transport, through a load balancer that sends each request to another
// node.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { baseUrl, control, counterSum, nodeUrls, advanceRoundRobin } from "../support/cluster.mjs";
import { TcpProxy } from "../support/tcp-proxy.mjs";
import { until, within } from "../support/until.mjs";

const EVENTS = 20;
/** Transports option of a client, and the transport that it ends up on. */
const TRANSPORTS = [
  { name: "the default transports", transports: "default", settles: "websocket" },
  { name: "long-polling only", transports: ["polling"], settles: "polling" },
  { name: "WebSocket only", transports: ["websocket"], settles: "websocket" },
];

describe("every transport, without sticky sessions", { timeout: 240_000 }, () => {
  const opened = [];
  let host;
  const keep = (closable) => (opened.push(closable), closable);

  before(async () => {
    assert.ok(nodeUrls().length > 1, "these tests need two nodes");
    host = await account("Transport Host");
  });
  after(() => opened.forEach((closable) => closable.close()));

  const on = ({ socket }) => socket.io.engine?.transport.name;
  const settled = (client, name) => until(`the client is on ${name}`, () => on(client) === name);
  const numbers = (client) => client.all("webrtc:data-channel").map(({ message }) => message);
  const handovers = (outcome) => counterSum("switchboard_handovers_total", `outcome="${outcome}"`);

  /** Sends EVENTS numbers beginning with `first`, without waiting in between. */
  async function send(sender, receiver, first) {
    const answers = await Promise.all(
      Array.from({ length: EVENTS }, (_, index) =>
        sender.emit("webrtc:data-channel", { to: receiver.peerId, message: first + index, type: "count" }),
      ),
    );
    assert.ok(answers.every(({ success }) => success));
  }

  async function received(client, count) {
    await until(`${count} events arrived`, () => numbers(client).length >= count);
    assert.deepEqual(
      numbers(client),
      Array.from({ length: count }, (_, index) => index),
    );
  }

  for (const { name, transports, settles } of TRANSPORTS) {
    test(`two clients on ${name} relay events, and a lost connection loses none`, async () => {
      const { roomId } = await newCall(host);
      const proxy = keep(await TcpProxy.to(baseUrl()));
      const one = keep(await Client.seated(proxy.url, roomId, await guest(roomId, "One"), { transports }));
      const two = keep(await Client.seated(baseUrl(), roomId, await guest(roomId, "Two"), { transports }));
      await Promise.all([settled(one, settles), settled(two, settles)]);
      await Promise.all([send(one, two, 0), send(two, one, 0)]);
      await Promise.all([received(one, EVENTS), received(two, EVENTS)]);

      const returned = one.nextConnect();
      await proxy.cutUntil(one.nextDisconnect());
      await Promise.all([send(two, one, EVENTS), returned]);
      assert.equal(one.socket.recovered, true);
      await settled(one, settles);
      await Promise.all([send(two, one, 2 * EVENTS), send(one, two, EVENTS)]);
      await Promise.all([received(one, 3 * EVENTS), received(two, 2 * EVENTS)]);
      assert.deepEqual(two.all("room:user-left"), [], "the other client never saw a leave");

      one.close();
      await two.event("room:user-left", ({ peerId }) => peerId === one.peerId);
    });
  }

  test("requests and upgrades are handed over to the session's node, and none fails", async () => {
    const before = { answered: await handovers("answered"), upgraded: await handovers("upgraded") };
    const grew = async (outcome) => (await handovers(outcome)) > before[outcome];
    const { roomId } = await newCall(host);
    let rounds = 0;
    // With round robin a client may reach its own node with every request, so open clients until
    // one was handed over.
    await until("requests and upgrades are handed over", async () => {
      const clients = Array.from({ length: 3 }, async () => {
        const client = keep(await Client.seated(baseUrl(), roomId, await guest(roomId, "Guest"), { transports: "default" }));
        await settled(client, "websocket");
      });
      await Promise.all(clients);
      // Sessions and their requests go round the nodes apart. Every second round moves them against
      // each other.
      if (rounds++ % 2) await advanceRoundRobin();
      return (await grew("answered")) && (await grew("upgraded"));
    });
    for (const outcome of ["unknown_node", "unreachable", "failed", "refused"]) assert.equal(await handovers(outcome), 0);
  });

  test("a poll that is handed over to a paused node is answered with an error within 35 s", async () => {
    const [paused, other] = nodeUrls();
    const query = "socket.io/?EIO=4&transport=polling";
    const { sid } = JSON.parse((await (await fetch(`${paused}/${query}`)).text()).slice(1));
    const poll = fetch(`${other}/${query}&sid=${sid}&t=a`);
    const post = (t) => fetch(`${other}/${query}&sid=${sid}&t=${t}`, { method: "POST", body: "40" });
    assert.equal((await post("b")).status, 200, "the request is handed over");
    assert.equal((await poll).status, 200);
    await control("nodes/0", "stop");
    try {
      const hanging = fetch(`${other}/${query}&sid=${sid}&t=c`);
      // At a working node a poll may stay open for 45 s.
      const answers = await within("both answers", Promise.all([hanging, post("d")]), 35_000);
      assert.deepEqual(
        answers.map(({ status }) => status),
        [400, 400],
      );
    } finally {
      await control("nodes/0", "cont");
    }
  });

  for (const { name, transports, settles } of TRANSPORTS.slice(0, 2)) {
    test(`a client on ${name} whose node is killed resumes on another node and misses no event`, async () => {
      const { roomId } = await newCall(host);
      const one = keep(await Client.seated(baseUrl(), roomId, await guest(roomId, "One"), { transports }));
      await settled(one, settles);
      // A node's name has its number in the cluster and a random part of its start: n1-0123abcd.
      const index = Number(/^n(\d+)-/.exec(one.joined.node)[1]) - 1;
      const elsewhere = nodeUrls()[(index + 1) % nodeUrls().length];
      const two = keep(await Client.seated(elsewhere, roomId, await guest(roomId, "Two"), { transports: ["websocket"] }));
      await send(two, one, 0);
      await received(one, EVENTS);
      const returned = one.nextConnect();
      await control(`nodes/${index}`, "kill");
      try {
        await Promise.all([send(two, one, EVENTS), returned]);
        assert.equal(one.socket.recovered, true);
        await settled(one, settles);
        await send(one, two, 0);
        await Promise.all([received(one, 2 * EVENTS), received(two, EVENTS)]);
      } finally {
        await control(`nodes/${index}`, "start");
      }
    });
  }
});
