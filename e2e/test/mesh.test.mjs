// A participant joins a mesh: it sends each of the others an offer and its candidates, all at once.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, account, guest, newCall } from "../support/clients.mjs";
import { baseUrl } from "../support/cluster.mjs";
import { until } from "../support/until.mjs";

/** Participants in the call. With one candidate fewer for each, a socket's rate would be enough. */
const OTHERS = 30;
const CANDIDATES = 20;

describe("joining a mesh", { timeout: 120_000 }, () => {
  const opened = [];
  let roomId;
  const seat = async (name) => {
    const client = await Client.seated(baseUrl(), roomId, await guest(roomId, name));
    opened.push(client);
    return client;
  };

  before(async () => {
    ({ roomId } = await newCall(await account("Mesh Host"), { maxParticipants: 100 }));
  });
  after(() => opened.forEach((client) => client.close()));

  test(`a newcomer sends ${OTHERS} others an offer and ${CANDIDATES} candidates at once, and they answer at once`, async () => {
    const others = [];
    for (let number = 0; number < OTHERS; number += 1) others.push(await seat(`Guest ${number}`));
    const newcomer = await seat("Newcomer");
    const connect = (from, to, kind) => [
      from.emit(`webrtc:${kind}`, { to: to.peerId, [kind]: { type: kind, sdp: "v=0\r\n".repeat(1_500) } }),
      ...Array.from({ length: CANDIDATES }, (_, index) =>
        from.emit("webrtc:ice-candidate", { to: to.peerId, candidate: { candidate: `candidate:${index}` } }),
      ),
    ];
    const sent = await Promise.all(others.flatMap((other) => connect(newcomer, other, "offer")));
    assert.deepEqual(sent.filter(({ success }) => !success), []);
    const answered = await Promise.all(others.flatMap((other) => connect(other, newcomer, "answer")));
    assert.deepEqual(answered.filter(({ success }) => !success), []);
    await until("all answers", () => newcomer.all("webrtc:answer").length === OTHERS);
    await until("all candidates", () => newcomer.all("webrtc:ice-candidate").length === OTHERS * CANDIDATES);
    for (const other of others) assert.equal(other.all("webrtc:offer").length, 1);
  });
});
