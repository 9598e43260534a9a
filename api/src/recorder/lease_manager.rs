//! Decides which partitions this pod owns: its even share, by leases in Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rand::seq::SliceRandom;
use switchboard_rooms::Partition;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drain::Outboxes;
use crate::clock::{jittered, now};

/// How long a clean stop waits for batches that are being written.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Lease of one partition, and the task that records its outbox.
struct Lease {
    /// Ends the task.
    stop: CancellationToken,
    /// Handle of the task.
    task: AbortHandle,
    /// Time at which the lease expires unless it is renewed.
    until: Instant,
}

/// Acquires, renews and releases leases.
pub(super) struct LeaseManager {
    outboxes: Arc<Outboxes>,
    /// Leases that this pod holds, by partition.
    leases: HashMap<u16, Lease>,
    /// Tasks of the leases. Dropping the set aborts them.
    tasks: JoinSet<()>,
}

impl LeaseManager {
    pub(super) fn new(outboxes: Arc<Outboxes>) -> Self {
        Self { outboxes, leases: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Manages the leases until `stop` is cancelled, then releases them.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.round().await;
            let pause = jittered(self.outboxes.options.lease / 4);
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
        self.release_all().await;
    }

    async fn round(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.leases.retain(|_, lease| !lease.task.is_finished());
        self.renew().await;
        let share = self.share().await;
        self.release_beyond(share);
        self.acquire_up_to(share).await;
        #[expect(clippy::cast_precision_loss, reason = "at most 4,096 partitions")]
        metrics::gauge!("switchboard_recorder_partitions_owned").set(self.leases.len() as f64);
        self.measure_lag().await;
    }

    /// Returns the number of partitions that this pod may own: 0 while it cannot reach MongoDB.
    async fn share(&self) -> usize {
        let Outboxes { rooms, records, options, lease_owner, .. } = &*self.outboxes;
        let announcement = records.announce_recorder(lease_owner, options.lease);
        let announced = tokio::time::timeout(options.lease / 4, announcement).await;
        match announced {
            Ok(Ok(recorders)) => usize::from(rooms.partitions()).div_ceil(recorders.max(1)),
            Ok(Err(_)) | Err(_) => 0,
        }
    }

    async fn renew(&mut self) {
        let Outboxes { rooms, options, lease_owner, .. } = &*self.outboxes;
        let asked = Instant::now();
        // Skip leases that are being released: a renewed one would have no task.
        let kept = self.leases.iter().filter(|(_, lease)| !lease.stop.is_cancelled());
        let renewals = kept.map(|(&number, _)| async move {
            (number, rooms.acquire_lease(Partition(number), lease_owner, options.lease).await)
        });
        for (number, renewed) in join_all(renewals).await {
            let Some(lease) = self.leases.get_mut(&number) else { continue };
            match renewed {
                Ok(true) => lease.until = asked + options.lease,
                // The lease may still be valid. After it has expired, another pod may own it.
                Err(_) if Instant::now() < lease.until => {}
                Ok(false) | Err(_) => lease.stop.cancel(),
            }
        }
    }

    fn release_beyond(&mut self, share: usize) {
        let kept: Vec<_> = self.leases.values().filter(|lease| !lease.stop.is_cancelled()).collect();
        for lease in kept.iter().skip(share) {
            lease.stop.cancel();
        }
    }

    async fn acquire_up_to(&mut self, share: usize) {
        let mut free: Vec<u16> =
            (0..self.outboxes.rooms.partitions()).filter(|number| !self.leases.contains_key(number)).collect();
        // Shuffle, so that pods that start together do not all try the same partitions first.
        free.shuffle(&mut rand::rng());
        for number in free {
            if self.leases.len() >= share {
                return;
            }
            let Outboxes { rooms, options, lease_owner, .. } = &*self.outboxes;
            let until = Instant::now() + options.lease;
            match rooms.acquire_lease(Partition(number), lease_owner, options.lease).await {
                Ok(true) => self.hold(number, until),
                Ok(false) => {}
                Err(_) => return,
            }
        }
    }

    fn hold(&mut self, number: u16, until: Instant) {
        let stop = CancellationToken::new();
        let (outboxes, stopped) = (Arc::clone(&self.outboxes), stop.clone());
        let task = self.tasks.spawn(async move { outboxes.drain(Partition(number), stopped).await });
        self.leases.insert(number, Lease { stop, task, until });
    }

    /// Measures the number of facts in all outboxes and the age of the oldest. Every pod measures
    /// all partitions, so that the metrics exist even while a partition has no owner.
    async fn measure_lag(&self) {
        let Outboxes { rooms, .. } = &*self.outboxes;
        let heads = (0..rooms.partitions()).map(|number| rooms.outbox(Partition(number), None, 1));
        let oldest = join_all(heads).await.into_iter().flatten().flatten().map(|entry| entry.id.ms).min();
        let now = u64::try_from(now().0).unwrap_or_default();
        let lag = oldest.map_or(Duration::ZERO, |at| Duration::from_millis(now.saturating_sub(at)));
        metrics::gauge!("switchboard_outbox_lag_seconds").set(lag.as_secs_f64());
        let lengths = (0..rooms.partitions()).map(|number| rooms.outbox_len(Partition(number)));
        let waiting: u64 = join_all(lengths).await.into_iter().flatten().sum();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("switchboard_outbox_facts").set(waiting as f64);
    }

    async fn release_all(mut self) {
        for lease in self.leases.values() {
            lease.stop.cancel();
        }
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        let finished = tokio::time::timeout(STOP_TIMEOUT, finished).await.is_ok();
        self.tasks.shutdown().await;
        let Outboxes { rooms, records, lease_owner, .. } = &*self.outboxes;
        // Release every partition, because `leases` misses those whose grant was not received and
        // those whose task ended by itself.
        let partitions = 0..rooms.partitions();
        let released = join_all(partitions.map(|number| rooms.release_lease(Partition(number), lease_owner))).await;
        if !finished || released.iter().any(Result::is_err) {
            tracing::warn!("releasing leases failed; they expire");
        }
        if records.retire_recorder(lease_owner).await.is_err() {
            tracing::info!("removing the recorder's announcement failed; it expires");
        }
    }
}
