// The example page of README.md, as it stands there, on a web server of its own.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { launch } from "../support/browser.mjs";
import { account, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("the example page of the README", { timeout: 120_000 }, () => {
  let browser;
  let server;
  let address;

  before(async () => {
    const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
    const [, page] = /```html\n([\s\S]*?)```/.exec(readme);
    assert.ok(page.includes("http://localhost:8080"), "the page names the address of `make up`");
    const html = page.replaceAll("http://localhost:8080", baseUrl());
    server = createServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(html);
    });
    await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
    address = `http://localhost:${server.address().port}`;
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
  });

  test("three windows from another origin see and hear each other, one is reloaded, and a closed one disappears", async () => {
    const { roomId } = await newCall(await account("Ada Host"));
    const pages = [];
    for (let number = 0; number < 3; number++) {
      const context = await browser.newContext();
      pages.push(await context.newPage());
      await pages.at(-1).goto(`${address}/?room=${roomId}`);
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
    await allPlay(pages, 3);
    await pages[2].reload();
    // The seat is the same, so no page shows a fourth picture.
    await allPlay(pages, 3);
    await pages.pop().context().close();
    await allPlay(pages, 2);
  });
});
