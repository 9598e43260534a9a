// The reference clients of three languages do the same list, through a load balancer that sends
// each request to another node. It shows that the server does not depend on one client's ways.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LANGUAGES } from "../interop/runtime.mjs";
import { account, guest, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { TcpProxy } from "../support/tcp-proxy.mjs";
import { until } from "../support/until.mjs";

/** Transports option of a client, and the transport that it ends up on. */
const TRANSPORTS = [
  { name: "the default transports", settles: "websocket" },
  { name: "long-polling only", transports: ["polling"], settles: "polling" },
  { name: "WebSocket only", transports: ["websocket"], settles: "websocket" },
];
const RETURNS = [
  { way: "joins again", recovers: false },
  { way: "recovers", recovers: true },
];
/** Packets that a client has ready at once: more than one body of a client may hold. */
const BURST = 40;
/** Several messages of this size make one POST of more than 64 KiB. */
const LARGE = 15_000;
/** Description of a call with many tracks. */
const offerOf = (name) => ({ type: "offer", sdp: `v=0\r\n${name}${"a=candidate\r\n".repeat(5_000)}` });

describe("clients of three languages through the load balancer", { timeout: 300_000 }, () => {
  const running = new Map();
  const proxies = [];
  let host;

  before(async () => {
    host = await account("Interop Host");
    for (const { name, missing, start } of LANGUAGES) if (!missing) running.set(name, start());
  });
  after(async () => {
    for (const proxy of proxies) proxy.close();
    for (const peers of running.values()) await peers.stop();
  });

  const proxyTo = async (url) => {
    const proxy = await TcpProxy.to(url);
    proxies.push(proxy);
    return proxy;
  };
  const skipped = (...languages) => {
    const lacking = languages.find(({ missing }) => missing);
    return lacking ? { skip: `${lacking.name} lacks ${lacking.missing}` } : {};
  };

  /** Joins the room with the credentials of the peer. */
  async function join(peer, roomId, joinToken) {
    const seats = peer.all("room:joined").length;
    const answer = await peer.call("room:join", { roomId, ...(joinToken && { token: joinToken }) });
    assert.equal(answer.success, true, answer.code);
    await until("the room", () => peer.all("room:joined").length > seats);
    peer.peerId = peer.all("room:joined").at(-1).peerId;
  }

  for (const language of LANGUAGES) {
    for (const { name, transports, settles } of TRANSPORTS) {
      test(`${language.name} on ${name}: a token is taken in its places and refused elsewhere`, skipped(language), async () => {
        const { token, user } = host;
        const { roomId } = await newCall(host);
        const bearer = `Bearer ${token}`;
        for (const credentials of [{ auth: { token } }, { auth: { token: bearer } }, { headers: { Authorization: bearer } }]) {
          const peer = running.get(language.name).open();
          peer.connect({ url: baseUrl(), transports, ...credentials });
          await peer.connected();
          await peer.settled(settles);
          await join(peer, roomId);
          assert.equal(peer.all("room:joined")[0].user.id, user.id);
          await peer.close();
        }
        for (const [credentials, code] of [
          [{ auth: { accessToken: token } }, "TOKEN_MISPLACED"],
          [{ url: `${baseUrl()}/?token=${token}` }, "TOKEN_MISPLACED"],
          [{ auth: { token: "not.a.token" } }, "TOKEN_INVALID"],
        ]) {
          const peer = running.get(language.name).open();
          peer.connect({ url: baseUrl(), transports, ...credentials });
          assert.equal(await peer.refusal(), code);
          await peer.close();
        }
      });
    }
  }

  const pairs = LANGUAGES.map((language, index) => [language, LANGUAGES[(index + 1) % LANGUAGES.length]]);
  for (const [first, second] of pairs) {
    for (const { name, transports, settles } of TRANSPORTS) {
      for (const { way, recovers } of RETURNS) {
        const title = `${first.name} calls ${second.name} on ${name}, is cut, ${way} and calls again`;
        test(title, skipped(first, second), async () => {
          const { roomId } = await newCall(host);
          const peers = [first, second].map(({ name: language }) => running.get(language).open());
          const admissions = [await guest(roomId, "One"), await guest(roomId, "Two")];
          const ways = [await proxyTo(baseUrl()), await proxyTo(baseUrl())];
          for (const [index, peer] of peers.entries()) {
            const { token, joinToken } = admissions[index];
            peer.connect({ url: ways[index].url, transports, auth: { token }, recovers });
            await peer.connected();
            await peer.settled(settles);
            await join(peer, roomId, joinToken);
          }
          const seats = peers.map(({ peerId }) => peerId);
          await call(...peers, "before");

          await Promise.all(peers.map((peer, index) => cut(peer, ways[index])));
          for (const [index, peer] of peers.entries()) {
            const { recovered } = await peer.connected(2);
            assert.equal(recovered, recovers);
            if (!recovers) await join(peer, roomId, admissions[index].joinToken);
          }
          assert.deepEqual(peers.map(({ peerId }) => peerId), seats, "each has its own seat again");
          await call(...peers, "after");
          for (const peer of peers) await peer.close();
        });
      }
    }
  }

  /**
   * Cuts the connections of a peer until it has noticed. Between two polls a client has none, or
   * only one that it keeps for its next request.
   */
  async function cut(peer, proxy) {
    while (peer.connects.length < 2) {
      await until("the peer has a connection", () => proxy.connections > 0);
      proxy.cut();
      await until("the peer is back", () => peer.connects.length >= 2, 5_000).catch(() => {});
    }
  }

  /** Each sends the other an offer, many candidates at once, and large messages at once. */
  async function call(one, two, when) {
    for (const [from, to] of [[one, two], [two, one]]) {
      const offer = offerOf(when);
      assert.equal((await from.call("webrtc:offer", { to: to.peerId, offer })).success, true);
      const received = await to.event("webrtc:offer", (message) => message.from === from.peerId && message.offer.sdp.includes(when));
      assert.deepEqual(received.offer, offer);
      const candidates = Array.from({ length: BURST }, (_, index) => ({
        to: to.peerId,
        candidate: { candidate: `${when} ${index}` },
      }));
      const large = Array.from({ length: 5 }, (_, index) => ({
        to: to.peerId,
        message: `${when} ${index} ${"x".repeat(LARGE)}`,
        type: "large",
      }));
      const answers = [...(await from.burst("webrtc:ice-candidate", candidates)), ...(await from.burst("webrtc:data-channel", large))];
      assert.deepEqual(answers.filter(({ success }) => !success), []);
      const of = (name, text) => to.all(name).map(text).filter((text) => text.startsWith(when));
      await until("all events", () => of("webrtc:data-channel", ({ message }) => message).length === large.length);
      // python-socketio handles each event in a thread of its own, so they may be told out of
      // order.
      const arrived = () => of("webrtc:ice-candidate", ({ candidate }) => candidate.candidate).sort();
      await until("all candidates", () => arrived().length === BURST);
      assert.deepEqual(arrived(), candidates.map(({ candidate }) => candidate.candidate).sort());
    }
  }
});
