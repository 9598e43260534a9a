// Every load balancer that is shipped, in front of the cluster under test.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { baseUrl, metricsUrls, nodeUrls } from "./cluster.mjs";
import { until } from "./until.mjs";

const portOf = (url) => new URL(url).port;
const program = (name) =>
  [...process.env.PATH.split(":"), "/usr/sbin"].map((folder) => join(folder, name)).find((path) => existsSync(path));

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** The configuration of `compose`, with addresses of this cluster in place of its containers'. */
async function composeHaproxy(port) {
  const text = await readFile(new URL("../../compose/haproxy.cfg", import.meta.url), "utf8");
  const nodes = nodeUrls();
  const admins = metricsUrls();
  const server = (line) => {
    const index = Number(/node-(\d)/.exec(line)?.[1] ?? 0) - 1;
    const [own, admin] = index < 0 ? [process.env.API_URL, admins.api[0]] : [nodes[index], admins.nodes[index]];
    return line.replace(/ (api|node-\d):\d+/, ` 127.0.0.1:${portOf(own)}`).replace(/check port \d+/, `check port ${portOf(admin)}`);
  };
  return text
    // Two descriptors for each connection: more than some machines of tests allow.
    .replace(/maxconn \d+/, "maxconn 1000")
    .replace(/^resolvers docker[\s\S]*?\n\n/m, "")
    .replace(/ resolvers docker init-addr \S+/, "")
    .replace("bind :8080", `bind 127.0.0.1:${port}`)
    .split("\n")
    .map((line) => (/^ +server /.test(line) ? server(line) : line))
    .join("\n");
}

async function nginx(port, folder) {
  const text = await readFile(new URL("nginx.conf", import.meta.url), "utf8");
  const nodes = nodeUrls().map((url) => `server 127.0.0.1:${portOf(url)};`);
  return text
    .replaceAll("FOLDER", folder)
    .replace("PORT", port)
    .replace("server API;", `server 127.0.0.1:${portOf(process.env.API_URL)};`)
    .replace(/^ +NODES$/m, nodes.join(" "));
}

async function start(command, flag, configuration) {
  const folder = await mkdtemp(join(tmpdir(), "balancer-"));
  // The workers of nginx have another user.
  await chmod(folder, 0o755);
  const port = await freePort();
  const file = join(folder, "balancer.conf");
  await writeFile(file, await configuration(port, folder));
  const child = spawn(command, [...flag, file], { stdio: ["ignore", "ignore", "inherit"] });
  const url = `http://127.0.0.1:${port}`;
  await until(`${command} serves`, async () => {
    if (child.exitCode !== null) throw new Error(`${command} has ended with ${child.exitCode}`);
    const answer = await fetch(`${url}/socket.io/?EIO=4&transport=polling`).catch(() => undefined);
    return answer?.ok;
  });
  const stop = async () => {
    child.kill();
    await once(child, "exit");
    await rm(folder, { recursive: true });
  };
  return { url, stop };
}

const stays = (url) => async () => ({ url: url(), stop: async () => {} });

/** `missing` says what is not on this machine; `start` resolves with `{ url, stop() }`. */
export const BALANCERS = [
  { name: "a node, without a balancer", start: stays(() => nodeUrls()[0]) },
  { name: "HAProxy of `make up`", start: stays(baseUrl) },
  { name: "HAProxy of `compose`", start: () => start(program("haproxy"), ["-db", "-f"], composeHaproxy) },
  {
    name: "nginx as ingress-nginx configures it",
    missing: program("nginx") && spawnSync(program("nginx"), ["-v"]).status === 0 ? undefined : "nginx (run `scripts/setup test`)",
    start: () => start(program("nginx"), ["-c"], nginx),
  },
];
