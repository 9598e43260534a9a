// A call between two browsers survives the death of the node that serves one of them.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Person, launch } from "../support/browser.mjs";
import { positionOf } from "../support/clients.mjs";
import { artifact, control } from "../support/cluster.mjs";

const HOST = "Ada Host";
const GUEST = "Grace Guest";

describe("a node is killed during a call", { timeout: 240_000 }, () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  test("the call continues, both pages recover without a reload, and a third participant joins", async () => {
    const host = await Person.open(browser);
    await host.signUp(HOST);
    const link = await host.startCall("Uncut");
    const guest = await Person.open(browser);
    await guest.joinAsGuest(link, GUEST);
    await Promise.all([host.connectedTo(GUEST), guest.connectedTo(HOST)]);
    await Promise.all([host.seesFrames(), guest.seesFrames()]);
    // A reload would clear this variable, so it proves that there was no reload.
    for (const { page } of [host, guest]) await page.evaluate(() => (window.neverReloaded = true));

    const { node } = await guest.view();
    const killed = `nodes/${await positionOf(node)}`;
    // Waits in the page and from before the kill, because the state may last only a few frames.
    const noticed = guest.page.waitForFunction(() => window.switchboard.status === "reconnecting");
    await control(killed, "kill");
    try {
      await noticed;
      await Promise.all([host.seesFrames(), guest.seesFrames()]);
      await Promise.all([host.seated(), guest.seated()]);
      await Promise.all([host.connectedTo(GUEST), guest.connectedTo(HOST)]);

      assert.notEqual((await guest.view()).node, node, "the page uses another node");

      await guest.press("Chat");
      await guest.sendChat("Still here");
      await host.page.getByRole("button", { name: "Chat, 1 unread" }).click();
      await host.page.locator(".message p", { hasText: "Still here" }).waitFor();

      const third = await Person.open(browser);
      await third.joinAsGuest(link, "Third Party");
      await Promise.all([
        host.connectedTo(GUEST, "Third Party"),
        guest.connectedTo(HOST, "Third Party"),
        third.connectedTo(HOST, GUEST),
      ]);
      await third.seesFrames();
      await guest.page.screenshot({ path: await artifact("call-after-kill.png") });
      await third.close();
      for (const { page } of [host, guest]) assert.equal(await page.evaluate(() => window.neverReloaded), true);
    } finally {
      await control(killed, "start");
    }
    await guest.close();
    await host.close();
  });
});
