// Network policies of the chart, probed from pods that they allow and from pods that they forbid.
import assert from "node:assert/strict";
import { until } from "../support/until.mjs";

const IMAGE = "busybox:1.37";
const PORTS = { api: { http: 3001, metrics: 9101 }, node: { http: 3002, metrics: 9102, internal: 9202 }, redis: { redis: 6379 }, mongodb: { mongodb: 27017 } };
/** What each kind of pod may reach. Everything else is forbidden. */
const ALLOWED = {
  stranger: [],
  node: ["node internal", "redis redis", "mongodb mongodb"],
  api: ["redis redis", "mongodb mongodb"],
};
/** What wget says, without `-q`, when it got no connection. Any other failure came after it. */
const NO_CONNECTION = /timed out|refused|unreachable|can't connect|no route/i;

/** A pod that sleeps, with these labels, of the restricted standard. */
const sleeper = (name, labels) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels },
  spec: {
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
    containers: [
      {
        name: "probe",
        image: IMAGE,
        command: ["sleep", "900"],
        securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
      },
    ],
  },
});

/** Whether a pod gets a connection. */
async function reaches(release, pod, address, port) {
  try {
    await release.kubectl("exec", pod, "--", "wget", "-O-", "-t", "1", "-T", "3", `http://${address}:${port}/`);
    return true;
  } catch ({ stderr, stdout, message }) {
    const text = `${stderr}${stdout}`;
    assert.match(text, /wget|timed out|ERROR|exit code/i, message);
    return !NO_CONNECTION.test(text);
  }
}

/**
 * Probes every port of every component from each kind of pod. Resolves with the number of probes.
 * Throws with each connection that should not be, and each that is missing.
 * @param {Release} stores where Redis and MongoDB are, which have no policies in production
 * @param {boolean} isPublic whether any pod may reach the public ports
 */
export async function probePolicies(release, { stores = release, isPublic = true } = {}) {
  const allowed = (kind, target) => ALLOWED[kind].includes(target) || (kind === "stranger" && isPublic && target.endsWith(" http"));
  const isOpen = (component) => stores !== release && ["redis", "mongodb"].includes(component);
  const labels = (component) => ({ "app.kubernetes.io/name": "switchboard", "app.kubernetes.io/instance": "calls", "app.kubernetes.io/component": component });
  const probes = { stranger: { app: "stranger" }, node: labels("node"), api: labels("api") };
  const wrong = [];
  let count = 0;
  try {
    for (const [kind, own] of Object.entries(probes)) {
      await release.apply(sleeper(`probe-${kind}`, own));
      await release.kubectl("wait", "--for=condition=Ready", `pod/probe-${kind}`, "--timeout=60s");
    }
    const targets = [];
    for (const [component, ports] of Object.entries(PORTS)) {
      const owner = isOpen(component) ? stores : release;
      const pods = (await owner.pods(component)).filter(({ metadata }) => !metadata.name.startsWith("probe-"));
      assert.ok(pods.length > 0, `there is no pod of ${component}`);
      for (const [name, port] of Object.entries(ports)) targets.push([`${component} ${name}`, pods[0].status.podIP, port]);
    }
    for (const kind of Object.keys(probes)) {
      for (const [target, address, port] of targets) {
        if (kind === "stranger" && isOpen(target.split(" ")[0])) continue;
        // Some networks apply both directions of a policy to two pods that share it.
        if (target === `${kind} http`) continue;
        const expected = allowed(kind, target);
        count += 1;
        // The policies of a new pod take some time.
        const done = await until("", async () => (await reaches(release, `probe-${kind}`, address, port)) === expected, expected ? 20_000 : 5_000).catch(() => false);
        if (!done) wrong.push(`${kind} ${expected ? "cannot reach" : "reaches"} ${target}`);
      }
    }
  } finally {
    await release.kubectl("delete", "pod", ...Object.keys(probes).map((kind) => `probe-${kind}`), "--ignore-not-found", "--wait");
  }
  assert.deepEqual(wrong, []);
  return `${count} probes, as they should be`;
}
