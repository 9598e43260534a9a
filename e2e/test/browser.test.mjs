// Two browsers on the demo page, through the load balancer, on two different signaling nodes.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { Person, launch } from "../support/browser.mjs";
import { account, newCall, signed } from "../support/clients.mjs";
import { artifact, baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

const HOST = "Ada Host";
const GUEST = "Grace Guest";

describe("two browsers in a call", { timeout: 300_000 }, () => {
  let browser;
  let host;
  let guest;
  let link;

  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  beforeEach(async () => {
    host = await Person.open(browser);
    await host.signUp(HOST);
    link = await host.startCall("Line test");
    guest = await Person.open(browser);
    await guest.joinAsGuest(link, GUEST);
  });
  afterEach(async () => {
    await guest?.close();
    await host?.close();
  });

  /** Waits until both pages are connected and decode each other's frames. */
  async function bothConnected() {
    await Promise.all([host.connectedTo(GUEST), guest.connectedTo(HOST)]);
    await Promise.all([host.seesFrames(), guest.seesFrames()]);
  }

  test("pages opened one after the other are on different nodes and decode each other's frames", async () => {
    await bothConnected();
    const [one, two] = await Promise.all([host.view(), guest.view()]);
    assert.ok(one.node && two.node, "each page knows its node");
    assert.notEqual(one.node, two.node);
    await host.press("People, 2 in the call");
    await host.page.locator(`.people [data-node="${two.node}"]`, { hasText: GUEST }).waitFor();
    await host.page.screenshot({ path: await artifact("call-host.png") });
    await guest.page.screenshot({ path: await artifact("call-guest.png") });
    await guest.page.setViewportSize({ width: 360, height: 740 });
    await guest.seesFrames();
    const overflow = await guest.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, "the page fits the width of a phone");
    await guest.page.screenshot({ path: await artifact("call-phone.png") });
  });

  test("the other page shows when microphone and camera are turned off and on again", async () => {
    await bothConnected();
    const label = () => host.tile(GUEST).getAttribute("aria-label");
    await guest.press("Turn off microphone");
    await until("the host sees the guest muted", async () => (await label()).includes("microphone off"));
    await guest.press("Turn off camera");
    await until("the host sees the camera off", async () => (await label()).includes("camera off"));
    assert.equal(await host.tile(GUEST).locator("video").isVisible(), false);
    await guest.press("Turn on microphone");
    await guest.press("Turn on camera");
    await until("the host sees both on", async () => /microphone on, camera on/.test(await label()));
    await bothConnected();
  });

  test("chat text arrives as text, never as markup, and counts as unread until the panel is opened", async () => {
    const text = '<b>bold</b> <img src=x onerror="window.pwned = true">';
    await guest.press("Chat");
    await guest.sendChat(text);
    await host.press("Chat, 1 unread");
    const message = host.page.locator(".message p");
    await message.waitFor();
    assert.equal(await message.textContent(), text);
    assert.equal(await host.page.locator(".message p *").count(), 0);
    assert.equal(await host.page.evaluate(() => window.pwned), undefined);
    await guest.page.getByRole("textbox", { name: "Message" }).pressSequentially("hm");
    await host.page.getByText(`${GUEST} is typing…`).waitFor();
  });

  test("screens shared by both users at the same time reach both, and stopping removes them", async () => {
    await bothConnected();
    await Promise.all([host.press("Share screen"), guest.press("Share screen")]);
    await Promise.all([host.tile(`${GUEST}'s screen`).waitFor(), guest.tile(`${HOST}'s screen`).waitFor()]);
    await bothConnected();
    await host.page.screenshot({ path: await artifact("call-screens.png") });
    await Promise.all([host.press("Stop sharing"), guest.press("Stop sharing")]);
    await Promise.all(
      [host.tile(`${GUEST}'s screen`), guest.tile(`${HOST}'s screen`)].map((tile) =>
        tile.waitFor({ state: "detached" }),
      ),
    );
    await bothConnected();
  });

  test("a third participant joins and all three are connected to each other", async () => {
    const third = await Person.open(browser, { width: 900, height: 700 });
    await third.joinAsGuest(link, "Third Party");
    await Promise.all([
      host.connectedTo(GUEST, "Third Party"),
      guest.connectedTo(HOST, "Third Party"),
      third.connectedTo(HOST, GUEST),
    ]);
    await Promise.all([host.seesFrames(), guest.seesFrames(), third.seesFrames()]);
    await third.close();
    await host.tile("Third Party").waitFor({ state: "detached" });
  });

  test("leaving removes the participant's tile from the other page", async () => {
    await bothConnected();
    await guest.press("Leave");
    await guest.page.getByRole("heading", { name: "You left the call" }).waitFor();
    await host.tile(GUEST).waitFor({ state: "detached" });
    assert.deepEqual((await host.view()).peers, []);
  });

  test("when the host ends the call it is over for all, and no one can return", async () => {
    await bothConnected();
    await host.press("End for all");
    await host.page.getByRole("button", { name: "End the call", exact: true }).click();
    for (const { page } of [host, guest]) await page.getByRole("heading", { name: "The call has ended" }).waitFor();
    const noCall = guest.page.getByRole("heading", { name: "No call here" });
    // The record is written shortly after the call has ended.
    await until("the link shows no call", async () => {
      await guest.page.goto(link);
      await noCall.or(guest.page.getByRole("button", { name: "Join the call" })).waitFor();
      return noCall.isVisible();
    });
  });
});

for (const name of ["chromium", "firefox"]) {
  describe(`a page that is reloaded in ${name}`, { timeout: 240_000 }, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());

    test("returns to its seat: the host stays host, and the other page shows nobody leaving or joining", async () => {
      const host = await Person.open(browser);
      await host.signUp(HOST);
      const guest = await Person.open(browser);
      await guest.joinAsGuest(await host.startCall("Reloads"), GUEST);
      const people = [
        [host, guest, HOST, GUEST],
        [guest, host, GUEST, HOST],
      ];
      const bothConnected = async () => {
        await Promise.all([host.connectedTo(GUEST), guest.connectedTo(HOST)]);
        await Promise.all([host.seesFrames(), guest.seesFrames()]);
      };
      await bothConnected();
      for (const [reloading, staying, ownName, otherName] of people) {
        const { peerId } = await reloading.view();
        await staying.watch();
        await reloading.page.reload();
        await reloading.seated();
        assert.equal((await reloading.view()).peerId, peerId);
        await Promise.all([reloading.connectedTo(otherName), staying.connectedTo(ownName)]);
        await bothConnected();
        assert.deepEqual(await staying.watched(), { notices: [], tiles: 2 });
        assert.equal(await reloading.page.locator(".tile").count(), 2);
      }
      const mayEnd = ({ page }) => page.getByRole("button", { name: "End for all" }).isVisible();
      assert.deepEqual([await mayEnd(host), await mayEnd(guest)], [true, false]);
      await guest.press("Leave");
      await host.tile(GUEST).waitFor({ state: "detached" });
      await guest.close();
      await host.close();
    });
  });
}

describe("joining a call", { timeout: 120_000 }, () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  test("a wrong passcode is refused with a message, and the right one is accepted", async () => {
    const host = await Person.open(browser);
    await host.signUp(HOST);
    const link = await host.startCall("Secret line", { passcode: "open sesame" });
    const guest = await Person.open(browser, { width: 360, height: 740 });
    await guest.page.goto(link);
    await guest.page.getByLabel("Your name").fill(GUEST);
    await guest.page.getByLabel("Passcode of the call").fill("wrong one");
    await guest.page.getByRole("button", { name: "Join the call" }).click();
    await guest.page.getByText("That passcode is wrong.").waitFor();
    await guest.page.screenshot({ path: await artifact("lobby-phone.png") });
    await guest.page.getByLabel("Passcode of the call").fill("open sesame");
    await guest.page.getByRole("button", { name: "Join the call" }).click();
    await Promise.all([host.connectedTo(GUEST), guest.connectedTo(HOST)]);
    await guest.close();
    await host.close();
  });

  test("the page for joining says who may join in the words of the page for creating", async () => {
    const person = await Person.open(browser);
    const owner = await account("Owner");
    const types = [
      [{ type: "public" }, "Anyone with the link"],
      [{ type: "private" }, "People with an account"],
      [{ type: "private", invitedUserIds: [owner.user.id] }, "Only invited people"],
      [{ type: "invited_only" }, "Only invited people"],
    ];
    for (const [fields, words] of types) {
      const { roomId } = await newCall(owner, fields);
      await person.page.goto(`${baseUrl()}/?room=${roomId}`);
      await person.page.getByText(`${words} may join`).waitFor();
    }
    await person.signUp(GUEST);
    const choices = await person.page.locator(".choice label").allTextContents();
    assert.deepEqual(choices, types.filter((_, index) => index !== 2).map(([, words]) => words));
    await person.close();
  });

  test("the host reopens a call that has ended, and others can join it again", async () => {
    const host = await Person.open(browser);
    await host.signUp(HOST);
    const link = await host.startCall("Not over yet");
    await host.press("End for all");
    await host.page.getByRole("button", { name: "End the call", exact: true }).click();
    await host.page.getByRole("heading", { name: "The call has ended" }).waitFor();
    const reopen = host.page.getByRole("button", { name: "Reopen the call" });
    // The record is written shortly after the call has ended.
    await until("the link shows that the call has ended", async () => {
      await host.page.goto(link);
      await reopen.or(host.page.getByRole("button", { name: "Join the call" })).waitFor();
      return reopen.isVisible();
    });
    await reopen.click();
    await host.askAgain();
    await host.seated();
    const guest = await Person.open(browser);
    await guest.joinAsGuest(link, GUEST);
    await Promise.all([host.connectedTo(GUEST), guest.connectedTo(HOST)]);
    await guest.close();
    await host.close();
  });

  test("a lost answer to a refresh hangs up no call", async () => {
    const host = await Person.open(browser);
    await host.signUp(HOST);
    await host.startCall("Lost answer");
    let refreshes = 0;
    await host.page.route("**/api/auth/refresh", async (route) => {
      refreshes += 1;
      if (refreshes > 1) return route.continue();
      // The server answers, and the answer does not arrive.
      await route.fetch();
      return route.abort();
    });
    const stored = await host.page.evaluate(() => sessionStorage.getItem("switchboard.identity"));
    const { token, ...identity } = JSON.parse(stored);
    const expired = JSON.stringify({ ...identity, token: signed(token, { exp: 1_000_000_000 }) });
    await host.page.evaluate((text) => sessionStorage.setItem("switchboard.identity", text), expired);
    await host.page.reload();
    await host.seated();
    assert.equal(refreshes, 2);
    await host.close();
  });

  test("a duplicated tab is a participant of its own, and both tabs refresh their sign-in", async () => {
    const host = await Person.open(browser);
    await host.signUp(HOST);
    await host.startCall("Twice");
    const twin = await host.duplicate();
    await twin.seated();
    await Promise.all([host.connectedTo(HOST), twin.connectedTo(HOST)]);
    assert.notEqual((await twin.view()).peerId, (await host.view()).peerId);
    const refresh = ({ page }) =>
      page.evaluate(async () => {
        const { Switchboard } = await import("/vendor/switchboard.js");
        const switchboard = new Switchboard(location.origin);
        await switchboard.renewToken();
        return (await switchboard.calls()).length;
      });
    // The copied refresh token is two refreshes old before the duplicate needs one.
    for (const person of [host, host, twin, host, twin]) assert.equal(await refresh(person), 1);
    const { peerId } = await twin.view();
    await twin.page.reload();
    await twin.seated();
    assert.equal((await twin.view()).peerId, peerId, "a reload is no duplicate");
    await host.connectedTo(HOST);
    await host.close();
  });

  test("a user and a guest who were removed join again, and a banned user is not asked to", async () => {
    const host = await Person.open(browser);
    await host.signUp(HOST);
    const link = await host.startCall("Second chance");
    await host.press("People, 1 in the call");
    const remove = async (name, choice) => {
      const row = host.page.locator(".people li", { hasText: name });
      await row.getByRole("button", { name: `Actions for ${name}` }).click();
      await row.getByRole("button", { name: choice, exact: true }).click();
      await host.page.getByRole("dialog").getByRole("button", { name: choice }).click();
    };
    const again = (person) => person.page.getByRole("button", { name: "Join again" });
    const user = await Person.open(browser);
    await user.signUp("Bob User");
    await user.askToJoin(link);
    const guest = await Person.open(browser);
    await guest.askToJoin(link, GUEST);
    for (const [person, name] of [
      [user, "Bob User"],
      [guest, GUEST],
    ]) {
      await person.seated();
      await remove(name, "Remove");
      await person.page.getByRole("heading", { name: "You were removed from the call" }).waitFor();
      await again(person).click();
      await person.askAgain();
      await person.seated();
    }
    await remove("Bob User", "Ban");
    await user.page.getByText("You cannot return to it.").waitFor();
    assert.equal(await again(user).count(), 0);
    for (const person of [host, user, guest]) await person.close();
  });

  test("a user without camera and microphone joins and receives the others' media", async () => {
    const host = await Person.open(browser);
    await host.signUp(HOST);
    const link = await host.startCall("Listeners welcome");
    const listener = await Person.open(browser);
    await listener.page.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("none", "NotFoundError"));
    });
    await listener.joinAsGuest(link, GUEST);
    await Promise.all([host.connectedTo(GUEST), listener.connectedTo(HOST)]);
    await listener.seesFrames();
    await until("the host sees microphone and camera as off", async () =>
      /microphone off, camera off/.test(await host.tile(GUEST).getAttribute("aria-label")),
    );
    await listener.close();
    await host.close();
  });

  test("a wrong password and an unknown call are refused with a message", async () => {
    const person = await Person.open(browser);
    const { page } = person;
    await page.goto(`${process.env.BASE_URL}/?room=NOSUCHROOM00`);
    await page.getByRole("heading", { name: "No call here" }).waitFor();
    await page.getByRole("button", { name: "Go to the front page" }).click();
    await page.screenshot({ path: await artifact("home.png") });
    await page.getByLabel("E-mail", { exact: true }).fill("nobody@example.com");
    await page.getByLabel("Password", { exact: true }).fill("not the password");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("That e-mail and password do not match.").waitFor();
    await person.close();
  });
});
