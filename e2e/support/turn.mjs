// coturn on a free port of this machine, with the credentials that the api issues.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { join } from "node:path";
import { until } from "./until.mjs";

const SECRET = "for-throw-away-relays-only";
/** Time for which credentials are valid, in seconds. */
const CREDENTIALS_S = 3_600;

/** Address of this machine at which browsers have a network. They gather nothing on loopback. */
function ownAddress() {
  const all = Object.values(networkInterfaces()).flat();
  return (all.find(({ family, internal }) => family === "IPv4" && !internal) ?? { address: "127.0.0.1" }).address;
}

async function freePort(address) {
  const socket = createSocket("udp4").bind(0, address);
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

/**
 * Starts a relay server.
 *
 * - `url` and `iceServers` are for the browser.
 * - `opened` counts the relays that clients have opened since the last start.
 * - `restart` kills the program and starts it again: it has forgotten every relay.
 *
 * @returns {Promise<{url: string, iceServers: RTCIceServer[], opened: () => number,
 *   restart: () => Promise<void>, close: () => Promise<void>}>}
 */
export async function turnServer() {
  const address = ownAddress();
  const port = await freePort(address);
  const folder = await mkdtemp(join(tmpdir(), "switchboard-turn-"));
  const options = [
    "-n",
    `--listening-ip=${address}`,
    `--relay-ip=${address}`,
    `--listening-port=${port}`,
    "--use-auth-secret",
    `--static-auth-secret=${SECRET}`,
    "--realm=relay.test",
    "--no-tls",
    "--no-dtls",
    "--no-cli",
    "--allow-loopback-peers",
    "--verbose",
    "--log-file=stdout",
    `--pidfile=${join(folder, "pid")}`,
    `--userdb=${join(folder, "db")}`,
  ];
  let server;
  let log;
  async function start() {
    log = "";
    server = spawn("turnserver", options, { cwd: folder });
    for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => (log += text));
    await until("coturn listens", () => log.includes(`UDP listener opened on: ${address}:${port}`) || server.exitCode !== null);
    if (server.exitCode !== null) throw new Error(`coturn ended: ${log}`);
  }
  async function end() {
    if (server.exitCode !== null || server.signalCode !== null) return;
    server.kill("SIGKILL");
    await once(server, "exit");
  }
  await start();
  const url = `turn:${address}:${port}?transport=udp`;
  const username = `${Math.floor(Date.now() / 1_000) + CREDENTIALS_S}:test`;
  const credential = createHmac("sha1", SECRET).update(username).digest("base64");
  return {
    url,
    iceServers: [{ urls: url, username, credential }],
    opened: () => log.match(/session \d+: new,/g)?.length ?? 0,
    restart: async () => {
      await end();
      await start();
    },
    close: async () => {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
