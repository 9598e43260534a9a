// Clients in another language: python-socketio on every transport, through the load balancer.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { account, guest, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { Line } from "../support/line.mjs";
import { until, within } from "../support/until.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = here("../../.tools/python/bin/python");
const CONVERSATION = here("../python/conversation.py");

describe("python-socketio through the load balancer", { timeout: 240_000 }, () => {
  let host;
  before(async () => {
    assert.ok(existsSync(PYTHON), "`scripts/setup test` installs what this needs");
    host = await account("Python Host");
  });

  const TRANSPORTS = [
    ["its own choice of transports", null, "websocket"],
    ["long-polling alone", ["polling"], "polling"],
    ["WebSocket alone", ["websocket"], "websocket"],
  ];
  const RETURNS = [
    ["join again", false],
    ["recover", true],
  ];
  for (const [[name, transports, settles], [back, recovers]] of TRANSPORTS.flatMap((on) => RETURNS.map((by) => [on, by]))) {
    test(`two clients on ${name} connect, relay, ${back} after a cut, and relay`, async () => {
      const { roomId } = await newCall(host);
      const line = await Line.to(baseUrl());
      const guests = [await guest(roomId, "Monty"), await guest(roomId, "Terry")];
      const task = JSON.stringify({ url: line.url, roomId, transports, settles, recovers, guests });
      const child = spawn(PYTHON, [CONVERSATION, task], { stdio: ["ignore", "pipe", "inherit"] });
      const ended = once(child, "exit");
      const lines = [];
      createInterface({ input: child.stdout }).on("line", (text) => lines.push(text));
      try {
        await until("it has relayed", () => lines.includes("cut me") || child.exitCode !== null);
        assert.equal(lines[0], "cut me");
        await until("both are connected", () => line.connections >= 2);
        line.cut();
        const [status] = await within("its end", ended);
        assert.equal(status, 0);
        const { before, after } = JSON.parse(lines[1]);
        assert.equal(new Set(before).size, 2);
        assert.equal(new Set(after).size, 2);
        if (recovers) assert.deepEqual(after, before);
      } finally {
        child.kill();
        line.close();
      }
    });
  }
});
