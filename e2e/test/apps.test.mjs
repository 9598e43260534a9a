// Users of apps: tokens that a backend signs, limits, usage, and the isolation of apps from each
// other. The file has more than 400 lines, because its tests share the apps and their clients.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import { Client, account, newApp, newCall, operatorRequest, rest, serverRequest } from "../support/clients.mjs";
import { counterSum, nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

/** Signs a user token, as a backend does. */
function userToken({ keyId, secret }, sub, claims = {}) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const unsigned = `${encode({ alg: "HS256" })}.${encode({ iss: keyId, sub, iat: now, exp: now + 600, ...claims })}`;
  return `${unsigned}.${createHmac("sha256", secret).update(unsigned).digest("base64url")}`;
}

/** Connects with a user token for this room and joins it. Alternates between the nodes. */
let next = 0;
async function seated(app, sub, room, claims) {
  const urls = nodeUrls();
  const token = userToken(app, sub, { room, ...claims });
  return Client.seated(urls[next++ % urls.length], room, { token });
}

const people = (client) => client.joined.participants.map((one) => one.userId).sort();

async function connectError(token) {
  const client = new Client(nodeUrls()[0], { token, reconnection: false });
  const [error] = await once(client.socket, "connect_error");
  client.close();
  return error.data.code;
}

describe("users of apps", { timeout: 120_000 }, () => {
  let acme;
  let other;
  before(async () => {
    [acme, other] = [await newApp("Acme"), await newApp("Other")];
  });

  test("the first join with a token creates the call, and users meet with name, data and role", async () => {
    const data = { name: "Ann Lee", avatar: "https://a.example/ann.png", metadata: { team: 7 }, role: "host" };
    const ann = await seated(acme, "ann", "standup", data);
    assert.deepEqual([ann.joined.roomId, ann.joined.role, ann.joined.hostId], ["standup", "host", "ann"]);
    const bob = await seated(acme, "bob", "standup");
    assert.deepEqual([bob.joined.role, people(bob)], ["participant", ["ann", "bob"]]);
    const { user } = bob.joined.participants.find((one) => one.userId === "ann");
    assert.deepEqual([user.name, user.avatar, user.metadata], [data.name, data.avatar, data.metadata]);
    await ann.event("room:user-joined", ({ participant }) => participant.userId === "bob");

    await bob.emit("webrtc:offer", { to: "ann", offer: { type: "offer", sdp: "v=0" } });
    const offer = await ann.event("webrtc:offer", () => true);
    assert.deepEqual([offer.from, offer.roomId, offer.user.metadata], ["bob", "standup", undefined]);

    // A host by token hosts: she removes Bob, whose older token admits him no more, ends the call.
    assert.equal((await ann.emit("participant:kick", { peerId: "bob" })).success, true);
    await bob.event("room:kicked", () => true);
    assert.equal((await bob.emit("room:join", { roomId: "standup" })).code, "REMOVED");
    assert.equal((await ann.emit("room:end-call", {})).success, true);
    for (const client of [ann, bob]) client.close();
  });

  test("a moderator and a host who come after a participant have their roles", async () => {
    const [cid, mod] = [await seated(acme, "cid", "roles"), await seated(acme, "mod", "roles", { role: "moderator" })];
    const host = await seated(acme, "boss", "roles", { role: "host" });
    assert.deepEqual([cid, mod, host].map((one) => one.joined.role), ["participant", "moderator", "host"]);
    assert.equal((await cid.emit("room:lock", { locked: true })).code, "FORBIDDEN");
    assert.equal((await mod.emit("room:lock", { locked: true })).success, true);
    assert.equal((await host.emit("participant:set-role", { peerId: "cid", role: "moderator" })).success, true);
    await cid.event("participant:role-changed", ({ userId, role }) => userId === "cid" && role === "moderator");
    assert.equal((await mod.emit("room:end-call", {})).code, "HOST_REQUIRED");
    assert.equal((await host.emit("room:end-call", {})).success, true);
    for (const client of [cid, mod, host]) client.close();
  });

  test("a backend finds a call as soon as a first join has created it", async () => {
    for (let round = 0; round < 5; round += 1) {
      const room = `first-${round}`;
      const ann = await seated(acme, "ann", room, { role: "host" });
      const id = ann.joined.callId;
      const [byRoom, byId] = await Promise.all([
        serverRequest(acme, "GET", `/calls/room/${room}`),
        serverRequest(acme, "GET", `/calls/${id}`),
      ]);
      assert.deepEqual([byRoom.id, byId.roomId], [id, room]);
      await serverRequest(acme, "POST", `/calls/${id}/end`);
      ann.close();
    }
  });

  test("a participant who is admitted and removed at once is told so", async () => {
    const fields = { title: "Lobby", roomId: "lobby", settings: { waitingRoomEnabled: true } };
    await serverRequest(acme, "POST", "/calls", fields);
    const host = await seated(acme, "ann", "lobby", { role: "host" });
    for (let round = 0; round < 12; round += 1) {
      const token = userToken(acme, `visitor-${round}`, { room: "lobby" });
      const guest = await Client.connected(nodeUrls()[round % 2], { token });
      assert.equal((await guest.emit("room:join", { roomId: "lobby" })).waiting, true);
      const peerId = `visitor-${round}`;
      const answers = await Promise.all([
        host.emit("room:admit", { peerId }),
        host.emit("participant:kick", { peerId }),
      ]);
      assert.deepEqual(answers.map(({ success }) => success), [true, true]);
      await guest.event("room:kicked", () => true);
      guest.close();
    }
    host.close();
  });

  test("the permissions of a token bound what its bearer sends", async () => {
    const permissions = { canPublish: false, canShareScreen: false, canChat: false };
    const mute = await seated(acme, "mute", "quiet", { permissions });
    const own = mute.joined.participants[0].mediaState;
    assert.deepEqual([own.videoEnabled, own.audioEnabled], [false, false]);
    const refused = [
      await mute.emit("participant:update-media-state", { audioEnabled: true }),
      await mute.emit("webrtc:screen-share", { enabled: true }),
      await mute.emit("chat:message", { message: "hi" }),
    ];
    assert.deepEqual(refused.map(({ code }) => code), ["FORBIDDEN", "FORBIDDEN", "FORBIDDEN"]);
    mute.close();
  });

  test("a backend changes permissions, which hold on every node, after a resume and after a return", async () => {
    const [ann, bob] = [await seated(acme, "ann", "grants"), await seated(acme, "bob", "grants")];
    const change = (permissions) => serverRequest(acme, "PATCH", "/rooms/grants/participants/bob", { permissions });
    assert.deepEqual(bob.joined.participants.map(({ permissions }) => permissions.canChat), [true, true]);
    await bob.emit("webrtc:screen-share", { enabled: true });
    await change({ canShareScreen: false, canChat: false, canPublish: false });
    for (const client of [ann, bob]) {
      const { userId, permissions } = await client.event("participant:permissions-changed", () => true);
      assert.deepEqual([userId, Object.values(permissions)], ["bob", [false, false, false]]);
    }
    const off = { videoEnabled: false, audioEnabled: false, screenShareEnabled: false };
    const shown = await ann.event("participant:media-state-changed", ({ mediaState }) => !mediaState.videoEnabled);
    assert.deepEqual(shown.mediaState, off);
    await until("all three media are off", () => bob.all("participant:muted").length === 3);
    const attempts = async (client) => {
      const answers = [
        await client.emit("participant:update-media-state", { audioEnabled: true }),
        await client.emit("webrtc:screen-share", { enabled: true }),
        await client.emit("chat:message", { message: "hi" }),
      ];
      return answers.map(({ code }) => code);
    };
    const refused = ["FORBIDDEN", "FORBIDDEN", "FORBIDDEN"];
    assert.deepEqual(await attempts(bob), refused);
    const back = bob.nextConnect();
    bob.socket.io.engine.close();
    await back;
    assert.deepEqual([bob.socket.recovered, await attempts(bob)], [true, refused]);
    assert.equal((await bob.emit("room:leave", { roomId: "grants" })).success, true);
    bob.close();
    const again = await seated(acme, "bob", "grants");
    const own = again.joined.participants.find(({ userId }) => userId === "bob");
    assert.deepEqual([Object.values(own.permissions), own.mediaState], [[false, false, false], off]);
    assert.deepEqual(await attempts(again), refused, "the same token gives nothing back");
    await change({ canChat: true });
    await again.event("participant:permissions-changed", ({ permissions }) => permissions.canChat);
    assert.equal((await again.emit("chat:message", { message: "hi" })).success, true);
    for (const client of [ann, again]) client.close();
  });

  test("an older token brings back nothing that a newer one took, on any device", async () => {
    const now = Math.floor(Date.now() / 1000);
    const ann = await seated(acme, "ann", "tokens");
    const laptop = await seated(acme, "bob", "tokens", { iat: now - 60, role: "moderator" });
    const phone = await seated(acme, "bob", "tokens", { iat: now - 30, permissions: { canChat: false } });
    const chat = async (client) => (await client.emit("chat:message", { message: "hi" })).code;
    // The device that was there first follows, and everyone is told.
    for (const client of [ann, laptop]) {
      const isQuiet = ({ peerId, permissions }) => peerId === "bob" && !permissions.canChat;
      await client.event("participant:permissions-changed", isQuiet);
    }
    assert.deepEqual([await chat(laptop), await chat(phone)], ["FORBIDDEN", "FORBIDDEN"]);
    const back = laptop.nextConnect();
    laptop.socket.io.engine.close();
    await back;
    assert.deepEqual([laptop.socket.recovered, await chat(laptop)], [true, "FORBIDDEN"]);
    phone.close();
    assert.equal((await laptop.emit("room:leave", { roomId: "tokens" })).success, true);
    const again = await laptop.emit("room:join", { roomId: "tokens" });
    assert.deepEqual([again.success, again.role, await chat(laptop)], [true, "participant", "FORBIDDEN"]);
    const newest = await seated(acme, "bob", "tokens", { iat: now });
    assert.deepEqual([await chat(newest), newest.joined.role], [undefined, "participant"]);
    for (const client of [ann, laptop, newest]) client.close();
  });

  test("tokens of an app that lists origins connect on its pages alone, and those may connect", async () => {
    const page = "https://pages.example";
    // The origins come before the key, so nodes that know the key know them.
    const { id } = await operatorRequest("POST", "/apps", { name: "Pages" });
    await operatorRequest("PATCH", `/apps/${id}`, { origins: [page] });
    const token = userToken(await operatorRequest("POST", `/apps/${id}/keys`, {}), "ann");
    const connect = async (url, token, origin) => {
      const extraHeaders = { "x-forwarded-for": "127.0.0.1", ...(origin && { origin }) };
      const { socket } = new Client(url, { token, reconnection: false, extraHeaders });
      const outcome = await Promise.race([
        once(socket, "connect").then(() => "connected"),
        once(socket, "connect_error").then(([error]) => error.data?.code ?? "refused"),
      ]);
      socket.disconnect();
      return outcome;
    };
    for (const url of nodeUrls()) {
      assert.equal(await connect(url, token, undefined), "connected", "not a browser");
      assert.equal(await connect(url, token, page), "connected");
      assert.equal(await connect(url, userToken(acme, "ann"), page), "connected", "an app without origins");
      // Pages on this machine may connect in development.
      assert.equal(await connect(url, token, "http://localhost:4321"), "ORIGIN_NOT_ALLOWED");
      assert.equal(await connect(url, token, "https://evil.example"), "refused", "an origin of nobody");
    }
  });

  test("a wrong token is refused with a code of its own", async () => {
    const now = Math.floor(Date.now() / 1000);
    assert.equal(await connectError(userToken(acme, "ann", { iat: now - 700, exp: now - 60 })), "TOKEN_EXPIRED");
    assert.equal(await connectError(userToken({ ...acme, secret: other.secret }, "ann")), "TOKEN_INVALID");
    assert.equal(await connectError(userToken({ ...acme, keyId: "sbk_00000000000000000000" }, "ann")), "TOKEN_INVALID");
    assert.equal(await connectError(userToken(acme, "ann", { exp: now + 7 * 86_400 })), "TOKEN_INVALID");
    const client = await Client.connected(nodeUrls()[0], { token: userToken(acme, "ann", { room: "mine" }) });
    assert.equal((await client.emit("room:join", { roomId: "yours" })).code, "ROOM_NOT_ALLOWED");
    assert.equal((await client.emit("room:create", { name: "Mine" })).code, "FORBIDDEN");
    client.close();
    const free = await Client.connected(nodeUrls()[0], { token: userToken(acme, "ann") });
    assert.equal((await free.emit("room:join", { roomId: "no-such-room" })).code, "ROOM_NOT_FOUND");
    free.close();
  });

  test("a socket that was lost resumes its seat on another node", async () => {
    const [ann, bob] = [await seated(acme, "ann", "resumes"), await seated(acme, "bob", "resumes")];
    const back = bob.nextConnect();
    bob.socket.io.engine.close();
    await bob.emit("chat:message", { message: "from Bob" });
    await back;
    assert.equal(bob.socket.recovered, true);
    await ann.event("chat:message", ({ from, message }) => from === "bob" && message === "from Bob");
    for (const client of [ann, bob]) client.close();
  });

  test("a token for one room resumes no seat in another", async () => {
    const ann = await seated(acme, "ann", "first");
    ann.socket.auth.token = userToken(acme, "ann", { room: "second" });
    const back = ann.nextConnect();
    ann.socket.io.engine.close();
    await back;
    assert.equal(ann.socket.recovered, false);
    ann.close();
  });

  test("a revoked key closes the sockets of its users within 10 seconds and admits nobody", async () => {
    const key = await operatorRequest("POST", `/apps/${acme.id}/keys`, {});
    const [old, kept] = [await seated({ ...acme, ...key }, "old", "revoked"), await seated(acme, "kept", "revoked")];
    const token = userToken(key, "old");
    const closed = old.nextDisconnect();
    const began = Date.now();
    await operatorRequest("DELETE", `/apps/${acme.id}/keys/${key.keyId}`);
    await closed;
    assert.ok(Date.now() - began < 10_000, "closed in time");
    await until("every node refuses the key", async () => (await connectError(token)) === "KEY_REVOKED");
    assert.equal(kept.socket.connected, true, "the app's other key stays");
    for (const client of [old, kept]) client.close();
  });
});

describe("limits and usage of an app", { timeout: 120_000 }, () => {
  /** Creates an app with limits. They come before the key, so nodes that know the key know them. */
  async function limitedApp(name, limits) {
    const { id } = await operatorRequest("POST", "/apps", { name });
    await operatorRequest("PATCH", `/apps/${id}`, { limits });
    return { id, ...(await operatorRequest("POST", `/apps/${id}/keys`, {})) };
  }
  const refusal = async (app, sub, room) => {
    const client = await Client.connected(nodeUrls()[next++ % 2], { token: userToken(app, sub, { room }) });
    const answer = await client.emit("room:join", { roomId: room });
    client.close();
    return answer;
  };

  test("a noisy app at each of its limits is refused, on all nodes together, and another app joins on", async () => {
    const limits = { maxParticipantsPerCall: 2, maxConcurrentCalls: 2, maxConcurrentParticipants: 4 };
    const noisy = await limitedApp("Noisy", limits);
    const quiet = await newApp("Quiet");
    const refusals = (limit) => counterSum("switchboard_app_limited_total", `limit="${limit}"`);
    const before = [await refusals("maxConcurrentCalls"), await refusals("maxConcurrentParticipants")];
    const clients = [await seated(noisy, "u1", "a"), await seated(noisy, "u2", "a")];
    assert.equal((await refusal(noisy, "u3", "a")).code, "ROOM_FULL", "2 seats in a call");
    clients.push(await seated(noisy, "u3", "b"));
    const third = await refusal(noisy, "u4", "c");
    assert.deepEqual([third.code, third.retryAfter], ["APP_LIMIT_REACHED", 1], "2 calls");
    assert.match(third.message, /2 calls/);
    await assert.rejects(operatorRequest("GET", `/rooms/${noisy.id}.c/participants`), { code: "ROOM_NOT_FOUND" });
    clients.push(await seated(noisy, "u4", "b"));

    // The noisy app tries again and again; each join of the quiet app succeeds meanwhile.
    const attempts = Array.from({ length: 40 }, (_, number) => refusal(noisy, `more-${number}`, "b"));
    for (let number = 0; number < 20; number += 1) clients.push(await seated(quiet, `u${number}`, `room-${number % 7}`));
    for (const answer of await Promise.all(attempts)) {
      assert.equal(answer.code, "APP_LIMIT_REACHED");
      assert.match(answer.message, /4 participants/);
    }
    const counted = [await refusals("maxConcurrentCalls"), await refusals("maxConcurrentParticipants")];
    assert.deepEqual(counted.map((sum, index) => sum - before[index]), [1, 40], "each refusal is counted once");

    // A user whose socket is gone comes back at the limit, on the other node.
    const [first] = clients;
    first.socket.io.reconnection(false);
    first.socket.io.engine.close();
    const again = await seated(noisy, "u1", "a");
    assert.deepEqual(people(again), ["u1", "u2"]);
    // A place that is given up is free for others within seconds, also that of somebody who was
    // removed and stays connected: the next ping is much later.
    again.close();
    await until("a place is free", async () => (await refusal(noisy, "u5", "a")).success, 5_000);
    let removed;
    await until("another has it", async () => (removed = await seated(noisy, "u6", "a").catch(() => null)), 5_000);
    clients.push(removed);
    await serverRequest(noisy, "DELETE", "/rooms/a/participants/u6");
    await until("the place of the removed is free", async () => (await refusal(noisy, "u7", "a")).success, 5_000);
    for (const client of clients) client.close();
  });

  test("the seats of a call stay within the limit of its app when the call is created and when it is changed", async () => {
    const app = await limitedApp("Seats", { maxParticipantsPerCall: 3 });
    const host = await seated(app, "host", "small", { role: "host" });
    assert.equal(host.joined.maxParticipants, 3);
    assert.equal((await host.emit("room:update", { maxParticipants: 4 })).code, "APP_LIMIT_REACHED");
    assert.equal((await host.emit("room:update", { maxParticipants: 2 })).success, true);
    host.close();
  });

  test("the events of an app are limited, leaving is not, and another app sends on", async () => {
    const [chatty, quiet] = [await limitedApp("Chatty", { maxEventsPerSecond: 2 }), await newApp("Quiet")];
    const clients = [await seated(chatty, "ann", "chat"), await seated(quiet, "ann", "chat")];
    const began = Date.now();
    const codes = [[], []];
    for (let number = 0; number < 30; number += 1) {
      for (const [index, client] of clients.entries()) {
        const answer = await client.emit("chat:message", { message: `m${number}` });
        codes[index].push(answer.success ? "sent" : answer.code);
        if (!answer.success) assert.ok(answer.retryAfter >= 1);
      }
    }
    const sent = codes[0].filter((code) => code === "sent").length;
    const refilled = 2 * (Math.ceil((Date.now() - began) / 1000) + 1);
    assert.ok(sent <= 10 + refilled && sent < 30, `${sent} sent`);
    assert.deepEqual(new Set(codes[0]), new Set(["sent", "RATE_LIMIT_EXCEEDED"]));
    assert.deepEqual(new Set(codes[1]), new Set(["sent"]));
    assert.equal((await clients[0].emit("room:leave", { roomId: "chat" })).success, true);
    for (const client of clients) client.close();
  });

  test("the usage of an app is what its clients did", async () => {
    const app = await newApp("Billed");
    const before = Date.now();
    const seatedAt = [];
    const clients = [];
    for (const user of ["ann", "bob"]) {
      clients.push(await seated(app, user, "billed"));
      seatedAt.push(Date.now());
    }
    const [ann, bob] = clients;
    const leaving = Date.now();
    assert.equal((await bob.emit("room:leave", { roomId: "billed" })).success, true);
    assert.equal((await ann.emit("room:leave", { roomId: "billed" })).success, true);
    const after = Date.now();
    for (const client of clients) client.close();
    const least = 2 * leaving - seatedAt[0] - seatedAt[1];
    const usage = await until("both stays are recorded", async () => {
      const { total } = await operatorRequest("GET", `/apps/${app.id}/usage`);
      return total.participantMs >= least && total;
    });
    assert.deepEqual([usage.joins, usage.calls, usage.recordedMessages], [2, 1, 0]);
    assert.ok(usage.participantMs <= 2 * (after - before), JSON.stringify([usage, after - before]));
    await assert.rejects(operatorRequest("GET", "/apps/nosuchapp/usage"), { code: "APP_NOT_FOUND" });
  });
});

describe("two apps with the same ids of rooms and users, and the app of accounts", { timeout: 120_000 }, () => {
  let apps;
  let host;
  let call;
  let clients;
  before(async () => {
    host = await account("Account");
    call = await newCall(host);
    apps = [await newApp("One"), await newApp("Two")];
    // Both apps have a user with the account's id, in a room with the id of the account's call.
    clients = [];
    for (const app of apps) {
      clients.push(await seated(app, host.user.id, call.roomId, { name: `Of ${app.id}`, role: "host" }));
      clients.push(await seated(app, "bob", call.roomId));
    }
    const { joinToken } = await rest("POST", "/video-calls/join", { roomId: call.roomId }, host.token);
    clients.push(await Client.seated(nodeUrls()[0], call.roomId, { token: host.token, joinToken }));
  });
  after(() => clients?.forEach((client) => client.close()));

  test("no event crosses", async () => {
    const [one, , two, , own] = clients;
    assert.deepEqual([people(own), own.joined.participants[0].user.name], [[host.user.id], "Account"]);
    for (const [client, app] of [[one, apps[0]], [two, apps[1]]]) {
      assert.equal(client.joined.roomId, call.roomId, "clients see the name of the room alone");
      assert.equal(client.joined.user.name, `Of ${app.id}`, "not the name of the account");
    }
    await one.emit("chat:message", { message: "of one" });
    await clients[1].event("chat:message", ({ message }) => message === "of one");
    await two.emit("chat:message", { message: "of two" });
    await clients[3].event("chat:message", ({ message }) => message === "of two");
    await own.emit("chat:message", { message: "of the account" });
    await one.emit("participant:kick", { peerId: "bob", ban: true });
    await clients[1].event("room:kicked", () => true);
    const heard = clients.map((client) => client.all("chat:message").map(({ message }) => message).sort());
    for (const [index, messages] of heard.entries()) {
      const foreign = messages.filter((message) => message !== ["of one", "of one", "of two", "of two", "of the account"][index]);
      assert.deepEqual(foreign, []);
    }
    assert.equal(clients[3].all("room:kicked").length, 0, "a ban in one app bans nobody in another");
    assert.equal((await clients[3].emit("webrtc:get-stats", {})).success, true);
    const texts = clients.flatMap((client) => client.received.map((received) => JSON.stringify(received)));
    for (const { id } of apps) {
      const leaks = texts.filter((text) => text.replaceAll(`Of ${id}`, "").includes(id));
      assert.deepEqual(leaks, [], "no event shows the id of an app");
    }
  });

  test("no route of users crosses", async () => {
    const tokens = apps.map((app) => userToken(app, host.user.id, { room: call.roomId }));
    const seen = [];
    for (const token of [host.token, ...tokens]) {
      const read = () => rest("GET", `/video-calls/room/${call.roomId}`, undefined, token).catch(() => undefined);
      const found = await until("the call is recorded", async () => {
        const call = await read();
        return call?.currentParticipants > 0 && call;
      });
      seen.push(found.id);
    }
    assert.equal(new Set(seen).size, 3, "each sees a call of its own");
    for (const [index, token] of tokens.entries()) {
      const other = seen[index === 0 ? 2 : 1];
      for (const path of [`/video-calls/${other}`, `/video-calls/${other}/participants`, `/video-calls/${seen[0]}`]) {
        await assert.rejects(rest("GET", path, undefined, token), { code: "CALL_NOT_FOUND" }, path);
      }
      for (const path of ["/video-calls", "/auth/profile", "/auth/sessions", "/auth/stats"]) {
        await assert.rejects(rest("GET", path, undefined, token), { code: "UNAUTHORIZED" }, path);
      }
    }
    const list = await rest("GET", "/video-calls", undefined, host.token);
    assert.deepEqual(list.map(({ id }) => id), [call.id], "the account's list has none of the apps' calls");
    for (const id of seen.slice(1)) {
      for (const path of ["", "/stats", "/participants", "/messages"]) {
        const code = { code: "CALL_NOT_FOUND" };
        await assert.rejects(rest("GET", `/video-calls/${id}${path}`, undefined, host.token), code, path);
      }
      await assert.rejects(rest("DELETE", `/video-calls/${id}`, undefined, host.token), { code: "CALL_NOT_FOUND" });
      await assert.rejects(rest("POST", `/video-calls/${id}/end`, {}, host.token), { code: "CALL_NOT_FOUND" });
    }
  });

  test("operators see each room by its full name", async () => {
    const participants = async (room) => operatorRequest("GET", `/rooms/${room}/participants`);
    const names = [];
    for (const room of [call.roomId, ...apps.map(({ id }) => `${id}.${call.roomId}`)]) {
      names.push((await participants(room)).find(({ userId }) => userId === host.user.id).user.name);
    }
    assert.deepEqual(names, ["Account", ...apps.map(({ id }) => `Of ${id}`)]);
  });
});

describe("the server API", { timeout: 120_000 }, () => {
  let app;
  const ask = (method, path, body, headers) => serverRequest(app, method, path, body, headers);
  const member = async (sub, room, claims) => {
    const { token } = await ask("POST", "/tokens", { sub, room, ...claims });
    const urls = nodeUrls();
    return Client.seated(urls[next++ % urls.length], room, { token });
  };
  before(async () => {
    app = await newApp("Backend");
  });

  test("a backend makes a call, and its users meet with tokens that it minted", async () => {
    const create = () => ask("POST", "/calls", { title: "Lesson", roomId: "lesson" }, { "idempotency-key": "lesson" });
    const [call, again] = [await create(), await create()];
    assert.equal(call.id, again.id);
    const [ann, bob] = [await member("ann", "lesson", { role: "host", name: "Ann" }), await member("bob", "lesson")];
    assert.deepEqual([ann.joined.callId, bob.joined.callId, ann.joined.role], [call.id, call.id, "host"]);
    assert.deepEqual(people(bob), ["ann", "bob"]);

    // On whatever node they are, everybody gets an event once; a client that resumes gets it too.
    const back = bob.nextConnect();
    bob.socket.io.engine.close();
    await ask("POST", "/rooms/lesson/events", { name: "quiz", data: { question: 1 } });
    await ask("POST", "/rooms/lesson/events", { name: "hint", to: "bob" });
    await back;
    await bob.event("server:event", ({ name }) => name === "hint");
    assert.deepEqual(bob.all("server:event").map(({ name }) => name), ["quiz", "hint"]);
    assert.deepEqual((await ann.event("server:event", () => true)).data, { question: 1 });
    assert.equal(ann.all("server:event").length, 1);

    await ask("PATCH", "/rooms/lesson/participants/bob", { role: "moderator", metadata: { team: 7 } });
    assert.equal((await ann.event("participant:role-changed", ({ peerId }) => peerId === "bob")).role, "moderator");
    const changed = await ann.event("participant:profile-changed", () => true);
    assert.deepEqual(changed.user.metadata, { team: 7 });
    assert.equal((await bob.emit("room:lock", { locked: true })).success, true, "the new role holds at once");
    await ask("POST", "/rooms/lesson/participants/bob/mute", { kind: "audio" });
    await bob.event("participant:muted", ({ kind }) => kind === "audio");
    await ask("DELETE", "/rooms/lesson/participants/bob?ban=true&reason=enough");
    assert.deepEqual(await bob.event("room:kicked", () => true), { roomId: "lesson", peerId: "bob", banned: true, reason: "enough" });
    await assert.rejects(member("bob", "lesson"), { code: "BANNED" });

    await ask("POST", `/calls/${call.id}/end`);
    assert.equal((await ann.event("room:call-ended", () => true)).reason, "ended_by_app");
    const { status } = await until("the record has ended", async () => {
      const ended = await ask("GET", `/calls/${call.id}`);
      return ended.status === "ended" && ended;
    });
    assert.equal(status, "ended");
    for (const client of [ann, bob]) client.close();
  });

  test("a backend admits and denies participants in the lobby, who get its events", async () => {
    await ask("POST", "/calls", { title: "Doors", roomId: "doors", settings: { waitingRoomEnabled: true } });
    const waiting = [];
    for (const sub of ["cid", "dan"]) {
      const { token } = await ask("POST", "/tokens", { sub, room: "doors" });
      const client = await Client.connected(nodeUrls()[0], { token });
      assert.equal((await client.emit("room:join", { roomId: "doors" })).waiting, true);
      waiting.push(client);
    }
    const [cid, dan] = waiting;
    await ask("POST", "/rooms/doors/events", { name: "place", data: 1, to: "cid" });
    await cid.event("server:event", ({ data }) => data === 1);
    await ask("POST", "/rooms/doors/events", { name: "for the call" });
    assert.deepEqual(await ask("POST", "/rooms/doors/participants/cid/admit"), { admitted: ["cid"] });
    await cid.event("room:joined", () => true);
    await ask("POST", "/rooms/doors/participants/dan/deny", { reason: "Full" });
    assert.equal((await dan.event("room:denied", () => true)).reason, "Full");
    assert.equal(dan.all("server:event").length, 0, "the lobby gets no events for the call");
    for (const client of waiting) client.close();
  });
});

describe("the examples of token endpoints", { timeout: 300_000 }, () => {
  let app;
  let folder;
  before(async () => {
    app = await newApp("Examples");
    folder = await mkdtemp(join(tmpdir(), "switchboard-tokens-"));
  });
  after(() => rm(folder, { recursive: true }));

  const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
  const has = (program, argument) => spawnSync(program, [argument]).status === 0;
  const rust = file("target/debug/examples/token_endpoint");
  const endpoints = [
    ["Node.js", true, () => [process.execPath, file("examples/tokens/node.mjs")]],
    ["Python", has("python3", "--version"), () => ["python3", file("examples/tokens/python.py")]],
    ["Go", has("go", "version"), () => {
      const program = join(folder, "tokens-go");
      const built = spawnSync("go", ["build", "-o", program, file("examples/tokens/go.go")], { encoding: "utf8" });
      assert.equal(built.status, 0, built.stderr);
      return [program];
    }],
    ["Rust", existsSync(rust), () => [rust]],
  ];
  for (const [language, runs, command] of endpoints) {
    test(`its token joins a call: ${language}`, { skip: !runs && `no ${language} here` }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address();
      server.close();
      await once(server, "close");
      const [program, ...args] = command();
      const env = { ...process.env, SWITCHBOARD_KEY_ID: app.keyId, SWITCHBOARD_KEY_SECRET: app.secret, PORT: String(port) };
      const endpoint = spawn(program, args, { env, stdio: ["ignore", "inherit", "ignore"] });
      try {
        const room = `lesson-${language.toLowerCase().replace(".", "")}`;
        const ask = () => fetch(`http://127.0.0.1:${port}/token?user=ann&room=${room}`).then((answer) => answer.json());
        const { token } = await until("the endpoint answers", () => ask().catch(() => undefined), 60_000);
        const ann = await Client.seated(nodeUrls()[0], room, { token });
        assert.deepEqual([ann.joined.roomId, people(ann)], [room, ["ann"]]);
        ann.close();
      } finally {
        endpoint.kill();
      }
    });
  }
});
