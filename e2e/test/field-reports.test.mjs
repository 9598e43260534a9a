// Behaviours that users of similar systems have reported: unusual but legal HTTP, WebSocket and
// Socket.IO input, and what people do with tabs, links and lost connections. docs/FIELD_REPORTS.md
// lists the reports. The file has more than 400 lines, because that list names one file.
import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, describe, test as run } from "node:test";
import { gzipSync } from "node:zlib";
import { Person, launch } from "../support/browser.mjs";
import { Client, PASSWORD, account, admitted, guest, newCall, rest } from "../support/clients.mjs";
import { baseUrl, control, nodeUrls } from "../support/cluster.mjs";
import { RawConnection, rawRequest, requestText } from "../support/raw-http.mjs";
import { until, within } from "../support/until.mjs";

const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";
const JSON_BODY = { "Content-Type": "application/json" };
const [one, two] = nodeUrls();
/** The ways to reach a session that is open on the first node. */
const WAYS = { "its own node": one, "another node": two, "the load balancer": baseUrl() };

const UPGRADE = {
  Connection: "keep-alive, Upgrade",
  Upgrade: "WebSocket",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version": "13",
};

const names = [];
/** Defines a test, and keeps its name for the last one. */
function test(name, body) {
  names.push(name);
  run(name, body);
}

const registration = (name = "Ann") => JSON.stringify({ name, email: `${randomUUID()}@example.com`, password: PASSWORD });
const register = (headers, body, more) =>
  rawRequest(`${baseUrl()}/api/auth/register`, { method: "POST", headers: { ...JSON_BODY, ...headers }, body, ...more });
const code = ({ body }) => JSON.parse(body).code;

/** Returns a token with these claims instead of its own. */
function signed(token, changed) {
  const [head, body] = token.split(".");
  const claims = { ...JSON.parse(Buffer.from(body, "base64url")), ...changed };
  const text = `${head}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
  return `${text}.${createHmac("sha256", process.env.JWT_ACCESS_SECRET).update(text).digest("base64url")}`;
}

/** Opens a long-polling session on the first node. Returns the path of its requests. */
async function pollingSession(headers, version) {
  const { body } = await rawRequest(one + HANDSHAKE, { headers, version });
  return `${HANDSHAKE}&sid=${JSON.parse(body.slice(1)).sid}`;
}

describe("REST requests that are unusual but legal", { timeout: 120_000 }, () => {
  let host;
  let authorization;
  before(async () => {
    host = await account("Reported Host");
    authorization = `Bearer ${host.token}`;
  });

  const accepted = {
    "a byte order mark before the body": () => register({}, `\ufeff${registration()}`),
    "a charset and capitals in the content type": () => register({ "Content-Type": "Application/JSON;charset=UTF-8" }, registration()),
    "a media type on top of JSON": () => register({ "Content-Type": "application/merge-patch+json" }, registration()),
    "a chunked body": () => {
      const chunks = registration().match(/.{1,20}/g).map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`);
      return register({ "Transfer-Encoding": "chunked" }, `${chunks.join("")}0\r\n\r\n`);
    },
    "HTTP/1.0": () => register({}, registration(), { version: "1.0" }),
    "an offer to upgrade to HTTP/2, as Java's client sends it": () =>
      register({ Connection: "Upgrade, HTTP2-Settings", Upgrade: "h2c", "HTTP2-Settings": "AAEAAEAA" }, registration()),
    "a slash at the end of the path": () => {
      const request = { method: "POST", headers: JSON_BODY, body: registration() };
      return rawRequest(`${baseUrl()}/api/auth/register/`, request);
    },
  };
  for (const [what, send] of Object.entries(accepted)) {
    test(`a request with ${what} is served`, async () => {
      const answer = await send();
      assert.equal(answer.status, 201, answer.body);
      assert.equal(JSON.parse(answer.body).data.user.name, "Ann");
    });
  }

  test("a client that waits for 100 Continue gets it before it sends the body", async () => {
    const url = `${process.env.API_URL}/api/auth/register`;
    const body = registration();
    const connection = new RawConnection(url);
    const headers = { ...JSON_BODY, Expect: "100-continue", "Content-Length": Buffer.byteLength(body) };
    connection.write(requestText(url, { method: "POST", headers }));
    assert.equal((await connection.response()).status, 100);
    connection.write(body);
    assert.equal((await connection.response()).status, 201);
    connection.close();
  });

  test("a compressed body is refused as such, not as malformed JSON", async () => {
    const answer = await register({ "Content-Encoding": "gzip" }, gzipSync(registration()));
    assert.deepEqual([answer.status, code(answer)], [415, "UNSUPPORTED_MEDIA_TYPE"]);
  });

  test("a body of many times the limit gets 413, and not a reset connection", async () => {
    const body = JSON.stringify({ name: "x".repeat(12_000_000) });
    for (const url of [process.env.API_URL, baseUrl()]) {
      const answer = await fetch(`${url}/api/auth/register`, { method: "POST", headers: JSON_BODY, body });
      assert.deepEqual([answer.status, (await answer.json()).code], [413, "PAYLOAD_TOO_LARGE"], url);
    }
  });

  test("a name that was cut within an emoji is accepted", async () => {
    const answer = await register({}, registration().replace("Ann", "Ann \\ud83d"));
    assert.equal(JSON.parse(answer.body).data?.user.name, "Ann \ufffd", answer.body);
  });

  test("empty parameters of a query count as missing, and one that is given twice is refused", async () => {
    const list = (query) => rawRequest(`${baseUrl()}/api/video-calls${query}`, { headers: { Authorization: authorization } });
    const empty = await list("?status=&type=&search=&startDate=&endDate=&sort=&order=&page=&limit=");
    assert.deepEqual([empty.status, JSON.parse(empty.body).pagination?.limit], [200, 10], empty.body);
    const twice = await list("?status=live&status=ended");
    assert.deepEqual([twice.status, code(twice), JSON.parse(twice.body).errors[0].field], [400, "VALIDATION_ERROR", "status"]);
  });

  test("a page of an allowed origin may send the headers that tracing tools add", async () => {
    const wanted = "content-type,authorization,sentry-trace,baggage,traceparent,x-requested-with";
    for (const path of ["/api/auth/login", HANDSHAKE]) {
      const headers = { Origin: baseUrl(), "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted };
      const preflight = await rawRequest(baseUrl() + path, { method: "OPTIONS", headers });
      const allowed = preflight.headers["access-control-allow-headers"].split(",").map((name) => name.trim());
      assert.deepEqual(allowed, wanted.split(","), path);
    }
  });

  test("malformed, foreign and encoded characters in a path are answered with a code, and the service goes on", async () => {
    for (const [path, status] of [
      ["/api/video-calls/room/%", 400],
      ["/api/video-calls/room/%FF", 400],
      ["/api/video-calls/room/caf%C3%A9", 400],
      ["/api/video-calls/room/a%2Fb", 400],
      ["//api/health", 404],
    ]) {
      const answer = await rawRequest(baseUrl(), { target: path });
      assert.equal(answer.status, status, path);
      assert.equal(typeof code(answer), "string", path);
    }
    const page = await rawRequest(baseUrl(), { target: "/r/%FF" });
    assert.deepEqual([page.status, page.headers.location], [307, "../?room=%FF"]);
  });
});

describe("long-polling and WebSocket, over HTTP that is unusual but legal", { timeout: 120_000 }, () => {
  const requests = {
    "closes its connection after each request": { headers: { Connection: "close" } },
    "speaks HTTP/1.0, as nginx does by default": { version: "1.0" },
    "always sends `Connection: upgrade`, as many configurations of nginx do": { headers: { Connection: "upgrade" } },
    "offers an upgrade to HTTP/2, as Java's client does": {
      headers: { Connection: "Upgrade, HTTP2-Settings", Upgrade: "h2c", "HTTP2-Settings": "AAEAAEAA" },
    },
    "sends 12 KB of cookies": { headers: { Cookie: `a=${"x".repeat(12_000)}` } },
    "sends a POST in chunks": { post: { headers: { "Transfer-Encoding": "chunked" }, body: "1\r\n4\r\n1\r\n0\r\n0\r\n\r\n" } },
  };
  for (const [what, { headers, version, post }] of Object.entries(requests)) {
    test(`a client or proxy that ${what} has a session at any node`, async () => {
      for (const [way, url] of Object.entries(WAYS)) {
        const session = url + (await pollingSession(headers, version));
        const sent = await rawRequest(session, { method: "POST", headers, version, body: "40", ...post });
        assert.deepEqual([sent.status, sent.body], [200, "ok"], way);
        const polled = await rawRequest(session, { headers, version });
        assert.match(`${polled.status} ${polled.body}`, /^200 40\{"sid"/, way);
      }
    });
  }

  test("a client that waits for 100 Continue before it sends its packets has a session at any node", async () => {
    for (const [way, url] of Object.entries(WAYS)) {
      const session = url + (await pollingSession());
      const connection = new RawConnection(url);
      const headers = { Expect: "100-continue", "Content-Length": 2 };
      connection.write(requestText(session, { method: "POST", headers }));
      assert.equal((await connection.response()).status, 100, way);
      connection.write("40");
      assert.equal((await connection.response()).status, 200, way);
      connection.close();
    }
  });

  test("parameters that are given twice, empty parameters and an absolute target open a session", async () => {
    const query = "?&EIO=4&EIO=4&&transport=polling&transport=polling&token=%20a%26b&b64=1";
    for (const target of [`/socket.io/${query}`, `/socket.io${query}`, `${one}/socket.io/${query}`]) {
      const { status, body } = await rawRequest(one, { target });
      assert.match(`${status} ${body}`, /^200 0\{"sid"/, target);
    }
  });

  test("an offer of compression is declined, and fragments with pings between them are one message", async () => {
    const url = `${one}/socket.io/?EIO=4&transport=websocket`;
    const headers = { ...UPGRADE, "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame" };
    const connection = new RawConnection(url);
    // The first frames are in the same packet as the handshake.
    const frames = [frame(1, "4", false), frame(9, "between"), frame(0, "0", false), frame(0, "")];
    connection.write(Buffer.concat([requestText(url, { headers }), ...frames]));
    const { status, headers: answered } = await connection.response();
    assert.deepEqual([status, answered["sec-websocket-extensions"]], [101, undefined]);
    const received = [await readFrame(connection), await readFrame(connection), await readFrame(connection)];
    assert.deepEqual(
      received.map(({ opcode, text }) => [opcode, text.slice(0, 7)]),
      [
        [1, '0{"sid"'],
        [10, "between"],
        [1, '40{"sid'],
      ],
    );
    connection.close();
  });

  test("a handshake with an unsupported WebSocket version is told the supported one, also at another node", async () => {
    for (const url of [`${one}/socket.io/?EIO=4&transport=websocket`, two + (await pollingSession()).replace("polling", "websocket")]) {
      const answer = await rawRequest(url, { headers: { ...UPGRADE, "Sec-WebSocket-Version": "8" } });
      assert.deepEqual([answer.status, answer.headers["sec-websocket-version"]], [400, "13"], url);
    }
  });
});

/** Returns a masked frame with a short text. */
function frame(opcode, text, last = true) {
  const mask = Buffer.from([1, 2, 3, 4]);
  const payload = Buffer.from(text).map((byte, index) => byte ^ mask[index % 4]);
  return Buffer.concat([Buffer.from([(last ? 0x80 : 0) | opcode, 0x80 | payload.length]), mask, payload]);
}

async function readFrame(connection) {
  const [first, second] = await connection.read(2);
  const length = second === 126 ? (await connection.read(2)).readUInt16BE() : second;
  return { opcode: first & 15, text: (await connection.read(length)).toString() };
}

describe("what clients send, and what people do", { timeout: 180_000 }, () => {
  const opened = [];
  const keep = (client) => (opened.push(client), client);
  const seated = async (...args) => keep(await Client.seated(...args));
  let host;
  let roomId;
  let ann;
  let bob;
  before(async () => {
    host = await account("Reported Host");
    ({ roomId } = await newCall(host));
    ann = await seated(one, roomId, await guest(roomId, "Ann"));
    bob = await seated(two, roomId, await guest(roomId, "Bob"));
  });
  after(() => opened.forEach((client) => client.close()));

  /** Returns the seats that a user has in the room. */
  const seatsOf = async ({ id }) => {
    const { participants } = await ann.emit("webrtc:get-stats");
    return participants.filter(({ userId }) => userId === id);
  };

  test("a chat message that was cut within an emoji arrives, and the socket stays", async () => {
    const sent = await ann.emit("chat:message", { message: "cut \ud83d" });
    assert.equal(sent.success, true, sent.message);
    await bob.event("chat:message", ({ message }) => message === "cut \ufffd");
    assert.equal(ann.socket.connected, true);
  });

  test("null in an optional field means that it is missing", async () => {
    const moderator = await seated(one, roomId, await admitted(roomId, host));
    for (const [event, payload, code] of [
      ["room:update", { name: "Renamed", settings: null, maxParticipants: null }],
      ["room:admit", { all: true, peerId: null, reason: null }],
      ["participant:kick", { peerId: "nobody", ban: null, reason: null }, "PEER_NOT_FOUND"],
      ["chat:history", { before: null, limit: null }],
      ["chat:history", null],
      ["chat:message", { message: "to all", to: null, id: null }],
      ["participant:update-media-state", { audioEnabled: true, videoEnabled: null, id: null }],
    ]) {
      const answer = await moderator.emit(event, payload);
      assert.equal(answer.code, code, `${event} ${JSON.stringify(payload)}: ${answer.message}`);
    }
    const creator = keep(await Client.connected(two, { token: host.token }));
    const created = await creator.emit("room:create", { id: null, name: null, isPrivate: null, maxParticipants: null });
    assert.equal(created.success, true, created.message);
  });

  test("an empty receiver is refused, and is not everybody", async () => {
    for (const [event, payload] of [
      ["chat:message", { message: "secret", to: "" }],
      ["webrtc:data-channel", { message: "secret", type: "t", to: "" }],
    ]) {
      assert.equal((await ann.emit(event, payload)).code, "VALIDATION_ERROR", event);
    }
    await ann.emit("chat:message", { message: "public" });
    await bob.event("chat:message", ({ message }) => message === "public");
    assert.deepEqual(bob.received.filter(({ payload }) => payload?.message === "secret"), []);
  });

  test("empty fields of a form count as missing when joining, over REST and on the socket", async () => {
    const form = { guestName: "", passcode: "" };
    const admission = await rest("POST", "/video-calls/join", { roomId, ...form }, host.token);
    assert.equal(admission.user.name, "Reported Host");
    const user = keep(await Client.connected(one, { token: host.token }));
    assert.equal((await user.emit("room:join", { roomId, ...form, token: "" })).success, true);
    const nobody = keep(await Client.connected(one, { token: "" }));
    assert.equal((await nobody.emit("room:join", { roomId, ...form, token: "" })).code, "UNAUTHORIZED");
  });

  test("each form of the end of candidates is relayed", async () => {
    const forms = [null, {}, { candidate: "", sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "ab" }];
    for (const candidate of forms) {
      assert.equal((await ann.emit("webrtc:ice-candidate", { to: bob.peerId, candidate })).success, true);
    }
    await until("all forms arrive", () => bob.all("webrtc:ice-candidate").length === forms.length);
    assert.deepEqual(bob.all("webrtc:ice-candidate").map(({ candidate }) => candidate), forms);
  });

  test("a binary event with an acknowledgement is answered, and an answer to nothing is ignored", async () => {
    const answer = await ann.emit("webrtc:data-channel", { message: Buffer.from("x"), type: "t" });
    assert.equal(answer.code, "BINARY_NOT_SUPPORTED");
    const { engine } = ann.socket.io;
    for (const packet of ['3999["x"]', '61-998[{"_placeholder":true,"num":0}]', Buffer.from("x")]) engine.write(packet);
    assert.equal((await ann.emit("webrtc:get-stats")).success, true);
    assert.equal(ann.socket.io.engine, engine, "the same connection");
  });

  test("an unknown namespace is refused, and the main one on the same connection goes on", async () => {
    const client = keep(await Client.connected(one));
    const { engine } = client.socket.io;
    for (const namespace of ["/admin", "/?token=x"]) {
      const other = client.socket.io.socket(namespace);
      const error = await within("a refusal", new Promise((resolve) => other.once("connect_error", resolve)));
      assert.equal(error.message, "Invalid namespace", namespace);
    }
    assert.equal((await client.emit("webrtc:get-ice-servers")).success, true);
    assert.equal(client.socket.io.engine, engine, "the same connection");
  });

  test("a client that disconnects and connects again and again is shown once", async () => {
    const admission = await guest(roomId, "Restless");
    const client = keep(await Client.connected(one, { token: admission.token }));
    client.socket.on("connect", () => client.socket.emit("room:join", { roomId, token: admission.joinToken }));
    for (let round = 0; round < 20; round += 1) client.socket.disconnect().connect();
    await client.event("room:joined", () => client.socket.connected);
    await until("one seat, connected", async () => {
      const seats = await seatsOf(admission.user);
      return seats.length === 1 && seats[0].connectionState === "connected";
    });
  });

  test("a component that React mounts twice is shown once", async () => {
    const admission = await guest(roomId, "Strict");
    const mount = (url) => {
      const client = keep(new Client(url, { token: admission.token, transports: "default" }));
      client.socket.emit("room:join", { roomId, token: admission.joinToken });
      return client;
    };
    mount(one).close();
    await mount(two).event("room:joined", () => true);
    assert.deepEqual((await seatsOf(admission.user)).map(({ connectionState }) => connectionState), ["connected"]);
  });

  test("a late participant learns who is muted and who shares a screen", async () => {
    const sharing = { audioEnabled: false, screenShareEnabled: true };
    assert.equal((await ann.emit("participant:update-media-state", sharing)).success, true);
    const late = await seated(two, roomId, await guest(roomId, "Late"));
    const { mediaState } = late.joined.participants.find(({ peerId }) => peerId === ann.peerId);
    assert.deepEqual(mediaState, { ...sharing, videoEnabled: true });
  });

  test("with `retries`, a message whose acknowledgement is late is delivered once", async () => {
    const options = { retries: 3, ackTimeout: 5_000 };
    const client = await seated(one, roomId, await guest(roomId, "Retrying"), options);
    const id = randomUUID();
    const send = () => new Promise((resolve) => client.socket.emit("chat:message", { id, message: "again" }, (_, answer) => resolve(answer)));
    const [first, second] = [await send(), await send()];
    assert.deepEqual([first.success, second.id], [true, first.id]);
    await ann.emit("chat:message", { message: "after" });
    await bob.event("chat:message", ({ message }) => message === "after");
    assert.equal(bob.all("chat:message").filter(({ message }) => message === "again").length, 1);
  });

  test("tokens of a pod whose clock is ahead are accepted", async () => {
    const iat = Math.floor(Date.now() / 1000) + 30;
    const token = signed(host.token, { iat, nbf: iat });
    assert.equal((await rest("GET", "/auth/validate", undefined, token)).valid, true);
    assert.equal(keep(await Client.connected(one, { token })).socket.connected, true);
  });

  for (const [what, act, code] of [
    ["removed", (moderator, peerId) => moderator.emit("participant:kick", { peerId, ban: true }), "BANNED"],
    ["in a call that was ended", (moderator) => moderator.emit("room:end-call", {}), "CALL_ENDED"],
  ]) {
    test(`a participant who was ${what} while offline is told so on return, and is not back in`, async () => {
      const call = await newCall(host);
      const moderator = await seated(one, call.roomId, await admitted(call.roomId, host));
      const admission = await guest(call.roomId, "Offline");
      const away = await seated(two, call.roomId, admission, { reconnection: false });
      away.socket.io.engine.close();
      await moderator.event("participant:connection-changed", ({ state }) => state === "reconnecting");
      assert.equal((await act(moderator, away.peerId)).success, true);
      away.socket.connect();
      await until("the participant is online", () => away.socket.connected);
      assert.equal(away.socket.recovered, false);
      const answer = await away.emit("room:join", { roomId: call.roomId, token: admission.joinToken });
      assert.equal(answer.code, code);
    });
  }

  test("a participant of a room that was locked meanwhile returns to the seat, with and without recovery", async () => {
    for (const recovers of [true, false]) {
      const call = await newCall(host);
      const moderator = await seated(one, call.roomId, await admitted(call.roomId, host));
      const admission = await guest(call.roomId, "Offline");
      const away = await seated(two, call.roomId, admission, { reconnection: false });
      away.socket.io.engine.close();
      await moderator.event("participant:connection-changed", ({ state }) => state === "reconnecting");
      assert.equal((await moderator.emit("room:lock", { locked: true })).success, true);
      if (recovers) away.socket.connect();
      else assert.equal((await seated(one, call.roomId, admission)).peerId, away.peerId);
      await moderator.event("participant:connection-changed", ({ state }) => state === "connected");
      assert.equal(away.socket.recovered, recovers);
    }
  });
});

describe("the page", { timeout: 240_000 }, () => {
  let browser;
  let host;
  const people = [];
  const person = async () => {
    const opened = await Person.open(browser);
    people.push(opened);
    return opened;
  };
  before(async () => {
    browser = await launch();
    host = await account("Page Host");
  });
  after(async () => {
    for (const opened of people) await opened.close();
    await browser.close();
  });

  test("a link to a call opens it, with a slash or punctuation at its end, and when pasted with text around it", async () => {
    const { roomId, title } = await newCall(host, { title: "Linked" });
    const { page } = await person();
    for (const link of [`/r/${roomId}`, `/r/${roomId}/`, `/r/${roomId}).`, `/?room=${roomId}/`, `/?room=${roomId}&utm_source=mail`]) {
      await page.goto(baseUrl() + link);
      await page.getByRole("heading", { name: title }).waitFor();
    }
    await page.goto(baseUrl());
    await page.getByLabel("Call link or code").fill(`Join me here: <${baseUrl()}/r/${roomId}/>.`);
    await page.getByRole("button", { name: "Join", exact: true }).click();
    await page.getByRole("heading", { name: title }).waitFor();
  });

  test("a browser that allows no storage can join a call", async () => {
    const { roomId } = await newCall(host);
    const visitor = await person();
    await visitor.page.addInitScript(() => {
      const denied = () => {
        throw new DOMException("denied", "SecurityError");
      };
      for (const name of ["sessionStorage", "localStorage"]) Object.defineProperty(window, name, { get: denied });
    });
    await visitor.joinAsGuest(`${baseUrl()}/r/${roomId}`, "Private Pat");
  });

  test("a call that cannot be looked up for a moment is not shown as one that does not exist", async () => {
    const { roomId, title } = await newCall(host, { title: "Later" });
    const { page } = await person();
    const refusal = { status: 503, json: { success: false, code: "SERVICE_UNAVAILABLE", message: "Later" } };
    await page.route("**/api/video-calls/room/*", (route) => route.fulfill(refusal), { times: 1 });
    await page.goto(`${baseUrl()}/r/${roomId}`);
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("heading", { name: title }).waitFor();
  });

  test("a page whose token expired meanwhile returns to the call, although the api is away at that moment", async () => {
    const sleeper = await person();
    const { page } = sleeper;
    await sleeper.signUp("Sleeper");
    await sleeper.startCall("Sleepy");
    let refreshes = 0;
    await page.route("**/api/auth/refresh", (route) => {
      refreshes += 1;
      return refreshes === 1 ? route.abort() : refreshes === 2 ? route.fulfill({ status: 503, body: "" }) : route.continue();
    });
    const token = await page.evaluate(() => JSON.parse(sessionStorage.getItem("switchboard.identity")).token);
    // Longer than the grace period: neither the token nor the seat is left.
    await page.evaluate((expired) => {
      const change = (key, fields) => {
        const value = JSON.parse(sessionStorage.getItem(key));
        sessionStorage.setItem(key, JSON.stringify({ ...value, ...fields }));
      };
      change("switchboard.identity", { token: expired });
      change("switchboard.seat", { pid: undefined });
    }, signed(token, { exp: 1_000_000_000 }));
    await page.reload();
    await sleeper.seated();
    assert.equal(refreshes, 3);
  });

  test("a page whose join is refused while Redis does not answer joins when it does", async () => {
    const { roomId } = await newCall(host);
    const visitor = await person();
    const { page } = visitor;
    await visitor.joinAsGuest(`${baseUrl()}/r/${roomId}`, "Patient Pat");
    let refused = false;
    const look = (text) => (refused ||= String(text).includes("SERVICE_UNAVAILABLE"));
    page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => look(payload)));
    page.on("response", (response) => response.text().then(look, () => {}));
    await control("redis", "stop");
    try {
      await page.reload();
      await until("the join is refused", () => refused);
    } finally {
      await control("redis", "cont");
    }
    await visitor.seated();
  });
});

run("docs/FIELD_REPORTS.md names a test of this file in each row", async () => {
  const text = await readFile(new URL("../../docs/FIELD_REPORTS.md", import.meta.url), "utf8");
  const tables = text.split("## What does not hold")[0].matchAll(/^\|[^|]+\|[^|]+\|[^|]+\| ([^|]+) \|$/gm);
  const beginnings = [...tables].map(([, cell]) => cell).filter((cell) => cell !== "test");
  assert.ok(beginnings.length > 30, "the tables are read");
  for (const beginning of beginnings) assert.ok(names.some((name) => name.startsWith(beginning)), beginning);
});
