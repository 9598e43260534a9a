// Chat of the SDK after a lost connection: the code that lists messages. The server is a list.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

const { Chat } = await import(new URL("../../sdk/js/dist/chat.js", import.meta.url));

const message = (number) => ({
  id: `m${number}`,
  from: "peer-ann",
  message: `text ${number}`,
  timestamp: new Date(1_700_000_000_000 + number * 1_000).toISOString(),
});
const messages = (first, last) => Array.from({ length: last - first + 1 }, (_, index) => message(first + index));
const ids = ({ messages }) => messages.map(({ id }) => id);
const idsOf = (first, last) => messages(first, last).map(({ id }) => id);

/** A chat whose server has these messages, and the pages that it asked for. */
function chatOf(stored, { size = 50, refusedFrom = Infinity } = {}) {
  const server = { stored, asked: [], beforeAnswer: () => {}, acknowledge: null };
  server.chat = new Chat({
    typing() {},
    send: () => new Promise((resolve) => (server.acknowledge = resolve)),
    async history({ before }) {
      server.asked.push(before);
      if (server.asked.length > refusedFrom) throw new Error("refused");
      const end = before ? server.stored.findIndex(({ id }) => id === before) : server.stored.length;
      const page = server.stored.slice(Math.max(0, end - size), Math.max(0, end));
      const hasMore = end > size;
      await server.beforeAnswer();
      return { messages: page, hasMore, ...(hasMore && { next: page[0].id }) };
    },
  });
  return server;
}

describe("the chat of the SDK", () => {
  test("lists a message once when the history has it before its acknowledgement comes", async () => {
    const server = chatOf(messages(1, 2));
    const { chat } = server;
    await chat.load("peer-bob");
    const sending = chat.send("hello", { peerId: "peer-ann", name: "Ann" });
    // The message arrives, the connection is lost, and the page returns with another peer id.
    server.stored = [...server.stored, { ...message(3), from: "peer-bob", to: "peer-ann" }];
    await chat.load("peer-bob-2");
    server.acknowledge({ id: "m3", timestamp: message(3).timestamp });
    await sending;
    assert.deepEqual(ids(chat), idsOf(1, 3));
    assert.deepEqual([chat.messages[2].mine, chat.messages[2].toName], [true, "Ann"]);
  });

  test("fetches every missed message, in order, however many pages they are", async () => {
    const server = chatOf(messages(1, 60));
    const { chat } = server;
    await chat.load("peer-bob");
    assert.deepEqual(ids(chat), idsOf(11, 60));
    server.stored = messages(1, 230);
    await chat.load("peer-bob");
    assert.deepEqual(ids(chat), idsOf(11, 230));
    assert.equal(chat.hasMore, true);
    await chat.loadEarlier();
    assert.deepEqual(ids(chat), idsOf(1, 230));
    assert.equal(chat.hasMore, false);
  });

  test("asks for a bounded number of pages, and reaches the others by loadEarlier", async () => {
    const server = chatOf(messages(1, 10));
    const { chat } = server;
    await chat.load("peer-bob");
    assert.equal(chat.hasMore, false);
    server.stored = messages(1, 5_000);
    server.asked = [];
    await chat.load("peer-bob");
    assert.equal(server.asked.length, 20);
    assert.deepEqual(ids(chat), idsOf(4_001, 5_000));
    assert.equal(chat.hasMore, true);
    while (chat.hasMore) await chat.loadEarlier();
    assert.deepEqual(ids(chat), idsOf(1, 5_000));
  });

  test("leaves no gap when a page of the missed messages is refused", async () => {
    const server = chatOf(messages(1, 10), { refusedFrom: 3 });
    const { chat } = server;
    await chat.load("peer-bob");
    server.stored = messages(1, 200);
    await chat.load("peer-bob");
    assert.deepEqual(ids(chat), idsOf(101, 200));
    assert.equal(chat.hasMore, true);
  });

  test("puts missed messages before one that arrives while the history is fetched", async () => {
    const server = chatOf(messages(1, 3));
    const { chat } = server;
    await chat.load("peer-bob");
    server.stored = messages(1, 60);
    server.beforeAnswer = () => {
      server.beforeAnswer = () => {};
      // One that the answer has as well, and one that is newer.
      chat.received(message(60));
      chat.received(message(61));
    };
    await chat.load("peer-bob");
    assert.deepEqual(ids(chat), idsOf(1, 61));
  });

  test("goes on after a page that is empty but has a next one", async () => {
    const pages = [
      { messages: messages(5, 6), hasMore: true, next: "m5" },
      { messages: [], hasMore: true, next: "m3" },
      { messages: messages(1, 2), hasMore: false },
    ];
    const asked = [];
    const chat = new Chat({ typing() {}, send() {}, history: async ({ before }) => (asked.push(before), pages.shift()) });
    await chat.load("peer-bob");
    await chat.loadEarlier();
    await chat.loadEarlier();
    assert.deepEqual(ids(chat), ["m1", "m2", "m5", "m6"]);
    assert.deepEqual(asked, [undefined, "m5", "m3"]);
  });

  test("keeps what it has when the history is older, as after messages that were not kept", async () => {
    const server = chatOf(messages(1, 200));
    const { chat } = server;
    chat.received(message(300));
    server.asked = [];
    await chat.load("peer-bob");
    assert.deepEqual(ids(chat), [...idsOf(151, 200), "m300"]);
    assert.equal(server.asked.length, 1);
    assert.equal(chat.hasMore, true);
  });
});
