// The client SDK in pages without other scripts: signals on the wire, recovery, tokens, lobby,
// moderation, errors. The file has more than 400 lines, because its tests share one service, its
// pages and the signals that they send.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { launch } from "../support/browser.mjs";
import { account, newApp, newCall, operatorRequest, rest, serverRequest, signed } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { staticPages } from "../support/static-pages.mjs";
import { turnServer } from "../support/turn.mjs";
import { until } from "../support/until.mjs";
import { Wire } from "../support/wire.mjs";

const SIZE_MAX = 15 * 1024;

test("the SDK has 15 KB at most, and imports socket.io-client alone", async () => {
  const bundle = await readFile(new URL("../../web/vendor/switchboard.js", import.meta.url));
  const { length } = gzipSync(bundle, { level: 9 });
  assert.ok(length > 1_000 && length <= SIZE_MAX, `${length} bytes`);
  const imports = [...String(bundle).matchAll(/from\s*"([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(imports, ["./socket.io.esm.min.js"]);
});

/** Returns the name of the ICE session of a description. A restart changes it. */
const fragmentOf = ({ sdp }) => /a=ice-ufrag:(\S+)/.exec(sdp)[1];

describe("the SDK", { timeout: 600_000 }, () => {
  let browser;
  let host;
  const contexts = [];

  before(async () => {
    browser = await launch();
    host = await account("Ada Host");
  });
  after(() => browser?.close());
  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.close();
  });

  /** Opens a page that has the SDK, as `sdk`, and its wire. */
  async function blank() {
    const context = await browser.newContext();
    contexts.push(context);
    const page = await context.newPage();
    const wire = await Wire.of(page);
    // The connections that the page opens.
    await page.addInitScript(() => {
      window.opened = [];
      window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(options) {
          super({ ...options, iceTransportPolicy: window.policy ?? "all" });
          window.opened.push(this);
          this.addEventListener("connectionstatechange", () => {
            if (this.connectionState === "connected") this.connectedAt ??= Date.now();
          });
        }
      };
    });
    // An answer of the service without scripts.
    await page.goto(`${baseUrl()}/api/version`);
    await load(page);
    return { page, wire };
  }
  const load = (page) => page.evaluate(async () => void (window.sdk = await import("/vendor/switchboard.js")));

  /** Joins in the page. Resolves with the room's status, or with the code of the refusal. */
  const join = (page, roomId, { token, ...options } = {}) =>
    page.evaluate(
      async ([id, given, more]) => {
        window.switchboard = new sdk.Switchboard(location.origin, { token: given, transports: ["websocket"] });
        try {
          window.room = await switchboard.join(id, more);
          window.joinedAt = Date.now();
          return room.status;
        } catch (error) {
          return error.code;
        }
      },
      [roomId, token, options],
    );
  const connected = (...pages) =>
    until("all are connected", async () => {
      const states = await Promise.all(
        pages.map((page) => page.evaluate(() => room.others.map(({ connection }) => connection?.connectionState))),
      );
      return states.every((each) => each.length === pages.length - 1 && each.every((state) => state === "connected"));
    });
  const status = (page) => page.evaluate(() => room.status);

  /** Two guests in a call, connected to each other. */
  async function pair(prepare = () => {}) {
    const { roomId } = await newCall(host);
    const one = await blank();
    const two = await blank();
    await prepare(one, two);
    for (const [{ page }, name] of [
      [one, "One"],
      [two, "Two"],
    ]) {
      assert.equal(await join(page, roomId, { name, audio: true, video: true }), "live");
    }
    return [one, two];
  }

  test("signals leave while no acknowledgement has come, and each description carries an id of its own", async () => {
    let held = 0;
    const hold = ({ wire }) => {
      wire.onPacket = (packet) => {
        const [, ack] = /^43(\d+)/.exec(packet) ?? [];
        if (!wire.sent.some((sent) => sent.ack === ack && sent.event.startsWith("webrtc:"))) return packet;
        held += 1;
        return null;
      };
    };
    const [one, two] = await pair((first) => hold(first));
    await connected(one.page, two.page);
    // A description and a candidate at least: how many candidates there are depends on the
    // machine's networks, and on which page offers.
    const sent = (event) => one.wire.all(event).length;
    await until("signals left, and an acknowledgement of them is held", () =>
      held > 0 && sent("webrtc:ice-candidate") > 0 && sent("webrtc:offer") + sent("webrtc:answer") > 0,
    );
    // A candidate needs none, because one that comes twice does no harm.
    const isDescription = ({ event }) => event === "webrtc:offer" || event === "webrtc:answer";
    const ids = one.wire.sent.filter(isDescription).map(({ payload }) => payload.id);
    assert.ok(ids.every(Boolean));
    assert.equal(new Set(ids).size, ids.length);
  });

  test("six pages at 300 ms from the service connect with one offer and one answer for each pair, which wait for nothing", async (context) => {
    const { roomId } = await newCall(host);
    const pages = [];
    for (let number = 0; number < 6; number += 1) pages.push(await blank());
    for (const one of pages) {
      one.wire.delay = 150;
      // Events that the page had sent when the first acknowledgement of a signal was on its way.
      one.wire.onPacket = (packet) => {
        const [, ack] = /^43(\d+)/.exec(packet) ?? [];
        const acknowledged = ack && one.wire.sent.find((sent) => sent.ack === ack);
        if (acknowledged?.event.startsWith("webrtc:")) one.flight ??= one.wire.sent.length;
        return packet;
      };
    }
    const joins = pages.map(({ page }, number) => join(page, roomId, { name: `Guest ${number}`, audio: true }));
    assert.deepEqual(await Promise.all(joins), pages.map(() => "live"));
    await until(
      "all are connected",
      async () => {
        const states = await Promise.all(
          pages.map(({ page }) => page.evaluate(() => room.others.map(({ connection }) => connection?.connectionState))),
        );
        return states.every((each) => each.length === 5 && each.every((state) => state === "connected"));
      },
      90_000,
    );
    const times = await Promise.all(pages.map(({ page }) => page.evaluate(() => ({ joined: joinedAt, connected: opened.map((pc) => pc.connectedAt) }))));
    const last = Math.max(...times.map(({ joined }) => joined));
    context.diagnostic(`all are connected ${Math.max(...times.flatMap(({ connected }) => connected)) - last} ms after the last join was answered`);
    assert.ok(times.every(({ connected }) => connected.length === 5), "no connection was replaced");
    const ids = await Promise.all(pages.map(({ page }) => page.evaluate(() => room.selfId)));
    for (const [index, { wire, flight }] of pages.entries()) {
      const self = ids[index];
      const offers = wire.all("webrtc:offer").map(({ to }) => to);
      const answers = wire.all("webrtc:answer").map(({ to }) => to);
      // The one with the greater id offers, the other one answers: one round trip for each pair.
      assert.deepEqual(offers.sort(), ids.filter((id) => id < self).sort());
      assert.deepEqual(answers.sort(), ids.filter((id) => id > self).sort());
      // A page sends its join and its media state, then its first signals in one flight.
      if (offers.length > 1) assert.ok(flight > 3, `${flight} events before the first acknowledgement`);
    }
  });

  test("a signal that is refused for a moment is sent again after that time, with its id", async () => {
    const refused = new Map();
    const [one, two] = await pair((...both) => {
      for (const { wire } of both) {
        wire.onEvent = ({ event, payload }, answer) => {
          if (!event.startsWith("webrtc:") || refused.has(event)) return true;
          refused.set(event, JSON.stringify(payload));
          answer({ success: false, code: "RATE_LIMIT_EXCEEDED", message: "", retryAfter: 1 });
          return false;
        };
      }
    });
    await connected(one.page, two.page);
    assert.deepEqual([...refused.keys()].sort(), ["webrtc:answer", "webrtc:ice-candidate", "webrtc:offer"]);
    for (const [event, first] of refused) {
      const same = [one, two].flatMap(({ wire }) => wire.all(event)).filter((payload) => JSON.stringify(payload) === first);
      assert.equal(same.length, 2, event);
    }
  });

  test("a lost socket resumes, sends again what was not acknowledged, and restarts ICE when the network comes back", async () => {
    const [one, two] = await pair();
    await connected(one.page, two.page);
    const peerId = await one.page.evaluate(() => room.selfId);

    // The message arrives, and its acknowledgement is lost with the connection.
    one.wire.onPacket = (packet) => (/^43\d/.test(packet) ? null : packet);
    await one.page.evaluate(() => void (window.sending = room.chat.send("once")));
    await until("the message has come", () => two.page.evaluate(() => room.chat.messages.length === 1));
    const back = one.page.evaluate(() => new Promise((live) => room.on("status", (now) => now === "live" && live())));
    one.wire.onPacket = (packet) => packet;
    await one.wire.cut();
    await back;
    await one.page.evaluate(() => sending);
    const texts = await two.page.evaluate(() => room.chat.messages.map(({ message }) => message));
    assert.deepEqual(texts, ["once"]);
    assert.equal(one.wire.all("chat:message").length, 2);
    assert.equal(await one.page.evaluate(() => room.selfId), peerId);

    const offers = () => [one, two].reduce((sum, { wire }) => sum + wire.all("webrtc:offer").length, 0);
    const before = offers();
    await one.page.evaluate(() => void window.dispatchEvent(new Event("online")));
    await until("another offer", () => offers() > before);
    const fragments = one.wire.all("webrtc:offer").map(({ offer }) => fragmentOf(offer));
    assert.equal(new Set(fragments).size, fragments.length, "each offer restarts ICE");
    await connected(one.page, two.page);
  });

  /** Gives these pages this relay server in place of the service's, and lets them use it alone. */
  async function relayOnly(pages, { iceServers }, iceTtl) {
    for (const { page, wire } of pages) {
      wire.onPacket = (packet) => {
        const [, text] = /^42(\["(?:room:joined|webrtc:ice-servers)".*)$/s.exec(packet) ?? [];
        if (!text) return packet;
        const [event, payload, ...offset] = JSON.parse(text);
        return `42${JSON.stringify([event, { ...payload, iceServers, iceTtl }, ...offset])}`;
      };
      await page.evaluate(() => void (window.policy = "relay"));
    }
  }
  /** Records from now on the states of each page's latest connection. */
  async function watchStates(pages) {
    for (const { page } of pages) {
      await page.evaluate(() => {
        const states = (window.states = []);
        const pc = window.opened.at(-1);
        pc.addEventListener("connectionstatechange", () => states.push(pc.connectionState));
      });
    }
    return () => Promise.all(pages.map(({ page }) => page.evaluate(() => states)));
  }
  /** Returns the address of the relay server that a page uses. */
  const relayOf = ({ page }) =>
    page.evaluate(async () => {
      const reports = await window.opened.at(-1).getStats();
      const transport = [...reports.values()].find(({ type }) => type === "transport");
      const pair = reports.get(transport.selectedCandidatePairId);
      return reports.get(pair?.localCandidateId)?.url;
    });
  /** Waits until five more frames of the other page are decoded in each page. */
  async function framesGoOn(pages) {
    const frames = () =>
      Promise.all(pages.map(({ page }) => page.evaluate(async () => (await room.others[0].connection.stats()).framesDecoded)));
    const before = await frames();
    await until("media go on", async () => (await frames()).every((now, index) => now >= before[index] + 5));
  }

  test("when every address of a path is gone, as from Wi-Fi to a mobile network, ICE restarts and media go on", async () => {
    const relay = await turnServer();
    try {
      const pages = await pair((...both) => relayOnly(both, relay, 3_600));
      const [one, two] = pages;
      await connected(one.page, two.page);
      await framesGoOn(pages);
      const offers = ({ wire }) => wire.all("webrtc:offer").length;

      // A page whose browser is online again restarts ICE, whatever its role.
      const ownOffers = offers(one);
      await relay.restart();
      const context = one.page.context();
      await context.setOffline(true);
      await context.setOffline(false);
      await until("an offer of that page", () => offers(one) > ownOffers);
      await until("both pages have new relays", () => relay.opened() >= 2);
      await framesGoOn(pages);

      // Without such a report the silence of the path is noticed.
      const states = await watchStates(pages);
      const allOffers = offers(one) + offers(two);
      await relay.restart();
      await until("an offer", () => offers(one) + offers(two) > allOffers);
      assert.ok((await states()).some(([first]) => first === "disconnected"), "a browser has noticed");
      await connected(one.page, two.page);
      await framesGoOn(pages);
    } finally {
      await relay.close();
    }
  });

  test("TURN credentials are renewed before they expire, and relayed media never stop when the former relays end", async () => {
    // Time is compressed: the credentials of the first server end after 8 s. The second server is
    // for the next ones, so that all former relays can end at once.
    const [former, latter] = await Promise.all([turnServer(), turnServer()]);
    try {
      const pages = await pair(async (...both) => {
        await relayOnly(both, former, 8);
        for (const { wire } of both) {
          wire.onEvent = ({ event }, answer) => {
            if (event !== "webrtc:get-ice-servers") return true;
            answer({ success: true });
            wire.push("webrtc:ice-servers", { iceServers: latter.iceServers, iceTtl: 3_600 });
            return false;
          };
        }
      });
      await connected(...pages.map(({ page }) => page));
      assert.ok(former.opened() >= 2, `${former.opened()} relays of the first server`);
      const states = await watchStates(pages);
      await until("both pages use the second server", async () =>
        (await Promise.all(pages.map(relayOf))).every((url) => url === latter.url),
      );
      await former.close();
      await framesGoOn(pages);
      assert.deepEqual(await states(), [[], []], "no connection was interrupted");
    } finally {
      await former.close();
      await latter.close();
    }
  });

  test("a negotiation that stalls starts over after 12 s and then after 24 s, and a late answer does not spoil the next one", async () => {
    // Answers are held. Only the impolite page gets some, because it sends the first offer.
    const held = [];
    let holding = true;
    let impolite;
    const [one, two] = await pair(async (...both) => {
      for (const each of both) {
        await each.page.clock.install();
        each.wire.onPacket = (packet) => {
          if (!holding || !packet.startsWith('42["webrtc:answer"')) return packet;
          impolite = each;
          held.push(packet);
          return null;
        };
      }
    });
    const answers = (count) => until(`${count} answers`, () => held.length === count);
    const opened = () => impolite.page.evaluate(() => window.opened.length);
    await answers(1);
    const polite = impolite === one ? two : one;
    const startOver = async () =>
      impolite.wire.push("webrtc:renegotiation-needed", { from: await polite.page.evaluate(() => room.selfId) });

    await startOver();
    // What the page was sent before the acknowledgement has arrived.
    await impolite.page.evaluate(() => room.setHand(false));
    assert.equal(await opened(), 1, "a first offer without an answer needs no other one");
    await impolite.page.clock.fastForward(12_000);
    await answers(2);
    await impolite.page.clock.fastForward(20_000);
    assert.equal(await opened(), 2);
    await impolite.page.clock.fastForward(4_000);
    await answers(3);

    // The first answer belongs to a connection that is gone, and comes when the third is asked for.
    holding = false;
    const [late, , right] = held.map((packet) => JSON.parse(packet.slice(2)));
    for (const [event, payload] of [late, right]) impolite.wire.push(event, payload);
    await connected(one.page, two.page);
    assert.equal(await opened(), 4);
    await startOver();
    await until("another connection", async () => (await opened()) === 5);
    await connected(one.page, two.page);
  });

  test("each page sends less video to more participants, none beyond the bound, and knows the quality of each", async () => {
    const { roomId } = await newCall(host);
    const pages = [];
    const more = async () => {
      const { page } = await blank();
      // What the browser measures on a busy machine must not decide: the test does.
      await page.evaluate(() => {
        window.loss = 0;
        const { getStats } = RTCPeerConnection.prototype;
        RTCPeerConnection.prototype.getStats = async function () {
          const faked = { "candidate-pair": { currentRoundTripTime: 0.01 }, "remote-inbound-rtp": { fractionLost: window.loss } };
          const reports = [...(await getStats.call(this)).entries()];
          return new Map(reports.map(([id, report]) => [id, { ...report, ...faked[report.type] }]));
        };
      });
      assert.equal(await join(page, roomId, { name: `Guest ${pages.length}`, audio: true, video: true, videoMax: 3 }), "live");
      await page.evaluate(() => {
        window.limits = [];
        room.on("videoLimited", (limited) => limits.push(limited));
      });
      pages.push(page);
      await connected(...pages);
    };
    /** What the first page sends to each: bounds of the camera, and the priority of the sound. */
    const sent = () =>
      pages[0].evaluate(() =>
        window.opened
          .filter(({ connectionState }) => connectionState === "connected")
          .map((pc) => {
            const [audio, video] = pc.getSenders().map((sender) => sender.getParameters().encodings[0]);
            const { active, maxBitrate, maxFramerate } = video;
            return [active, maxBitrate, maxFramerate, audio.priority].join(" ");
          }),
      );
    const sends = (count, bounds) =>
      until(`${count} times ${bounds}`, async () => (await sent()).join() === Array(count).fill(bounds).join());
    await more();
    await more();
    await sends(1, "true 1500000 30 high");
    await more();
    await sends(2, "true 800000 30 high");
    assert.deepEqual(await pages[0].evaluate(() => [limits, room.videoLimited]), [[], false]);
    const graded = () => pages[0].evaluate(() => room.others.map(({ quality }) => quality));
    await until("each connection is measured", async () => (await graded()).every((each) => each?.bitrateIn > 0));
    for (const { quality, rtt, lossIn } of await graded()) {
      assert.ok(["good", "fair", "poor"].includes(quality) && rtt >= 0 && lossIn >= 0, quality);
    }
    // Losses reduce the camera and not the sound. It comes back when they are over.
    const bitrates = async () => (await sent()).map((each) => Number(each.split(" ")[1]));
    await pages[0].evaluate(() => void (window.loss = 0.5));
    await until("less video", async () => (await bitrates()).every((bitrate) => bitrate < 800_000));
    assert.ok((await sent()).every((each) => each.endsWith("high")));
    assert.deepEqual(await pages[0].evaluate(() => room.others.map(({ quality }) => quality.quality)), ["poor", "poor"]);
    await pages[0].evaluate(() => void (window.loss = 0));
    await until("all of the video again", async () => (await bitrates()).every((bitrate) => bitrate === 800_000), 90_000);
    await more();
    await sends(3, "false 500000 24 high");
    await until("the page is told", () => pages[0].evaluate(() => limits.at(-1) === true && room.videoLimited));
    // The sound goes on without the cameras.
    const bytes = () =>
      pages[0].evaluate(async () => (await Promise.all(room.others.map(({ connection }) => connection.stats()))).map(({ bytesReceived }) => bytesReceived));
    const before = await bytes();
    await until("sound of each", async () => (await bytes()).every((now, index) => now > before[index] + 2_000));
    await pages[3].evaluate(() => room.leave());
    await sends(2, "true 800000 30 high");
    await until("the page is told", () => pages[0].evaluate(() => limits.at(-1) === false && !room.videoLimited));
  });

  test("an application's token is asked for again when it has expired", async () => {
    const { roomId } = await newCall(host, { type: "private" });
    const { page } = await blank();
    const tokens = [signed(host.token, { exp: 1_000_000_000 }), host.token];
    const result = await page.evaluate(
      async ([id, given]) => {
        const asked = [];
        const token = async () => (asked.push(given[asked.length]), asked.at(-1));
        window.room = await new sdk.Switchboard(location.origin, { token }).join(id);
        return [asked, room.status, room.isHost];
      },
      [roomId, tokens],
    );
    assert.deepEqual(result, [tokens, "live", true]);
  });

  test("a connection that is refused for a moment is tried again, and another refusal ends the call", async () => {
    const { roomId } = await newCall(host);
    const { page, wire } = await blank();
    let codes = ["SERVICE_UNAVAILABLE", "IDENTITY_SOURCE_UNAVAILABLE"];
    wire.onPacket = (packet) => {
      if (!packet.startsWith("40") || codes.length === 0) return packet;
      return `44${JSON.stringify({ message: "Refused", data: { code: codes.shift() } })}`;
    };
    assert.equal(await join(page, roomId, { name: "Ann" }), "live");
    assert.deepEqual(codes, [], "both refusals were seen");
    const other = await blank();
    codes = ["KEY_REVOKED"];
    other.wire.onPacket = wire.onPacket;
    assert.equal(await join(other.page, roomId, { name: "Bob" }), "KEY_REVOKED");
  });

  test("a page gets the events of its app's backend", async () => {
    const app = await newApp("Events");
    const { token } = await serverRequest(app, "POST", "/tokens", { sub: "ann", room: "events" });
    const { page } = await blank();
    assert.equal(await join(page, "events", { token }), "live");
    await page.evaluate(() => {
      window.events = [];
      room.on("serverEvent", ({ name, data }) => events.push([name, data ?? null]));
    });
    await serverRequest(app, "POST", "/rooms/events/events", { name: "quiz", data: { question: 3 } });
    await serverRequest(app, "POST", "/rooms/events/events", { name: "hint", to: "ann" });
    await until("both events", () => page.evaluate(() => events.length === 2));
    assert.deepEqual(await page.evaluate(() => events), [["quiz", { question: 3 }], ["hint", null]]);
  });

  test("users of an app call by its tokens, and a lost permission switches off what is on", async () => {
    const app = await newApp("Grants");
    const [ann, bob] = [(await blank()).page, (await blank()).page];
    for (const [page, sub, role] of [[ann, "ann", "host"], [bob, "bob", "participant"]]) {
      const { token } = await serverRequest(app, "POST", "/tokens", { sub, role, room: "grants", name: `User ${sub}` });
      assert.equal(await join(page, "grants", { token, audio: true, video: true }), "live");
    }
    await connected(ann, bob);
    assert.deepEqual(await ann.evaluate(() => [room.isHost, room.others[0].name, room.others[0].permissions.canChat]), [true, "User bob", true]);
    await bob.evaluate(() => {
      window.events = [];
      room.on("muted", (kind) => events.push(kind));
    });
    const change = (permissions) => serverRequest(app, "PATCH", "/rooms/grants/participants/bob", { permissions });
    await change({ canPublish: false, canChat: false });
    await until("camera and microphone are off", () => bob.evaluate(() => !room.local.state.audioEnabled && !room.local.state.videoEnabled));
    await until("the page is told", () => bob.evaluate(() => events.length === 2));
    assert.deepEqual(
      await bob.evaluate(async () => [
        room.allows("audioEnabled"),
        room.allows("screenShareEnabled"),
        room.canChat,
        await room.chat.send("hello").catch(({ code }) => code),
      ]),
      [false, true, false, "FORBIDDEN"],
    );
    const shown = () => ann.evaluate(() => [room.others[0].permissions, room.others[0].mediaState]);
    const expected = [
      { canPublish: false, canShareScreen: true, canChat: false },
      { audioEnabled: false, videoEnabled: false, screenShareEnabled: false },
    ];
    await until("the other page shows it", async () => JSON.stringify(await shown()) === JSON.stringify(expected));
    await change({ canPublish: true, canChat: true });
    await until("the permissions are back", () => bob.evaluate(() => room.canChat && room.allows("audioEnabled")));
    await bob.evaluate(() => room.local.setAudio(true));
    await bob.evaluate(() => room.chat.send("hello"));
    await until("the other page hears it", () =>
      ann.evaluate(() => room.others[0].mediaState.audioEnabled && room.chat.messages[0]?.message === "hello"),
    );
  });

  test("tokens of an app that lists its origins are good on its pages alone", async () => {
    const app = await newApp("Pages");
    const [own, foreign] = [await staticPages({ "/": "<p>own</p>" }), await staticPages({ "/": "<p>foreign</p>" })];
    try {
      await operatorRequest("PATCH", `/apps/${app.id}`, { origins: [own.url] });
      const { token } = await serverRequest(app, "POST", "/tokens", { sub: "ann", room: "pages" });
      const outcome = async ({ url }) => {
        const context = await browser.newContext();
        contexts.push(context);
        const page = await context.newPage();
        await page.goto(url);
        return page.evaluate(
          async ([base, given]) => {
            const { Switchboard } = await import(`${base}/vendor/switchboard.js`);
            const switchboard = new Switchboard(base, { token: given, transports: ["websocket"] });
            return switchboard.join("pages").then(({ status }) => status, ({ code }) => code);
          },
          [baseUrl(), token],
        );
      };
      assert.equal(await outcome(own), "live");
      assert.equal(await outcome(foreign), "ORIGIN_NOT_ALLOWED");
    } finally {
      own.close();
      foreign.close();
    }
  });

  test("lobby, chat, moderation, devices and the end of a call have typed events and methods", async () => {
    const { roomId } = await newCall(host, { settings: { waitingRoomEnabled: true } });
    const owner = (await blank()).page;
    const guest = (await blank()).page;
    assert.equal(await join(owner, roomId, { token: host.token }), "live");
    await owner.evaluate(() => {
      window.seen = [];
      for (const event of ["joinRequested", "participantJoined", "participantLeft"])
        room.on(event, ({ name }) => seen.push(`${event} ${name}`));
    });
    assert.equal(await join(guest, roomId, { name: "Grace", audio: true }), "waiting");
    await until("the request", () => owner.evaluate(() => room.waiting.size === 1));
    await guest.evaluate(() => void (window.events = []));
    await guest.evaluate(() => void room.on("muted", (kind) => events.push(`muted ${kind}`)));
    await owner.evaluate(() => room.moderation.admit([...room.waiting.keys()][0]));
    await until("the guest is admitted", async () => (await status(guest)) === "live");
    await connected(owner, guest);

    await guest.evaluate(() => room.chat.send("hello"));
    await until("the message", () => owner.evaluate(() => room.chat.messages[0]?.message === "hello"));
    await guest.evaluate(() => void room.on("data", ({ name }, kind, { x }) => events.push(`${name} ${kind} ${x}`)));
    await owner.evaluate(() => room.sendData("cursor", { x: 1 }));
    await owner.evaluate(() => room.sendData("cursor", { x: 2 }, room.others[0].peerId));
    await until("both messages of the application", () =>
      guest.evaluate(() => events.join() === "Ada Host cursor 1,Ada Host cursor 2"),
    );
    await owner.evaluate(() => room.moderation.mute(room.others[0].peerId, "audio"));
    await until("the guest is muted", () => guest.evaluate(() => events.includes("muted audio")));
    assert.equal(await guest.evaluate(() => room.local.state.audioEnabled), false);
    const refused = await guest.evaluate(() => room.moderation.lock(true).catch(({ code }) => code));
    assert.equal(refused, "FORBIDDEN");
    const kinds = await guest.evaluate(async () => (await room.local.devices()).map(({ kind }) => kind));
    assert.ok(kinds.includes("audioinput") && kinds.includes("videoinput"), String(kinds));

    await guest.evaluate(() => room.leave());
    await until("the guest has left", () => owner.evaluate(() => room.others.length === 0));
    assert.deepEqual(await owner.evaluate(() => seen), [
      "joinRequested Grace",
      "participantJoined Grace",
      "participantLeft Grace",
    ]);
    await owner.evaluate(() => room.endForAll());
    assert.deepEqual(await owner.evaluate(() => [room.status, room.ending]), ["over", "ended"]);
  });

  test("refusals have the codes of the protocol, and a device that is denied does not keep a page from the call", async () => {
    const { roomId } = await newCall(host, { passcode: "open sesame" });
    const { page } = await blank();
    assert.equal(await join(page, "NOSUCHROOM22", { name: "Grace" }), "CALL_NOT_FOUND");
    assert.equal(await join(page, roomId, { name: "Grace", passcode: "wrong one" }), "INVALID_PASSCODE");
    await page.evaluate(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    });
    const options = { name: "Grace", passcode: "open sesame", audio: true, video: true };
    assert.equal(await join(page, roomId, options), "live");
    assert.equal(await page.evaluate(() => room.local.setVideo(true).catch(({ code }) => code)), "DEVICE_DENIED");
    await rest("POST", `/video-calls/${(await rest("GET", `/video-calls/room/${roomId}`, undefined, host.token)).id}/end`, {}, host.token);
    await until("the call has ended", async () => (await status(page)) === "over");
  });

  test("a camera that opens after the media were released is closed", async () => {
    const { page } = await blank();
    const found = await page.evaluate(async () => {
      const { LocalMedia } = window.sdk;
      let open;
      navigator.mediaDevices.getUserMedia = () => new Promise((resolve) => (open = resolve));
      const local = new LocalMedia();
      const opening = local.setVideo(true);
      local.stop();
      const [track] = document.createElement("canvas").captureStream().getTracks();
      open(new MediaStream([track]));
      await opening;
      return [track.readyState, local.videoTrack];
    });
    assert.deepEqual(found, ["ended", null]);
  });

  test("a reloaded page joins into its seat, with its devices as they were", async () => {
    const [one, two] = await pair();
    await connected(one.page, two.page);
    const seat = () => one.page.evaluate(() => [room.selfId, room.local.state.videoEnabled]);
    await one.page.evaluate(() => room.local.setVideo(false));
    const former = await seat();
    assert.equal(former[1], false);
    const roomId = await one.page.evaluate(() => room.roomId);
    await one.page.reload();
    await load(one.page);
    assert.equal(await join(one.page, roomId, { name: "One", audio: true, video: true }), "live");
    assert.deepEqual(await seat(), former);
    await connected(one.page, two.page);
  });
});
