// Rules of the page that need no browser: its catalogue of sentences, the places of tiles, links in
// messages.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { CATALOGUE, LANGUAGES } from "../../web/app/catalogue.js";
import { layout } from "../../web/app/layout.js";
import { withLinks } from "../../web/app/link.js";

const app = new URL("../../web/app/", import.meta.url);

test("every sentence of the page is in the catalogue in every language, and none is there in vain", async () => {
  const names = (await readdir(app, { recursive: true })).filter((name) => name.endsWith(".js") && name !== "catalogue.js");
  const sources = await Promise.all(names.map((name) => readFile(fileURLToPath(new URL(name, app)), "utf8")));
  const words = new Set([...sources.join("\n").matchAll(/["'`](\w+)["'`]/g)].map(([, word]) => word));
  const used = [...sources.join("\n").matchAll(/\bt\("(\w+)"/g)].map(([, key]) => key);
  assert.ok(used.length > 100);
  for (const key of used) assert.ok(key in CATALOGUE, key);
  const languages = Object.keys(LANGUAGES).length;
  for (const [key, sentences] of Object.entries(CATALOGUE)) {
    // Codes of errors and the names of requests come from elsewhere.
    const known = words.has(key) || /^[A-Z_]+$/.test(key) || words.has(key.replace(/Person$/, ""));
    assert.ok(known, `${key} is used nowhere`);
    assert.equal(sentences.length, languages, key);
    const values = sentences.map((sentence) => [...sentence.matchAll(/\{\w+\}/g)].map(String).sort().join());
    assert.equal(new Set(values).size, 1, `${key} has other values in another language`);
  }
});

test("tiles keep their shape, fill the stage and do not overlap, on a phone and on a desk", () => {
  const stages = [
    { width: 374, height: 560 },
    { width: 640, height: 240 },
    { width: 1240, height: 640 },
  ];
  for (const stage of stages) {
    for (const featured of [0, 1]) {
      for (const people of [1, 2, 3, 4, 5, 6, 9]) {
        const places = layout({ ...stage, featured, others: people, screens: false });
        const where = `${people} and ${featured} on ${stage.width} x ${stage.height}`;
        assert.deepEqual([places.featured.length, places.others.length], [featured, people], where);
        const all = [...places.featured, ...places.others];
        for (const { left, top, width, height } of all) {
          assert.ok(width / height > 0.99 && width / height < 1.78, `${where}: ${width} x ${height}`);
          assert.ok(left > -0.1 && top > -0.1 && left + width < stage.width + 0.1 && top + height < stage.height + 0.1, where);
        }
        assert.equal(new Set(places.others.map(({ width }) => width)).size, 1, `${where}: equal tiles`);
        const overlap = (one, other) =>
          one.left < other.left + other.width - 0.1 &&
          other.left < one.left + one.width - 0.1 &&
          one.top < other.top + other.height - 0.1 &&
          other.top < one.top + one.height - 0.1;
        const overlapping = all.some((one, index) => all.slice(index + 1).some((other) => overlap(one, other)));
        assert.equal(overlapping, false, where);
        const area = places.others.reduce((sum, { width, height }) => sum + width * height, 0);
        if (!featured) assert.ok(area > 0.4 * stage.width * stage.height, `${where}: much of the stage is empty`);
      }
    }
  }
});

test("only http and https become links, without the punctuation around them", () => {
  const links = (text) => withLinks(text).filter((part) => part.href).map(({ href }) => href);
  for (const [text, expected] of [
    ["see https://example.com/a.", ["https://example.com/a"]],
    ["(http://example.com) and HTTPS://EXAMPLE.org!", ["http://example.com/", "https://example.org/"]],
    ["javascript:alert(1) data:text/html,x ftp://example.com //example.com", []],
    ["https://", []],
    ["xhttps://example.com", []],
    [`https://example.com/${")".repeat(3_000)}a!`, [`https://example.com/${")".repeat(3_000)}a`]],
  ]) {
    assert.deepEqual(links(text), expected, text);
    assert.equal(withLinks(text).map((part) => part.label ?? part).join(""), text, "no text is lost");
  }
});
