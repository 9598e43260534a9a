// Monitoring: a Prometheus server scrapes the cluster under load. Every query of the dashboards,
// and every metric and label that the alerts use, has data.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { account, admitted, Client, guest, newCall, rest } from "../support/clients.mjs";
import { baseUrl, redisCommand, nodeUrls } from "../support/cluster.mjs";
import { Prometheus } from "../support/prometheus.mjs";
import { until } from "../support/until.mjs";

const DASHBOARDS = new URL("../../helm/switchboard/monitoring/dashboards/", import.meta.url);

/** Lists every query of every dashboard, with Grafana's variables replaced. */
function queries() {
  return readdirSync(DASHBOARDS).flatMap((file) => {
    const { panels } = JSON.parse(readFileSync(new URL(file, DASHBOARDS), "utf8"));
    return panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => ({
        name: `${file}: ${title}`,
        query: expr.replaceAll("$__rate_interval", "20s").replaceAll("$namespace", ".*"),
      })),
    );
  });
}

/** Clients that send valid and invalid requests until `stop` is called. */
class Load {
  #running = true;

  static async start() {
    const load = new Load();
    load.host = await account("Measured Host");
    // Signs in again and again, which ends the oldest sign-in of an account.
    load.returning = await account("Measured Returning");
    load.call = await newCall(load.host);
    const { roomId } = load.call;
    load.a = await Client.seated(nodeUrls()[0], roomId, await admitted(roomId, load.host));
    load.b = await Client.seated(nodeUrls()[1], roomId, await guest(roomId, "Measured Guest"));
    load.work = load.#work();
    return load;
  }

  async #work() {
    const { a, b, call } = this;
    while (this.#running) {
      await a.emit("webrtc:offer", { to: b.peerId, offer: { type: "offer", sdp: "v=0\r\n" } });
      await b.emit("webrtc:answer", { to: a.peerId, answer: { type: "answer", sdp: "v=0\r\n" } });
      await a.emit("webrtc:ice-candidate", { to: b.peerId, candidate: { candidate: "" } });
      await b.emit("participant:update-media-state", { audioEnabled: false });
      await a.emit("chat:message", { message: "hello" });
      await a.emit("no:such-event", {});
      const visitor = await Client.seated(nodeUrls()[0], call.roomId, await guest(call.roomId, "Visitor"));
      visitor.socket.disconnect();
      await fetch(`${baseUrl()}/socket.io/?EIO=3&transport=polling`);
      await rest("POST", "/auth/login", { email: this.returning.user.email, password: "a quiet line, please" });
      const { name, email } = this.host.user;
      await rest("POST", "/auth/register", { name, email, password: "a quiet line, please" }).catch(() => {});
      await rest("GET", "/auth/profile", undefined, this.host.token);
      // Flushed scripts must be sent again, so some requests to Redis are retried.
      await redisCommand("SCRIPT FLUSH");
      const back = b.nextConnect();
      b.socket.io.engine.close();
      await back;
    }
  }

  async stop() {
    this.#running = false;
    try {
      await this.work;
    } finally {
      this.a.socket.disconnect();
      this.b.socket.disconnect();
    }
  }
}

describe("monitoring with Prometheus", { timeout: 240_000 }, () => {
  let prometheus;
  let load;
  before(async () => {
    prometheus = await Prometheus.start();
    load = await Load.start();
  });
  after(async () => {
    await load?.stop().finally(() => prometheus?.stop());
  });

  test("every query of every dashboard has data", async () => {
    const pending = new Map(queries().map(({ name, query }) => [`${name}: ${query}`, query]));
    assert.ok(pending.size > 80, `${pending.size} queries`);
    const done = async () => {
      for (const [name, query] of pending) {
        if ((await prometheus.values(query)).some(Number.isFinite)) pending.delete(name);
      }
      return pending.size === 0;
    };
    await until("data for every query", done, 90_000).catch(() => assert.deepEqual([...pending.keys()], []));
  });

  test("a query for an unknown metric or label has no data", async () => {
    assert.deepEqual(await prometheus.values('count(switchboard_joins_total{outcome_of!=""})'), []);
    assert.deepEqual(await prometheus.values("sum(rate(switchboard_no_such_total[20s]))"), []);
  });

  test("every rule is evaluated, and every metric and label that the rules use has data", async () => {
    const loadRules = async () => (await prometheus.get("rules")).groups.flatMap(({ rules }) => rules);
    let rules = [];
    const broken = () => rules.filter(({ health }) => health !== "ok").map(({ name, lastError }) => `${name}: ${lastError}`);
    const evaluated = async () => {
      rules = await loadRules();
      return rules.length > 0 && broken().length === 0;
    };
    await until("every rule was evaluated", evaluated).catch(() => assert.deepEqual(broken(), []));
    assert.ok(rules.length > 50, `${rules.length} rules`);
    // An alert may select no series in a healthy cluster. Its metrics and labels exist all the
    // same.
    const selectors = rules.flatMap(({ query }) => [...query.matchAll(/\b((?:switchboard|process)[a-z_:0-9]+)(?:\{([^}]*)\})?/g)]);
    const needed = selectors.flatMap(([, metric, matchers = ""]) => [
      metric,
      ...[...matchers.matchAll(/(\w+)(?:=|!)/g)].map(([, label]) => `${metric}{${label}!=""}`),
    ]);
    assert.ok(new Set(needed).size > 50, `${new Set(needed).size} selectors`);
    for (const selector of new Set(needed)) {
      await until(`data for ${selector}`, async () => (await prometheus.values(`count(${selector})`)).length > 0);
    }
  });
});
