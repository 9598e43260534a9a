//! Lanes: the nodes' way of requests to Redis. Requests wait in a queue for each partition; the
//! lane of the server that has the partition sends them in pipelines.
//!
//! | file | content |
//! |---|---|
//! | `request` | a request: its commands, and the callbacks for its replies |
//! | `calls` | the commands of a pipeline, and which reply is whose |
//! | `queues` | the queues of the partitions, and the requests in flight |
//! | `lane` | one connection to one server, one pipeline in flight, retries |
//! | `retry` | the meaning of error replies: which requests are sent again |
//! | `failovers` | listens to Sentinels for a new master |
//! | `locate` | the server of each partition: slot map, Sentinels |
//! | `topology` | the lanes of each server |
//!
//! Each server has two lanes: one for everything, and one for reads with large answers, which would
//! hold up the requests of all rooms behind them.
//!
//! docs/ROOM_STATE.md gives the rules, each with the race that it prevents.

mod calls;
mod failovers;
mod lane;
mod locate;
mod queues;
mod request;
mod retry;
mod topology;

use std::time::Duration;

pub(crate) use failovers::follow_all;
pub(crate) use locate::{ANSWER_TIMEOUT, locate, search_order, within};
pub(crate) use request::{Commands, Payload, Request};
pub(crate) use retry::{RetryReason, not_serving, refusal, retry_reason};
pub(crate) use topology::{Address, REFRESH_INTERVAL, Topology, Traffic, slots};

/// Shortest time between two attempts. It doubles with each failure.
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Longest time between two attempts.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_millis(250);
/// Time until requests are sent again whose slot is moving, or has moved, to another server.
pub(crate) const SLOT_MOVE_INTERVAL: Duration = Duration::from_millis(5);

/// Bounds of the requests that wait for Redis.
#[derive(Clone, Copy, Debug)]
pub struct LaneOptions {
    /// Maximum number of requests of this process that wait. More are refused, except leave and
    /// detach.
    pub queue_max: usize,
    /// How long a request may wait for its reply. After that, the caller gets `Unavailable`.
    pub queue_time: Duration,
}

impl Default for LaneOptions {
    fn default() -> Self {
        Self { queue_max: 50_000, queue_time: Duration::from_secs(2) }
    }
}
