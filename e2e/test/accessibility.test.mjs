// The page for people who use a keyboard or a screen reader, and for eyes that need contrast: rules
// of axe-core on every view in light and dark, a whole call without a mouse, and screenshots of
// every view in three widths, to look at.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, afterEach, before, describe, test } from "node:test";
import { Person, launch } from "../support/browser.mjs";
import { account, newCall } from "../support/clients.mjs";
import { artifact, baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

const SIZES = [
  { width: 390, height: 844 },
  { width: 768, height: 1024 },
  { width: 1280, height: 800 },
];

describe("a page for everyone", { timeout: 300_000 }, () => {
  let browser;
  let axe;
  let owner;
  const findings = [];
  const people = [];

  before(async () => {
    browser = await launch();
    owner = await account("Ada Host");
    axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  });
  after(() => browser?.close());
  afterEach(async () => {
    for (const person of people.splice(0)) await person.close();
  });

  async function open(size) {
    const person = await Person.open(browser, size);
    people.push(person);
    return person;
  }
  /** Opens the page as this account. */
  async function openAs({ user, token, refreshToken }) {
    const person = await open();
    const identity = JSON.stringify({ user, token, refreshToken, isGuest: false, signIn: user.id, at: Date.now() });
    await person.page.addInitScript((text) => sessionStorage.setItem("switchboard.identity", text), identity);
    return person;
  }

  /** Checks a view in both colour schemes, and keeps a picture of it in each size. */
  async function check(person, view) {
    const { page } = person;
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      // In the page's own world, because its policy forbids scripts of others.
      const found = await page.evaluate(
        async (source) => {
          if (!window.axe) (0, eval)(source);
          const { violations, passes } = await window.axe.run(document);
          const where = ({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`);
          return { violations: violations.flatMap(where), passes: passes.length };
        },
        axe,
      );
      assert.ok(found.passes > 10, `${view}: axe has looked at the view`);
      findings.push(...found.violations.map((violation) => `${view}, ${colorScheme}: ${violation}`));
    }
    for (const size of SIZES) {
      await page.setViewportSize(size);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `${view} is ${overflow} px too wide for ${size.width}`);
      for (const colorScheme of ["dark", "light"]) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: await artifact(`page-${view}-${size.width}-${colorScheme}.png`) });
      }
    }
  }

  test("axe-core finds nothing on any view, in light and dark, and no view is wider than the window", async () => {
    const { roomId } = await newCall(owner, { passcode: "open sesame", settings: { waitingRoomEnabled: true } });
    const link = `${baseUrl()}/?room=${roomId}`;
    const host = await openAs(owner);
    const { page } = host;
    await page.goto(baseUrl());
    await page.getByRole("button", { name: "Signals" }).waitFor();
    await page.getByText("More options").click();
    await check(host, "home");
    await page.goto(link);
    await page.getByRole("button", { name: "Join the call" }).click();
    await host.seated();

    const guest = await open();
    await guest.page.goto(baseUrl());
    await guest.page.getByRole("heading", { name: "Video calls" }).waitFor();
    await check(guest, "sign-in");
    await guest.page.goto(link);
    await guest.page.getByText("Choose devices").click();
    await guest.page.getByLabel("Microphone", { exact: true }).waitFor();
    await check(guest, "prejoin");
    await guest.askAgain("Grace Guest", { passcode: "open sesame" });
    await guest.page.getByRole("heading", { name: "Waiting to be admitted" }).waitFor();
    await check(guest, "waiting");

    await host.press("People, 1 in the call, 1 waiting");
    await page.getByRole("button", { name: "Admit Grace Guest" }).waitFor();
    await check(host, "people-waiting");
    await page.getByRole("button", { name: "Admit Grace Guest" }).click();
    await host.connectedTo("Grace Guest");
    await page.getByRole("button", { name: "Actions for Grace Guest" }).click();
    await check(host, "people");
    await page.getByRole("button", { name: "Remove", exact: true }).click();
    await check(host, "confirm");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Settings…" }).click();
    await check(host, "settings");
    await page.keyboard.press("Escape");
    await host.press("Chat");
    await host.sendChat("Hello, see https://example.com");
    await guest.press("Chat, 1 unread");
    await guest.sendChat("I see it");
    await page.getByText("I see it").waitFor();
    await check(host, "chat");
    await page.keyboard.press("Escape");
    await check(host, "call");
    await guest.press("Raise hand");
    await page.getByText("raised a hand").waitFor();
    await host.press("Reactions");
    await check(host, "reactions");
    await page.keyboard.press("Escape");
    await host.press("Options");
    await check(host, "options");
    await page.getByRole("button", { name: "Keyboard shortcuts" }).click();
    await check(host, "shortcuts");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Invite" }).click();
    await page.locator(".qr svg").waitFor();
    await check(host, "invite");
    await page.keyboard.press("Escape");

    await host.press("Share screen");
    await guest.page.keyboard.press("Escape");
    await guest.tile("Ada Host's screen").waitFor();
    await check(guest, "screen");

    await guest.press("Leave");
    await guest.page.getByRole("heading", { name: "You left the call" }).waitFor();
    await check(guest, "over");
    await guest.page.route("**/api/video-calls/room/*", (route) => route.abort(), { times: 1 });
    await guest.page.goto(link);
    await guest.page.getByRole("button", { name: "Try again" }).waitFor();
    await check(guest, "retry");
    await host.press("End for all");
    await page.getByRole("button", { name: "End the call", exact: true }).click();
    await page.getByRole("heading", { name: "The call has ended" }).waitFor();
    const reopen = page.getByRole("button", { name: "Reopen the call" });
    // The record is written shortly after the call has ended.
    await until("the call is shown as ended", async () => {
      await page.goto(link);
      await reopen.or(page.getByRole("button", { name: "Join the call" })).waitFor();
      return reopen.isVisible();
    });
    await check(host, "ended");
    await guest.page.goto(`${baseUrl()}/?room=NOSUCHROOM77`);
    await guest.page.getByRole("heading", { name: "No call here" }).waitFor();
    await check(guest, "no-call");

    await guest.page.addInitScript(() => {
      sessionStorage.setItem("switchboard.tab", "one");
      sessionStorage.setItem("switchboard.seat", JSON.stringify({ roomId: "ROOM", joinToken: "token" }));
      sessionStorage.setItem("switchboard.identity", JSON.stringify({ user: { name: "Ada" }, token: "token" }));
      Object.defineProperty(navigator, "locks", { get: () => { throw new TypeError("no locks here"); } });
    });
    await guest.page.goto(`${baseUrl()}/?room=ROOM`);
    await guest.page.getByRole("heading", { name: "The page does not work" }).waitFor();
    await until("the error is reported", () => guest.problems.length > 0);
    guest.problems.length = 0;
    await check(guest, "failure");
    assert.deepEqual(findings, []);
  });

  /** The keyboard of a person, and where its focus is. */
  function keyboard({ page }) {
    const focus = () =>
      page.evaluate(() => {
        const { activeElement: element } = document;
        return element === document.body ? null : element.getAttribute("aria-label") || element.textContent;
      });
    /** Presses Tab until the element with this name has the focus. */
    async function tabTo(name) {
      for (let presses = 0; presses < 60; presses++) {
        await page.keyboard.press("Tab");
        const reached = await page.evaluate((wanted) => {
          const { activeElement: element } = document;
          const label = element.labels?.[0]?.textContent;
          return [element.getAttribute("aria-label"), label, element.textContent].some((text) => text?.trim() === wanted);
        }, name);
        if (!reached) continue;
        const outline = await page.evaluate(() => {
          const style = getComputedStyle(document.activeElement);
          return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
        });
        assert.ok(outline, `${name} shows that it has the focus`);
        return;
      }
      assert.fail(`Tab does not reach ${name}; the focus is on ${await focus()}`);
    }
    const press = async (name) => {
      await tabTo(name);
      await page.keyboard.press("Enter");
    };
    const kept = async () => assert.notEqual(await focus(), null, "the focus is somewhere");
    return { focus, tabTo, press, kept };
  }

  test("a call is joined, used and left by keyboard alone, and the focus is never lost", async () => {
    const { roomId } = await newCall(owner, { passcode: "open sesame" });
    const person = await open();
    const { page } = person;
    const { focus, tabTo, press, kept } = keyboard(person);

    await page.goto(baseUrl());
    await page.getByRole("heading", { name: "Video calls" }).waitFor();
    await tabTo("Call link or code");
    await page.keyboard.type(`${roomId}\n`);
    await page.getByRole("button", { name: "Join the call" }).waitFor();
    await kept();
    await tabTo("Your name");
    await page.keyboard.type("Grace");
    await tabTo("Passcode of the call");
    await page.keyboard.type("wrong one\n");
    await page.getByText("That passcode is wrong.").waitFor();
    await until("the passcode has the focus and its text is chosen", () =>
      page.evaluate(() => {
        const { name, selectionStart, selectionEnd, value } = document.activeElement;
        return name === "passcode" && selectionEnd - selectionStart === value.length;
      }),
    );
    await page.keyboard.type("open sesame\n");
    await person.seated();
    await kept();

    await press("Turn off microphone");
    await page.getByRole("button", { name: "Turn on microphone" }).waitFor();
    assert.equal(await focus(), "Turn on microphone");
    await press("Chat");
    await page.keyboard.type("Hello\n");
    await page.locator(".message p", { hasText: "Hello" }).waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await focus(), "Chat");
    await press("Options");
    await page.getByRole("dialog", { name: "Options" }).waitFor();
    await kept();
    await press("Keyboard shortcuts");
    await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await focus(), "Keyboard shortcuts");
    await page.keyboard.press("Escape");
    assert.equal(await focus(), "Options");
    // A notice that disappears takes no focus with it.
    await page.keyboard.press("i");
    await page.getByRole("dialog", { name: "Invite others" }).waitFor();
    await page.keyboard.press("Escape");
    await kept();
    await press("Pin Grace (you)");
    await page.locator(".tile [aria-pressed=true]").waitFor();
    assert.equal(await focus(), "Unpin Grace (you)");
    await press("Leave");
    await page.getByRole("heading", { name: "You left the call" }).waitFor();
    assert.equal(await focus(), "You left the call");
    await press("Join again");
    await page.getByRole("button", { name: "Join the call" }).waitFor();
    await kept();
  });

  test("an account is made, and a call is created, moderated and ended by keyboard alone", async () => {
    const person = await open();
    const { page } = person;
    const { focus, tabTo, press, kept } = keyboard(person);
    const toggle = async (name) => {
      await tabTo(name);
      await page.keyboard.press("Space");
    };
    const notice = ({ page: other }, text) => other.locator(".toast", { hasText: text }).waitFor();

    await page.goto(baseUrl());
    await tabTo("Sign in");
    await page.keyboard.press("ArrowRight");
    assert.equal(await focus(), "Sign up");
    await tabTo("Your name");
    await page.keyboard.type("Ada Keys");
    await tabTo("E-mail address");
    await page.keyboard.type(`${randomUUID()}@example.com`);
    await tabTo("New password");
    await page.keyboard.type("a quiet line, please\n");
    await page.getByRole("heading", { name: "New call" }).waitFor();
    await tabTo("Title");
    await page.keyboard.type("By keyboard");
    await press("More options");
    await toggle("Waiting room: you admit each participant");
    await press("Start a call");
    await page.getByRole("button", { name: "Join the call" }).waitFor();
    await press("Join the call");
    await person.seated();

    const guest = await open();
    await guest.askToJoin(page.url(), "Grace");
    await page.getByRole("button", { name: "People, 1 in the call, 1 waiting" }).waitFor();
    await press("People, 1 in the call, 1 waiting");
    await press("Admit Grace");
    await guest.seated();
    await kept();
    await press("Actions for Grace");
    await press("Mute");
    await notice(guest, "A moderator has muted you");
    await page.getByRole("button", { name: "Mute", exact: true }).waitFor({ state: "detached" });
    assert.equal(await focus(), "Actions for Grace");
    await press("Make moderator");
    await page.getByRole("button", { name: "Remove as moderator" }).waitFor();
    assert.equal(await focus(), "Actions for Grace");
    await press("Remove");
    await page.getByRole("dialog", { name: "Remove Grace?" }).waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await focus(), "Remove");
    await press("Settings…");
    await page.getByRole("dialog", { name: "Call settings" }).waitFor();
    await toggle("Screen sharing");
    await press("Save");
    await notice(person, "Call settings are saved.");
    await kept();
    await press("Lock the call");
    await notice(guest, "The call is locked");

    await press("Share screen");
    await guest.tile("Ada Keys's screen").waitFor();
    await press("Stop sharing");
    await guest.tile("Ada Keys's screen").waitFor({ state: "detached" });
    await press("Raise hand");
    await notice(guest, "Ada Keys raised a hand");
    await press("Reactions");
    await press("Applause");
    await guest.tile("Ada Keys").locator(".reaction", { hasText: "👏" }).waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await focus(), "Reactions");
    await press("End for all");
    await page.getByRole("dialog").waitFor();
    await press("End the call");
    await page.getByRole("heading", { name: "The call has ended" }).waitFor();
    assert.equal(await focus(), "The call has ended");
  });
});
