// A connection that is cut while events flow: the stock client resumes on the other node by itself.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { Line } from "../support/line.mjs";
import { until, within } from "../support/until.mjs";

const CUTS = 6;
const EVENTS_BETWEEN_CUTS = 20;
/** The pace of a flow of events: below the rate that a node allows one socket. */
const PACE_MS = 15;

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

  /** The two ways in which a connection goes: the client's engine gives up, or the network does. */
  const CUT = [
    ["its engine closed", (client) => client.socket.io.engine.close()],
    ["its TCP connection reset", (_client, line) => line.cut()],
  ];

  /** Two seated clients; the first one's line can be cut and is laid to node 1. */
  async function pair(options) {
    const { roomId } = await newCall(host);
    const line = keep(await Line.to(one));
    const mobile = keep(await Client.seated(line.url, roomId, await guest(roomId, "Mobile"), options));
    const fixed = keep(await Client.seated(two, roomId, await guest(roomId, "Fixed")));
    await mobile.event("room:user-joined", ({ participant }) => participant.peerId === fixed.peerId);
    return { roomId, line, mobile, fixed };
  }

  /** Cuts the mobile client's line, lays it to the other node each time, and waits until it is connected again. */
  async function cutAndReturn({ line, mobile }, cut, round) {
    line.lay(round % 2 === 0 ? two : one);
    const returned = mobile.nextConnect();
    cut(mobile, line);
    await returned;
    assert.equal(mobile.socket.recovered, true, `recovered after cut ${round + 1}`);
  }

  const numbers = (client) => client.all("webrtc:data-channel").map(({ message }) => message);

  for (const [how, cut] of CUT) {
    test(`a receiver with ${how} misses nothing and gets nothing twice`, async () => {
      const { line, mobile, fixed } = await pair();
      let sent = 0;
      let flowing = true;
      const flow = (async () => {
        while (flowing) {
          const answer = await fixed.emit("webrtc:data-channel", { to: mobile.peerId, message: sent, type: "count" });
          assert.equal(answer.success, true, "acknowledged although the receiver may be away");
          sent += 1;
          await pause(PACE_MS);
        }
      })();
      try {
        for (let round = 0; round < CUTS; round += 1) {
          const enough = sent + EVENTS_BETWEEN_CUTS;
          await Promise.race([flow, until("events flow", () => sent >= enough)]);
          await cutAndReturn({ line, mobile }, cut, round);
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
      assert.deepEqual(fixed.all("room:user-left"), [], "nobody saw it leave");
    });

    test(`a sender with ${how} that repeats what was not acknowledged is relayed once, in order`, async () => {
      const { line, mobile, fixed } = await pair({ retries: 20, ackTimeout: 5_000 });
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
        // The client sends one at a time: all the others are still to be acknowledged when the line goes.
        await cutAndReturn({ line, mobile }, cut, round);
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

  test("the others see it reconnecting, then connected through its new node, and it keeps its peer id", async () => {
    const { line, mobile, fixed } = await pair();
    await cutAndReturn({ line, mobile }, CUT[1][1], 0);
    const states = await until("both states were told", () => {
      const told = fixed.all("participant:connection-changed").filter(({ peerId }) => peerId === mobile.peerId);
      return told.length >= 2 && told;
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

  test("a page that reloads without goodbye takes its old seat on the other node", async () => {
    const { roomId } = await newCall(host);
    const line = keep(await Line.to(one));
    const admission = await guest(roomId, "Reloader");
    const before = keep(await Client.seated(line.url, roomId, admission, { reconnection: false }));
    const witness = keep(await Client.seated(two, roomId, await guest(roomId, "Witness")));
    const pid = before.socket._pid;
    assert.ok(pid, "the server gave a private session id");
    line.cut();
    const again = keep(await Client.seated(two, roomId, admission, { pid }));
    assert.equal(again.peerId, before.peerId);
    assert.deepEqual(
      again.joined.participants.map(({ peerId }) => peerId).sort(),
      [before.peerId, witness.peerId].sort(),
    );
    await witness.event("room:user-joined", ({ participant }) => participant.peerId === before.peerId);
  });

  test("of two sockets that present one private session id at once, one resumes and the other begins anew", async () => {
    const { roomId, line, mobile, fixed } = await pair({ reconnection: false });
    const { _pid: pid, _lastOffset: offset } = mobile.socket;
    const { token } = mobile.socket.auth;
    line.cut();
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

  test("a client that says goodbye leaves at once and has nothing to recover", async () => {
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
