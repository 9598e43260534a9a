// The api keeps to its own document: schemathesis makes requests of every kind from the OpenAPI document that is served, good ones and bad
// ones, and holds every answer against it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { baseUrl } from "../support/cluster.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const SCHEMATHESIS = here("../../.tools/schemathesis/bin/schemathesis");
const HOOKS = here("../python/contract.py");

/** Requests to each operation in the last phase. So many, rather than so long: a busy machine tests no less. */
const EXAMPLES = 20;

const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  // What breaks the document is refused, so the document says all that is asked of an input.
  "negative_data_rejection",
];

test("no request makes the api answer what its document does not say", { timeout: 600_000 }, async (context) => {
  assert.ok(existsSync(SCHEMATHESIS), "`scripts/setup test` installs what this needs");
  const options = {
    "--checks": CHECKS.join(","),
    "--phases": "examples,coverage,fuzzing",
    "--max-examples": EXAMPLES,
    "--seed": 1,
    "--suppress-health-check": "all",
    "--warnings": "off",
  };
  const task = ["run", `${baseUrl()}/api/openapi.json`, "--continue-on-failure", ...Object.entries(options).flat().map(String)];
  const env = { ...process.env, SCHEMATHESIS_HOOKS: HOOKS, CONTRACT_API: `${baseUrl()}/api`, NO_COLOR: "1" };
  // It keeps what it found in its folder, for the next time: each run is to be like the first.
  const cwd = await mkdtemp(join(tmpdir(), "contract-"));
  context.after(() => rm(cwd, { recursive: true }));
  const child = spawn(SCHEMATHESIS, task, { cwd, env, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (bytes) => (said += bytes));
  const [status] = await once(child, "close");
  assert.equal(status, 0, said);
  // With nothing to do it would succeed, too.
  const [, passed] = said.match(/(\d+) passed/g).at(-1).match(/(\d+)/) ?? [];
  assert.ok(Number(passed) > 500, said);
});
