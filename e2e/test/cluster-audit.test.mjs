// The audit of `make cluster-test`: its counts, and its clients against a cluster that loses a
// node.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AuditedPairs, audit } from "../cluster/audited-pairs.mjs";
import { baseUrl, control } from "../support/cluster.mjs";

test("lost, doubled and reordered events are counted", () => {
  const sent = { acknowledged: 4 };
  assert.deepEqual(audit(sent, { received: [0, 1, 2, 3, 4] }), { acknowledged: 4, lost: 0, doubled: 0, reordered: 0 });
  assert.deepEqual(audit(sent, { received: [0, 2, 1, 1] }), { acknowledged: 4, lost: 1, doubled: 1, reordered: 1 });
  assert.deepEqual(audit(sent, { received: [] }), { acknowledged: 4, lost: 4, doubled: 0, reordered: 0 });
});

test("audited pairs go on after a node was killed, and miss nothing", { timeout: 120_000 }, async (t) => {
  const pairs = await AuditedPairs.start(3, baseUrl());
  t.after(() => pairs.stop());
  await control("nodes/0", "kill");
  t.after(() => control("nodes/0", "start"));
  await pairs.progress();
  await pairs.settle();
  const { acknowledged, lost, doubled, reordered, socketsLost } = pairs.figures();
  assert.deepEqual({ lost, doubled, reordered }, { lost: 0, doubled: 0, reordered: 0 });
  assert.ok(acknowledged >= 12 && socketsLost > 0, `${acknowledged} acknowledged, ${socketsLost} sockets lost`);
  assert.deepEqual(pairs.violations(), []);
});
