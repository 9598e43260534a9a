// Signaling as usually built on Node.js: Socket.IO with an adapter that carries messages between
// processes through Redis. It implements the events of `loadtest relay`, `join` and `idle`, so that
// the same clients measure both servers.
//
//     node server.mjs redis|streams PORT REDIS_URL
//
// `redis` uses Redis pub/sub without history. `streams` appends to a Redis stream, from which a
// reconnecting client gets the missed events.
import { createServer } from "node:http";
import { createAdapter as createPubSubAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [kind, port, url] = process.argv.slice(2);
if (!["redis", "streams"].includes(kind) || !url) throw new Error("usage: server.mjs redis|streams PORT REDIS_URL");

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

io.on("connection", (socket) => {
  socket.on("room:join", async ({ roomId, guestName }, acknowledge) => {
    await socket.join(roomId);
    socket.data = { roomId, user: { id: socket.id, name: guestName, avatar: null, isGuest: true } };
    socket.to(roomId).emit("room:user-joined", { user: socket.data.user, participant: { peerId: socket.id } });
    acknowledge({ success: true, roomId, peerId: socket.id });
  });
  for (const field of ["offer", "answer"]) {
    const event = `webrtc:${field}`;
    socket.on(event, (payload, acknowledge) => {
      const { roomId, user } = socket.data;
      io.to(payload.to).emit(event, { from: socket.id, to: payload.to, [field]: payload[field], user, roomId });
      acknowledge?.({ success: true });
    });
  }
  socket.on("disconnect", () => {
    if (socket.data.roomId) io.to(socket.data.roomId).emit("room:user-left", { peerId: socket.id });
  });
});

http.listen(Number(port), "127.0.0.1");
