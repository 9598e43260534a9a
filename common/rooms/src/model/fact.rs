//! Durable facts of the outbox, as the recorder reads them.

use switchboard_core::domain::{CallId, PeerId, RoomId, UserId};
use switchboard_core::wire::LogId;

/// Entry of a partition's outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Position in the outbox, as `trim_outbox` takes it.
    pub id: LogId,
    /// `<partition>:<stream id>`, unique forever.
    pub event_id: String,
    /// The fact; or the entry's fields as text, if they are not a fact.
    pub fact: Result<Fact, String>,
}

/// A durable fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Position in the outbox, as `trim_outbox` takes it.
    pub id: LogId,
    /// `<partition>:<stream id>`, unique forever: the key of an idempotent write.
    pub event_id: String,
    /// `created`, `joined`, `left`, `chat`, `denied`, `role`, `updated`, `emptied`, `ended` or
    /// `reopened`.
    pub kind: String,
    /// Call.
    pub call: CallId,
    /// Room.
    pub room: RoomId,
    /// Presence that the fact is about; `None` for a fact about the call.
    pub about: Option<Presence>,
    /// Number of seats taken after the fact.
    pub count: u32,
    /// Details as JSON; the fields depend on the kind.
    pub details: String,
}

/// One presence of a participant in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Participant.
    pub peer: PeerId,
    /// User of the participant.
    pub user: UserId,
    /// Log id of `room:user-joined`, different for each presence.
    pub join_id: LogId,
}
