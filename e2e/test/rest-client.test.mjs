// `@switchboard/client/rest`, whose operations are generated from the OpenAPI document.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RestClient } from "../../sdk/js/dist/rest-client.js";
import { Client, account, newApp, operatorRequest } from "../support/clients.mjs";
import { baseUrl, nodeUrls } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

test("the generated REST client performs operations by their names, and refuses with codes", { timeout: 60_000 }, async () => {
  const { token } = await account("Ada");
  const api = new RestClient(baseUrl(), { token: async () => token });
  const call = await api.call("createCall", { body: { title: "Weekly", maxParticipants: 5 } });
  assert.deepEqual([call.title, call.maxParticipants], ["Weekly", 5]);
  assert.equal((await api.call("getCallByRoom", { path: { roomId: call.roomId } })).id, call.id);
  const listed = await api.call("listCalls", { query: { limit: 1, search: "week" } });
  assert.deepEqual(listed.map(({ id }) => id), [call.id]);
  await assert.rejects(api.call("createCall", { body: { title: "" } }), ({ code, errors }) => code === "VALIDATION_ERROR" && errors[0].field === "title");
  await assert.rejects(api.call("getCallByRoom", { path: { roomId: "NO2SUCH2ROOM" } }), ({ code }) => code === "CALL_NOT_FOUND");
  assert.equal((await new RestClient(baseUrl()).call("getHealth")).status, "healthy");
  await assert.rejects(new RestClient("http://127.0.0.1:1").call("getHealth"), ({ code }) => code === "UNREACHABLE");
});

test("a backend creates calls with its API key, mints tokens, and reads limits and usage", { timeout: 60_000 }, async () => {
  const app = await newApp("Backend");
  await operatorRequest("PATCH", `/apps/${app.id}`, { limits: { maxConcurrentCalls: 5, maxConcurrentParticipants: 20 } });
  const api = new RestClient(baseUrl(), { appKey: { keyId: app.keyId, secret: app.secret } });
  const create = () =>
    api.call("createServerCall", { header: { "Idempotency-Key": "order-7" }, body: { title: "Lesson", roomId: "lesson-7" } });
  const call = await create();
  assert.deepEqual([(await create()).id, call.roomId, "joinLink" in call], [call.id, "lesson-7", false]);
  const { token } = await api.call("mintToken", { body: { sub: "ann", room: "lesson-7", role: "host" } });
  const ann = await Client.seated(nodeUrls()[0], "lesson-7", { token });
  const inUse = () => api.call("getServerLimits").then((limits) => limits.inUse);
  // A node that knows the limits reports each second.
  await until("the seat counts", async () => (await inUse()).concurrentParticipants === 1, 20_000);
  assert.deepEqual(await inUse(), { concurrentCalls: 1, concurrentParticipants: 1 });
  await api.call("endServerCall", { path: { id: call.id } });
  assert.equal((await ann.event("room:call-ended", () => true)).reason, "ended_by_app");
  ann.close();
  await until("the join is recorded", async () => (await api.call("getServerUsage")).total.joins === 1, 20_000);
  const wrong = new RestClient(baseUrl(), { appKey: { keyId: app.keyId, secret: "sbs_wrong" } });
  await assert.rejects(wrong.call("getServerLimits"), ({ code }) => code === "INVALID_CREDENTIALS");
});
