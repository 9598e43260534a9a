// kubectl and Helm as an operator uses them, against the cluster of KUBECONFIG.
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { until } from "../support/until.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const HELM = existsSync(`${ROOT}.tools/helm/bin/helm`) ? `${ROOT}.tools/helm/bin/helm` : "helm";
const CHART = `${ROOT}helm/switchboard`;
/** Bound of one command; each also has a shorter one of its own. */
const COMMAND_MS = 300_000;

/** Runs a command. Resolves with its output; the error of a failure has `stderr`. */
export function execute(command, args, { input, cwd = ROOT } = {}) {
  return new Promise((resolve, reject) => {
    const process = execFile(command, args, { cwd, timeout: COMMAND_MS, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
      error ? reject(Object.assign(error, { stdout, stderr })) : resolve(stdout),
    );
    process.stdin.end(input ?? "");
  });
}

/** One installed release of the chart, in a namespace of its own. */
export class Release {
  #values;
  #forwards = [];

  /**
   * @param {string} namespace which must not exist yet, and is deleted in the end
   * @param {string[]} values arguments of Helm
   */
  constructor(namespace, values) {
    this.namespace = namespace;
    this.#values = values;
  }

  kubectl = (...args) => execute("kubectl", ["--namespace", this.namespace, ...args]);
  helm = (...args) => execute(HELM, ["--namespace", this.namespace, ...args]);
  /** Creates or changes objects. */
  apply = (object) => execute("kubectl", ["--namespace", this.namespace, "apply", "--filename", "-"], { input: JSON.stringify(object) });
  json = async (...args) => JSON.parse(await this.kubectl("get", "--output", "json", ...args));

  /** Creates the namespace, in which only pods of the restricted standard are admitted. */
  async createNamespace() {
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    const object = { apiVersion: "v1", kind: "Namespace", metadata: { name: this.namespace, labels } };
    await execute("kubectl", ["create", "--filename", "-"], { input: JSON.stringify(object) });
  }

  async remove() {
    for (const forward of this.#forwards) forward();
    await execute("kubectl", ["delete", "namespace", this.namespace, "--wait", "--timeout=180s"]);
  }

  secret = (data) => this.apply({ apiVersion: "v1", kind: "Secret", metadata: { name: "switchboard" }, stringData: data });

  /** Installs or upgrades, and waits until every pod is ready. */
  upgrade = (...more) => this.helm("upgrade", "--install", "--wait", "--timeout", "240s", "calls", CHART, ...this.#values, ...more);

  test = () => this.helm("test", "calls", "--timeout", "120s", "--logs");

  /** Restarts a Deployment's pods one by one, and waits for the last. */
  async restart(...components) {
    for (const component of components) await this.kubectl("rollout", "restart", `deployment/calls-switchboard-${component}`);
    await this.settled(...components);
  }

  /** Waits until each workload has its pods, and the old ones have gone. */
  async settled(...components) {
    for (const component of components) {
      await this.kubectl("rollout", "status", "--timeout=240s", `${this.#kind(component)}/calls-switchboard-${component}`);
      await until(
        `no pod of ${component} is ending`,
        async () => (await this.pods(component)).every(({ metadata, status }) => !metadata.deletionTimestamp && ready(status)),
        120_000,
      );
    }
  }

  #kind = (component) => (["redis", "mongodb"].includes(component) ? "statefulset" : "deployment");

  async pods(component) {
    return (await this.json("pods", "--selector", `app.kubernetes.io/component=${component}`)).items;
  }

  /** Name of one running pod of a component. */
  async pod(component) {
    return (await this.pods(component)).find(({ metadata }) => !metadata.deletionTimestamp).metadata.name;
  }

  /** Asks for the eviction of a pod, as the drain of a machine does. */
  evict(name) {
    const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace: this.namespace } };
    const path = `/api/v1/namespaces/${this.namespace}/pods/${name}/eviction`;
    return execute("kubectl", ["create", "--raw", path, "--filename", "-"], { input: JSON.stringify(eviction) });
  }

  /** URL of a Service: its address, or a port of this machine that `kubectl` forwards. */
  async url(component) {
    const name = `calls-switchboard-${component}`;
    const { clusterIP } = (await this.json("service", name)).spec;
    if (await opens(clusterIP, 80)) return `http://${clusterIP}`;
    const port = await freePort();
    this.#forwards.push(forward(this.namespace, name, port));
    await until(`the port of ${name} is forwarded`, () => opens("127.0.0.1", port));
    return `http://127.0.0.1:${port}`;
  }
}

const ready = (status) => status.conditions?.some(({ type, status }) => type === "Ready" && status === "True");

/** Whether a TCP connection opens within 2 s. */
function opens(host, port) {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2000 });
    const end = (opened) => {
      socket.destroy();
      resolve(opened);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false)).once("timeout", () => end(false));
  });
}

async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Forwards a port, again when the pod behind it has ended. Returns a function that stops it. */
function forward(namespace, service, port) {
  let stopped = false;
  let process;
  const start = () => {
    process = spawn("kubectl", ["--namespace", namespace, "port-forward", `service/${service}`, `${port}:80`], { stdio: "ignore" });
    process.once("exit", () => stopped || setTimeout(start, 500));
  };
  start();
  return () => {
    stopped = true;
    process.kill();
  };
}
