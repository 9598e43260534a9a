// `make cluster-test`: installs the chart on the cluster of KUBECONFIG, and does to it what
// operators and machines do, while pairs of stock clients are audited. Prints a table of what was
// lost.
//
//   KUBECONFIG     the cluster; required, so that none is changed by accident
//   CLUSTER_LOAD   command that loads an image archive into the cluster, such as `kind load
//                  image-archive`. Without it the cluster must have the images already
//   IMAGES         folder of the archives of `make images`
//   PAIRS          number of pairs of clients
//   KEEP           if set, the namespaces stay
//
// `node main.mjs evaluation` installs these values alone.
import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { account, newCall, rest } from "../support/clients.mjs";
import { until } from "../support/until.mjs";
import { AuditedPairs } from "./audited-pairs.mjs";
import { Release, execute } from "./kubernetes.mjs";
import { probePolicies } from "./policies.mjs";
import { installStores } from "./stores.mjs";

const PAIRS = Number(process.env.PAIRS ?? 5);
const WORKLOADS = ["api", "node"];
const say = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
const secret = () => randomBytes(32).toString("hex");

const rows = [];
const failures = [];

/** Resolves with the first success of a request. A kept connection may end with its pod. */
const answered = (what, request) => until(what, () => request().catch(() => undefined));

/** Does one thing to the release while the pairs send, waits until they go on, and audits them. */
async function step(pairs, name, action, { mayLose = false } = {}) {
  say(name);
  const before = pairs.figures();
  pairs.longestOutage();
  const start = Date.now();
  await action();
  await pairs.progress();
  const seconds = (Date.now() - start) / 1000;
  await pairs.settle();
  const after = pairs.figures();
  const row = Object.fromEntries(Object.entries(after).map(([key, value]) => [key, value - before[key]]));
  rows.push({ name, seconds, outage: pairs.longestOutage(), ...row });
  const wrong = ["lost", "doubled", "reordered"].filter((key) => row[key] > 0).map((key) => `${row[key]} ${key}`);
  if (!mayLose) wrong.push(...pairs.violations());
  else pairs.violations();
  if (wrong.length > 0 && !mayLose) failures.push(`${name}: ${wrong.join(", ")}`);
  assert.ok(row.acknowledged > 0, `${name}: no event was acknowledged`);
}

/** Checks something of the release. A failure is reported at the end. */
async function check(name, action) {
  say(name);
  try {
    rows.push({ name, result: (await action()) ?? "passed" });
  } catch (error) {
    rows.push({ name, result: "FAILED" });
    failures.push(`${name}: ${error.stderr || error.message}`);
  }
}

/** Replaces the key of access tokens: the first two of the three steps in docs/OPERATIONS.md. */
async function rotate(release, keys) {
  const host = await answered("an account is registered", () => account("Signed in before the rotation"));
  const next = { ...keys, JWT_ACCESS_SECRET: secret() };
  for (const data of [
    { ...keys, JWT_ACCESS_SECRET_PREVIOUS: next.JWT_ACCESS_SECRET },
    { ...next, JWT_ACCESS_SECRET_PREVIOUS: keys.JWT_ACCESS_SECRET },
  ]) {
    await release.secret(data);
    await release.restart(...WORKLOADS);
  }
  await answered("the token of before is accepted", () => rest("GET", "/auth/profile", undefined, host.token));
}

/** Two accounts with one address must not exist, which an index of MongoDB prevents. */
async function addressesAreUnique() {
  const register = (email) => rest("POST", "/auth/register", { name: "Same address", email, password: "a quiet line, please" });
  for (let round = 0; round < 3; round += 1) {
    const email = `${randomUUID()}@example.com`;
    // The api answers that it cannot serve until MongoDB has elected a primary.
    await answered("an account is registered", () => register(email).then(() => true));
    const again = await register(email).then(() => "a second account", ({ status }) => status);
    assert.equal(again, 409, `registering an address again gave ${again}`);
  }
}

/** Ends the first process of a store's container, which Kubernetes then starts again. */
async function restartContainer(release, component, ...command) {
  const name = await release.pod(component);
  const restarts = async () => (await release.json("pod", name)).status.containerStatuses[0].restartCount;
  const before = await restarts();
  // The connection to the container ends with it.
  await release.kubectl("exec", name, "--", ...command).catch(() => {});
  await until(`the container of ${component} starts again`, async () => (await restarts()) > before, 60_000);
  await release.settled(component);
}

async function replacePod(release, component) {
  await release.kubectl("delete", "pod", await release.pod(component), "--wait");
  await release.settled(component);
}

async function evaluation(release) {
  const keys = { JWT_ACCESS_SECRET: secret(), JWT_REFRESH_SECRET: secret() };
  await release.secret(keys);
  await check("`helm install`, evaluation", () => release.upgrade().then(() => undefined));
  await check("`helm test`", () => release.test().then(() => undefined));
  const address = { api: await release.url("api"), node: await release.url("node") };
  process.env.BASE_URL = address.api;
  const pairs = await AuditedPairs.start(PAIRS, address.node);
  const nodes = `deployment/calls-switchboard-node`;
  try {
    await step(pairs, "nothing, for 10 s", () => pause(10_000));
    await step(pairs, "rolling restart of both workloads", () => release.restart(...WORKLOADS));
    await step(pairs, "`helm upgrade` with another setting", async () => {
      await release.upgrade("--set", "node.eventsPerSecond=90", "--set", "logLevel=warn");
      await release.settled(...WORKLOADS);
    });
    await step(pairs, "scaled out to 3 nodes", async () => {
      await release.kubectl("scale", nodes, "--replicas=3");
      await release.settled("node");
    });
    await step(pairs, "scaled in to 2 nodes", async () => {
      await release.kubectl("scale", nodes, "--replicas=2");
      await until("a node has gone", async () => (await release.pods("node")).length === 2, 120_000);
      await release.settled("node");
    });
    await step(pairs, "a node killed by force", async () => {
      await release.kubectl("delete", "pod", await release.pod("node"), "--grace-period=0", "--force");
      await release.settled("node");
    });
    await step(pairs, "a node evicted", async () => {
      const name = await release.pod("node");
      await release.evict(name);
      await until("the node has gone", async () => !(await release.pods("node")).some(({ metadata }) => metadata.name === name), 120_000);
      await release.settled("node");
    });
    await step(pairs, "the api killed by force", async () => {
      await release.kubectl("delete", "pod", await release.pod("api"), "--grace-period=0", "--force");
      await release.settled("api");
    });
    await step(pairs, "the key of access tokens rotated", () => rotate(release, keys));
    await check("network policies", () => probePolicies(release));
    await step(pairs, "Redis restarted, with its data", () => restartContainer(release, "redis", "redis-cli", "shutdown"));
    await step(pairs, "Redis replaced, empty", () => replacePod(release, "redis"), { mayLose: true });
    await check("no two accounts with one address", addressesAreUnique);
    await step(pairs, "MongoDB replaced, empty", () => replacePod(release, "mongodb"));
    await check("no two accounts with one address, afterwards", addressesAreUnique);
    await check("a new call, afterwards", async () => {
      const host = await answered("an account is registered", () => account("Host afterwards"));
      await newCall(host);
    });
    await check("`helm test`, afterwards", () => release.test().then(() => undefined));
  } finally {
    pairs.stop();
  }
}

async function production(release, stores) {
  await stores.createNamespace();
  const access = await installStores(stores, release);
  await release.secret({ JWT_ACCESS_SECRET: secret(), JWT_REFRESH_SECRET: secret(), CLUSTER_SECRET: secret() });
  await check("`helm install`, production", () => release.upgrade(...access).then(() => undefined));
  await check("`helm test`, production", () => release.test().then(() => undefined));
  const address = { api: await release.url("api"), node: await release.url("node") };
  process.env.BASE_URL = address.api;
  const pairs = await AuditedPairs.start(PAIRS, address.node);
  try {
    await step(pairs, "production: rolling restart", () => release.restart(...WORKLOADS));
    await step(pairs, "production: a node killed by force", async () => {
      await release.kubectl("delete", "pod", await release.pod("node"), "--grace-period=0", "--force");
      await release.settled("node");
    });
    await check("production: network policies", () => probePolicies(release, { stores, isPublic: false }));
  } finally {
    pairs.stop();
  }
}

function table() {
  const lines = ["| what | seconds | acknowledged | lost | doubled | reordered | sockets lost | resumed | new sessions | longest outage, s |", "|---|---|---|---|---|---|---|---|---|---|"];
  for (const row of rows) {
    const figures = row.result
      ? [row.result, ...Array(8).fill("")]
      : [row.seconds.toFixed(0), row.acknowledged, row.lost, row.doubled, row.reordered, row.socketsLost, row.resumed, row.newSessions, row.outage.toFixed(1)];
    lines.push(`| ${[row.name, ...figures].join(" | ")} |`);
  }
  return lines.join("\n");
}

/** Prints why the pods of a release are as they are. */
async function explain(release) {
  const parts = [["get", "pods", "--output", "wide"], ["get", "events", "--sort-by=.lastTimestamp"]];
  for (const component of WORKLOADS) parts.push(["logs", "--selector", `app.kubernetes.io/component=${component}`, "--tail=15", "--prefix"]);
  for (const part of parts) say(`kubectl ${part.join(" ")}\n${(await release.kubectl(...part).catch(({ stderr }) => stderr)).split("\n").slice(-30).join("\n")}`);
}

async function load() {
  const { CLUSTER_LOAD, IMAGES } = process.env;
  if (!CLUSTER_LOAD) return say("CLUSTER_LOAD is not set: the cluster must have the images already");
  for (const name of ["api", "signal-node"]) await execute("sh", ["-c", `${CLUSTER_LOAD} '${IMAGES}/${name}.tar'`]);
}

async function main([only]) {
  if (!process.env.KUBECONFIG) throw new Error("KUBECONFIG is not set: name the cluster to test on");
  await load();
  const name = (kind) => `switchboard-test-${kind}`;
  const stores = new Release(name("stores"), []);
  const runs = [
    ["evaluation", evaluation, ["--values", "helm/switchboard/ci/evaluation-values.yaml", "--set", "ingress.enabled=false"]],
    ["production", (release) => production(release, stores), ["--values", "helm/switchboard/ci/production-values.yaml"]],
  ];
  for (const [kind, run, values] of runs.filter(([kind]) => !only || kind === only)) {
    const release = new Release(name(kind), values);
    await release.createNamespace();
    try {
      await run(release);
    } catch (error) {
      failures.push(`${kind}: ${error.stderr || error.stack}`);
    }
    if (failures.length > 0) await explain(release);
    if (process.env.KEEP) continue;
    await release.remove();
    if (kind === "production") await stores.remove().catch(() => {});
  }
  console.log(table());
  for (const failure of failures) console.error(`FAILED: ${failure}`);
  process.exit(failures.length > 0 ? 1 : 0);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.stderr || error.message);
  process.exit(2);
});
