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
import { newApp } from "../support/clients.mjs";
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

  before(async () => {
    const guide = await readFile(new URL("../../docs/INTEGRATING.md", import.meta.url), "utf8");
    const block = (language) => new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(guide)[1];
    folder = await mkdtemp(join(tmpdir(), "switchboard-product-"));
    await writeFile(join(folder, "server.mjs"), block("js"));
    await writeFile(join(folder, "meeting.html"), block("html"));
    const port = await freePort();
    address = `http://localhost:${port}`;
    const { keyId, secret } = await newApp("Product");
    const key = { SWITCHBOARD_KEY_ID: keyId, SWITCHBOARD_KEY_SECRET: secret };
    const env = { ...process.env, ...key, SWITCHBOARD: baseUrl(), PORT: String(port) };
    product = spawn(process.execPath, [join(folder, "server.mjs")], { env, stdio: "inherit" });
    await until("the product answers", () => fetch(address).then(() => true, () => false));
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    product?.kill();
    if (folder) await rm(folder, { recursive: true });
  });

  test("two people meet in it, and one leaves", async () => {
    const open = async (name, meeting = "one") => {
      const page = await (await browser.newContext()).newPage();
      await page.goto(`${address}/meetings/${meeting}?name=${name}`);
      return page;
    };
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
});
