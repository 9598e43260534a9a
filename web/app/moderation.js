// Moderation commands of host and moderators. Each resolves when the server has done it.

const RANK = { guest: 0, participant: 1, moderator: 2, host: 3 };
/** Kind of medium in `participant:mute`, by the field of a media state. */
export const KINDS = { audioEnabled: "audio", videoEnabled: "video", screenShareEnabled: "screen" };

/**
 * Returns whether role `own` may moderate role `other`: moderators and hosts act on lower roles.
 */
export const outranks = (own, other) => RANK[own] >= RANK.moderator && RANK[own] > RANK[other];

/** @param {(event: string, payload?: object) => Promise<object>} send rejects with the Refusal */
export const moderation = (send) => ({
  admit: (peerId) => send("room:admit", { peerId }),
  admitAll: () => send("room:admit", { all: true }),
  deny: (peerId) => send("room:deny", { peerId }),
  mute: (peerId, kind) => send("participant:mute", { peerId, kind }),
  remove: (peerId, ban) => send("participant:kick", { peerId, ban }),
  setRole: (peerId, role) => send("participant:set-role", { peerId, role }),
  transfer: (peerId) => send("room:transfer-host", { peerId }),
  lock: (locked) => send("room:lock", { locked }),
  update: (changes) => send("room:update", changes),
});
