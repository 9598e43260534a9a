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
 * Starts a relay.
 * @param {{ lifetime?: number }} options seconds after which a relay ends that is not renewed
 * @returns {Promise<{iceServers: (name: string, seconds?: number) => RTCIceServer[], log: () => string,
 *   close: () => Promise<void>}>} `iceServers` gives credentials of an hour or of these seconds, with
 *   this name in the user name
 */
export async function turnRelay({ lifetime = 600 } = {}) {
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
    `--max-allocate-lifetime=${lifetime}`,
    "--verbose",
    "--log-file=stdout",
    `--pidfile=${join(folder, "pid")}`,
    `--userdb=${join(folder, "db")}`,
  ];
  const relay = spawn("turnserver", options, { cwd: folder });
  let log = "";
  for (const stream of [relay.stdout, relay.stderr]) stream.on("data", (text) => (log += text));
  await until("coturn listens", () => log.includes(`UDP listener opened on: ${address}:${port}`) || relay.exitCode !== null);
  if (relay.exitCode !== null) throw new Error(`coturn ended: ${log}`);
  return {
    iceServers: (name, seconds = 3_600) => {
      const username = `${Math.floor(Date.now() / 1_000) + seconds}:${name}`;
      const credential = createHmac("sha1", SECRET).update(username).digest("base64");
      return [{ urls: `turn:${address}:${port}?transport=udp`, username, credential }];
    },
    log: () => log,
    close: async () => {
      if (relay.exitCode === null) {
        relay.kill();
        await once(relay, "exit");
      }
      await rm(folder, { recursive: true });
    },
  };
}
