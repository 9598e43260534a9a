// Every option of the stock client, at a node and through every load balancer that is shipped.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import * as parser from "socket.io-parser";
import { BALANCERS } from "../support/balancers.mjs";
import { account } from "../support/clients.mjs";
import { until } from "../support/until.mjs";

/**
 * Options of socket.io-client 4, with the values that are tried. `settles` names the transport that
 * a client ends up on, if it is not the one of `settlesOn`.
 */
const OPTIONS = {
  path: [{ path: "/socket.io" }, { path: "/socket.io/" }],
  addTrailingSlash: [{ addTrailingSlash: false }, { addTrailingSlash: false, transports: ["websocket"] }],
  transports: [
    { transports: ["polling"] },
    { transports: ["websocket"] },
    { transports: ["polling", "websocket"] },
    { transports: ["websocket", "polling"] },
    { transports: ["polling", "websocket", "webtransport"] },
  ],
  tryAllTransports: [{ tryAllTransports: true }, { tryAllTransports: true, transports: ["websocket", "polling"] }],
  upgrade: [{ upgrade: false, settles: "polling" }],
  rememberUpgrade: [{ rememberUpgrade: true }],
  protocols: [{ transports: ["websocket"], protocols: ["calls.v1", "calls.v2"] }, { protocols: ["calls.v1"] }],
  extraHeaders: [{ extraHeaders: { "X-Custom": "value" } }],
  query: [{ query: { version: "1.2.3", room: "a b&c" } }],
  auth: [{ auth: {} }, { auth: (answer) => answer({ name: "function" }) }],
  withCredentials: [{ withCredentials: true }, { withCredentials: true, transports: ["polling"] }],
  forceNew: [{ forceNew: true }],
  multiplex: [{ multiplex: false }],
  autoConnect: [{ autoConnect: false }],
  autoUnref: [{ autoUnref: true }],
  timestampRequests: [{ timestampRequests: false, transports: ["polling"] }, { timestampRequests: true, transports: ["websocket"] }],
  timestampParam: [{ timestampParam: "ts", transports: ["polling"] }],
  forceBase64: [{ forceBase64: true, transports: ["polling"] }, { forceBase64: true }],
  perMessageDeflate: [{ perMessageDeflate: { threshold: 0 }, transports: ["websocket"] }, { perMessageDeflate: false }],
  requestTimeout: [{ requestTimeout: 60_000, transports: ["polling"] }],
  transportOptions: [{ transportOptions: { polling: { extraHeaders: { "X-Custom": "value" } } } }],
  closeOnBeforeunload: [{ closeOnBeforeunload: true }],
  useNativeTimers: [{ useNativeTimers: true }],
  retries: [{ retries: 2, ackTimeout: 10_000 }],
  ackTimeout: [{ ackTimeout: 10_000 }],
  timeout: [{ timeout: 15_000 }],
  reconnection: [{ reconnection: false }],
  reconnectionAttempts: [{ reconnectionAttempts: 3 }],
  reconnectionDelay: [{ reconnectionDelay: 100, reconnectionDelayMax: 500, randomizationFactor: 0 }],
  parser: [{ parser }],
};

/** Returns the transport that a client with these options ends up on. */
const settlesOn = ({ settles, transports = ["polling", "websocket"] }) =>
  settles ?? (transports.includes("websocket") ? "websocket" : transports[0]);

describe("every option of the stock client", { timeout: 300_000 }, () => {
  let token;
  before(async () => ({ token } = await account("Optional Host")));

  test("is in the table of the protocol", async () => {
    const text = await readFile(new URL("../../docs/PROTOCOL.md", import.meta.url), "utf8");
    const table = text.slice(text.indexOf("### Options of the stock client"));
    assert.deepEqual(Object.keys(OPTIONS).filter((name) => !table.includes(`\`${name}`)), []);
  });

  for (const balancer of BALANCERS) {
    describe(`through ${balancer.name}`, balancer.missing ? { skip: `there is no ${balancer.missing}` } : {}, () => {
      let running;
      before(async () => (running = await balancer.start()));
      after(() => running?.stop());

      for (const [name, values] of Object.entries(OPTIONS)) {
        test(`${name} works`, async () => {
          for (const options of values) {
            const socket = io(running.url, { forceNew: name !== "multiplex", auth: { token }, ...options });
            try {
              if (options.autoConnect === false) socket.connect();
              const servers = [];
              socket.on("webrtc:ice-servers", (payload) => servers.push(payload));
              await until(`${JSON.stringify(options)} connects`, () => socket.connected);
              const settles = settlesOn(options);
              await until(`${JSON.stringify(options)} is on ${settles}`, () => socket.io.engine.transport.name === settles);
              // An acknowledgement of 20 kB of data, and an event back.
              const ask = () => socket.timeout(10_000).emitWithAck("webrtc:get-ice-servers", { padding: "é".repeat(10_000) });
              assert.equal((await (options.retries || options.ackTimeout ? socket.emitWithAck("webrtc:get-ice-servers", {}) : ask())).success, true);
              await until("the event", () => servers.length >= 2);
            } finally {
              socket.disconnect();
            }
          }
        });
      }
    });
  }
});
