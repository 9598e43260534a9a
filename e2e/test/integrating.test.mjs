// The product of docs/INTEGRATING.md, as it stands there: its server, its page, and its receiver of
// webhooks; its server in Python; and the backend of sdk/js/README.md.
import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import { launch } from "../support/browser.mjs";
import { Client, newApp, operatorRequest } from "../support/clients.mjs";
import { baseUrl, nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

const repository = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const hasPython = spawnSync("python3", ["--version"]).status === 0;

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
  /** Key of the app after the rotation. */
  let next;

  before(async () => {
    const guide = await readFile(new URL("../../docs/INTEGRATING.md", import.meta.url), "utf8");
    const blocks = (language) => [...guide.matchAll(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, "g"))].map(([, text]) => text);
    folder = await mkdtemp(join(tmpdir(), "switchboard-product-"));
    const [server, webhooks] = blocks("js");
    await writeFile(join(folder, "server.mjs"), server);
    await writeFile(join(folder, "webhooks.mjs"), webhooks);
    await writeFile(join(folder, "meeting.html"), blocks("html")[0]);
    await copyFile(repository("examples/backend/server.py"), join(folder, "server.py"));
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
    next = await operatorRequest("POST", `/apps/${app.id}/keys`, {});
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

  test("its server in Python opens meetings too, and signs tokens for them", { skip: !hasPython && "no Python here" }, async () => {
    const port = await freePort();
    const env = { ...process.env, SWITCHBOARD_KEY_ID: next.keyId, SWITCHBOARD_KEY_SECRET: next.secret, SWITCHBOARD: baseUrl(), PORT: String(port) };
    const server = spawn("python3", [join(folder, "server.py")], { env, stdio: "ignore" });
    try {
      const meeting = `http://127.0.0.1:${port}/meetings/in-python`;
      const page = await until("it answers", () => fetch(meeting).catch(() => undefined));
      assert.match(await page.text(), new RegExp(`import \\{ Switchboard \\} from "${baseUrl()}/vendor/switchboard.js"`));
      const { token } = await (await fetch(`${meeting}/token?name=Ann`)).json();
      const ann = await Client.seated(nodeUrls()[0], "in-python", { token });
      assert.deepEqual([ann.joined.name, ann.joined.maxParticipants, ann.joined.user.name], ["Meeting in-python", 20, "Ann"]);
      ann.close();
    } finally {
      server.kill();
    }
  });

  test("its receiver accepts a webhook that is genuine, and no other", async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/`;
    const { webhookId, secret } = await operatorRequest("POST", `/apps/${app.id}/webhooks`, { url, events: ["call.ended"] });
    const env = { ...process.env, SWITCHBOARD_WEBHOOK_SECRET: secret, PORT: String(port) };
    const receiver = spawn(process.execPath, [join(folder, "webhooks.mjs")], { env, stdio: ["ignore", "ignore", "inherit"] });
    try {
      const forged = () => fetch(url, { method: "POST", body: "{}", headers: { "switchboard-signature": "t=1,v1=00" } });
      assert.equal((await until("it answers", () => forged().catch(() => undefined))).status, 401);
      const ping = await operatorRequest("POST", `/webhooks/${webhookId}/ping`);
      assert.deepEqual([ping.delivered, ping.status], [true, 204]);
    } finally {
      receiver.kill();
    }
  });

  test("the backend of the SDK's README creates a call and mints a token with its API key", async () => {
    const readme = await readFile(repository("sdk/js/README.md"), "utf8");
    const [, text] = /```js\n(import \{ RestClient \}[^]*?)```/.exec(readme);
    await writeFile(join(folder, "backend.mjs"), text);
    await mkdir(join(folder, "node_modules/@switchboard"), { recursive: true });
    await symlink(repository("sdk/js"), join(folder, "node_modules/@switchboard/client"));
    const env = { ...process.env, SWITCHBOARD_KEY_ID: next.keyId, SWITCHBOARD_KEY_SECRET: next.secret, SWITCHBOARD: baseUrl() };
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, "backend.mjs")], { env });
    const { roomId, token, inUse } = JSON.parse(stdout);
    assert.deepEqual([roomId, inUse], ["lesson-7", { concurrentCalls: null, concurrentParticipants: null }]);
    const ann = await Client.seated(nodeUrls()[0], roomId, { token });
    assert.deepEqual([ann.joined.role, ann.joined.settings.waitingRoomEnabled], ["host", true]);
    ann.close();
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
