// Addresses of the cluster under test, from environment variables, and control of its processes.
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

/** Address of the load balancer, which serves page, REST and sockets. */
export const baseUrl = () => required("BASE_URL");

/** Addresses of the signaling nodes, past the load balancer. */
export const nodeUrls = () =>
  required("NODE_URLS")
    .split(",")
    .map((url) => url.trim().replace(/\/$/, ""));

/** Operator key that may change state. */
export const operatorKey = () => required("OPERATOR_KEY");

/** Addresses of each pod's metrics. */
export const metricsUrls = () => ({ api: [required("API_METRICS_URL")], nodes: required("METRICS_URLS").split(",") });

/**
 * Advances the load balancer's round robin of new sessions by one node. Requests of open sessions
 * have a round robin of their own.
 */
export async function advanceRoundRobin() {
  const answer = await fetch(`${baseUrl()}/socket.io/?EIO=4&transport=polling`);
  await answer.text();
}

/**
 * Sums the counters or gauges of this name whose labels contain `labels`, over these pods (default:
 * all nodes).
 */
export async function counterSum(name, labels = "", pods = metricsUrls().nodes) {
  const texts = await Promise.all(pods.map(async (url) => (await fetch(url)).text()));
  const lines = texts.flatMap((text) => text.split("\n"));
  return lines
    .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

const artifacts = new URL("../../artifacts/", import.meta.url);

/** Returns the path for a file to keep from this run. Creates its folder. */
export async function artifact(name) {
  await mkdir(artifacts, { recursive: true });
  return fileURLToPath(new URL(name, artifacts));
}

/**
 * Sends a signal to a process of the cluster or starts it again, through `devcluster run`.
 * @param {string} service `nodes/0` (in the order of NODE_URLS), `redis`, ...
 * @param {"kill" | "term" | "stop" | "cont" | "start"} action
 */
export async function control(service, action) {
  const response = await fetch(`${required("DEVCLUSTER_CONTROL")}/${service}/${action}`, { method: "POST" });
  if (!response.ok) throw new Error(`${action} ${service}: ${response.status} ${await response.text()}`);
}

/** Sends a command to the cluster's Redis, which must answer OK. */
export async function redisCommand(text) {
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
