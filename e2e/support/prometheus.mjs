// Prometheus server that scrapes the cluster under test, with the rules that the chart ships.
import { spawn } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { metricsUrls } from "./cluster.mjs";
import { until } from "./until.mjs";

const MONITORING = fileURLToPath(new URL("../../helm/switchboard/monitoring", import.meta.url));

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const targets = (urls) => JSON.stringify(urls.map((url) => new URL(url).host));

export class Prometheus {
  /** Starts a server that scrapes every pod each second, with the job names that the alerts use. */
  static async start() {
    const prometheus = new Prometheus();
    prometheus.folder = await mkdtemp(join(tmpdir(), "prometheus-"));
    prometheus.url = `http://127.0.0.1:${await freePort()}`;
    await cp(MONITORING, join(prometheus.folder, "rules"), { recursive: true });
    const { api, nodes } = metricsUrls();
    const config = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules/*.yaml]
scrape_configs:
  - {job_name: switchboard-api, static_configs: [{targets: ${targets(api)}}]}
  - {job_name: switchboard-node, static_configs: [{targets: ${targets(nodes)}}]}
`;
    const file = join(prometheus.folder, "prometheus.yaml");
    await writeFile(file, config);
    const data = `--storage.tsdb.path=${join(prometheus.folder, "data")}`;
    const listen = `--web.listen-address=${new URL(prometheus.url).host}`;
    prometheus.process = spawn("prometheus", [`--config.file=${file}`, data, listen], { stdio: "ignore" });
    let failure;
    prometheus.process.on("error", (error) => (failure = error));
    await until("prometheus is ready", async () => {
      if (failure) throw failure;
      return (await fetch(`${prometheus.url}/-/ready`).catch(() => null))?.ok;
    });
    return prometheus;
  }

  /** Sends a request to the HTTP API. Returns `data`. */
  async get(path, parameters = {}) {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const answer = await response.json();
    if (answer.status !== "success") throw new Error(`${JSON.stringify(parameters)}: ${answer.error}`);
    return answer.data;
  }

  /** Evaluates a query now. Returns the value of each series. */
  async values(query) {
    const { result } = await this.get("query", { query });
    return result.map(({ value }) => Number(value[1]));
  }

  async stop() {
    const gone = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGKILL");
    await gone;
    await rm(this.folder, { recursive: true, force: true });
  }
}
