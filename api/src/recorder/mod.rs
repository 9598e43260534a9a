//! The recorder: takes durable facts from the outboxes on Redis to MongoDB, in order, and lets the outbox forget what is written.
//!
//! Each partition's outbox has one owner at a time, by a lease on Redis. The order of facts within a call is the outbox's, so one owner
//! keeps it. Should two believe for a moment that they own it (a pause, a lease that ran out), both write the same facts in the same
//! order, and the records keep one of each: see `switchboard_records`.
//!
//! Pods share the partitions evenly: each announces itself in MongoDB, counts the others, and keeps no more than its part. A pod that
//! cannot reach MongoDB announces nothing and owns nothing, so that another that can takes over. When none can, the facts wait on Redis.

mod drain;
mod reading;
mod steward;

use std::sync::Arc;
use std::time::Duration;

use switchboard_records::Records;
use switchboard_rooms::Rooms;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use drain::Outboxes;
pub(crate) use drain::jittered;
use steward::Steward;

/// How the recorder works.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// How long a partition stays with an owner that is not heard of; renewed four times in that.
    pub lease: Duration,
    /// How long an empty outbox is left alone.
    pub idle: Duration,
    /// Facts read and written in one go.
    pub batch: usize,
    /// Batches in memory at the same time: with `batch`, the bound of what is held.
    pub writers: usize,
    /// The names of the endpoints that are told what happens.
    pub webhooks: Vec<String>,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            idle: Duration::from_millis(250),
            batch: 500,
            writers: 4,
            webhooks: Vec::new(),
        }
    }
}

/// Records until `stop` is cancelled, then gives its partitions up so that the others need not wait for the leases to run out.
/// Nothing that happens to Redis or MongoDB ends it; dropped, it stops at once and its leases run out.
pub async fn run(rooms: Rooms, records: Records, options: RecorderOptions, stop: CancellationToken) {
    let outboxes = Arc::new(Outboxes {
        rooms,
        records,
        writers: Semaphore::new(options.writers.max(1)),
        options,
        token: format!("{:032x}", rand::random::<u128>()),
    });
    Steward::new(outboxes).run(stop).await;
}
