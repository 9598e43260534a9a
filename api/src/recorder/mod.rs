//! The recorder: copies durable facts from the outboxes in Redis to MongoDB, in order, and then
//! removes them from the outbox.
//!
//! | file | content |
//! |---|---|
//! | `options` | options |
//! | `fact` | converts a fact of the room scripts to a fact of the records |
//! | `flush` | records the facts that wait in the owned partitions |
//! | `leases` | the leases that this pod holds |
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

mod fact;
mod flush;
mod lease_manager;
mod leases;
mod options;

use switchboard_records::Records;
use switchboard_rooms::Rooms;
use tokio_util::sync::CancellationToken;

use flush::Outboxes;
use lease_manager::LeaseManager;
use leases::Leases;

use crate::webhooks::EndpointDirectory;

pub use options::RecorderOptions;

/// Records facts and queues their events for webhooks until `stop` is cancelled, then releases the
/// leases so that other pods need not wait for them to expire. Failures of Redis or MongoDB do not
/// end it. If the future is dropped, recording stops immediately and the leases expire.
pub async fn run(
    rooms: Rooms,
    records: Records,
    webhooks: EndpointDirectory,
    options: RecorderOptions,
    stop: CancellationToken,
) {
    let outboxes = Outboxes {
        rooms,
        records,
        webhooks,
        options,
        lease_owner: format!("{:032x}", rand::random::<u128>()),
        leases: Leases::default(),
    };
    let manager = LeaseManager { outboxes: &outboxes };
    tokio::select! { () = outboxes.record() => {}, () = manager.run(&stop) => {} }
    manager.release_all().await;
}
