//! The leases that this pod holds, as the lease manager and the flushes share them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use switchboard_rooms::Partition;
use tokio::time::Instant;

/// Leases by partition, each with the time at which it expires unless it is renewed.
#[derive(Default)]
pub(super) struct Leases(Mutex<BTreeMap<u16, Instant>>);

impl Leases {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Instant>> {
        // No code under the lock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the partitions whose lease has not expired.
    pub(super) fn held(&self) -> Vec<Partition> {
        let now = Instant::now();
        self.lock().iter().filter(|(_, until)| **until > now).map(|(number, _)| Partition(*number)).collect()
    }

    /// Adds a lease, or renews it.
    pub(super) fn insert(&self, partition: Partition, until: Instant) {
        self.lock().insert(partition.0, until);
    }

    /// Removes a lease that is lost or given up.
    pub(super) fn remove(&self, partition: Partition) {
        self.lock().remove(&partition.0);
    }
}
