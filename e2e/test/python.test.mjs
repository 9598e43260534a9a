// Clients in another language: python-socketio on every transport, through the load balancer. It
// shows that the server does not depend on the JavaScript client.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { account, guest, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { TcpProxy } from "../support/tcp-proxy.mjs";
import { until, within } from "../support/until.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = here("../../.tools/python/bin/python");
const CONVERSATION = here("../python/conversation.py");

describe("python-socketio through the load balancer", { timeout: 240_000 }, () => {
  let host;
  before(async () => {
    assert.ok(existsSync(PYTHON), "Python packages are missing: run `scripts/setup test`");
    host = await account("Python Host");
  });

  const TRANSPORTS = [
    ["the default transports", null, "websocket"],
    ["long-polling only", ["polling"], "polling"],
    ["WebSocket only", ["websocket"], "websocket"],
  ];
  const RETURNS = [
    ["join again", false],
    ["recover", true],
  ];
  for (const [[name, transports, settles], [back, recovers]] of TRANSPORTS.flatMap((on) => RETURNS.map((by) => [on, by]))) {
    test(`two clients on ${name} relay events, ${back} after a lost connection, and relay again`, async () => {
      const { roomId } = await newCall(host);
      const proxy = await TcpProxy.to(baseUrl());
      const guests = [await guest(roomId, "Monty"), await guest(roomId, "Terry")];
      const task = JSON.stringify({ url: proxy.url, roomId, transports, settles, recovers, guests });
      const child = spawn(PYTHON, [CONVERSATION, task], { stdio: ["ignore", "pipe", "inherit"] });
      const ended = once(child, "exit");
      const lines = [];
      createInterface({ input: child.stdout }).on("line", (text) => lines.push(text));
      try {
        await until("the events are relayed", () => lines.includes("cut me") || child.exitCode !== null);
        assert.equal(lines[0], "cut me");
        await until("both are connected", () => proxy.connections >= 2);
        proxy.cut();
        const [status] = await within("the end of the process", ended);
        assert.equal(status, 0);
        const { before, after } = JSON.parse(lines[1]);
        assert.equal(new Set(before).size, 2);
        assert.deepEqual(after, before, "each client has its own seat again");
      } finally {
        child.kill();
        proxy.close();
      }
    });
  }
});
