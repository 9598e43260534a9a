// Programs of the service beside the cluster under test, with settings of their own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./until.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Folder of the programs under test. */
export const PROGRAMS = process.env.SWITCHBOARD_BIN_DIR ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug");

/** Returns a port of this machine that is free now. */
export async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/**
 * Starts an api and a node on the stores of the cluster under test, with a database and a prefix of
 * this name, and with these settings. Without NODE_ENV among them they run as in production.
 * Returns `{ apiUrl, nodeUrl, stop }`.
 */
export async function startPods(name, settings) {
  const database = new URL(process.env.MONGODB_URI);
  database.pathname = `/${name}`;
  const [api, node, apiMetrics, nodeMetrics, internal] = await Promise.all(Array.from({ length: 5 }, freePort));
  const shared = {
    REDIS_URL: process.env.REDIS_URL,
    REDIS_PREFIX: name,
    MONGODB_URI: database.href,
    FRONTEND_URL: `http://127.0.0.1:${api}`,
    BIND_ADDRESS: "127.0.0.1",
    LOG_LEVEL: "warn",
    ...settings,
  };
  const own = {
    api: { API_PORT: api, METRICS_PORT: apiMetrics },
    "signal-node": { SIGNALING_PORT: node, METRICS_PORT: nodeMetrics, INTERNAL_PORT: internal, NODE_ID: name },
  };
  const pods = Object.entries(own).map(([program, variables]) => {
    const child = spawn(join(PROGRAMS, program), { env: { ...shared, ...variables }, stdio: ["ignore", "inherit", "inherit"] });
    return { program, child, exit: once(child, "exit"), url: `http://127.0.0.1:${variables.METRICS_PORT}/readyz` };
  });
  /** Stops both. Returns their exit codes. */
  const stop = async () => {
    for (const { child } of pods) child.kill("SIGTERM");
    return (await Promise.all(pods.map(({ exit }) => exit))).map(([code]) => code);
  };
  try {
    for (const { program, child, url } of pods) {
      await until(`${program} is ready`, async () => {
        if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
        return (await fetch(url).catch(() => undefined))?.ok;
      });
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { apiUrl: shared.FRONTEND_URL, nodeUrl: `http://127.0.0.1:${node}`, stop };
}
