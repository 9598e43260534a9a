// The reference at /api/docs in a browser: it searches, tries requests, and asks no other host.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch } from "../support/browser.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

describe("the reference of the api", { timeout: 120_000 }, () => {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  test("it finds an operation, tries a request, and loads nothing that the policy of the page forbids", async () => {
    const page = await browser.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol !== "data:" && origin !== new URL(baseUrl()).origin) problems.push(request.url());
    });
    await page.goto(`${baseUrl()}/api/docs`);
    await page.locator(".opblock").first().waitFor();
    const shown = () => page.locator(".opblock").count();
    assert.ok((await shown()) > 30, `${await shown()} operations`);
    const groups = await page.locator(".opblock-tag").evaluateAll((all) => all.map(({ dataset }) => dataset.tag));
    assert.deepEqual(groups, ["auth", "video-calls", "server", "service", "admin"]);

    const find = async (phrase, id) => {
      await page.getByPlaceholder("Filter by tag").fill(phrase);
      await until(`${id} alone is found`, async () => {
        const found = await page.locator(".opblock").evaluateAll((all) => all.map((each) => each.id));
        return found.length === 1 && found[0].endsWith(id);
      });
    };
    await find("reopen call", "-reopenCall");
    await find("getVersion", "-getVersion");
    await page.locator(".opblock-summary-control").click();
    await page.getByRole("button", { name: "Execute" }).click();
    const answer = page.locator(".live-responses-table .response-col_status").last();
    await until("the answer is shown", async () => (await answer.textContent().catch(() => "")).includes("200"));
    assert.deepEqual(problems, []);
    await page.close();
  });

  test("without scripts it shows every operation", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(`${baseUrl()}/api/docs`);
    assert.ok((await page.locator("section h2").count()) > 30);
    await context.close();
  });
});
