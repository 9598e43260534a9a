// What the compared services record of calls, with mongoose: calls, and who came and went. Express
// creates the calls, Socket.IO records joins and leaves.
import { randomBytes } from "node:crypto";
import mongoose from "mongoose";

const { ObjectId } = mongoose.Schema.Types;
const callFields = {
  roomId: { type: String, unique: true },
  title: String,
  type: { type: String, enum: ["public", "private"] },
  host: ObjectId,
  maxParticipants: { type: Number, min: 2, max: 500 },
  endedAt: Date,
};
const participantFields = {
  call: { type: ObjectId, index: true },
  peerId: { type: String, index: true },
  name: String,
  joinedAt: Date,
  leftAt: Date,
};
// Collections of their own, because the api of Switchboard has the usual names.
const Call = mongoose.model("Call", new mongoose.Schema(callFields, { timestamps: true, collection: "peer_calls" }));
const Participant = mongoose.model(
  "Participant",
  new mongoose.Schema(participantFields, { collection: "peer_participants" }),
);

// Connects, and creates the indexes.
export async function connect(uri) {
  await mongoose.connect(uri);
  await Promise.all([Call.init(), Participant.init()]);
}

// Creates a call. Rejects fields that are out of bounds.
export function createCall(host, { title, type, maxParticipants }) {
  const roomId = randomBytes(8).toString("hex");
  return Call.create({ roomId, title, type, maxParticipants, host });
}

// Records that a participant came. Returns the call; throws with the code of the refusal.
export async function join(roomId, peerId, name) {
  const call = await Call.findOne({ roomId, endedAt: null });
  if (!call) throw new Error("CALL_NOT_FOUND");
  const present = await Participant.countDocuments({ call: call._id, leftAt: null });
  if (present >= call.maxParticipants) throw new Error("ROOM_FULL");
  await Participant.create({ call: call._id, peerId, name, joinedAt: new Date() });
  return call._id;
}

// Records that a participant left, and the end of the call after the last one.
export async function leave(call, peerId) {
  await Participant.updateOne({ call, peerId }, { leftAt: new Date() });
  if (await Participant.exists({ call, leftAt: null })) return;
  await Call.updateOne({ _id: call }, { endedAt: new Date() });
}
