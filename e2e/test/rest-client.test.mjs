// `@switchboard/client/rest`, whose operations are generated from the OpenAPI document.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RestClient } from "../../sdk/js/dist/rest-client.js";
import { account } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";

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
