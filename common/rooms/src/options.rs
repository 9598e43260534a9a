//! Options of the store. The defaults suit every deployment.

use std::time::Duration;

use crate::lanes::LaneOptions;

/// Names, times and bounds of the store.
#[derive(Clone, Debug)]
pub struct RoomOptions {
    /// First part of every key and channel.
    pub prefix: String,
    /// Number of partitions. Every process must have the same number, and it must not change while
    /// rooms exist.
    pub partitions: u16,
    /// How long a seat is kept after its socket was lost.
    pub grace: Duration,
    /// How long a join waits for an earlier socket of the same user to show that its client is
    /// alive; zero if every socket counts as alive.
    pub probe: Duration,
    /// How long a client can resume, and how long clients' own ids of events are kept.
    pub window: Duration,
    /// Approximate maximum number of entries in a room's log. Beyond it the oldest are dropped and
    /// the floor rises.
    pub log_max_len: usize,
    /// Maximum number of bytes of a room's log, about. Beyond it the oldest are dropped and the
    /// floor rises.
    pub log_max_bytes: usize,
    /// Maximum number of messages in a room's chat history, about, and lifetime of the history
    /// after the last message.
    pub chat_history: (usize, Duration),
    /// Maximum number of bytes of a room's chat history, about. Beyond it the oldest are dropped.
    pub chat_history_bytes: usize,
    /// Maximum number of facts in a partition's outbox. Beyond it, chat in calls with recording on
    /// is refused.
    pub outbox_max: usize,
    /// Number of places in a room's lobby.
    pub lobby_places: u32,
    /// Maximum number of seats of one user in a room. Scripts that concern a user read all of them.
    pub devices_max: u32,
    /// Time after which the call of an empty room ends.
    pub empty_after: Duration,
    /// How long an ended room refuses to be opened.
    pub tombstone: Duration,
    /// Bounds of the lanes.
    pub lanes: LaneOptions,
}

impl Default for RoomOptions {
    /// The window is the default of ping interval (25 s), ping timeout (20 s) and grace period,
    /// plus 30 s.
    fn default() -> Self {
        Self {
            prefix: "sb".to_owned(),
            partitions: 64,
            grace: Duration::from_secs(20),
            probe: Duration::from_secs(2),
            window: Duration::from_secs(95),
            log_max_len: 10_000,
            log_max_bytes: 16 << 20,
            chat_history: (500, Duration::from_secs(24 * 3600)),
            chat_history_bytes: 2 << 20,
            outbox_max: 1_000_000,
            lobby_places: 100,
            devices_max: 16,
            empty_after: Duration::from_secs(300),
            tombstone: Duration::from_secs(600),
            lanes: LaneOptions::default(),
        }
    }
}
