// Access tokens that an application gives to the client SDK: which refusals make it ask for another
// one, how often, and calls that go on while API keys are rotated.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { launch } from "../support/browser.mjs";
import { account, admitted, newApp, newCall, operatorRequest, rest, serverRequest, signed } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";
import { Wire } from "../support/wire.mjs";

describe("tokens of the application", { timeout: 280_000 }, () => {
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

  /**
   * Opens a page that has the SDK, and its wire. `give` gives the token `window.token`, after
   * `window.failures` times without one. `window.asked` counts how often.
   */
  async function blank(token) {
    const context = await browser.newContext();
    contexts.push(context);
    const page = await context.newPage();
    const wire = await Wire.of(page);
    await page.goto(`${baseUrl()}/api/version`);
    await page.evaluate(async (given) => {
      window.sdk = await import("/vendor/switchboard.js");
      window.asked = 0;
      window.token = given;
      window.failures = 0;
      window.give = async () => {
        window.asked += 1;
        if (window.failures-- > 0) throw new Error("no backend");
        return window.token;
      };
      window.switchboard = new sdk.Switchboard(location.origin, { token: give, transports: ["websocket"] });
    }, token);
    return { page, wire };
  }
  const join = (page, roomId) =>
    page.evaluate(async (id) => {
      try {
        window.room = await switchboard.join(id);
        return room.status;
      } catch (error) {
        return error.code;
      }
    }, roomId);
  const asked = (page) => page.evaluate(() => window.asked);
  const back = (page) => until("the page is back", () => page.evaluate(() => room.status === "live"));
  const setToken = (page, token) => page.evaluate((given) => void (window.token = given), token);

  /** Refuses the next connections of a page with these codes. Returns those that are left. */
  function refuse(wire, ...codes) {
    wire.onPacket = (packet) => {
      if (!packet.startsWith("40") || codes.length === 0) return packet;
      return `44${JSON.stringify({ message: "Refused", data: { code: codes.shift() } })}`;
    };
    return codes;
  }

  test("a token that stays expired is asked for once more, and then the room is over", async () => {
    const { roomId } = await newCall(host);
    const expired = signed(host.token, { exp: 1_000_000_000 });
    const { joinToken } = await admitted(roomId, host);
    for (const source of ["give", "token"]) {
      const { page, wire } = await blank(expired);
      let connections = 0;
      wire.onConnect = (packet) => ((connections += 1), packet);
      const ending = await page.evaluate(
        async ([id, admission, name]) => {
          const room = await new sdk.Switchboard(location.origin, { token: window[name], transports: ["websocket"] }).connect({ roomId: id, joinToken: admission });
          const patience = new Promise((resolve) => setTimeout(resolve, 20_000, "no end"));
          return Promise.race([room.ready.catch(({ code }) => code), patience]);
        },
        [roomId, joinToken, source],
      );
      assert.equal(ending, "TOKEN_EXPIRED");
      assert.equal(connections, 2);
    }
  });

  test("a refused token is asked for again after each connection, once for each code that another token resolves", async () => {
    const { roomId } = await newCall(host);
    const { page, wire } = await blank(host.token);
    assert.equal(await join(page, roomId), "live");
    let count = await asked(page);
    for (const code of ["TOKEN_EXPIRED", "KEY_REVOKED", "TOKEN_INVALID"]) {
      const codes = refuse(wire, code);
      await wire.cut();
      await until("the refusal was seen", () => codes.length === 0);
      await back(page);
      assert.equal(await asked(page), (count += 1), code);
    }
    refuse(wire, "KEY_REVOKED", "TOKEN_INVALID", "TOKEN_INVALID");
    await wire.cut();
    await until("the room is over", () => page.evaluate(() => room.status === "over"));
    assert.equal(await page.evaluate(() => room.ending.code), "TOKEN_INVALID");
    assert.equal(await asked(page), count + 1);
  });

  test("a session that the server closes is brought back by another token once, not again and again", async () => {
    const { roomId } = await newCall(host);
    const { page, wire } = await blank(host.token);
    let joins = 0;
    wire.onPacket = (packet) => {
      // The session is closed whenever it has a seat.
      if (packet.startsWith('42["room:joined"')) {
        joins += 1;
        setTimeout(() => wire.closeSession(), 50);
      }
      return packet;
    };
    wire.onConnect = (packet) => {
      const { pid, offset, ...auth } = JSON.parse(packet.slice(2));
      return `40${JSON.stringify(auth)}`;
    };
    assert.equal(await join(page, roomId), "live");
    await until("the room is over", () => page.evaluate(() => room.status === "over"));
    assert.deepEqual([await page.evaluate(() => room.ending), joins], ["disconnected", 2]);
  });

  test("a page returns although the application gives no token for a moment", async () => {
    const { roomId } = await newCall(host);
    const { page, wire } = await blank(host.token);
    assert.equal(await join(page, roomId), "live");
    const seat = () => page.evaluate(() => room.selfId);
    const former = await seat();
    let connections = 0;
    wire.onConnect = (packet) => ((connections += 1), packet);
    await page.evaluate(() => void (window.failures = 2));
    refuse(wire, "TOKEN_EXPIRED");
    await wire.cut();
    await until("a connection was refused", () => connections > 0);
    await back(page);
    assert.equal(await seat(), former);
    assert.equal(connections, 2, "no connection without a token");
  });

  test("a request that is refused because of the token is sent once more with another token", async () => {
    const { roomId } = await newCall(host);
    const { page } = await blank("no token");
    assert.equal(await join(page, roomId), "TOKEN_INVALID");
    assert.equal(await asked(page), 2);
    await setToken(page, host.token);
    assert.equal(await join(page, roomId), "live");
    assert.equal(await asked(page), 3);
  });

  test("after a rotation of the API key a page joins again, and comes back from a lost connection", async () => {
    const app = await newApp("Rotation");
    const room = "rotation";
    let key = app;
    const mint = async () => (await serverRequest(key, "POST", "/tokens", { sub: "ann", room })).token;
    /** Makes a key, gives its token to the page, and revokes the former key. */
    const rotate = async (page) => {
      const former = key;
      const formerToken = await page.evaluate(() => window.token);
      key = { ...app, ...(await operatorRequest("POST", `/apps/${app.id}/keys`, {})) };
      await setToken(page, await mint());
      await operatorRequest("DELETE", `/apps/${app.id}/keys/${former.keyId}`);
      await until("the service refuses the former key", () =>
        rest("GET", "/video-calls", undefined, formerToken).then(() => false, ({ code }) => code === "KEY_REVOKED"),
      );
    };
    const { page, wire } = await blank(await mint());
    assert.equal(await join(page, room), "live");
    await page.evaluate(() => window.room.leave());
    await rotate(page);
    assert.equal(await join(page, room), "live");

    // The connection is away while the key is rotated: its return is refused.
    wire.offline = true;
    await wire.cut();
    await rotate(page);
    wire.offline = false;
    await back(page);

    // The key is rotated again, an hour later, while the page is connected.
    for (let times = 0; times < 2; times += 1) {
      await page.evaluate(() => {
        const { now } = Date;
        Date.now = () => now() + 3_600_000;
        window.statuses = [];
        room.on("status", (status) => statuses.push(status));
      });
      await rotate(page);
      await until("the page was closed and is back", () =>
        page.evaluate(() => statuses.includes("reconnecting") && statuses.at(-1) === "live"),
      );
    }
  });
});
