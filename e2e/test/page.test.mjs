// Problems that users of the page reported: long titles, outages, insecure origins, denied cameras,
// hidden calls, lost focus, deployments under a path.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Person, launch } from "../support/browser.mjs";
import { account, newCall, rest, signed } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { prefixProxy } from "../support/prefix-proxy.mjs";
import { until } from "../support/until.mjs";

describe("the page", { timeout: 300_000 }, () => {
  let browser;
  let host;
  const people = [];

  before(async () => {
    browser = await launch();
    host = await account("Ada Host");
  });
  after(() => browser?.close());
  afterEach(async () => {
    for (const person of people.splice(0)) await person.close();
  });

  const open = async (size) => {
    const person = await Person.open(browser, size);
    people.push(person);
    return person;
  };
  /** Opens the front page with this account signed in. */
  async function signedIn(owner, size) {
    const person = await open(size);
    const { user, token, refreshToken } = owner;
    const identity = { user, token, refreshToken, isGuest: false, signIn: user.id, at: Date.now() };
    await person.page.addInitScript((text) => sessionStorage.setItem("switchboard.identity", text), JSON.stringify(identity));
    await person.page.goto(baseUrl());
    await person.page.getByRole("heading", { name: "New call" }).waitFor();
    return person;
  }
  const heading = (page, name) => page.getByRole("heading", { name });
  const focused = (page) => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent);

  test("a title of 180 characters makes no view wider than the window", async () => {
    const owner = await account("Long Titles");
    const title = "x".repeat(180);
    const { roomId } = await newCall(owner, { title });
    for (const width of [360, 1280]) {
      const { page } = await signedIn(owner, { width, height: 740 });
      const fits = async () => {
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${wide} px in a window of ${width}`);
      };
      await page.getByRole("button", { name: title }).waitFor();
      await fits();
      await page.goto(`${baseUrl()}/?room=${roomId}`);
      await page.getByRole("button", { name: "Join the call" }).click();
      await page.locator(".tile.is-own").waitFor();
      await fits();
    }
  });

  test("a failure of the service is not shown as a call that does not exist, and trying again helps", async () => {
    const { roomId, title } = await newCall(host);
    const { page } = await open();
    const failures = [
      { status: 503, json: { success: false, code: "SERVICE_UNAVAILABLE", message: "" } },
      { status: 500, json: { success: false, code: "DATABASE_ERROR", message: "" } },
      { status: 502, body: "<h1>Bad Gateway</h1>" },
    ];
    await page.route("**/api/video-calls/room/*", (route) => {
      const failure = failures.shift();
      return failure ? route.fulfill(failure) : route.continue();
    });
    await page.goto(`${baseUrl()}/?room=${roomId}`);
    const failed = "The call could not be looked up";
    await heading(page, failed).waitFor();
    for (const next of [failed, failed, title]) {
      await page.getByRole("button", { name: "Try again" }).focus();
      await page.keyboard.press("Enter");
      await until(`the focus is on the heading ${next}`, async () => (await focused(page)) === next);
    }
    assert.equal(failures.length, 0);
  });

  test("the camera stays off until the call is known to exist", async () => {
    const { roomId } = await newCall(host);
    const { page } = await open();
    await page.addInitScript(() => {
      window.requests = 0;
      const { mediaDevices } = navigator;
      const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
      mediaDevices.getUserMedia = (constraints) => ((window.requests += 1), getUserMedia(constraints));
    });
    const requests = () => page.evaluate(() => window.requests);
    await page.goto(`${baseUrl()}/?room=NOSUCHROOM22`);
    await heading(page, "No call here").waitFor();
    assert.equal(await requests(), 0);
    await page.goto(`${baseUrl()}/?room=${roomId}`);
    await until("microphone and camera are opened", async () => (await requests()) === 2);
  });

  test("a denied camera is explained, and the call can be joined without it", async () => {
    const { roomId } = await newCall(host);
    const { page } = await open();
    await page.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    });
    await page.goto(`${baseUrl()}/?room=${roomId}`);
    await page.getByText("You can join without microphone and camera.").waitFor();
    await page.getByText("Click the symbol beside the address").waitFor();
    await page.getByRole("button", { name: "Turn on camera" }).click();
    await page.locator(".toast", { hasText: "Camera: The browser denied access" }).waitFor();
    await page.getByLabel("Your name").fill("Grace");
    await page.getByRole("button", { name: "Join the call" }).click();
    await page.locator(".tile").waitFor();
  });

  test("on an insecure origin the page works without devices and says why", async () => {
    const { roomId } = await newCall(host);
    const address = new URL(baseUrl());
    // A name of a local network: browsers trust it as little as any other plain http.
    const { page } = await open();
    await page.goto(`http://calls.lan:${address.port}/?room=${roomId}`);
    assert.equal(await page.evaluate(() => isSecureContext), false);
    await page.getByText("Browsers allow cameras and microphones only on secure pages").waitFor();
    await page.getByLabel("Your name").fill("Grace");
    await page.getByRole("button", { name: "Join the call" }).click();
    await page.locator(".tile", { hasText: "Grace (you)" }).waitFor();
  });

  test("an error that nobody expected is shown, and the page is not empty", async () => {
    const { page, problems } = await open();
    await page.addInitScript(() => {
      Object.defineProperty(navigator, "locks", { get: () => { throw new TypeError("no locks here"); } });
      sessionStorage.setItem("switchboard.tab", "one");
      sessionStorage.setItem("switchboard.seat", JSON.stringify({ roomId: "ROOM", joinToken: "token" }));
      sessionStorage.setItem("switchboard.identity", JSON.stringify({ user: { name: "Ada" }, token: "token" }));
    });
    await page.goto(`${baseUrl()}/?room=ROOM`);
    await heading(page, "The page does not work").waitFor();
    await until("the error is reported", () => problems.length === 1);
    problems.length = 0;
    // A module that does not load.
    await page.route("**/app/main-*.js", (route) => route.abort());
    await page.goto(baseUrl());
    await page.getByText("Switchboard could not be loaded").waitFor();
  });

  test("an open call is listed although six later ones have ended", async () => {
    const owner = await account("Many Calls");
    await newCall(owner, { title: "Still open" });
    const at = new Date(Date.now() + 24 * 3600 * 1000).toISOString();
    await newCall(owner, { title: "Tomorrow", scheduledAt: at });
    for (let number = 1; number <= 6; number++) {
      const { id } = await newCall(owner, { title: `Over ${number}` });
      await rest("POST", `/video-calls/${id}/end`, {}, owner.token);
    }
    const { page } = await signedIn(owner);
    await page.getByRole("button", { name: "Still open" }).waitFor();
    assert.deepEqual(await page.locator(".call-row strong").allTextContents(), ["Tomorrow", "Still open"]);
  });

  test("a new call has a date, a size, a waiting room and invited people, if the user says so", async () => {
    const owner = await account("Planner");
    const friend = await account("Friend");
    const { page } = await signedIn(owner);
    await page.getByRole("button", { name: "Show my id" }).click();
    await page.locator(".toast", { hasText: owner.user.id }).waitFor();
    await page.getByLabel("Title", { exact: true }).fill("Planned");
    await page.getByLabel("Only invited people").check();
    await page.getByText("More options").click();
    await page.getByLabel("Date and time").fill("2999-01-31T10:30");
    await page.getByLabel("Maximum number of participants").fill("4");
    await page.getByRole("textbox", { name: "Invited people" }).fill(`${friend.user.id},`);
    await page.getByLabel("Waiting room: you admit each participant").check();
    await page.getByRole("button", { name: "Schedule the call" }).click();
    await page.locator(".toast", { hasText: "The call is scheduled." }).waitFor();
    await page.getByRole("button", { name: "Planned" }).waitFor();
    const [call] = await rest("GET", "/video-calls", undefined, friend.token);
    const local = await page.evaluate(() => new Date("2999-01-31T10:30").toISOString());
    assert.deepEqual(
      [call.title, call.type, call.maxParticipants, call.settings.waitingRoomEnabled, call.scheduledAt],
      ["Planned", "invited_only", 4, true, local],
    );
  });

  test("the focus is where it was after an error, and after Escape in a dialog and in a panel", async () => {
    const { roomId } = await newCall(host, { passcode: "open sesame" });
    const { page } = await open();
    await page.goto(`${baseUrl()}/?room=${roomId}`);
    await page.getByLabel("Your name").fill("Grace");
    await page.getByLabel("Passcode of the call").fill("wrong one");
    await page.getByRole("button", { name: "Join the call" }).focus();
    await page.keyboard.press("Enter");
    await page.getByText("That passcode is wrong.").waitFor();
    await until("the passcode has the focus", () => page.evaluate(() => document.activeElement.name === "passcode"));

    const owner = await signedIn(host);
    await owner.page.goto(`${baseUrl()}/?room=${roomId}`);
    await owner.page.getByRole("button", { name: "Join the call" }).click();
    await owner.seated();
    await owner.press("People, 1 in the call");
    const settings = owner.page.getByRole("button", { name: "Settings…" });
    await settings.click();
    await owner.page.getByRole("dialog").waitFor();
    await owner.page.keyboard.press("Escape");
    await owner.page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await focused(owner.page), "Settings…", "the panel stays open");
    await owner.page.keyboard.press("Escape");
    await settings.waitFor({ state: "hidden" });
    assert.equal(await focused(owner.page), "People, 1 in the call");
  });

  test("the name of a node is shown to nobody", async () => {
    const { roomId } = await newCall(host);
    const owner = await open();
    await owner.joinAsGuest(`${baseUrl()}/?room=${roomId}`, "Grace");
    await owner.press("People, 1 in the call");
    const row = owner.page.locator(".people li", { hasText: "Grace" });
    const { node } = await owner.view();
    assert.ok(node && (await row.getAttribute("data-node")) === node);
    assert.ok(!(await owner.page.evaluate(() => document.body.innerText)).includes(node));
  });

  test("a deployment under a path serves calls, short links and reloads", async () => {
    const proxy = await prefixProxy(baseUrl(), "/tools/calls");
    try {
      const { roomId, title } = await newCall(host);
      const one = await open();
      await one.page.goto(`${proxy.url}r/${roomId}`);
      await heading(one.page, title).waitFor();
      await one.askAgain("One");
      await one.seated();
      await one.page.getByRole("button", { name: "Invite" }).waitFor();
      const broken = await one.page.evaluate(() =>
        [...document.images].filter((image) => image.complete && image.naturalWidth === 0).map(({ src }) => src),
      );
      assert.deepEqual(broken, []);
      const two = await open();
      await two.joinAsGuest(`${proxy.url}?room=${roomId}`, "Two");
      await Promise.all([one.connectedTo("Two"), two.connectedTo("One")]);
      await two.page.reload();
      await two.seated();
      await Promise.all([one.connectedTo("Two"), two.connectedTo("One")]);
      await two.press("Leave");
      await two.page.getByRole("button", { name: "Go to the front page" }).click();
      await two.page.getByRole("heading", { name: "Video calls in your browser." }).waitFor();
      assert.equal(two.page.url(), proxy.url);
    } finally {
      for (const person of people.splice(0)) await person.close();
      proxy.close();
    }
  });

  test("a missing and a wrong passcode are explained at the field, and a newcomer learns to be alone", async () => {
    const { roomId } = await newCall(host, { passcode: "open sesame" });
    const { page } = await open({ width: 390, height: 844 });
    await page.goto(`${baseUrl()}/?room=${roomId}`);
    await page.getByLabel("Your name").fill("Grace");
    const join = page.getByRole("button", { name: "Join the call" });
    const passcode = page.getByLabel("Passcode of the call");
    const described = () => passcode.evaluate((input) => document.getElementById(input.getAttribute("aria-describedby"))?.textContent);
    await join.click();
    await until("a missing passcode is asked for", async () => (await described()) === "This call needs a passcode.");
    await passcode.fill("wrong one");
    await join.click();
    await until("a wrong passcode is called wrong", async () => (await described()) === "That passcode is wrong.");
    assert.equal(await passcode.getAttribute("aria-invalid"), "true");
    await passcode.fill("open sesame");
    await join.click();
    await page.getByText("You are the only one here. Invite others with the link.").waitFor();
  });

  test("a host switches the waiting room on and lets guests skip it at once", async () => {
    const owner = await account("Ada Settings");
    const { roomId } = await newCall(owner);
    const person = await signedIn(owner);
    await person.page.goto(`${baseUrl()}/?room=${roomId}`);
    await person.askAgain();
    await person.seated();
    await person.press("People, 1 in the call");
    await person.page.getByRole("button", { name: "Settings…" }).click();
    const dialog = person.page.getByRole("dialog", { name: "Call settings" });
    await dialog.getByLabel("Waiting room", { exact: true }).check();
    await dialog.getByLabel("Guests skip the waiting room").check();
    await dialog.getByRole("button", { name: "Save" }).click();
    await person.page.locator(".toast", { hasText: "settings are saved" }).waitFor();
    const guest = await open();
    await guest.joinAsGuest(`${baseUrl()}/?room=${roomId}`, "Grace");
  });

  test("a call with a passcode survives a reload after the join token has expired", async () => {
    const { roomId } = await newCall(host, { passcode: "open sesame" });
    const guest = await open();
    await guest.joinAsGuest(`${baseUrl()}/?room=${roomId}`, "Grace", { passcode: "open sesame" });
    const stored = JSON.parse(await guest.page.evaluate(() => sessionStorage.getItem("switchboard.seat")));
    // As ten minutes later, and in a session that the service has forgotten.
    const seat = { ...stored, joinToken: signed(stored.joinToken, { exp: 1_000_000_000 }), pid: undefined };
    await guest.page.evaluate((text) => sessionStorage.setItem("switchboard.seat", text), JSON.stringify(seat));
    await guest.page.reload();
    await guest.seated();
    await guest.tile("Grace (you)").waitFor();
  });

  test("an account is signed in in every tab, and signed out in every tab", async () => {
    const one = await open();
    await one.signUp("Ada Tabs");
    const other = await one.page.context().newPage();
    await other.goto(baseUrl());
    await heading(other, "New call").waitFor();
    await one.page.getByRole("button", { name: "Sign out" }).click();
    await other.getByRole("tab", { name: "Sign in" }).waitFor();
    await other.reload();
    await other.getByRole("tab", { name: "Sign in" }).waitFor();
  });

  test("a viewer without devices who reloads sees the others at once, and hears them after a click", async () => {
    const { roomId } = await newCall(host);
    const link = `${baseUrl()}/?room=${roomId}`;
    const speaker = await open();
    await speaker.joinAsGuest(link, "Ada");
    const viewer = await open();
    await viewer.page.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("none", "NotFoundError"));
      // As browsers that play no sound before a click. The browser under test takes each script of
      // a test for a click.
      let clicked = false;
      addEventListener("click", () => (clicked = true), { capture: true });
      const { prototype } = HTMLMediaElement;
      const { play } = prototype;
      prototype.play = function () {
        if (clicked || this.muted) return play.call(this);
        this.pause();
        return Promise.reject(new DOMException("no sound before a click", "NotAllowedError"));
      };
    });
    await viewer.joinAsGuest(link, "Grace");
    await viewer.connectedTo("Ada");
    await viewer.page.reload();
    await viewer.connectedTo("Ada");
    const video = viewer.tile("Ada").locator("video");
    const state = () => video.evaluate(({ paused, currentTime, muted }) => ({ plays: !paused && currentTime > 0, muted }));
    const reaches = (expected) => until(`${expected}`, async () => JSON.stringify(await state()) === expected);
    await reaches('{"plays":true,"muted":true}');
    const hint = viewer.page.getByText("Your browser plays no sound yet.");
    await hint.waitFor();
    await viewer.page.getByRole("heading", { name: "Signals" }).click();
    await hint.waitFor({ state: "hidden" });
    await reaches('{"plays":true,"muted":false}');
  });

  test("the page loads 100 KB at most, compressed, and browsers keep what has a hash in its name", async () => {
    const { page } = await open();
    const sizes = new Map();
    const session = await page.context().newCDPSession(page);
    await session.send("Network.enable");
    const urls = new Map();
    session.on("Network.responseReceived", ({ requestId, response }) => urls.set(requestId, response.url));
    session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => sizes.set(urls.get(requestId), encodedDataLength));
    await page.goto(baseUrl());
    await heading(page, "Video calls in your browser.").waitFor();
    await page.waitForLoadState("networkidle");
    const script = [...sizes.keys()].find((url) => /\/app\/main-[0-9A-Z]{8}\.js$/.test(url));
    assert.ok(script && sizes.size >= 4, [...sizes.keys()].join());
    const sum = [...sizes.values()].reduce((total, size) => total + size, 0);
    assert.ok(sum > 10_000 && sum <= 100 * 1024, `${sum} bytes: ${JSON.stringify([...sizes])}`);
    for (const [encoding, accepted] of [["br", "gzip, deflate, br"], ["gzip", "gzip"], [null, "identity"]]) {
      const answer = await fetch(script, { headers: { "accept-encoding": accepted } });
      assert.equal(answer.headers.get("content-encoding"), encoding);
      assert.match(answer.headers.get("cache-control"), /max-age=31536000, immutable/);
      assert.ok((await answer.text()).startsWith("var"), "fetch decodes it");
    }
    assert.equal((await fetch(`${baseUrl()}/`)).headers.get("cache-control"), "no-cache");
  });
});
