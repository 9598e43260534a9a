// The api behaves as its OpenAPI document says. Schemathesis generates valid and invalid requests
// from the served document and checks every answer against it.
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

/**
 * Requests to each operation in the last phase. A count, not a time, so that a slow machine tests
 * as much.
 */
const EXAMPLES = 20;

const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  // Requests that violate the document are refused, so the document states every input rule.
  "negative_data_rejection",
];

test("every answer of the api conforms to its OpenAPI document", { timeout: 600_000 }, async (context) => {
  assert.ok(existsSync(SCHEMATHESIS), "schemathesis is missing: run `scripts/setup test`");
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
  // Schemathesis stores findings in its folder and reuses them. A new folder makes runs repeatable.
  const cwd = await mkdtemp(join(tmpdir(), "contract-"));
  context.after(() => rm(cwd, { recursive: true }));
  const child = spawn(SCHEMATHESIS, task, { cwd, env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (bytes) => (output += bytes));
  const [status] = await once(child, "close");
  assert.equal(status, 0, output);
  // Schemathesis also succeeds when it tests nothing.
  const [, passed] = output.match(/(\d+) passed/g).at(-1).match(/(\d+)/) ?? [];
  assert.ok(Number(passed) > 500, output);
});
