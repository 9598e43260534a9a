// Runs the test files one at a time, because they share the machine's cores with the cluster under
// test. `node run.mjs signaling` runs the files whose names contain that word. Needs Node.js 18.17.
import { readdirSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";

const FILE_TIMEOUT_MS = 300_000;
const folder = new URL("test/", import.meta.url);
const words = process.argv.slice(2);
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".test.mjs") && (words.length === 0 || words.some((word) => name.includes(word))))
  .map((name) => fileURLToPath(new URL(name, folder)));

if (files.length === 0) {
  console.error(`no test file matches: ${words.join(" ")}`);
  process.exit(1);
}

let passed = 0;
// A file that does not end fails.
const results = run({ files, concurrency: 1, timeout: FILE_TIMEOUT_MS });
results.on("test:pass", () => (passed += 1));
results.on("test:fail", () => (process.exitCode = 1));
results.on("end", () => {
  if (passed === 0) process.exitCode = 1;
});
results.compose(new spec()).pipe(process.stdout);
