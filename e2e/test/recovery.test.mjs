// Recovery after a lost connection: the stock client resumes on the other node by itself, while
// events flow.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { TcpProxy } from "../support/tcp-proxy.mjs";
import { until, within } from "../support/until.mjs";

const CUTS = 6;
const EVENTS_BETWEEN_CUTS = 20;
/** Time between two events: below the rate limit of a socket. */
const SEND_INTERVAL_MS = 15;

describe("recovery on another node", { timeout: 240_000 }, () => {
  const [one, two] = nodeUrls();
  const opened = [];
  let host;
  const keep = (closable) => (opened.push(closable), closable);

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    host = await account("Recovery Host");
  });
  after(() => opened.forEach((closable) => closable.close()));

  /** The two ways to lose a connection: the client's engine closes it, or the network resets it. */
  const CONNECTION_LOSSES = [
    ["a closed engine", (client) => client.socket.io.engine.close()],
    ["a reset TCP connection", (_client, proxy) => proxy.cut()],
  ];

  /** Seats two clients. The first one is connected to node 1 through a proxy. */
  async function pair(options) {
    const { roomId } = await newCall(host);
    const proxy = keep(await TcpProxy.to(one));
    const mobile = keep(await Client.seated(proxy.url, roomId, await guest(roomId, "Mobile"), options));
    const fixed = keep(await Client.seated(two, roomId, await guest(roomId, "Fixed")));
    await mobile.event("room:user-joined", ({ participant }) => participant.peerId === fixed.peerId);
    return { roomId, proxy, mobile, fixed };
  }

  /** Cuts the mobile client's connection and waits until it has recovered on the other node. */
  async function cutAndReturn({ proxy, mobile }, cut, round) {
    proxy.pointTo(round % 2 === 0 ? two : one);
    const returned = mobile.nextConnect();
    cut(mobile, proxy);
    await returned;
    assert.equal(mobile.socket.recovered, true, `recovered after cut ${round + 1}`);
  }

  const numbers = (client) => client.all("webrtc:data-channel").map(({ message }) => message);

  for (const [how, cut] of CONNECTION_LOSSES) {
    test(`a receiver with ${how} misses no event and receives none twice`, async () => {
      const { proxy, mobile, fixed } = await pair();
      let sent = 0;
      let flowing = true;
      const flow = (async () => {
        while (flowing) {
          const answer = await fixed.emit("webrtc:data-channel", { to: mobile.peerId, message: sent, type: "count" });
          assert.equal(answer.success, true, "acknowledged although the receiver may be away");
          sent += 1;
          await pause(SEND_INTERVAL_MS);
        }
      })();
      try {
        for (let round = 0; round < CUTS; round += 1) {
          const enough = sent + EVENTS_BETWEEN_CUTS;
          await Promise.race([flow, until("events flow", () => sent >= enough)]);
          await cutAndReturn({ proxy, mobile }, cut, round);
        }
      } finally {
        flowing = false;
      }
      await flow;
      await until("the last event has arrived", () => numbers(mobile).at(-1) === sent - 1);
      assert.ok(sent >= CUTS * EVENTS_BETWEEN_CUTS);
      assert.deepEqual(
        numbers(mobile),
        Array.from({ length: sent }, (_, index) => index),
      );
      assert.deepEqual(fixed.all("room:user-left"), [], "the other client never saw a leave");
    });

    test(`a sender with ${how} repeats unacknowledged events, and each is relayed once, in order`, async () => {
      const { proxy, mobile, fixed } = await pair({ retries: 20, ackTimeout: 5_000 });
      let sent = 0;
      const send = () =>
        new Promise((resolve, reject) => {
          const message = sent++;
          const payload = { to: fixed.peerId, id: `n${message}`, message, type: "count" };
          mobile.socket.emit("webrtc:data-channel", payload, (error, answer) => {
            if (error || !answer.success) reject(new Error(`event ${message}: ${error?.message ?? answer.code}`));
            else resolve();
          });
        });
      for (let round = 0; round < CUTS; round += 1) {
        const acknowledgements = Array.from({ length: EVENTS_BETWEEN_CUTS }, send);
        await acknowledgements[0];
        // The client sends one event at a time, so the others are unacknowledged at the cut.
        await cutAndReturn({ proxy, mobile }, cut, round);
        await within("every event is acknowledged", Promise.all(acknowledgements));
      }
      await until("the last event has arrived", () => numbers(fixed).at(-1) === sent - 1);
      assert.equal(sent, CUTS * EVENTS_BETWEEN_CUTS);
      assert.deepEqual(
        numbers(fixed),
        Array.from({ length: sent }, (_, index) => index),
      );
    });
  }

  test("the others see the participant reconnecting, then connected on the new node, with the same peer id", async () => {
    const { proxy, mobile, fixed } = await pair();
    await cutAndReturn({ proxy, mobile }, CONNECTION_LOSSES[1][1], 0);
    const states = await until("both states were announced", () => {
      const changes = fixed.all("participant:connection-changed").filter(({ peerId }) => peerId === mobile.peerId);
      return changes.length >= 2 && changes;
    });
    assert.deepEqual(
      states.map(({ state }) => state),
      ["reconnecting", "connected"],
    );
    assert.equal(states[1].node, fixed.joined.node);
    const answer = await fixed.emit("webrtc:connection-state", { to: mobile.peerId, state: "connected" });
    assert.equal(answer.success, true);
    await mobile.event("webrtc:connection-state", ({ from }) => from === fixed.peerId);
  });

  test("a page that reloads without a disconnect gets its old seat back on the other node", async () => {
    const { roomId } = await newCall(host);
    const proxy = keep(await TcpProxy.to(one));
    const admission = await guest(roomId, "Reloader");
    const before = keep(await Client.seated(proxy.url, roomId, admission, { reconnection: false }));
    const witness = keep(await Client.seated(two, roomId, await guest(roomId, "Witness")));
    const pid = before.socket._pid;
    assert.ok(pid, "the server gave a private session id");
    proxy.cut();
    const again = keep(await Client.seated(two, roomId, admission, { pid }));
    assert.equal(again.peerId, before.peerId);
    assert.deepEqual(
      again.joined.participants.map(({ peerId }) => peerId).sort(),
      [before.peerId, witness.peerId].sort(),
    );
    await witness.event("room:user-joined", ({ participant }) => participant.peerId === before.peerId);
  });

  test("of two sockets that send one private session id at the same time, one resumes and the other starts a new session", async () => {
    const { roomId, proxy, mobile, fixed } = await pair({ reconnection: false });
    const { _pid: pid, _lastOffset: offset } = mobile.socket;
    const { token } = mobile.socket.auth;
    proxy.cut();
    const rivals = [one, two].map((url) => keep(new Client(url, { auth: { token, pid, offset }, reconnection: false })));
    await until("both are connected", () => rivals.every(({ socket }) => socket.connected));
    assert.equal(rivals.filter(({ socket }) => socket._pid === pid).length, 1, "one of them resumed");
    const winner = rivals.find(({ socket }) => socket._pid === pid);
    const other = rivals.find((rival) => rival !== winner);
    await other.join(roomId);
    assert.equal(other.peerId, `${mobile.peerId}#2`);
    for (const client of [winner, other]) {
      const answer = await client.emit("webrtc:data-channel", { to: fixed.peerId, message: "here", type: "text" });
      assert.equal(answer.success, true);
    }
  });

  test("a client that disconnects explicitly leaves immediately and has nothing to recover", async () => {
    const { mobile, fixed } = await pair();
    mobile.socket.disconnect();
    await fixed.event("room:user-left", ({ peerId }) => peerId === mobile.peerId);
    assert.deepEqual(fixed.all("participant:connection-changed"), []);
    const returned = mobile.nextConnect();
    mobile.socket.connect();
    await returned;
    assert.equal(mobile.socket.recovered, false);
  });
});
