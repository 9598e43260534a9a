// The example pages, from another origin: on the SDK as README.md shows it, in React, and without
// an SDK. They call each other and the demo page.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Person, launch } from "../support/browser.mjs";
import { account, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { staticPages } from "../support/static-pages.mjs";
import { until } from "../support/until.mjs";

const fileOf = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const read = (path) => readFile(fileOf(path), "utf8");
/** Most lines of script that a call on the SDK may have. */
const SCRIPT_LINES_MAX = 10;

describe("the example pages", { timeout: 240_000 }, () => {
  let browser;
  let server;
  let examples;

  before(async () => {
    await promisify(execFile)("npm", ["--prefix", fileOf("examples/react"), "run", "build"]);
    examples = {
      "/page": await read("examples/page/index.html"),
      "/raw": await read("examples/raw/index.html"),
      "/dist/main.js": await read("examples/react/dist/main.js"),
    };
    const files = Object.entries(examples).map(([path, text]) => {
      assert.ok(text.includes("http://localhost:8080"), "the page names the address of `make up`");
      return [path, text.replaceAll("http://localhost:8080", baseUrl())];
    });
    server = await staticPages({ "/react": await read("examples/react/index.html"), ...Object.fromEntries(files) });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    server?.close();
  });

  /** Opens a window of its own with an example. An error that the page throws fails the test. */
  async function open(path, roomId) {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.on("pageerror", (error) => assert.fail(error));
    await page.goto(`${server.url}${path}?room=${roomId}`);
    return page;
  }

  /** Returns the number of videos of a page that show a moving picture. */
  const playing = (page) =>
    page.evaluate(() => [...document.querySelectorAll("video")].filter((v) => v.videoWidth && v.currentTime).length);
  const allPlay = (pages, count) =>
    until(
      `${pages.length} pages play ${count} videos`,
      async () => (await Promise.all(pages.map(playing))).every((videos) => videos === count),
      60_000,
    );

  test(`a call on the SDK has ${SCRIPT_LINES_MAX} lines at most, and README.md shows them`, async () => {
    const [, script] = /<script type="module">\n(.*)\n<\/script>\n$/s.exec(examples["/page"]);
    const lines = script.split("\n");
    assert.ok(lines.length <= SCRIPT_LINES_MAX, `${lines.length} lines`);
    // No line holds two: a statement ends where its line does.
    for (const line of lines) assert.ok(line.length <= 110 && !/; *[^ /]/.test(line), line);
    assert.ok((await read("README.md")).includes(`\`\`\`html\n${examples["/page"]}\`\`\``));
  });

  test("two windows on the SDK and the demo page see each other, one is reloaded, and a closed one disappears", async () => {
    const { roomId } = await newCall(await account("Ada Host"));
    const pages = [await open("/page", roomId), await open("/page", roomId)];
    const person = await Person.open(browser);
    await person.joinAsGuest(`${baseUrl()}/?room=${roomId}`, "Demo Page");
    await allPlay([...pages, person.page], 3);
    await person.connectedTo("Guest", "Guest");
    await person.seesFrames();
    const peers = async () => (await person.view()).peers.map(({ peerId }) => peerId).sort();
    const before = await peers();
    const pid = () => pages[1].evaluate(() => JSON.parse(sessionStorage.getItem("switchboard.seat"))?.pid);
    const former = await pid();
    await person.watch();
    await pages[1].reload();
    await until("the reloaded page has a new session", async () => ![undefined, former].includes(await pid()));
    await allPlay([...pages, person.page], 3);
    // The seat is the same, so no page shows a fourth picture, and nobody left.
    assert.deepEqual(await peers(), before);
    assert.deepEqual((await person.watched()).notices, []);
    await pages.pop().context().close();
    await allPlay([...pages, person.page], 2);
    await pages[0].context().close();
    await person.close();
  });

  test("a client without an SDK and the SDK call each other, whichever of them makes the offer", async () => {
    const owner = await account("Ada Host");
    const person = await Person.open(browser);
    const roles = new Set();
    // The roles follow from the ids, which are random. Each attempt has a call of its own.
    await until(
      "both roles were tried",
      async () => {
        const { roomId } = await newCall(owner);
        await person.joinAsGuest(`${baseUrl()}/?room=${roomId}`, "Demo Page");
        const raw = await open("/raw", roomId);
        await person.connectedTo("Raw");
        await person.seesFrames();
        // The raw client shows the others alone.
        await Promise.all([allPlay([raw], 1), allPlay([person.page], 2)]);
        const [{ polite }] = (await person.view()).peers;
        if (!roles.has(polite)) {
          roles.add(polite);
          await renegotiates(person, raw);
        }
        await raw.context().close();
        return roles.size === 2;
      },
      120_000,
    );
    await person.close();
  });

  test("a call in React and a client without an SDK see each other, and React renders each change", async () => {
    const { roomId } = await newCall(await account("Ada Host"));
    const react = await open("/react", roomId);
    await react.getByText("live: 1 here").waitFor();
    const raw = await open("/raw", roomId);
    await react.getByText("live: 2 here").waitFor();
    await Promise.all([allPlay([react], 2), allPlay([raw], 1)]);
    await react.getByRole("button", { name: "Raise hand" }).click();
    await react.getByText("Guest (you) ✋").waitFor();
    await react.getByRole("button", { name: "👍" }).click();
    await react.getByRole("listitem").filter({ hasText: "Guest 👍" }).waitFor();
    await react.getByRole("button", { name: "Mute" }).click();
    await react.getByRole("button", { name: "Unmute" }).waitFor();
    await react.getByRole("button", { name: "Leave" }).click();
    await react.getByText("The call is over: left").waitFor();
    await allPlay([raw], 0);
    for (const page of [react, raw]) await page.context().close();
  });

  /** The demo page shares a screen with the other page, and stops it. */
  async function renegotiates(person, raw) {
    const tracks = () => raw.evaluate(() => document.querySelectorAll("video")[0].srcObject.getVideoTracks().length);
    const before = await tracks();
    await person.press("Share screen");
    await until("the screen has come", async () => (await tracks()) === before + 1);
    await person.press("Stop sharing");
    await person.seesFrames();
  }
});
