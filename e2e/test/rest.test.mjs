// A whole call through the REST API, as PROTOCOL.md describes it, with sockets for joins and
// leaves.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Client, account, admitted, guest, newCall, rest } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

const PASSWORD = "a quiet line, please";

/** Asserts that a request is refused with this status and code. */
const refused = (request, status, code) => assert.rejects(request, (error) => error.status === status && error.code === code);

/** Polls the call's statistics until they match, because they follow the room with a delay. */
const statistics = (id, token, matches) =>
  until("the statistics match", async () => {
    const stats = await rest("GET", `/video-calls/${id}/stats`, undefined, token);
    return matches(stats) && stats;
  });

describe("the REST API from registration to statistics", { timeout: 180_000 }, () => {
  const clients = [];
  after(() => clients.forEach((client) => client.close()));
  const seated = async (...args) => {
    const client = await Client.seated(...args);
    clients.push(client);
    return client;
  };

  test("a host registers, calls with a user and a guest, ends the call, and reads its statistics", async () => {
    const [first, second] = [nodeUrls()[0], nodeUrls().at(-1)];
    const newcomer = await account("Ada Host");
    const { email, id } = newcomer.user;
    const profile = await rest("PATCH", "/auth/profile", { name: "Ada" }, newcomer.token);
    assert.deepEqual([profile.id, profile.name, profile.email], [id, "Ada", email]);
    const signedIn = await rest("POST", "/auth/login", { email: ` ${email.toUpperCase()} `, password: PASSWORD });
    const host = await rest("POST", "/auth/refresh", { refreshToken: signedIn.refreshToken });

    const call = await newCall(host, { title: "Review", description: "Weekly", maxParticipants: 5, passcode: "s3cret" });
    assert.equal(call.status, "waiting");
    assert.deepEqual(await rest("GET", `/video-calls/${call.id}`, undefined, host.token), call);
    assert.deepEqual((await rest("GET", "/video-calls?search=revi", undefined, host.token)).map(({ id }) => id), [call.id]);
    await refused(guest(call.roomId, "Grace Guest"), 401, "INVALID_PASSCODE");

    const user = await account("Bob User");
    const ask = (body, token) => rest("POST", "/video-calls/join", { roomId: call.roomId, passcode: "s3cret", ...body }, token);
    const bobsAdmission = { token: user.token, ...(await ask({}, user.token)) };
    const guestsAdmission = await ask({ guestName: "Grace Guest" });
    assert.equal(guestsAdmission.isGuest, true);

    const ada = await seated(first, call.roomId, await admitted(call.roomId, host));
    const bob = await seated(second, call.roomId, bobsAdmission);
    const grace = await seated(first, call.roomId, guestsAdmission);
    assert.deepEqual([ada.joined.isHost, bob.joined.role, grace.joined.role], [true, "participant", "guest"]);
    assert.equal((await ada.emit("webrtc:offer", { to: bob.peerId, offer: { type: "offer", sdp: "v=0" } })).success, true);
    assert.equal((await bob.event("webrtc:offer", () => true)).from, ada.peerId);
    assert.equal((await grace.emit("chat:message", { message: "Hello" })).success, true);
    await bob.event("chat:message", ({ message }) => message === "Hello");

    const live = await statistics(call.id, host.token, (stats) => stats.totalParticipants === 3);
    assert.equal(live.maxConcurrentParticipants, 3);
    assert.equal((await rest("GET", `/video-calls/room/${call.roomId}`, undefined, host.token)).status, "live");
    grace.close();
    await bob.event("room:user-left", ({ userId }) => userId === guestsAdmission.user.id);
    await refused(rest("POST", `/video-calls/${call.id}/end`, undefined, user.token), 403, "HOST_REQUIRED");

    const ended = await rest("POST", `/video-calls/${call.id}/end`, undefined, host.token);
    await Promise.all([ada, bob].map((client) => client.event("room:call-ended", ({ roomId }) => roomId === call.roomId)));
    const over = await statistics(call.id, user.token, (stats) => stats.participantStats.every(({ leftAt }) => leftAt));
    assert.equal(over.callTimeline.ended, ended.endedAt);
    assert.deepEqual(over.participantStats.map(({ user: { name }, role }) => [name, role]), [
      ["Ada", "host"],
      ["Bob User", "participant"],
      ["Grace Guest", "guest"],
    ]);
    const [hosts, , guests] = over.participantStats;
    assert.ok(hosts.durationMs >= guests.durationMs && guests.durationMs > 0, JSON.stringify(over.participantStats));
    await refused(ask({}, user.token), 403, "CALL_ENDED");
    await refused(rest("PATCH", `/video-calls/${call.id}`, { title: "Late" }, host.token), 403, "CALL_ENDED");
    await rest("DELETE", `/video-calls/${call.id}`, undefined, host.token);
    await refused(rest("GET", `/video-calls/${call.id}`, undefined, host.token), 404, "CALL_NOT_FOUND");
    await rest("POST", "/auth/logout", undefined, host.token);
    await refused(rest("GET", "/auth/profile", undefined, host.token), 401, "TOKEN_INVALID");
  });

  test("an invited_only call admits only invited users, and a public scheduled call admits guests", async () => {
    const [host, invited, other] = [await account("Ada Host"), await account("Bob Invited"), await account("Eve Other")];
    const closed = await newCall(host, { type: "invited_only", invitedUserIds: [invited.user.id] });
    await refused(guest(closed.roomId, "Grace Guest"), 401, "UNAUTHORIZED");
    await refused(admitted(closed.roomId, other), 403, "FORBIDDEN");
    await refused(rest("GET", `/video-calls/${closed.id}`, undefined, other.token), 403, "FORBIDDEN");
    const bob = await seated(nodeUrls()[0], closed.roomId, await admitted(closed.roomId, invited));
    assert.equal(bob.joined.role, "participant");

    const later = await newCall(host, { scheduledAt: new Date(Date.now() + 3_600_000).toISOString() });
    assert.equal(later.status, "scheduled");
    const grace = await seated(nodeUrls().at(-1), later.roomId, await guest(later.roomId, "Grace Guest"));
    assert.equal(grace.joined.role, "guest");
    await until("the call is live", async () => (await rest("GET", `/video-calls/${later.id}`)).status === "live");
    await rest("DELETE", `/video-calls/${later.id}`, undefined, host.token);
    await grace.event("room:call-ended", ({ roomId }) => roomId === later.roomId);
  });

  test("another name is announced in the call, and those who come later see it", async () => {
    const host = await account("Ada Host");
    const call = await newCall(host);
    const ada = await seated(nodeUrls()[0], call.roomId, await admitted(call.roomId, host));
    const grace = await seated(nodeUrls().at(-1), call.roomId, await guest(call.roomId, "Grace Guest"));
    await until("the call is live", async () => (await rest("GET", `/video-calls/${call.id}`)).status === "live");
    await rest("PATCH", "/auth/profile", { name: "Ada Lovelace" }, host.token);
    for (const client of [ada, grace]) {
      const changed = await client.event("participant:profile-changed", () => true);
      assert.deepEqual([changed.peerId, changed.userId, changed.user.name], [ada.peerId, host.user.id, "Ada Lovelace"]);
    }
    // Her own events carry the new name, also after she resumes with her token of before.
    const says = async (message) => {
      assert.equal((await ada.emit("chat:message", { message })).success, true);
      const { fromUser } = await grace.event("chat:message", (received) => received.message === message);
      assert.equal(fromUser.name, "Ada Lovelace");
    };
    await says("before");
    const back = ada.nextConnect();
    ada.socket.io.engine.close();
    await back;
    assert.equal(ada.socket.recovered, true);
    await says("after");
    const late = await seated(nodeUrls()[0], call.roomId, await guest(call.roomId, "Late Guest"));
    const shown = late.joined.participants.find(({ peerId }) => peerId === ada.peerId);
    assert.equal(shown.user.name, "Ada Lovelace");
  });
});
