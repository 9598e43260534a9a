// Signaling as usually built on Node.js: Socket.IO with an adapter that carries messages between
// processes through Redis. It implements the events of `loadtest relay`, `join`, `idle` and
// `rooms`, so that the same clients measure both servers.
//
//     node server.mjs redis|streams PORT REDIS_URL [MONGODB_URI]
//
// `redis` uses Redis pub/sub without history. `streams` appends to a Redis stream, from which a
// reconnecting client gets the missed events. With MONGODB_URI it admits to the calls that Express
// has created alone, and records who came and went.
import { createServer } from "node:http";
import { createAdapter as createPubSubAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [kind, port, url, mongo] = process.argv.slice(2);
if (!["redis", "streams"].includes(kind) || !url) {
  throw new Error("usage: server.mjs redis|streams PORT REDIS_URL [MONGODB_URI]");
}

// mongoose takes memory, so it is loaded only for calls that are recorded.
const records = mongo ? await import("./records.mjs") : undefined;
await records?.connect(mongo);
const commands = createClient({ url });
await commands.connect();
let adapter, recovery;
if (kind === "redis") {
  const subscriptions = commands.duplicate();
  await subscriptions.connect();
  adapter = createPubSubAdapter(commands, subscriptions);
} else {
  adapter = createStreamsAdapter(commands);
  recovery = { maxDisconnectionDuration: 95_000 };
}

const http = createServer((_, response) => response.end("ready\n"));
const io = new Server(http, { adapter, connectionStateRecovery: recovery, maxHttpBufferSize: 65_536 });

// Events to one peer, with the field of their content.
const RELAYED = { "webrtc:offer": "offer", "webrtc:answer": "answer", "webrtc:ice-candidate": "candidate" };

io.on("connection", (socket) => {
  socket.on("room:join", async ({ roomId, guestName }, acknowledge) => {
    let call;
    try {
      call = await records?.join(roomId, socket.id, guestName);
    } catch (error) {
      return acknowledge({ success: false, code: error.message });
    }
    await socket.join(roomId);
    socket.data = { roomId, call, user: { id: socket.id, name: guestName, avatar: null, isGuest: true } };
    socket.to(roomId).emit("room:user-joined", { user: socket.data.user, participant: { peerId: socket.id } });
    acknowledge({ success: true, roomId, peerId: socket.id });
  });
  for (const [event, field] of Object.entries(RELAYED)) {
    socket.on(event, (payload, acknowledge) => {
      const { roomId, user } = socket.data;
      io.to(payload.to).emit(event, { from: socket.id, to: payload.to, [field]: payload[field], user, roomId });
      acknowledge?.({ success: true });
    });
  }
  socket.on("participant:update-media-state", ({ videoEnabled, audioEnabled }, acknowledge) => {
    const mediaState = { videoEnabled, audioEnabled };
    socket.to(socket.data.roomId).emit("participant:media-state-changed", { peerId: socket.id, mediaState });
    acknowledge?.({ success: true });
  });
  socket.on("chat:message", ({ message }, acknowledge) => {
    const { roomId, user } = socket.data;
    socket.to(roomId).emit("chat:message", { from: socket.id, message, user, timestamp: new Date() });
    acknowledge?.({ success: true });
  });
  socket.on("disconnect", async () => {
    const { roomId, call } = socket.data;
    if (roomId) io.to(roomId).emit("room:user-left", { peerId: socket.id });
    // A failure ends the process, and so the measurement.
    if (call) await records.leave(call, socket.id);
  });
});

http.listen(Number(port), "127.0.0.1");
