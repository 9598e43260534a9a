// Chromium and Firefox with a fake camera, and the actions of a user on the demo page.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { chromium, firefox } from "playwright-core";
import { baseUrl } from "./cluster.mjs";
import { until } from "./until.mjs";

/**
 * Frames per second of the fake cameras: the lowest that Chromium takes. Video is encoded by the
 * cores that the cluster needs too.
 */
const CAMERA_FPS = 5;

/** Browsers of the distribution, by name. */
const BROWSERS = {
  chromium: () =>
    chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        `--use-fake-device-for-media-stream=fps=${CAMERA_FPS}`,
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        // A name of a local network, whose pages over plain http are insecure.
        "--host-resolver-rules=MAP calls.lan 127.0.0.1",
        "--disable-features=WebRtcHideLocalIpsWithMdns",
      ],
    }),
  firefox: () =>
    firefox.launch({
      // An unpatched Firefox, over WebDriver BiDi.
      channel: "moz-firefox",
      executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
      firefoxUserPrefs: {
        "media.navigator.streams.fake": true,
        "media.navigator.video.default_fps": CAMERA_FPS,
        "media.navigator.permission.disabled": true,
        "media.autoplay.default": 0,
        "media.autoplay.blocking_policy": 0,
        "media.peerconnection.ice.loopback": true,
        "media.peerconnection.ice.obfuscate_host_addresses": false,
      },
    }),
};

/**
 * Runs in each page before its scripts. Fake microphones have no echo and no noise, and the search
 * for them takes more of the cores than video does.
 */
function unprocessedMicrophones() {
  // Pages over plain http have no devices.
  const devices = navigator.mediaDevices;
  if (!devices) return;
  const original = devices.getUserMedia.bind(devices);
  const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  devices.getUserMedia = ({ audio, ...wanted }) =>
    original({ ...wanted, ...(audio && { audio: { ...(audio === true ? {} : audio), ...raw } }) });
}

/** @param {"chromium" | "firefox"} name */
export const launch = (name = "chromium") => BROWSERS[name]();

/**
 * One user with their own browser context. An error that the page throws fails the test at `close`.
 */
export class Person {
  #context;
  problems = [];

  /** @param {{ width?: number, height?: number, microphone?: "raw" | "processed" }} options */
  static async open(browser, { width = 1280, height = 800, microphone = "raw" } = {}) {
    const person = new Person();
    person.#context = await browser.newContext({ viewport: { width, height }, locale: "en-GB" });
    if (microphone === "raw") await person.#context.addInitScript(unprocessedMicrophones);
    person.page = await person.#context.newPage();
    person.page.setDefaultTimeout(30_000);
    person.page.on("pageerror", (error) => person.problems.push(String(error.stack ?? error)));
    return person;
  }

  /**
   * Duplicates the tab, as browsers do: a further page with a copy of the session storage. It is
   * closed with this person.
   */
  async duplicate() {
    const twin = new Person();
    twin.problems = this.problems;
    twin.#context = this.#context;
    const stored = await this.page.evaluate(() => ({ ...sessionStorage }));
    twin.page = await this.#context.newPage();
    twin.page.on("pageerror", (error) => this.problems.push(String(error.stack ?? error)));
    await twin.page.addInitScript((copy) => sessionStorage.length || Object.assign(sessionStorage, copy), stored);
    await twin.page.goto(this.page.url());
    return twin;
  }

  async close() {
    await this.#context.close();
    assert.deepEqual(this.problems, [], "the page threw nothing");
  }

  /** Registers a new account on the front page. */
  async signUp(name) {
    const { page } = this;
    await page.goto(baseUrl());
    await page.getByRole("tab", { name: "Sign up" }).click();
    await page.getByLabel("Your name").fill(name);
    await page.getByLabel("E-mail address").fill(`${randomUUID()}@example.com`);
    await page.getByLabel("New password").fill("a quiet line, please");
    await page.getByRole("button", { name: "Create account" }).click();
    await page.getByRole("heading", { name: "New call" }).waitFor();
  }

  /** Starts a call and joins it. Returns its link. */
  async startCall(title, { passcode } = {}) {
    const { page } = this;
    await page.getByLabel("Title", { exact: true }).fill(title);
    if (passcode) await page.getByLabel("Passcode").fill(passcode);
    await page.getByRole("button", { name: "Start a call" }).click();
    await page.getByRole("button", { name: "Join the call" }).click();
    await this.seated();
    return page.url();
  }

  /** Opens a link and joins the call as a guest. */
  async joinAsGuest(link, name, { passcode } = {}) {
    await this.askToJoin(link, name, { passcode });
    await this.seated();
  }

  /** Opens a link and asks to join. Guests need a `name`. */
  async askToJoin(link, name, { passcode } = {}) {
    await this.page.goto(link);
    await this.askAgain(name, { passcode });
  }

  /** Asks to join on the page before the call, which is already open. */
  async askAgain(name, { passcode } = {}) {
    const { page } = this;
    if (name) await page.getByLabel("Your name").fill(name);
    if (passcode) await page.getByLabel("Passcode of the call").fill(passcode);
    await page.getByRole("button", { name: "Join the call" }).click();
  }

  /** Waits until the page is in the call. */
  seated() {
    return until("the page is in the call", async () => (await this.view()).status === "live");
  }

  /** Returns the page's debug view, without a status while the page loads. */
  view() {
    return this.page.evaluate(() => {
      const { status, peerId, node, peers = [] } = window.switchboard ?? {};
      return { status, peerId, node, peers };
    });
  }

  /** Waits until this page is connected to exactly these participants, given by name. */
  connectedTo(...names) {
    const expected = [...names].sort().join();
    return until(`connected to ${names}`, async () => {
      const { peers } = await this.view();
      const connected = peers.filter(({ connectionState }) => connectionState === "connected");
      return (
        peers.length === connected.length &&
        peers
          .map(({ name }) => name)
          .sort()
          .join() === expected
      );
    });
  }

  /** Waits until there is a peer, and three more frames of every peer are decoded. */
  async seesFrames() {
    const frames = async () => Object.entries(await this.page.evaluate(() => window.switchboard.stats()));
    const before = Object.fromEntries(await frames());
    await until("frames are decoded", async () => {
      const now = await frames();
      return (
        now.length > 0 &&
        now.every(([peer, { framesDecoded }]) => framesDecoded > (before[peer]?.framesDecoded ?? 0) + 2)
      );
    });
  }

  /**
   * Records from now on what the page shows about the others: each notice, and the smallest number
   * of tiles. Call it again after a reload.
   */
  watch() {
    return this.page.evaluate(() => {
      const tiles = () => document.querySelectorAll(".tile").length;
      const watched = (window.watched = { notices: [], tiles: tiles() });
      const look = (changes) => {
        watched.tiles = Math.min(watched.tiles, tiles());
        for (const { addedNodes } of changes) {
          for (const node of addedNodes) if (node.classList?.contains("toast")) watched.notices.push(node.textContent);
        }
      };
      new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    });
  }

  /** Returns what `watch` recorded. */
  watched() {
    return this.page.evaluate(() => window.watched);
  }

  /** Returns the tile with this name. */
  tile(name) {
    return this.page.locator(".tile", { hasText: name });
  }

  /** Presses a button of the bar under the call. */
  press(name) {
    return this.page
      .getByRole("navigation", { name: "Call controls" })
      .getByRole("button", { name, exact: true })
      .click();
  }

  /** Sends a message. The chat panel must be open. */
  async sendChat(text) {
    await this.page.getByRole("textbox", { name: "Message" }).fill(text);
    await this.page.getByRole("button", { name: "Send" }).click();
  }
}
