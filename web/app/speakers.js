// Finds out which participants speak.
import { levelOf } from "./audio.js";

// Short, and no part of a second: a sound that comes back regularly is then heard sooner or later.
const INTERVAL_MS = 110;
/** Time after the last sound for which a participant still counts as speaking. */
const SPEAKING_MS = 900;
const LOUD = { own: 0.08, other: 0.02 };

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
  }, INTERVAL_MS);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    own.close();
  });
}
