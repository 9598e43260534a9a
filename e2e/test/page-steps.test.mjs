// Steps of the page that end late or fail: they show no other view, and leave no device open.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Person, launch } from "../support/browser.mjs";
import { account, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("a step of the page", { timeout: 240_000 }, () => {
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

  /**
   * Opens a page that keeps its tracks in `window.tracks`. Devices wait for `window.open()`
   * while the session storage has `slow`, and end soon while `window.broken` is set.
   */
  async function open() {
    const person = await Person.open(browser);
    people.push(person);
    await person.page.addInitScript(() => {
      window.tracks = [];
      const { mediaDevices } = navigator;
      const original = mediaDevices.getUserMedia.bind(mediaDevices);
      mediaDevices.getUserMedia = async (constraints) => {
        if (sessionStorage.getItem("slow")) await new Promise((resolve) => (window.open = resolve));
        const stream = await original(constraints);
        window.tracks.push(...stream.getTracks());
        if (window.broken) setTimeout(() => stream.getTracks().forEach((track) => track.dispatchEvent(new Event("ended"))), 50);
        return stream;
      };
    });
    return person;
  }
  const opened = (page) => page.evaluate(() => tracks.filter(({ readyState }) => readyState === "live").length);
  const hasLeft = (person) => until("the page has no room", async () => (await person.view()).status === "none");

  test("an admission that comes after the user went home does not open the call", async () => {
    const { roomId } = await newCall(host);
    const person = await open();
    const { page } = person;
    let answered;
    const answer = new Promise((resolve) => (answered = resolve));
    let asked = false;
    await page.route("**/api/video-calls/join", async (route) => {
      asked = true;
      await answer;
      await route.continue();
    });
    await person.askToJoin(`${baseUrl()}/?room=${roomId}`, "Grace");
    await until("the page asks for admission", () => asked);
    await page.getByRole("button", { name: "front page" }).click();
    await page.getByRole("button", { name: "Join the call" }).waitFor({ state: "detached" });
    const admission = page.waitForResponse("**/api/video-calls/join");
    answered();
    await (await admission).finished();
    await page.waitForTimeout(1_500);
    assert.equal((await person.view()).status, "none");
    assert.equal(await opened(page), 0);
  });

  test("devices that open after the user went home do not open the call", async () => {
    const person = await open();
    const { page } = person;
    await person.signUp("Ada");
    await person.startCall("Slow devices");
    await page.evaluate(() => sessionStorage.setItem("slow", "yes"));
    await page.reload();
    await until("a device is being opened", () => page.evaluate(() => "open" in window && window.open.name === ""));
    await page.goBack();
    await page.getByRole("heading", { name: "New call" }).waitFor();
    await page.evaluate(() => window.open());
    await page.waitForTimeout(1_500);
    assert.equal((await person.view()).status, "none");
    assert.equal(await opened(page), 0);
  });

  test("a failure of the page leaves the call and closes the devices", async () => {
    const { roomId } = await newCall(host);
    const person = await open();
    const { page } = person;
    await page.goto(`${baseUrl()}/?room=${roomId}`);
    await until("microphone and camera are open", async () => (await opened(page)) === 2);
    await page.evaluate(() => {
      window.setInterval = () => {
        throw new TypeError("no timers here");
      };
    });
    await person.askAgain("Grace");
    await page.getByRole("heading", { name: "The page does not work" }).waitFor();
    await until("the devices are closed", async () => (await opened(page)) === 0);
    await hasLeft(person);
    person.problems.length = 0;
  });

  test("a device that ends whenever it is opened is replaced once", async () => {
    const { roomId } = await newCall(host);
    const person = await open();
    const { page } = person;
    await page.addInitScript(() => (window.broken = true));
    await page.goto(`${baseUrl()}/?room=${roomId}`);
    await page.locator(".toast", { hasText: "Camera" }).first().waitFor();
    await page.waitForTimeout(3_000);
    const count = await page.evaluate(() => tracks.length);
    assert.ok(count >= 3 && count <= 4, `${count} devices were opened`);
  });
});
