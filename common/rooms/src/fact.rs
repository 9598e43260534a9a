//! Durable facts, as an outbox gives them to whoever writes them down for good.

use super::LogId;
use switchboard_core::domain::{CallId, PeerId, RoomId, UserId};

/// An entry of a partition's outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Where it stands; what `ack` takes.
    pub id: LogId,
    /// `<partition>:<stream id>`: unique for good.
    pub event_id: String,
    /// The fact, or what the entry has instead of one.
    pub fact: Result<Fact, String>,
}

/// A durable fact of a partition's outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Where it stands in the outbox; what `ack` takes.
    pub id: LogId,
    /// `<partition>:<stream id>`: unique for good, the guard of an idempotent write.
    pub event_id: String,
    /// `created`, `joined`, `left`, `chat` or `ended`.
    pub kind: String,
    /// The call's record.
    pub call: CallId,
    /// The room.
    pub room: RoomId,
    /// Whose presence it is about.
    pub about: Option<Presence>,
    /// Seats taken after it.
    pub count: u32,
    /// JSON; by kind.
    pub details: String,
}

/// Whose presence a fact is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The participant.
    pub peer: PeerId,
    /// The user behind it.
    pub user: UserId,
    /// The log id of the joined event: one per presence.
    pub join_id: LogId,
}

impl Fact {
    /// When it happened: Redis TIME, milliseconds.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.id.ms
    }
}
