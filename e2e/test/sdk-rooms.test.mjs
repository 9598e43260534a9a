// Several rooms of one Switchboard object of the client SDK, and joins that fail on the page.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { launch } from "../support/browser.mjs";
import { account, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";
import { Wire } from "../support/wire.mjs";

describe("the rooms of a page", { timeout: 280_000 }, () => {
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

  /** Opens a page that has the SDK, `switchboard` with this token or none, and its wire. */
  async function blank(token) {
    const context = await browser.newContext();
    contexts.push(context);
    const page = await context.newPage();
    const wire = await Wire.of(page);
    await page.goto(`${baseUrl()}/api/version`);
    await page.evaluate(async (given) => {
      window.sdk = await import("/vendor/switchboard.js");
      window.switchboard = new sdk.Switchboard(location.origin, { token: given, transports: ["websocket"] });
      window.rooms = [];
      window.join = async (id, options) => {
        try {
          rooms.push(await switchboard.join(id, options));
          return rooms.at(-1).status;
        } catch (error) {
          return error.code ?? String(error);
        }
      };
    }, token);
    return { page, wire };
  }
  const join = (page, roomId, options = { name: "Ann" }) =>
    page.evaluate(([id, given]) => window.join(id, given), [roomId, options]);

  /** Cuts the connection of a room, and lets it return without its session. */
  async function joinAgain({ page, wire }, index) {
    wire.onConnect = (packet) => {
      const { pid, offset, ...auth } = JSON.parse(packet.slice(2));
      return `40${JSON.stringify(auth)}`;
    };
    const back = page.evaluate(
      (number) =>
        new Promise((resolve) => {
          const room = rooms[number];
          room.on("status", (status) => (status === "live" || status === "over") && resolve(status));
          setTimeout(resolve, 30_000, "no end");
        }),
      index,
    );
    await wire.cut(index);
    return back;
  }

  for (const [who, token] of [["an account", () => host.token], ["a guest", () => undefined]]) {
    test(`two rooms of ${who} come back each to its own seat, also after the other one was left`, async () => {
      const ids = [(await newCall(host)).roomId, (await newCall(host)).roomId];
      const both = await blank(token());
      const { page, wire } = both;
      for (const id of ids) assert.equal(await join(page, id), "live");
      const seats = () => page.evaluate(() => rooms.map(({ roomId, selfId, self }) => [roomId, selfId, self.userId]));
      const before = await seats();
      assert.equal(await joinAgain(both, 0), "live");
      assert.deepEqual(await seats(), before);
      await page.evaluate(() => rooms[0].leave());
      assert.equal(await page.evaluate(() => switchboard.seat?.roomId), ids[1]);
      assert.equal(await joinAgain(both, 1), "live");
      assert.deepEqual((await seats())[1], before[1]);
      assert.deepEqual(wire.all("room:join").map(({ roomId }) => roomId), [...ids, ...ids]);
      await page.evaluate(() => rooms[1].leave());
      assert.equal(await page.evaluate(() => switchboard.seat), null);
    });
  }

  test("a page that joins one call twice has two seats in it", async () => {
    const { roomId } = await newCall(host);
    const { page } = await blank(host.token);
    assert.deepEqual([await join(page, roomId), await join(page, roomId)], ["live", "live"]);
    await until("both see two participants", () =>
      page.evaluate(() => rooms.every(({ status, participants }) => status === "live" && participants.size === 2)),
    );
    await page.evaluate(() => rooms[0].leave());
    await until("one is left", () => page.evaluate(() => rooms[1].participants.size === 1));
    assert.equal(await page.evaluate(() => rooms[1].status), "live");
  });

  test("a join that fails on the page closes the devices that it opened", async () => {
    const { roomId } = await newCall(host);
    const { page } = await blank(host.token);
    const states = await page.evaluate(async (id) => {
      const local = new sdk.LocalMedia();
      await local.start();
      const tracks = local.stream.getTracks();
      navigator.locks.request = () => {
        throw new Error("no locks");
      };
      const outcome = await join(id, { local, audio: true, video: true });
      return [outcome, ...tracks.map(({ readyState }) => readyState)];
    }, roomId);
    assert.deepEqual(states, ["Error: no locks", "ended", "ended"]);
  });

  test("a page whose storage is full joins", async () => {
    const { roomId } = await newCall(host);
    const { page } = await blank();
    await page.evaluate(() => {
      Storage.prototype.setItem = () => {
        throw new DOMException("full", "QuotaExceededError");
      };
    });
    assert.equal(await join(page, roomId), "live");
  });
});
