// Features of the page beside the call itself: devices, speakers, large tiles, invitations, links
// in the chat, keys, languages.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import jsQR from "jsqr";
import { Person, launch } from "../support/browser.mjs";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("a page for calls", { timeout: 240_000 }, () => {
  let browser;
  let owner;
  const people = [];

  before(async () => {
    browser = await launch();
    owner = await account("Ada Host");
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
  async function callLink() {
    const { roomId } = await newCall(owner);
    return `${baseUrl()}/?room=${roomId}`;
  }
  /** Two guests in a call. */
  async function pair(size) {
    const link = await callLink();
    const one = await open(size);
    await one.joinAsGuest(link, "Ada");
    const two = await open();
    await two.joinAsGuest(link, "Grace");
    await Promise.all([one.connectedTo("Grace"), two.connectedTo("Ada")]);
    return { one, two, link };
  }
  /** The owner in a call. */
  async function openHost(roomId) {
    const host = await open();
    const { user, token, refreshToken } = owner;
    const identity = JSON.stringify({ user, token, refreshToken, isGuest: false, signIn: user.id, at: Date.now() });
    await host.page.addInitScript((text) => sessionStorage.setItem("switchboard.identity", text), identity);
    await host.askToJoin(`${baseUrl()}/?room=${roomId}`);
    await host.seated();
    return host;
  }
  const dialog = ({ page }, name) => page.getByRole("dialog", { name });
  /** Returns the text of the QR code in a picture, or undefined. The page decodes the picture. */
  async function readCode(page, picture) {
    const { bytes, width, height } = await page.evaluate(async (base64) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))]));
      const { width, height } = bitmap;
      const context = new OffscreenCanvas(width, height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      return { bytes: Array.from(data, (byte) => String.fromCharCode(byte)).join(""), width, height };
    }, picture.toString("base64"));
    return jsQR(Uint8ClampedArray.from(Buffer.from(bytes, "latin1")), width, height)?.data;
  }
  const box = (locator) => locator.evaluate((element) => element.getBoundingClientRect().toJSON());

  test("microphone, camera and level are chosen before the call and in it, and the choice is kept", async () => {
    // As users have it: the level is measured behind the browser's processing.
    const person = await open({ microphone: "processed" });
    const { page } = person;
    const link = await callLink();
    await page.goto(link);
    await page.getByText("Choose devices").click();
    const microphone = page.getByLabel("Microphone", { exact: true });
    const level = page.getByRole("meter", { name: "Level of your microphone" });
    await until("the fake microphone beeps", () => level.evaluate((meter) => meter.value > 0));
    const labels = await microphone.locator("option").allTextContents();
    assert.ok(labels.includes("Automatic") && labels.includes("Fake Audio Input 2"), labels.join());
    await microphone.selectOption("Fake Audio Input 2");
    const stored = () => page.evaluate(() => JSON.parse(localStorage.getItem("switchboard.preferences")).audio);
    await until("the choice is stored", stored);
    await person.askAgain("Grace");
    await person.seated();
    await person.press("Options");
    const chosen = dialog(person, "Options").getByLabel("Microphone", { exact: true });
    await until("the microphone is the chosen one", async () => (await chosen.locator("option:checked").textContent()) === "Fake Audio Input 2");
    await until("the level moves in the call", () =>
      dialog(person, "Options").getByRole("meter").evaluate((meter) => meter.value > 0),
    );
    await dialog(person, "Options").getByRole("button", { name: "Close" }).click();
    // The next call begins with the same microphone.
    await page.goto(await callLink());
    await page.getByText("Choose devices").click();
    await until("the choice is kept", async () => (await microphone.locator("option:checked").textContent()) === "Fake Audio Input 2");
  });

  test("the list of devices follows a device that is connected", async () => {
    const person = await open();
    const { page } = person;
    await page.addInitScript(() => {
      window.extra = [];
      const { mediaDevices } = navigator;
      const list = mediaDevices.enumerateDevices.bind(mediaDevices);
      mediaDevices.enumerateDevices = async () => [...(await list()), ...window.extra];
    });
    await page.goto(await callLink());
    await page.getByText("Choose devices").click();
    const option = page.getByLabel("Camera", { exact: true }).locator("option", { hasText: "Desk camera" });
    await page.getByLabel("Camera", { exact: true }).locator("option", { hasText: "fake_device_0" }).waitFor({ state: "attached" });
    assert.equal(await option.count(), 0);
    await page.evaluate(() => {
      window.extra.push({ kind: "videoinput", deviceId: "desk", label: "Desk camera" });
      navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
    });
    await option.waitFor({ state: "attached" });
  });

  test("a microphone that is unplugged is replaced, and a muted one stays silent", async () => {
    const { one } = await pair();
    const { page } = one;
    await page.evaluate(() => {
      // What the browser does when a device is gone.
      window.unplug = () => {
        const [track] = document.querySelector(".tile.is-own video").srcObject.getAudioTracks();
        track.stop();
        track.dispatchEvent(new Event("ended"));
      };
      window.unplug();
    });
    await page.locator(".toast", { hasText: "Microphone was disconnected. “" }).waitFor();
    await page.getByRole("button", { name: "Turn off microphone" }).waitFor();
    await one.press("Turn off microphone");
    await page.evaluate(() => window.unplug());
    await page.locator(".toast", { hasText: "Microphone was disconnected, and is off now." }).waitFor();
    await page.getByRole("button", { name: "Turn on microphone" }).waitFor();
  });

  test("the speaker is chosen where the browser can, and blur is offered only with a camera that has it", async () => {
    const { one } = await pair();
    const { page } = one;
    await page.evaluate(() => {
      window.sinks = [];
      HTMLMediaElement.prototype.setSinkId = async function (id) {
        window.sinks.push(id);
      };
      window.blurs = [];
    });
    await one.press("Options");
    await dialog(one, "Options").getByLabel("Speaker", { exact: true }).selectOption({ index: 1 });
    await until("the tile of the other uses it", () => page.evaluate(() => window.sinks.length === 1 && window.sinks[0] !== ""));
    assert.equal(await dialog(one, "Options").getByLabel("Blur my background").isVisible(), false);
    await page.keyboard.press("Escape");
    await page.evaluate(() => {
      const { prototype } = MediaStreamTrack;
      prototype.getCapabilities = () => ({ backgroundBlur: [false, true] });
      prototype.applyConstraints = async ({ backgroundBlur }) => void window.blurs.push(backgroundBlur);
    });
    await one.press("Options");
    await dialog(one, "Options").getByLabel("Blur my background").check();
    assert.deepEqual(await page.evaluate(() => window.blurs), [true]);
  });

  test("a tile shows who speaks, and is pinned, spotlit, enlarged and put in a window", async () => {
    const { one, two } = await pair();
    const { page } = one;
    const grace = one.tile("Grace");
    const isSpeaking = () => grace.evaluate((tile) => tile.classList.contains("is-speaking"));
    await until("the other page's beeps are shown", isSpeaking);
    await two.press("Turn off microphone");
    await until("a muted person does not speak", async () => !(await isSpeaking()));

    const equal = async () => {
      const [first, second] = await Promise.all([box(grace), box(one.tile("Ada (you)"))]);
      return first.width === second.width;
    };
    assert.ok(await equal());
    await grace.hover();
    await grace.getByRole("button", { name: "Pin Grace" }).click();
    await until("the pinned tile is large", async () => !(await equal()));
    assert.ok((await box(grace)).width > 3 * (await box(one.tile("Ada (you)"))).width);
    await grace.getByRole("button", { name: "Unpin Grace" }).click();
    await until("the tiles are equal again", equal);

    await page.keyboard.press("l");
    await until("the speaker's tile is large", async () => (await box(grace)).width > 3 * (await box(one.tile("Ada (you)"))).width);
    await page.keyboard.press("l");
    await until("the grid is back", equal);

    await grace.hover();
    await grace.getByRole("button", { name: "Full screen: Grace" }).click();
    await until("the tile fills the screen", () => grace.evaluate((tile) => document.fullscreenElement === tile));
    await grace.getByRole("button", { name: "Full screen: Grace" }).click();
    await until("the page is back", () => page.evaluate(() => document.fullscreenElement === null));
    const picture = grace.getByRole("button", { name: "Picture in picture: Grace" });
    await picture.click();
    await until("the video is in a window of its own", () =>
      grace.locator("video").evaluate((video) => document.pictureInPictureElement === video),
    );
    await picture.click();
    await until("the video is back", () => page.evaluate(() => document.pictureInPictureElement === null));
    // A video that is moved in the document stops.
    await one.seesFrames();
    assert.equal(await grace.locator("video").evaluate((video) => video.paused), false);
  });

  test("the host puts a person in the spotlight for everyone, newcomers included, and ends it", async (context) => {
    const { roomId } = await newCall(owner);
    const host = await openHost(roomId);
    const alan = await open();
    await alan.joinAsGuest(`${baseUrl()}/?room=${roomId}`, "Alan");
    const grace = await Client.seated(baseUrl(), roomId, await guest(roomId, "Grace"));
    context.after(() => grace.close());
    const large = ({ page }) => page.locator(".tile.is-featured .tile-name").allTextContents();
    const show = (names, ...pages) =>
      until(`the pages show ${names || "nobody"} large`, async () => (await Promise.all(pages.map(large))).every((shown) => shown.join() === names));
    const choose = (name) => host.page.getByRole("button", { name }).filter({ visible: true }).click();

    await host.press("People, 3 in the call");
    await choose("Actions for Grace");
    await choose("Spotlight for everyone");
    await alan.page.locator(".toast", { hasText: "Grace is in the spotlight" }).waitFor();
    await show("Grace", host, alan);
    // A page that is new is told by the page that has set the spotlight.
    await alan.page.reload();
    await alan.seated();
    await show("Grace", alan);
    await choose("End the spotlight");
    await show("", host, alan);
    // Nobody obeys a guest.
    await grace.emit("webrtc:data-channel", { type: "spotlight", message: { peerId: grace.peerId } });
    await grace.emit("chat:message", { message: "after" });
    await alan.page.getByRole("button", { name: "Chat, 1 unread" }).waitFor();
    assert.deepEqual(await large(alan), []);
    // The spotlight ends with the page that has set it.
    await choose("Spotlight for everyone");
    await show("Grace", alan);
    await host.press("Leave");
    await show("", alan);
  });

  test("a connection that loses packets is shown as bad", async () => {
    const { one } = await pair();
    const bars = one.tile("Grace").locator(".bars");
    const quality = (name) => until(`the quality is ${name}`, async () => (await bars.getAttribute("data-quality")) === name);
    await quality("good");
    await one.page.evaluate(() => {
      const { prototype } = RTCPeerConnection;
      const { getStats } = prototype;
      let lost = 0;
      prototype.getStats = async function () {
        const stats = new Map(await getStats.call(this));
        lost += 1_000;
        for (const [id, report] of stats) if (report.type === "inbound-rtp") stats.set(id, { ...report, packetsLost: lost });
        return stats;
      };
    });
    await quality("poor");
    assert.match(await one.tile("Grace").getAttribute("aria-label"), /bad connection/);
  });

  test("a sound is played when somebody joins, and none when sounds are off", async () => {
    const link = await callLink();
    const person = await open();
    await person.page.addInitScript(() => {
      window.notes = 0;
      const { start } = OscillatorNode.prototype;
      OscillatorNode.prototype.start = function (...values) {
        window.notes += 1;
        return start.apply(this, values);
      };
    });
    await person.joinAsGuest(link, "Ada");
    const notes = () => person.page.evaluate(() => window.notes);
    const visitor = await open();
    await visitor.joinAsGuest(link, "Grace");
    await until("two notes for a join", async () => (await notes()) === 2);
    await person.press("Options");
    await dialog(person, "Options").getByLabel("Sounds when people join, leave or write").uncheck();
    await person.page.keyboard.press("Escape");
    await visitor.press("Leave");
    await person.page.locator(".toast", { hasText: "Grace left" }).waitFor();
    assert.equal(await notes(), 2);
  });

  test("the screen stays on during a call, also after the page was hidden, and not after it", async () => {
    const person = await open();
    const { page } = person;
    await page.addInitScript(() => {
      window.locks = { asked: 0, released: 0 };
      const request = async () => ((window.locks.asked += 1), { release: () => (window.locks.released += 1) });
      Object.defineProperty(navigator, "wakeLock", { value: { request } });
    });
    await page.goto(await callLink());
    await page.getByRole("button", { name: "Join the call" }).waitFor();
    const locks = () => page.evaluate(() => Object.values(window.locks).join());
    assert.equal(await locks(), "0,0");
    await person.askAgain("Ada");
    await person.seated();
    assert.equal(await locks(), "1,0");
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    assert.equal(await locks(), "2,0");
    await person.press("Leave");
    await page.getByRole("heading", { name: "You left the call" }).waitFor();
    assert.equal(await locks(), "2,1");
  });

  test("hands are raised in order and lowered by a moderator, and a reaction is shown for a moment", async () => {
    const { roomId } = await newCall(owner);
    const host = await openHost(roomId);
    const guest = await open();
    await guest.joinAsGuest(`${baseUrl()}/?room=${roomId}`, "Grace");
    await guest.press("Raise hand");
    await host.page.locator(".toast", { hasText: "Grace raised a hand" }).waitFor();
    await host.page.keyboard.press("h");
    const place = (person, name) => person.tile(name).locator(".hand").textContent();
    await until("both pages show the order", async () => {
      const shown = await Promise.all([place(host, "Grace"), place(host, "Ada Host"), place(guest, "Grace"), place(guest, "Ada Host")]);
      return shown.join() === "1,2,1,2";
    });
    assert.match(await host.tile("Grace").getAttribute("aria-label"), /hand raised/);
    await host.press("People, 2 in the call");
    await host.page.getByRole("button", { name: "Actions for Grace" }).click();
    await host.page.getByRole("button", { name: "Lower hand" }).and(host.page.locator(".compact")).click();
    await guest.page.getByRole("button", { name: "Raise hand" }).waitFor();
    await until("the host is first", async () => (await place(guest, "Ada Host")) === "1");

    await guest.press("Reactions");
    await guest.page.getByRole("button", { name: "Applause" }).click();
    for (const person of [host, guest]) {
      await person.tile("Grace").locator(".reaction", { hasText: "👏" }).waitFor();
      await person.page.locator("#announcements", { hasText: /^Grace: 👏$/ }).waitFor({ state: "attached" });
    }
    await host.tile("Grace").locator(".reaction").waitFor({ state: "detached" });
    await guest.page.keyboard.press("Escape");
    await guest.page.getByRole("button", { name: "Applause" }).waitFor({ state: "hidden" });
    assert.equal(await guest.page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Reactions");
  });

  test("links in the chat are links, to the web alone", async () => {
    const { one, two } = await pair();
    await one.press("Chat");
    const text = 'See https://example.com/a?b=c&d="x", (http://example.org). Not javascript:alert(1) or ftp://example.net <a href="https://evil.example">';
    await one.sendChat(text);
    await two.press("Chat, 1 unread");
    const message = two.page.locator(".message p");
    assert.equal(await message.textContent(), text);
    const links = await message.locator("a").evaluateAll((all) => all.map(({ href, target, rel }) => ({ href, target, rel })));
    const rest = { target: "_blank", rel: "noopener noreferrer nofollow" };
    const expected = ["https://example.com/a?b=c&d=", "http://example.org/", "https://evil.example/"];
    assert.deepEqual(links, expected.map((href) => ({ href, ...rest })));
  });

  test("an invitation has the link, a button that copies it and a QR code of it", async () => {
    const person = await open();
    const link = await callLink();
    await person.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await person.joinAsGuest(link, "Ada");
    await person.page.getByRole("button", { name: "Invite" }).click();
    const invitation = dialog(person, "Invite others");
    assert.equal(await invitation.getByLabel("Link to the call").inputValue(), link);
    const code = invitation.getByRole("img", { name: "QR code of the link" }).locator("svg");
    for (const colorScheme of ["light", "dark"]) {
      await person.page.emulateMedia({ colorScheme });
      assert.equal(await readCode(person.page, await code.screenshot()), link, colorScheme);
    }
    await invitation.getByRole("button", { name: "Copy link" }).click();
    await person.page.locator(".toast", { hasText: "Link copied" }).waitFor();
    assert.equal(await person.page.evaluate(() => navigator.clipboard.readText()), link);
  });

  test("keys work outside of fields, are listed, and can be turned off", async () => {
    const person = await open();
    const { page } = person;
    await person.joinAsGuest(await callLink(), "Ada");
    await page.keyboard.press("m");
    await page.getByRole("button", { name: "Turn on microphone" }).waitFor();
    assert.equal(await page.locator("#announcements").textContent(), "microphone off");
    await page.keyboard.press("v");
    await page.getByRole("button", { name: "Turn on camera" }).waitFor();
    await page.keyboard.press("c");
    const message = page.getByRole("textbox", { name: "Message" });
    await message.waitFor();
    await page.keyboard.type("move it");
    assert.equal(await message.inputValue(), "move it", "letters in a field are letters");
    assert.ok(await page.getByRole("button", { name: "Turn on microphone" }).isVisible());
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await dialog(person, "Keyboard shortcuts").getByText("Microphone on or off").waitFor();
    await dialog(person, "Keyboard shortcuts").getByLabel("Keyboard shortcuts are on").uncheck();
    await page.keyboard.press("Escape");
    await page.keyboard.press("m");
    await page.keyboard.press("p");
    await page.getByRole("heading", { name: "People" }).waitFor({ state: "detached" });
    assert.ok(await page.getByRole("button", { name: "Turn on microphone" }).isVisible());
  });

  test("the language is that of the browser, and the user changes it on the front page and in a call", async () => {
    const german = await browser.newContext({ locale: "de-AT" });
    try {
      const page = await german.newPage();
      await page.goto(baseUrl());
      await page.getByRole("heading", { name: "Videogespräche im Browser." }).waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.lang), "de");
      await page.getByRole("combobox", { name: "Sprache" }).selectOption("English");
      await page.getByRole("heading", { name: "Video calls in your browser." }).waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.name), "language", "the focus stays");
      await page.reload();
      await page.getByRole("heading", { name: "Video calls in your browser." }).waitFor();
    } finally {
      await german.close();
    }
    const { one } = await pair();
    await one.press("Options");
    await dialog(one, "Options").getByRole("combobox", { name: "Language" }).selectOption("Deutsch");
    await one.page.getByRole("button", { name: "Mikrofon ausschalten" }).waitFor();
    await one.page.locator(".tile", { hasText: "Ada (Sie)" }).waitFor();
    await one.connectedTo("Grace");
    await one.seesFrames();
    assert.equal(await one.tile("Grace").locator("video").evaluate((video) => video.paused), false);
  });
});
