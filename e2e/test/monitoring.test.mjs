// What operators watch: a real Prometheus scrapes the cluster under load, and every query of the dashboards and every metric and label of the alerts has data.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { account, admitted, Client, guest, newCall, rest } from "../support/clients.mjs";
import { baseUrl, command, nodeUrls } from "../support/cluster.mjs";
import { Prometheus } from "../support/prometheus.mjs";
import { until } from "../support/until.mjs";

const DASHBOARDS = new URL("../../helm/switchboard/monitoring/dashboards/", import.meta.url);

/** Every query of every dashboard, as Grafana sends it. */
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

/** People at work, the clumsy ones too, until told to stop. */
class Load {
  #going = true;

  static async start() {
    const load = new Load();
    load.host = await account("Measured Host");
    load.call = await newCall(load.host);
    const { roomId } = load.call;
    load.a = await Client.seated(nodeUrls()[0], roomId, await admitted(roomId, load.host));
    load.b = await Client.seated(nodeUrls()[1], roomId, await guest(roomId, "Measured Guest"));
    load.work = load.#work();
    return load;
  }

  async #work() {
    const { a, b, call } = this;
    while (this.#going) {
      await a.emit("webrtc:offer", { to: b.peerId, offer: { type: "offer", sdp: "v=0\r\n" } });
      await b.emit("webrtc:answer", { to: a.peerId, answer: { type: "answer", sdp: "v=0\r\n" } });
      await a.emit("webrtc:ice-candidate", { to: b.peerId, candidate: { candidate: "" } });
      await b.emit("participant:update-media-state", { audioEnabled: false });
      await a.emit("chat:message", { message: "hello" });
      await a.emit("no:such-event", {});
      const visitor = await Client.seated(nodeUrls()[0], call.roomId, await guest(call.roomId, "Visitor"));
      visitor.socket.disconnect();
      await fetch(`${baseUrl()}/socket.io/?EIO=3&transport=polling`);
      await rest("POST", "/auth/login", { email: this.host.user.email, password: "a quiet line, please" });
      const { name, email } = this.host.user;
      await rest("POST", "/auth/register", { name, email, password: "a quiet line, please" }).catch(() => {});
      await rest("GET", "/auth/profile", undefined, this.host.token);
      // Scripts that Redis has forgotten are sent again: calls that are not answered at once.
      await command("SCRIPT FLUSH");
      const back = b.nextConnect();
      b.socket.io.engine.close();
      await back;
    }
  }

  async stop() {
    this.#going = false;
    await this.work;
    this.a.socket.disconnect();
    this.b.socket.disconnect();
  }
}

describe("a Prometheus beside the cluster", { timeout: 240_000 }, () => {
  let prometheus;
  let load;
  before(async () => {
    prometheus = await Prometheus.start();
    load = await Load.start();
  });
  after(async () => {
    await load?.stop();
    await prometheus?.stop();
  });

  test("every query of every dashboard has data", async () => {
    const waiting = new Map(queries().map(({ name, query }) => [`${name}: ${query}`, query]));
    assert.ok(waiting.size > 80, `${waiting.size} queries`);
    const done = async () => {
      for (const [name, query] of waiting) {
        if ((await prometheus.values(query)).some(Number.isFinite)) waiting.delete(name);
      }
      return waiting.size === 0;
    };
    await until("data for every query", done, 90_000).catch(() => assert.deepEqual([...waiting.keys()], []));
  });

  test("a query that nothing answers would be found out", async () => {
    assert.deepEqual(await prometheus.values('count(switchboard_joins_total{outcome_of!=""})'), []);
    assert.deepEqual(await prometheus.values("sum(rate(switchboard_no_such_total[20s]))"), []);
  });

  test("every metric that alerts and objectives are made of has data and the labels that they select by, and every rule is evaluated", async () => {
    const ruled = async () => (await prometheus.ask("rules")).groups.flatMap(({ rules }) => rules);
    const rules = await until("every rule was evaluated", async () => {
      const rules = await ruled();
      return rules.every(({ health }) => health === "ok") && rules;
    });
    assert.ok(rules.length > 50, `${rules.length} rules`);
    // What an alert selects may be nothing while all is well; the metric, and each label that it selects by, are there all the same.
    const selectors = rules.flatMap(({ query }) => [...query.matchAll(/\b((?:switchboard|process)[a-z_:0-9]+)(?:\{([^}]*)\})?/g)]);
    const needed = selectors.flatMap(([, metric, matchers = ""]) => [
      metric,
      ...[...matchers.matchAll(/(\w+)(?:=|!)/g)].map(([, label]) => `${metric}{${label}!=""}`),
    ]);
    assert.ok(new Set(needed).size > 50, `${new Set(needed).size} of them`);
    for (const selector of new Set(needed)) {
      await until(`data for ${selector}`, async () => (await prometheus.values(`count(${selector})`)).length > 0);
    }
  });
});
