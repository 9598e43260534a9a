//! The recorder: copies durable facts from the outboxes in Redis to MongoDB, in order, and then
//! removes them from the outbox.
//!
//! | file | content |
//! |---|---|
//! | `options` | options |
//! | `fact` | converts a fact of the room scripts to a fact of the records |
//! | `drain` | records the outbox of one partition |
//! | `lease_manager` | decides which partitions this pod owns |
//!
//! Each partition's outbox has one owner at a time, by a lease in Redis, because the order of a
//! call's facts must be kept. Two pods can both believe that they own a partition, for example
//! after a long pause of one process. Then both write the same facts in the same order, and the
//! records keep each fact once (`switchboard_records`).
//!
//! Pods share the partitions evenly. Each pod announces itself in MongoDB, counts the others, and
//! owns at most its share. A pod that cannot reach MongoDB announces nothing and owns nothing, so
//! that a pod that can reach it takes over. If no pod can, the facts wait in Redis.

mod drain;
mod fact;
mod lease_manager;
mod options;

use std::sync::Arc;

use switchboard_records::Records;
use switchboard_rooms::Rooms;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use drain::Outboxes;
use lease_manager::LeaseManager;

pub use options::RecorderOptions;

/// Records facts until `stop` is cancelled, then releases the leases so that other pods need not
/// wait for them to expire. Failures of Redis or MongoDB do not end it. If the future is dropped,
/// recording stops immediately and the leases expire.
pub async fn run(rooms: Rooms, records: Records, options: RecorderOptions, stop: CancellationToken) {
    let outboxes = Arc::new(Outboxes {
        rooms,
        records,
        writers: Semaphore::new(options.writers.max(1)),
        options,
        lease_owner: format!("{:032x}", rand::random::<u128>()),
    });
    LeaseManager::new(outboxes).run(stop).await;
}
