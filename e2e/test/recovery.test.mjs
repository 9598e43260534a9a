// Recovery after a lost connection: the stock client resumes on the other node by itself, while
// events flow.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Client, account, admitted, guest, newCall } from "../support/clients.mjs";
import { baseUrl, nodeUrls } from "../support/cluster.mjs";
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

  test("a page that reloads gets its old seat back on the other node, and nobody sees a leave or a join", async () => {
    const { roomId } = await newCall(host);
    const proxy = keep(await TcpProxy.to(one));
    const admission = await guest(roomId, "Reloader");
    const before = keep(await Client.seated(proxy.url, roomId, admission, { reconnection: false }));
    const witness = keep(await Client.seated(two, roomId, await guest(roomId, "Witness")));
    const pid = before.socket._pid;
    assert.ok(pid, "the server gave a private session id");
    const { id: socketId } = before.socket;
    proxy.cut();
    const again = keep(await Client.seated(two, roomId, admission, { pid }));
    assert.equal(again.peerId, before.peerId);
    assert.deepEqual(
      again.joined.participants.map(({ peerId }) => peerId).sort(),
      [before.peerId, witness.peerId].sort(),
    );
    const own = ({ participants }) => participants.find(({ peerId }) => peerId === before.peerId);
    assert.equal(own(witness.joined).socketId, socketId);
    assert.equal(own(again.joined).socketId, again.socket.id);
    assert.equal(own(again.joined).joinedAt, own(before.joined).joinedAt);
    const back = await witness.event("participant:connection-changed", ({ state }) => state === "connected");
    assert.deepEqual([back.peerId, back.socketId, back.node], [before.peerId, again.socket.id, again.joined.node]);
    assert.deepEqual([...witness.all("room:user-left"), ...witness.all("room:user-joined")], []);
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

describe("leaving and coming back, through the load balancer", { timeout: 240_000 }, () => {
  const opened = [];
  let owner;
  const keep = (closable) => (opened.push(closable), closable);
  const seated = async (roomId, admission, options) =>
    keep(await Client.seated(baseUrl(), roomId, admission, { reconnection: false, ...options }));

  before(async () => {
    owner = await account("Ada Host");
  });
  after(() => opened.forEach((closable) => closable.close()));

  /** Ways in which a page, a browser or a network ends a connection without a goodbye. */
  const ENDS = [
    ["a WebSocket close with 1001", "websocket", ({ transport }) => transport.ws.close(1001)],
    ["a WebSocket close with 1000", "websocket", ({ transport }) => transport.ws.close(1000)],
    ["a WebSocket close without a code", "websocket", (engine) => engine.close()],
    ["a cut WebSocket", "websocket", ({ transport }) => transport.ws.terminate()],
    ["a closed long-polling session", "polling", (engine) => engine.close()],
  ];

  /** Returns what a client saw of a participant since it joined, without media and signals. */
  const seen = (client, peer) =>
    client.received
      .filter(({ event, payload }) => /^(room:user-|participant:(role|connection))/.test(event) && payload.peerId === peer)
      .map(({ event, payload }) => payload.state ?? event);

  for (const [end, transport, close] of ENDS) {
    test(`after ${end} the host is reconnecting, and the page that comes back is host in the same seat`, async () => {
      const { roomId } = await newCall(owner, { maxParticipants: 2 });
      const page = await seated(roomId, await admitted(roomId, owner), { transports: [transport] });
      const other = await seated(roomId, await guest(roomId, "Grace Guest"));
      close(page.socket.io.engine);
      await other.event("participant:connection-changed", ({ state }) => state === "reconnecting");
      // The page kept nothing but the token, as an app does that was killed.
      const back = await seated(roomId, await admitted(roomId, owner), { transports: [transport] });
      assert.deepEqual([back.peerId, back.joined.role], [page.peerId, "host"]);
      await other.event("participant:connection-changed", ({ state }) => state === "connected");
      assert.equal((await back.emit("room:lock", { locked: true })).success, true);
      await other.event("room:updated", ({ locked }) => locked);
      assert.deepEqual(seen(other, page.peerId), ["reconnecting", "connected"]);
      assert.deepEqual(other.all("participant:role-changed"), [], "the guest was never host");
      assert.deepEqual(await other.emit("room:end-call", {}), {
        success: false,
        code: "HOST_REQUIRED",
        message: "Only the host may do this",
      });
    });
  }

  test("only a Socket.IO disconnect and room:leave free the seat at once", async () => {
    const { roomId } = await newCall(owner);
    const witness = await seated(roomId, await admitted(roomId, owner));
    const one = await seated(roomId, await guest(roomId, "One"));
    const two = await seated(roomId, await guest(roomId, "Two"));
    one.socket.disconnect();
    await two.emit("room:leave");
    for (const { peerId } of [one, two]) {
      await witness.event("room:user-left", (left) => left.peerId === peerId && left.reason === "left");
      assert.deepEqual(seen(witness, peerId).slice(-1), ["room:user-left"]);
    }
    assert.deepEqual(witness.all("participant:connection-changed"), []);
  });

  test("a client without recovery takes its own seat back in a full room, and no one else gets it", async () => {
    const { roomId } = await newCall(owner, { maxParticipants: 3 });
    const phone = await seated(roomId, await admitted(roomId, owner));
    const laptop = await seated(roomId, await admitted(roomId, owner));
    const other = await seated(roomId, await guest(roomId, "Grace Guest"));
    assert.equal(laptop.peerId, `${phone.peerId}#2`);
    phone.socket.io.engine.transport.ws.terminate();
    await other.event("participant:connection-changed", ({ peerId }) => peerId === phone.peerId);
    const stranger = await account("Eve Stranger");
    await assert.rejects(admitted(roomId, stranger), { code: "CALL_FULL" });
    const back = await seated(roomId, await admitted(roomId, owner));
    assert.equal(back.peerId, phone.peerId);
    assert.equal(back.joined.participants.length, 3, "nobody is shown twice");
    const answer = await laptop.emit("webrtc:data-channel", { to: back.peerId, message: "still here", type: "text" });
    assert.equal(answer.success, true, "the other device keeps its seat");
    await back.event("webrtc:data-channel", ({ from }) => from === laptop.peerId);
    assert.deepEqual(other.all("room:user-left"), []);
  });

  test("a client whose network is gone comes back before the server notices, and its living device stays", async () => {
    const { roomId } = await newCall(owner, { maxParticipants: 3 });
    const laptop = await seated(roomId, await admitted(roomId, owner));
    const proxy = keep(await TcpProxy.to(baseUrl()));
    const phone = keep(await Client.seated(proxy.url, roomId, await admitted(roomId, owner), { reconnection: false }));
    const other = await seated(roomId, await guest(roomId, "Grace Guest"));
    assert.equal(phone.peerId, `${laptop.peerId}#2`);
    proxy.freeze();
    // REST and the socket ask the same: the laptop answers, the phone does not.
    const back = await seated(roomId, await admitted(roomId, owner));
    assert.equal(back.peerId, phone.peerId);
    assert.equal(back.joined.participants.length, 3, "nobody is shown twice");
    assert.equal((await laptop.emit("chat:message", { message: "still here" })).success, true);
    await Promise.all([back, other].map((client) => client.event("chat:message", () => true)));
    await assert.rejects(admitted(roomId, owner), { code: "CALL_FULL" });
    await assert.rejects(seated(roomId, owner), { code: "ROOM_FULL" });
    assert.deepEqual(other.all("room:user-left"), []);
  });

  test("joining the room that one is in already gets the same answer, and the others see nothing", async () => {
    const { roomId } = await newCall(owner);
    const client = await seated(roomId, await admitted(roomId, owner));
    const other = await seated(roomId, await guest(roomId, "Grace Guest"));
    await client.event("room:user-joined", ({ participant }) => participant.peerId === other.peerId);
    const seen = other.received.length;
    const again = await client.emit("room:join", { roomId });
    assert.equal(again.success, true);
    for (const field of ["peerId", "roomId", "callId", "role", "hostId", "node"]) {
      assert.equal(again[field], client.joined[field], field);
    }
    assert.deepEqual(again.participants.map(({ peerId }) => peerId), [client.peerId, other.peerId]);
    await until("room:joined came once more", () => client.all("room:joined").length === 2);
    assert.deepEqual(client.all("room:joined")[1].participants, again.participants);
    const typed = await client.emit("room:join", { roomId: roomId.toLowerCase() });
    assert.equal(typed.peerId, client.peerId, "a code typed in lower case names the same room");
    assert.deepEqual(typed.participants, again.participants);
    // The next event of the room follows the repeated answer, so nothing was sent in between.
    await client.emit("webrtc:data-channel", { to: other.peerId, message: "next", type: "text" });
    await other.event("webrtc:data-channel", () => true);
    const events = other.received.slice(seen).map(({ event }) => event).filter((event) => event !== "server:tick");
    assert.deepEqual(events, ["webrtc:data-channel"]);
    const answer = await other.emit("webrtc:data-channel", { to: client.peerId, message: "back", type: "text" });
    assert.equal(answer.success, true);
    await client.event("webrtc:data-channel", ({ message }) => message === "back");
  });

  test("a client with retries whose answers were lost joins again and is in the room once", async () => {
    const { roomId } = await newCall(owner);
    const witness = await seated(roomId, await admitted(roomId, owner));
    const proxy = keep(await TcpProxy.to(baseUrl()));
    const { token } = await guest(roomId, "Retrying Guest");
    const client = keep(await Client.connected(proxy.url, { token, retries: 10, ackTimeout: 5_000 }));
    const join = () =>
      new Promise((resolve, reject) =>
        client.socket.emit("room:join", { roomId }, (error, answer) => (error ? reject(error) : resolve(answer))),
      );
    const first = await join();
    const { peerId } = first;
    const returned = client.nextConnect();
    proxy.cut();
    await returned;
    assert.equal(client.socket.recovered, true);
    assert.equal((await join()).peerId, peerId);
    // The cut may hit the request or its answer; in either case the client repeats the request.
    const pending = join();
    proxy.cut();
    assert.equal((await within("the repeated join is answered", pending)).peerId, peerId);
    const stats = await witness.emit("webrtc:get-stats", {});
    assert.deepEqual(stats.participants.map((participant) => participant.peerId).sort(), [witness.peerId, peerId].sort());
    assert.deepEqual(witness.all("room:user-left"), []);
    assert.equal(witness.all("room:user-joined").length, 1);
  });
});
