//! Partitions, heartbeats, sweeps and revoked sign-ins.

use switchboard_core::wire::LogId;

/// Number of a slice of all rooms, from 0. Each has its own hash tag, channel for each node, outbox
/// and deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

/// Data of an accepted heartbeat.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Number of subscribers that received the canary. 0 means a gap.
    pub receivers: u64,
    /// Redis TIME in ms.
    pub time_ms: u64,
    /// Value that changes when Redis loses its data.
    pub epoch: String,
    /// Each registered node with its counter in this partition.
    pub nodes: Vec<(String, u64)>,
}

/// Reply to a heartbeat.
#[derive(Clone, Debug)]
pub enum BeatOutcome {
    /// The node is registered.
    Beat(Beat),
    /// The node was declared dead. It does not hold its seats any more.
    Swept,
}

/// Answer to `sweep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Whether this request declared the node dead. Otherwise its counter changed, or another node
    /// was first.
    pub declared: bool,
    /// Number of seats that this request turned to `reconnecting`, those of earlier unfinished
    /// sweeps included.
    pub seats: usize,
}

/// A sign-in that was revoked before its tokens expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Position in the list.
    pub id: LogId,
    /// Id of the sign-in, which its tokens carry.
    pub sign_in: String,
    /// Redis TIME in ms until which it must be remembered.
    pub until_ms: u64,
}
