// What the page measures during a call: who speaks, and how good each connection is.
import { levelOf } from "./audio.js";

const SPEAKERS_INTERVAL_MS = 250;
/** Time after the last sound for which a participant still counts as speaking. */
const SPEAKING_MS = 900;
const LOUD = { own: 0.08, other: 0.02 };
const QUALITY_INTERVAL_MS = 3_000;

/**
 * Watches who speaks until `signal` aborts. Calls `changed` with the peer ids of those who speak.
 * @param {import("../vendor/switchboard.js").Room} room
 * @param {(speaking: Set<string>) => void} changed
 */
export function watchSpeakers(room, changed, signal) {
  const own = levelOf(room.local);
  const heard = new Map();
  let last = "";
  const isLoud = ({ isSelf, connection, mediaState }) =>
    isSelf ? own.read() > LOUD.own : mediaState.audioEnabled && (connection?.audioLevel ?? 0) > LOUD.other;
  const timer = setInterval(() => {
    const now = Date.now();
    for (const participant of room.participants.values()) {
      if (isLoud(participant)) heard.set(participant.peerId, now);
    }
    for (const [peerId, at] of heard) if (now - at > SPEAKING_MS || !room.participants.has(peerId)) heard.delete(peerId);
    const key = [...heard.keys()].sort().join();
    if (key === last) return;
    last = key;
    changed(new Set(heard.keys()));
  }, SPEAKERS_INTERVAL_MS);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    own.close();
  });
}

/**
 * Returns the quality of a connection: `good`, `fair` or `poor`.
 * @param {{packetsReceived: number, packetsLost: number, roundTripTime: number}} interval packets of
 *   the last interval; the time is in seconds
 */
export function qualityOf({ packetsReceived, packetsLost, roundTripTime }) {
  const lost = Math.max(0, packetsLost) / Math.max(1, packetsReceived + Math.max(0, packetsLost));
  if (lost > 0.08 || roundTripTime > 0.6) return "poor";
  return lost > 0.02 || roundTripTime > 0.3 ? "fair" : "good";
}

/**
 * Watches the connections until `signal` aborts. Calls `changed` with the quality of each, by peer
 * id.
 * @param {import("../vendor/switchboard.js").Room} room
 * @param {(qualities: Map<string, "good" | "fair" | "poor">) => void} changed
 */
export function watchQuality(room, changed, signal) {
  let before = new Map();
  let last = "";
  const look = async () => {
    const now = new Map();
    const qualities = new Map();
    for (const { peerId, connection } of room.others) {
      if (connection?.connectionState !== "connected") continue;
      const stats = await connection.stats();
      const former = before.get(peerId);
      now.set(peerId, stats);
      if (!former) continue;
      const since = (field) => stats[field] - former[field];
      const [packetsReceived, packetsLost] = [since("packetsReceived"), since("packetsLost")];
      qualities.set(peerId, qualityOf({ packetsReceived, packetsLost, roundTripTime: stats.roundTripTime }));
    }
    before = now;
    const key = JSON.stringify([...qualities]);
    if (key === last || signal.aborted) return;
    last = key;
    changed(qualities);
  };
  const timer = setInterval(look, QUALITY_INTERVAL_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}
