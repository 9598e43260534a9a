// What host and moderators ask of the server. Each resolves when it is done, or throws the Refusal.

const RANK = { guest: 0, participant: 1, moderator: 2, host: 3 };
/** What a mute takes away, by the field of a media state. */
export const KINDS = { audioEnabled: "audio", videoEnabled: "video", screenShareEnabled: "screen" };

/** Whether `own` may act on somebody with the role `other`: on those below, and only as a moderator or the host. */
export const outranks = (own, other) => RANK[own] >= RANK.moderator && RANK[own] > RANK[other];

/** @param {(event: string, payload?: object) => Promise<object>} ask */
export const moderation = (ask) => ({
  admit: (peerId) => ask("room:admit", { peerId }),
  admitAll: () => ask("room:admit", { all: true }),
  deny: (peerId) => ask("room:deny", { peerId }),
  mute: (peerId, kind) => ask("participant:mute", { peerId, kind }),
  remove: (peerId, ban) => ask("participant:kick", { peerId, ban }),
  setRole: (peerId, role) => ask("participant:set-role", { peerId, role }),
  transfer: (peerId) => ask("room:transfer-host", { peerId }),
  lock: (locked) => ask("room:lock", { locked }),
  update: (changes) => ask("room:update", changes),
});
