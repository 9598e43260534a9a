//! A room in figures, as it is at one moment.

use switchboard_core::domain::{CallId, Participant, Timestamp};

/// A room in figures. All times are Redis'.
#[derive(Clone, Debug)]
pub struct RoomStats {
    /// Its call.
    pub call: CallId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When these figures were taken.
    pub taken_at: Timestamp,
    /// The most participants at one time so far.
    pub peak: u32,
    /// Chat messages so far.
    pub messages: u64,
    /// Everybody in it, the lobby too, oldest first.
    pub stays: Vec<Stay>,
}

/// Somebody's stay in a room.
#[derive(Clone, Debug)]
pub struct Stay {
    /// Who, and in which state.
    pub participant: Participant,
    /// Since when.
    pub since: Timestamp,
}
