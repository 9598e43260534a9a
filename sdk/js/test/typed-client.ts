// A typed application. It is compiled against the declarations in dist/, not run.
import { LocalMedia, Switchboard, SwitchboardError, type Participant, type RoomStatus } from "@switchboard/client";
import { RestClient } from "@switchboard/client/rest";

export async function create(token: string): Promise<string> {
  const api = new RestClient("https://calls.example.com", { token });
  const { roomId } = await api.call("createCall", { body: { title: "Weekly" } });
  // @ts-expect-error a call has a title
  await api.call("createCall", { body: {} });
  // @ts-expect-error there is no such operation
  await api.call("createMeeting");
  await api.call("listCalls");
  return roomId;
}

/** A backend with the API key of its app. */
export async function backend(keyId: string, secret: string): Promise<string> {
  const api = new RestClient("https://calls.example.com", { appKey: { keyId, secret } });
  const header = { "Idempotency-Key": "order-7" };
  const { roomId } = await api.call("createServerCall", { header, body: { title: "Weekly" } });
  // @ts-expect-error no such header
  await api.call("createServerCall", { header: { "Idempotency": "order-7" }, body: { title: "Weekly" } });
  const { inUse } = await api.call("getServerLimits");
  console.log(inUse.concurrentCalls, (await api.call("getServerUsage", { query: { from: "2026-01-01" } })).total.joins);
  const { token } = await api.call("mintToken", { body: { sub: "ann", room: roomId } });
  return token;
}

export async function call(token: () => Promise<string>, video: HTMLVideoElement): Promise<void> {
  const switchboard = new Switchboard("https://calls.example.com/path", { token, transports: ["websocket"] });
  const room = await switchboard.join("K3F9QX2M7TBD", { audio: true, video: true, local: new LocalMedia() });
  const detach: () => void = room.self!.attach(video);
  room.on("participantJoined", (participant: Participant) => participant.attach(video, "screen"));
  const end: () => void = room.eachParticipant((participant: Participant) => participant.attach(video));
  room.eachParticipant(({ name }) => console.log(name), { signal: new AbortController().signal });
  const off: () => void = room.on("status", (status: RoomStatus) => console.log(status));
  room.on("reaction", (participant: Participant, emoji: string) => console.log(participant.name, emoji));
  room.on("serverEvent", ({ name, data }: { name: string; data?: unknown }) => console.log(name, data));
  await room.setHand(room.raisedHands.length === 0);
  await room.react("👍");
  await room.sendData("cursor", { x: 1, y: 2 }, room.others[0]?.peerId);
  room.on("data", (participant: Participant, kind: string, message: unknown) => console.log(participant.name, kind, message));
  room.on("muted", (kind: "audio" | "video" | "screen") => console.log(kind));
  room.chat.on("message", ({ fromUser, message }) => console.log(fromUser?.name, message));
  await room.moderation.setRole(room.others[0]!.peerId, "moderator");
  // @ts-expect-error there is no such event
  room.on("participantVanished", () => {});
  // @ts-expect-error the host role is transferred, not set
  await room.moderation.setRole("peer", "host");
  detach();
  end();
  off();
  if (room.ending instanceof SwitchboardError) console.log(room.ending.code);
}
