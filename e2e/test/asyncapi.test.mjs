// The service sends what its AsyncAPI document says: every event and every acknowledgement of a
// call is checked against the served document.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, account, guest, newApp, newCall, serverRequest } from "../support/clients.mjs";
import { baseUrl, nodeUrls } from "../support/cluster.mjs";
import { violations } from "../support/schema.mjs";

/** Events that no client can cause. */
const OF_THE_CLUSTER = ["server:tick", "server:draining", "cluster:degraded", "cluster:restored"];

describe("the AsyncAPI document", { timeout: 60_000 }, () => {
  const [one, two = one] = nodeUrls();
  const clients = [];
  let contract;

  before(async () => {
    contract = await (await fetch(`${baseUrl()}/api/asyncapi.json`)).json();
  });
  after(() => clients.forEach((client) => client.close()));

  /** Operations with this action, by the names of their events. */
  const operations = (action) =>
    new Map(
      Object.entries(contract.operations)
        .filter(([, operation]) => operation.action === action)
        .map(([id]) => [contract.components.messages[id].name, id]),
    );
  /** Fields of an object that its schema does not name. */
  const unknown = (value, { $ref }) => {
    const { properties } = contract.components.schemas[$ref.split("/").at(-1)];
    return Object.keys(value).filter((name) => !(name in properties));
  };
  /** Names of the fields that a schema or one of its parts has. */
  const names = (schema) =>
    schema.$ref
      ? names(contract.components.schemas[schema.$ref.split("/").at(-1)])
      : [
          ...Object.keys(schema.properties ?? {}),
          ...["allOf", "anyOf", "oneOf"].flatMap((word) => (schema[word] ?? []).flatMap(names)),
        ];
  const conforms = (value, schema, what) => assert.deepEqual(violations(value, schema, contract), [], what);

  async function seated(url, roomId, admission) {
    const client = await Client.seated(url, roomId, admission);
    clients.push(client);
    return client;
  }
  /** Emits an event, and checks its acknowledgement. */
  async function emit(client, event, payload, expected = "OK") {
    const answer = await client.emit(event, payload);
    const id = operations("receive").get(event);
    const { payload: reply } = contract.components.messages[`${id}Reply`];
    conforms(answer, reply, `acknowledgement of ${event}`);
    assert.deepEqual(Object.keys(answer).filter((name) => !names(reply).includes(name)), [], event);
    assert.equal(answer.code ?? "OK", expected, event);
    emitted.add(event);
    return answer;
  }
  const emitted = new Set();

  test("has every event and acknowledgement of a call, as clients get them", async () => {
    const [host, heir] = await Promise.all([account("Host"), account("Heir")]);
    const { roomId } = await newCall(host);
    const owner = await seated(one, roomId, host);
    const other = await seated(two, roomId, await guest(roomId, "Other"));
    const next = await seated(two, roomId, heir);
    const to = other.peerId;
    emitted.add("room:join");

    await emit(owner, "webrtc:offer", { to, offer: { type: "offer", sdp: "v=0\r\n" } });
    await emit(other, "webrtc:answer", { to: owner.peerId, answer: { type: "answer", sdp: "v=0\r\n" } });
    await emit(owner, "webrtc:ice-candidate", { to, candidate: { candidate: "", sdpMid: "0", sdpMLineIndex: 0 } });
    await emit(owner, "webrtc:connection-state", { to, state: "connected" });
    await emit(owner, "webrtc:renegotiation-needed", { to });
    await emit(owner, "webrtc:data-channel", { message: { a: [1] }, type: "cursor" });
    await emit(owner, "webrtc:get-ice-servers");
    await emit(owner, "webrtc:get-stats");
    await emit(other, "participant:update-media-state", { videoEnabled: true, audioEnabled: true });
    await emit(other, "webrtc:screen-share", { enabled: true });
    await emit(other, "participant:screen-share-changed", { enabled: false });
    await emit(other, "participant:set-hand", { raised: true });
    await emit(other, "participant:reaction", { emoji: "👍" });
    await emit(owner, "participant:lower-hand", { peerId: to });
    await emit(owner, "participant:mute", { peerId: to, kind: "audio" });
    await emit(owner, "chat:message", { message: "hello" });
    await emit(owner, "chat:message", { message: "psst", to });
    await emit(owner, "chat:typing", { isTyping: true });
    await emit(owner, "chat:history", { limit: 1 });
    await emit(other, "room:lock", { locked: true }, "FORBIDDEN");
    await emit(owner, "room:lock", { locked: true });
    await emit(owner, "room:lock", { locked: false });
    await emit(owner, "participant:set-role", { peerId: to, role: "moderator" });
    await emit(owner, "participant:set-role", { peerId: to, role: "guest" });

    // The lobby: one is denied, one admitted and removed.
    await emit(owner, "room:update", { settings: { waitingRoomEnabled: true, autoAdmitGuests: false } });
    for (const name of ["Denied", "Removed"]) {
      const admission = await guest(roomId, name);
      const client = await Client.connected(one, { token: admission.token });
      clients.push(client);
      assert.equal((await emit(client, "room:join", { roomId, token: admission.joinToken })).waiting, true);
      const { participant } = await owner.event("room:join-request", (event) => event.participant.user.name === name);
      const { peerId } = participant;
      if (name === "Denied") {
        await emit(owner, "room:deny", { peerId, reason: "not today" });
        await client.event("room:denied", () => true);
      } else {
        await emit(owner, "room:admit", { peerId });
        await client.event("room:joined", () => true);
        await emit(owner, "participant:kick", { peerId, reason: "enough" });
        await client.event("room:kicked", () => true);
      }
    }
    // A refusal without an acknowledgement, a lost socket, another name, a transfer, and the end.
    other.socket.emit("room:lock", { locked: true });
    await other.event("error", () => true);
    const back = other.nextConnect();
    other.socket.io.engine.close();
    await back;
    await owner.event("participant:connection-changed", ({ state }) => state === "connected");
    const profile = await fetch(`${baseUrl()}/api/auth/profile`, {
      method: "PATCH",
      headers: { "content-type": "application/json", authorization: `Bearer ${heir.token}` },
      body: JSON.stringify({ name: "Heiress" }),
    });
    assert.equal(profile.status, 200);
    await owner.event("participant:profile-changed", () => true);
    await emit(owner, "room:transfer-host", { peerId: next.peerId });
    await emit(other, "room:leave", { roomId });
    await owner.event("room:user-left", ({ peerId }) => peerId === to);
    await emit(next, "room:end-call", { roomId });
    await owner.event("room:call-ended", () => true);
    const created = await emit(owner, "room:create", { name: "Another" });
    await owner.event("room:created", (event) => event.roomId === created.roomId);

    // An event of an app's backend, and a change of permissions.
    const app = await newApp("Events");
    const { token } = await serverRequest(app, "POST", "/tokens", { sub: "ann", room: "events" });
    const member = await seated(one, "events", { token });
    await serverRequest(app, "POST", "/rooms/events/events", { name: "quiz", data: [1] });
    await member.event("server:event", () => true);
    await serverRequest(app, "PATCH", "/rooms/events/participants/ann", { permissions: { canPublish: false } });
    await member.event("participant:permissions-changed", () => true);

    const events = operations("send");
    const got = new Set();
    for (const { event, payload } of clients.flatMap(({ received }) => received)) {
      assert.ok(events.has(event), `${event} is not in the document`);
      got.add(event);
      const schema = contract.components.messages[events.get(event)].payload;
      if (!schema) continue;
      conforms(payload, schema, event);
      assert.deepEqual(unknown(payload, schema), [], event);
    }
    assert.deepEqual([...events.keys()].filter((name) => !got.has(name) && !OF_THE_CLUSTER.includes(name)), []);
    assert.deepEqual([...operations("receive").keys()].filter((name) => !emitted.has(name)), []);
  });

  test("has operations with names, and a description for every field", () => {
    const ids = Object.keys(contract.operations);
    assert.ok(ids.length > 50 && ids.every((id) => /^[a-z][A-Za-z]+$/.test(id)), ids.join());
  });
});
