//! Participants of an app on all nodes.

use switchboard_core::domain::{AppLimits, RoomId};

/// What a node does with the count of an app's participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppStep {
    /// Reports its participants.
    Report,
    /// Reports them, and takes a place for one more.
    Enter,
    /// Only asks whether one more could enter.
    Ask,
}

/// A node's participants and rooms of an app.
#[derive(Clone, Copy, Debug)]
pub struct AppReport<'a> {
    /// Participants on the node, without one who is about to enter.
    pub participants: u32,
    /// Rooms with a participant on the node; if one is about to enter, the room of that one alone.
    pub rooms: &'a [RoomId],
    /// Limits of the app. Without a limit of calls, no room is reported.
    pub limits: AppLimits,
}

/// Outcome of a report, or of an entry into a room of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppEntry {
    /// The report counts, and the entry if there was one.
    Counted {
        /// Participants on all nodes.
        participants: u32,
        /// Nodes that report, this one included.
        nodes: u32,
    },
    /// The app has its most participants.
    MostParticipants,
    /// The app has its most calls.
    MostCalls,
}

/// Participants and calls of an app now, on all nodes. Nodes report participants only of an app
/// with a limit of participants, calls or events, and calls only of one with a limit of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppCount {
    /// Participants with a connection, the lobby included.
    pub participants: u32,
    /// Calls with such a participant.
    pub calls: u32,
}
