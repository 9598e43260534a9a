//! Figures of a room at one moment.

use switchboard_core::domain::{CallId, Participant, Timestamp};

/// Figures of a room. All times are Redis TIME.
#[derive(Clone, Debug)]
pub struct RoomStats {
    /// Call.
    pub call: CallId,
    /// Time at which the room was opened.
    pub opened_at: Timestamp,
    /// Time at which these figures were taken.
    pub taken_at: Timestamp,
    /// Highest number of participants at one time so far.
    pub peak: u32,
    /// Number of chat messages so far.
    pub messages: u64,
    /// Every seat, those of the lobby included, oldest first.
    pub seats: Vec<SeatStats>,
}

/// A participant's presence in a room.
#[derive(Clone, Debug)]
pub struct SeatStats {
    /// Participant with state, role and media.
    pub participant: Participant,
    /// Time of the join, or of the arrival in the lobby.
    pub since: Timestamp,
}
