// Redis with a user and MongoDB in a namespace of their own, as production has them, but with one
// pod each. Their policies are the operator's, so they have none here.
import { randomBytes } from "node:crypto";

const PASSWORD = randomBytes(16).toString("hex");
const restricted = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } };

/** One pod and its Service. */
const store = (name, port, folder, container) => [
  { apiVersion: "v1", kind: "Service", metadata: { name }, spec: { selector: { app: name }, ports: [{ port }], publishNotReadyAddresses: true } },
  {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name, "app.kubernetes.io/component": name } },
    spec: {
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 999, runAsGroup: 999, fsGroup: 999, seccompProfile: { type: "RuntimeDefault" } },
      containers: [{ name, securityContext: restricted, volumeMounts: [{ name: "data", mountPath: folder }, { name: "tmp", mountPath: "/tmp" }], env: [{ name: "HOME", value: "/tmp" }], ...container }],
      volumes: [{ name: "data", emptyDir: {} }, { name: "tmp", emptyDir: {} }],
    },
  },
];

/**
 * Starts the stores in `stores`, and creates the Secrets that the production values name.
 * @returns {Promise<string[]>} arguments of Helm that lead to the stores, and leave out what needs
 * more than a bare cluster: an operator for monitoring, an ingress controller, and 3 CPUs
 */
export async function installStores(stores, release) {
  const host = (name) => `${name}.${stores.namespace}.svc.cluster.local`;
  const member = `${host("mongodb")}:27017`;
  const initiate = `try { rs.status() } catch { rs.initiate({_id: "rs0", members: [{_id: 0, host: "${member}"}]}) }; if (!db.hello().isWritablePrimary) quit(1)`;
  const objects = [
    ...store("redis", 6379, "/data", {
      image: "redis:7.4-alpine",
      args: ["--dir", "/data", "--appendonly", "yes", "--maxmemory-policy", "noeviction", "--user", "default", "off", "--user", "switchboard", "on", `>${PASSWORD}`, "~*", "&*", "+@all"],
    }),
    ...store("mongodb", 27017, "/data/db", {
      image: "mongo:7.0",
      command: ["mongod", "--replSet", "rs0", "--bind_ip_all", "--wiredTigerCacheSizeGB", "0.25"],
      readinessProbe: { exec: { command: ["mongosh", "--quiet", "--eval", initiate] }, periodSeconds: 5, timeoutSeconds: 10 },
    }),
  ];
  for (const object of objects) await stores.apply(object);
  await stores.kubectl("wait", "--for=condition=Ready", "pod/redis", "pod/mongodb", "--timeout=120s");

  const text = () => randomBytes(32).toString("hex");
  const secrets = {
    "switchboard-redis": { password: PASSWORD },
    "switchboard-mongodb": { MONGODB_URI: `mongodb://${member}/calls?replicaSet=rs0` },
    "switchboard-turn": { TURN_SECRET: text() },
    "switchboard-webhooks": { WEBHOOK_SECRET: text() },
    "switchboard-admin": { ADMIN_API_KEYS: `tests:read:${text()}` },
  };
  for (const [name, stringData] of Object.entries(secrets)) await release.apply({ apiVersion: "v1", kind: "Secret", metadata: { name }, stringData });
  const from = JSON.stringify([{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": stores.namespace } } }]);
  const changes = {
    "image.repository": "localhost/switchboard",
    "ingress.enabled": false,
    "monitoring.serviceMonitor.enabled": false,
    "monitoring.prometheusRule.enabled": false,
    "api.resources.requests.cpu": "50m",
    "node.resources.requests.cpu": "50m",
  };
  const set = Object.entries(changes).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
  const json = [`redis.hosts=["${host("redis")}:6379"]`, `networkPolicy.redisTo=${from}`, `networkPolicy.mongodbTo=${from}`];
  return [...set, ...json.flatMap((value) => ["--set-json", value])];
}
