// Where the cluster under test is. Whoever starts it says so in the environment.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { within } from "./until.mjs";

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run these tests against a running cluster, as \`make e2e\` does`);
  return value.replace(/\/$/, "");
}

/** The load balancer's address: page, REST and sockets. */
export const baseUrl = () => required("BASE_URL");

/** The signaling nodes' own addresses. */
export const nodeUrls = () =>
  required("NODE_URLS")
    .split(",")
    .map((url) => url.trim().replace(/\/$/, ""));

/** The key of an operator who may intervene. */
export const operatorKey = () => required("OPERATOR_KEY");

/** Where each pod's metrics are. */
export const metricsUrls = () => ({ api: [required("API_METRICS_URL")], nodes: required("METRICS_URLS").split(",") });

/**
 * Moves the load balancer's round robin on by one. A page that is reloaded makes the same number of connections each time; when that is a
 * multiple of the number of nodes, it would come back to the same node for ever.
 */
export async function turnRoundRobin() {
  const answer = await fetch(`${baseUrl()}/socket.io/?EIO=4&transport=polling`);
  await answer.text();
}

/** The sum over these pods, all nodes if not said, of the counters of this name whose labels fit. */
export async function counted(name, labels = "", pods = metricsUrls().nodes) {
  const texts = await Promise.all(pods.map(async (url) => (await fetch(url)).text()));
  const lines = texts.flatMap((text) => text.split("\n"));
  return lines
    .filter((line) => line.startsWith(`${name}{`) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

const artifacts = new URL("../../artifacts/", import.meta.url);

/** The path of a file to keep from this run. */
export async function artifact(name) {
  await mkdir(artifacts, { recursive: true });
  return fileURLToPath(new URL(name, artifacts));
}

/**
 * Does something to a process of the cluster, as `devcluster run` offers it.
 * @param {string} service `nodes/0` (in the order of NODE_URLS), `redis`, ...
 * @param {"kill" | "term" | "stop" | "cont" | "start"} action
 */
export async function control(service, action) {
  const response = await fetch(`${required("DEVCLUSTER_CONTROL")}/${service}/${action}`, { method: "POST" });
  if (!response.ok) throw new Error(`${action} ${service}: ${response.status} ${await response.text()}`);
}

/** One command to the cluster's Redis, which answers OK. */
export async function command(text) {
  const { hostname, port } = new URL(required("REDIS_URL"));
  const socket = connect(Number(port), hostname);
  socket.write(`${text}\r\n`);
  const answer = await within(`the answer to ${text}`, new Promise((resolve, reject) => {
    socket.once("data", (data) => resolve(String(data)));
    socket.once("error", reject);
  }));
  socket.destroy();
  assert.equal(answer, "+OK\r\n");
}
