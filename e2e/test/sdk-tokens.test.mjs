// Access tokens that an application gives to the client SDK: which refusals make it ask for another
// one, and how often.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { launch } from "../support/browser.mjs";
import { account, admitted, newCall, signed } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
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
   * Opens a page that has the SDK, and its wire. `give` gives the token `window.token`, and
   * `window.asked` counts how often.
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
      window.give = async () => ((window.asked += 1), window.token);
      window.switchboard = new sdk.Switchboard(location.origin, { token: give, transports: ["websocket"] });
    }, token);
    return { page, wire };
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
});
