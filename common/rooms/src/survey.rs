//! What operators see of the rooms, as values.

use super::Door;
use switchboard_core::domain::RoomId;

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSurvey {
    /// Its name.
    pub name: String,
    /// The partitions in which it is registered.
    pub partitions: u16,
    /// The seats that it serves.
    pub seats: u64,
}

/// A room that is open, or was a moment ago.
#[derive(Clone, Debug)]
pub struct RoomSurvey {
    /// Its id.
    pub room: RoomId,
    /// A look at it.
    pub door: Door,
}
