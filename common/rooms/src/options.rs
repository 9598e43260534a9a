//! How the store behaves: names, times and bounds. Nothing here has a default that a deployment must change.

use std::time::Duration;

/// How the store behaves.
#[derive(Clone, Debug)]
pub struct RoomOptions {
    /// First part of every key and channel.
    pub prefix: String,
    /// Slices of the rooms; the same on every process, and never changed while there are rooms.
    pub partitions: u16,
    /// How long a seat outlives its socket.
    pub grace: Duration,
    /// How far back a client can resume, and how long `id`s are remembered.
    pub window: Duration,
    /// Entries of a room's log, about: past it the oldest go and raise the floor.
    pub log_max_len: usize,
    /// Messages of a room's chat that are kept for who comes later, about, and for how long after the last one.
    pub chat_kept: (usize, Duration),
    /// Facts that may wait in a partition's outbox: past it nothing more is said in calls whose chat is recorded.
    pub outbox_max: usize,
    /// How many may wait in a room's lobby.
    pub lobby_places: u32,
    /// How long an empty room stays before its call ends.
    pub empty_after: Duration,
    /// How long an ended room refuses to be opened.
    pub tombstone: Duration,
    /// The lanes' bounds.
    pub lanes: LaneOptions,
}

impl Default for RoomOptions {
    /// The window is that of the default pings: 25 s and 20 s, the grace, and 30 s.
    fn default() -> Self {
        Self {
            prefix: "sb".to_owned(),
            partitions: 64,
            grace: Duration::from_secs(20),
            window: Duration::from_secs(95),
            log_max_len: 10_000,
            chat_kept: (500, Duration::from_secs(24 * 3600)),
            outbox_max: 1_000_000,
            lobby_places: 100,
            empty_after: Duration::from_secs(300),
            tombstone: Duration::from_secs(600),
            lanes: LaneOptions::default(),
        }
    }
}

/// The bounds of what waits for Redis.
#[derive(Clone, Copy, Debug)]
pub struct LaneOptions {
    /// Calls of this process that may wait; more are refused. Leaving and losing a socket are never refused.
    pub queue_max: usize,
    /// How long a call may wait for its answer before its caller is told that Redis is unavailable.
    pub queue_time: Duration,
}

impl Default for LaneOptions {
    fn default() -> Self {
        Self { queue_max: 50_000, queue_time: Duration::from_secs(2) }
    }
}
