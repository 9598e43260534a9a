// The product of docs/INTEGRATING.md, as it stands there: its server and its page.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { launch } from "../support/browser.mjs";
import { newApp, operatorRequest } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

describe("the product of the guide to integrating", { timeout: 120_000 }, () => {
  let browser;
  let folder;
  let product;
  let address;
  let app;

  before(async () => {
    const guide = await readFile(new URL("../../docs/INTEGRATING.md", import.meta.url), "utf8");
    const block = (language) => new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(guide)[1];
    folder = await mkdtemp(join(tmpdir(), "switchboard-product-"));
    await writeFile(join(folder, "server.mjs"), block("js"));
    await writeFile(join(folder, "meeting.html"), block("html"));
    const port = await freePort();
    address = `http://localhost:${port}`;
    app = await newApp("Product");
    await start(port, app);
    browser = await launch();
  });

  /** Starts the product with an API key. */
  async function start(port, { keyId, secret }) {
    const key = { SWITCHBOARD_KEY_ID: keyId, SWITCHBOARD_KEY_SECRET: secret };
    const env = { ...process.env, ...key, SWITCHBOARD: baseUrl(), PORT: String(port) };
    product = spawn(process.execPath, [join(folder, "server.mjs")], { env, stdio: "inherit" });
    await until("the product answers", () => fetch(address).then(() => true, () => false));
  }
  after(async () => {
    await browser?.close();
    product?.kill();
    if (folder) await rm(folder, { recursive: true });
  });

  const open = async (name, meeting = "one") => {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`${address}/meetings/${meeting}?name=${name}`);
    return page;
  };

  test("two people meet in it, and one leaves", async () => {
    const playing = (page) =>
      page.evaluate(() => [...document.querySelectorAll("video")].filter((v) => v.videoWidth && v.currentTime).length);
    const pages = await Promise.all([open("Ada"), open("Grace")]);
    await until("both play both videos", async () => (await Promise.all(pages.map(playing))).every((count) => count === 2));
    const titles = await pages[0].locator("video").evaluateAll((all) => all.map(({ title }) => title));
    assert.deepEqual(titles.sort(), ["Ada", "Grace"]);
    await pages[1].getByRole("button", { name: "Leave" }).click();
    await pages[1].getByText("Over: left").waitFor();
    await pages[0].getByText("live: 1 here").waitFor();
    assert.equal(await pages[0].locator("video").count(), 1);
  });

  test("when its key is rotated, pages in a call get tokens of the next key and go on", async () => {
    const pages = await Promise.all([open("Ada", "rotated-key"), open("Grace", "rotated-key")]);
    await Promise.all(pages.map((page) => page.getByText("live: 2 here").waitFor()));
    const next = await operatorRequest("POST", `/apps/${app.id}/keys`, {});
    product.kill();
    await once(product, "exit");
    await start(Number(new URL(address).port), next);
    const reconnects = (page) =>
      page.evaluate(() => {
        const state = document.getElementById("state");
        window.seen = [];
        new MutationObserver(() => window.seen.push(state.textContent)).observe(state, { childList: true });
      });
    await Promise.all(pages.map(reconnects));
    await operatorRequest("DELETE", `/apps/${app.id}/keys/${app.keyId}`);
    const seen = (page) => page.evaluate(() => window.seen);
    await until("both pages were closed and are back", async () => {
      const states = await Promise.all(pages.map(seen));
      return states.every((all) => all.some((text) => text.startsWith("reconnecting")) && all.at(-1) === "live: 2 here");
    });
  });

  test("while Switchboard refuses, it answers and goes on", async () => {
    const answer = await fetch(`${address}/meetings/${"x".repeat(64)}-`);
    assert.equal(answer.status, 404, "a name that is too long is no meeting");
    const unknown = { keyId: app.keyId, secret: "sbs_wrong" };
    product.kill();
    await once(product, "exit");
    await start(Number(new URL(address).port), unknown);
    for (let time = 0; time < 2; time += 1) {
      assert.equal((await fetch(`${address}/meetings/refused`)).status, 503);
    }
  });
});
