// A meeting of three users on the page, from the waiting room to the end of the call, with each
// user on a different node if there are enough nodes; and a call between Chromium and Firefox.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Person, launch } from "../support/browser.mjs";
import { account, newCall, positionOf } from "../support/clients.mjs";
import { artifact, baseUrl, control, nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

const HOST = "Ada Host";
const USER = "Bob User";
const GUEST = "Grace Guest";

describe("a meeting of three", { timeout: 300_000 }, () => {
  let browser;
  let host;
  let user;
  let guest;

  before(async () => {
    browser = await launch();
  });
  after(async () => {
    for (const person of [host, user, guest]) await person?.close();
    await browser?.close();
  });

  /**
   * Reloads pages until all three are on different nodes, or on all nodes if there are fewer. The
   * load balancer gives each session the next node. A reloaded page keeps its seat in the call.
   */
  async function spread() {
    const people = [host, user, guest];
    const wanted = Math.min(people.length, nodeUrls().length);
    await until(`the pages are on ${wanted} nodes`, async () => {
      const nodes = await Promise.all(people.map(async (person) => (await person.view()).node));
      if (new Set(nodes).size === wanted) return true;
      const again = nodes.findLastIndex((node, index) => nodes.indexOf(node) < index);
      await people[again].page.reload();
      await people[again].seated();
      return false;
    }, 120_000);
  }

  const button = (person, name) => person.page.getByRole("button", { name, exact: true });
  const actions = async (person, name, choice) => {
    const row = person.page.locator(".people li", { hasText: name });
    const more = row.getByRole("button", { name: `Actions for ${name}` });
    if ((await more.getAttribute("aria-expanded")) === "false") await more.click();
    await row.getByRole("button", { name: choice, exact: true }).click();
  };
  const notice = (person, text) => person.page.locator(".toast", { hasText: text }).waitFor();
  const muted = (name, person) =>
    until(`${name} is shown muted`, async () =>
      (await person.tile(name).getAttribute("aria-label")).includes("microphone off"),
    );

  test("lobby, admit, chat, mute, share, roles, kick, transfer and end", async () => {
    host = await Person.open(browser);
    await host.signUp(HOST);
    const link = await host.startCall("Board meeting");
    await host.press("People, 1 in the call");
    await button(host, "Settings…").click();
    const settings = host.page.getByRole("dialog", { name: "Call settings" });
    await settings.getByLabel("Waiting room", { exact: true }).check();
    const guestsSkip = await settings.getByLabel("Guests skip the waiting room").isChecked();
    assert.equal(guestsSkip, false, "guests wait too when the waiting room is switched on");
    await settings.getByLabel("Muted participants may unmute themselves").uncheck();
    await host.page.screenshot({ path: await artifact("meeting-settings.png") });
    await settings.getByRole("button", { name: "Save" }).click();
    await notice(host, "settings are saved");

    // New participants wait and see no one.
    user = await Person.open(browser);
    await user.signUp(USER);
    await user.askToJoin(link);
    guest = await Person.open(browser, { width: 390, height: 780 });
    await guest.askToJoin(link, GUEST);
    for (const person of [user, guest]) {
      await person.page.getByRole("heading", { name: "Waiting to be admitted" }).waitFor();
      assert.deepEqual((await person.view()).peers, []);
      assert.equal(await person.page.locator(".tile").count(), 0);
    }
    await guest.page.screenshot({ path: await artifact("meeting-waiting-phone.png") });
    await button(host, `Admit ${USER}`).waitFor();
    await button(host, `Admit ${GUEST}`).waitFor();
    await host.page.screenshot({ path: await artifact("meeting-lobby.png") });

    // After the host's reload the waiting participants are still listed.
    await host.page.reload();
    await host.seated();
    await host.press("People, 1 in the call, 2 waiting");
    await button(host, `Deny ${GUEST}`).click();
    await guest.page.getByRole("heading", { name: "You were not admitted" }).waitFor();
    await button(host, `Admit ${USER}`).click();
    await user.seated();
    await button(guest, "Join again").click();
    await guest.askAgain(GUEST);
    await button(host, `Admit ${GUEST}`).click();
    await guest.seated();
    await spread();
    await Promise.all([
      host.connectedTo(USER, GUEST),
      user.connectedTo(HOST, GUEST),
      guest.connectedTo(HOST, USER),
    ]);

    // Chat to all and to one participant.
    await host.press("Chat");
    await host.sendChat("<i>Welcome</i>");
    await host.page.getByRole("combobox", { name: "To" }).selectOption({ label: `${USER} only` });
    await host.sendChat("between us");
    await user.press("Chat, 2 unread");
    await user.page.getByText("Ada Host to you only").waitFor();
    await guest.press("Chat, 1 unread");
    await guest.page.locator(".message p", { hasText: "<i>Welcome</i>" }).waitFor();
    assert.equal(await guest.page.locator(".message").count(), 1, "a private message does not reach others");
    const overflow = await guest.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, "the page fits the width of a phone");
    await guest.page.screenshot({ path: await artifact("meeting-chat-phone.png") });
    await button(guest, "Close panel").click();
    await host.page.screenshot({ path: await artifact("meeting-chat.png") });

    // The host mutes the guest, who cannot unmute themselves.
    await host.press("People, 3 in the call");
    await actions(host, GUEST, "Mute");
    await notice(guest, "A moderator has muted you");
    await muted(GUEST, user);
    await guest.press("Turn on microphone");
    await notice(guest, "A moderator switched this off, and you may not switch it on");
    await until("the microphone is off again", () => button(guest, "Turn on microphone").isVisible());
    await muted(GUEST, user);

    // Screen sharing.
    await user.press("Share screen");
    await Promise.all([host, guest].map((person) => person.tile(`${USER}'s screen`).waitFor()));
    await host.page.screenshot({ path: await artifact("meeting-screen.png") });
    await user.press("Stop sharing");
    await host.tile(`${USER}'s screen`).waitFor({ state: "detached" });

    // Roles: a moderator may remove the guest, and only the host may end the call.
    await actions(host, USER, "Make moderator");
    await notice(user, "You are now a moderator");
    await user.press("People, 3 in the call");
    assert.equal(await button(user, "End for all").isVisible(), false);
    await actions(user, GUEST, "Remove");
    await user.page.screenshot({ path: await artifact("meeting-remove.png") });
    await user.page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
    await guest.page.getByRole("heading", { name: "You were removed from the call" }).waitFor();
    await host.tile(GUEST).waitFor({ state: "detached" });

    // Lock, new host, end of the call.
    await button(user, "Lock the call").click();
    await notice(host, "The call is locked");
    await actions(host, USER, "Make host");
    await host.page.getByRole("dialog").getByRole("button", { name: "Make host" }).click();
    await notice(user, "You are now the host");
    await until("the former host cannot end the call", async () => !(await button(host, "End for all").isVisible()));
    await user.press("End for all");
    await user.page.getByRole("dialog").getByRole("button", { name: "End the call" }).click();
    for (const person of [host, user]) await person.page.getByRole("heading", { name: "The call has ended" }).waitFor();
  });
});

test("Chromium and Firefox see each other, also after the node of one of them is killed", { timeout: 180_000 }, async () => {
  const browsers = await Promise.all([launch("chromium"), launch("firefox")]);
  const [one, two] = await Promise.all(browsers.map((browser) => Person.open(browser)));
  try {
    const { roomId } = await newCall(await account("Owner"));
    const link = `${baseUrl()}/?room=${roomId}`;
    await Promise.all([one.joinAsGuest(link, "Chromium"), two.joinAsGuest(link, "Firefox")]);
    const connected = async () => {
      await Promise.all([one.connectedTo("Firefox"), two.connectedTo("Chromium")]);
      await Promise.all([one.seesFrames(), two.seesFrames()]);
    };
    await connected();
    // A reload would clear this variable, so it proves that there was no reload.
    for (const { page } of [one, two]) await page.evaluate(() => (window.neverReloaded = true));
    for (const [sharing, other, name] of [
      [one, two, "Chromium"],
      [two, one, "Firefox"],
    ]) {
      await sharing.press("Turn off camera");
      await until("the other page shows the camera as off", async () =>
        (await other.tile(name).getAttribute("aria-label")).includes("camera off"),
      );
      await sharing.press("Turn on camera");
      await connected();
    }
    // Each browser can tell who speaks: Firefox has other statistics than Chromium.
    await until("Firefox shows that Chromium beeps", () =>
      two.tile("Chromium").evaluate((tile) => tile.classList.contains("is-speaking")),
    );

    const { node } = await two.view();
    const killed = `nodes/${await positionOf(node)}`;
    const noticed = two.page.waitForFunction(() => window.switchboard.status === "reconnecting");
    await control(killed, "kill");
    try {
      await noticed;
      await Promise.all([one.seesFrames(), two.seesFrames()]);
      await Promise.all([one.seated(), two.seated()]);
      await connected();
      assert.notEqual((await two.view()).node, node, "Firefox uses another node");
      await one.press("Chat");
      await one.sendChat("Still here");
      await two.page.getByRole("button", { name: "Chat, 1 unread" }).waitFor();
      for (const { page } of [one, two]) assert.equal(await page.evaluate(() => window.neverReloaded), true);
    } finally {
      await control(killed, "start");
    }
  } finally {
    for (const person of [one, two]) await person.close();
    for (const browser of browsers) await browser.close();
  }
});
