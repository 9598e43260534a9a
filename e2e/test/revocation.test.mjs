// Revoked sign-ins: their sockets end on every node, and their tokens are refused.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, PASSWORD, account, admitted, newCall, rest } from "../support/clients.mjs";
import { nodeUrls } from "../support/cluster.mjs";
import { until, within } from "../support/until.mjs";

describe("a revoked sign-in", { timeout: 120_000 }, () => {
  const [one, two] = nodeUrls();
  const opened = [];
  let host;
  let roomId;

  before(async () => {
    assert.ok(two, "these tests need two nodes");
    host = await account("Revoking Host");
    ({ roomId } = await newCall(host));
  });
  after(() => opened.forEach((client) => client.close()));

  async function open(promise) {
    const client = await promise;
    opened.push(client);
    return client;
  }

  const refusal = (socket) => new Promise((resolve) => socket.once("connect_error", resolve));

  /**
   * Waits until a node refuses a sign-in. The node may check just before it learns of the
   * revocation.
   */
  const refusedAt = (url, signIn) =>
    until("the token is refused", async () => {
      const fresh = new Client(url, signIn);
      const connected = new Promise((resolve) => fresh.socket.once("connect", resolve));
      const error = await within("an answer", Promise.race([refusal(fresh.socket), connected]));
      fresh.close();
      return error?.data?.code === "TOKEN_INVALID";
    });

  const secondSignIn = ({ user }) => rest("POST", "/auth/login", { email: user.email, password: PASSWORD });
  const change = { currentPassword: PASSWORD, newPassword: "another line, please", confirmPassword: "another line, please" };
  const ENDS = [
    ["a sign-out", ({ token }) => rest("POST", "/auth/logout", {}, token)],
    [
      "ending all sessions from another sign-in",
      async (leaver) => rest("DELETE", "/auth/sessions", undefined, (await secondSignIn(leaver)).token),
    ],
    [
      "a password change",
      async (leaver) => rest("POST", "/auth/change-password", change, (await secondSignIn(leaver)).token),
    ],
  ];
  for (const [how, end] of ENDS) {
    test(`${how} ends the user's sockets on every node, seated or not, and no other user's`, async () => {
      const leaver = await account("Leaver");
      const witness = await open(Client.seated(one, roomId, await admitted(roomId, host)));
      const seated = await open(Client.seated(two, roomId, await admitted(roomId, leaver)));
      const sockets = [seated, await open(Client.connected(one, leaver)), await open(Client.connected(two, leaver))];
      const ends = Promise.all(sockets.map((client) => client.nextDisconnect()));
      await end(leaver);
      // After "io server disconnect" the stock client does not reconnect.
      assert.deepEqual(await ends, sockets.map(() => "io server disconnect"));
      const left = await witness.event("room:user-left", ({ peerId }) => peerId === seated.peerId);
      assert.equal(left.userId, leaver.user.id);
      assert.equal(witness.socket.connected, true);
      await assert.rejects(rest("GET", "/auth/profile", undefined, leaver.token), { code: "TOKEN_INVALID" });
    });
  }

  test("a replayed refresh token ends the tokens, and the seat in a call stays until somebody signs out", async () => {
    const owner = await account("Replayed");
    const witness = await open(Client.seated(one, roomId, await admitted(roomId, host)));
    const seated = await open(Client.seated(two, roomId, await admitted(roomId, owner)));
    let latest = owner;
    for (let round = 0; round < 2; round += 1) {
      latest = await rest("POST", "/auth/refresh", { refreshToken: latest.refreshToken });
    }
    await assert.rejects(rest("POST", "/auth/refresh", { refreshToken: owner.refreshToken }), { code: "TOKEN_INVALID" });
    for (const { token } of [owner, latest]) {
      await assert.rejects(rest("GET", "/auth/profile", undefined, token), { code: "TOKEN_INVALID" });
    }
    await assert.rejects(rest("POST", "/auth/refresh", { refreshToken: latest.refreshToken }), { code: "TOKEN_INVALID" });

    // The tokens open nothing new. A socket that is lost comes back to its seat.
    await refusedAt(two, owner);
    assert.equal((await seated.emit("room:create", {})).code, "TOKEN_INVALID");
    const back = seated.nextConnect();
    seated.socket.io.engine.close();
    await back;
    assert.equal(seated.socket.recovered, true);
    assert.equal((await seated.emit("chat:message", { message: "still here" })).success, true);
    await witness.event("chat:message", ({ message }) => message === "still here");

    const ended = seated.nextDisconnect();
    await rest("POST", "/auth/logout", {}, latest.token);
    assert.equal(await ended, "io server disconnect");
    await witness.event("room:user-left", ({ peerId }) => peerId === seated.peerId);
  });

  test("its token can neither connect nor resume", async () => {
    const leaver = await account("Ghost");
    const client = await open(Client.seated(one, roomId, await admitted(roomId, leaver)));
    await rest("POST", "/auth/logout", {}, leaver.token);
    await until("the socket is disconnected", () => !client.socket.connected);
    // The same client sends its private session id and offset again.
    const resuming = refusal(client.socket);
    client.socket.connect();
    assert.equal((await within("a refusal", resuming)).data.code, "TOKEN_INVALID", "resuming");
    await refusedAt(two, leaver);
  });
});
