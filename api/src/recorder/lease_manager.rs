//! Decides which partitions this pod owns: its even share, by leases in Redis.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use rand::seq::SliceRandom;
use switchboard_rooms::Partition;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::flush::{OUTBOX_TIMEOUT, Outboxes, in_time};
use crate::clock::{jittered, now};

/// Acquires, renews and releases leases.
pub(super) struct LeaseManager<'a> {
    pub(super) outboxes: &'a Outboxes,
}

impl LeaseManager<'_> {
    /// Manages the leases until `stop` is cancelled.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        // The measurement waits for servers of Redis that do not answer, so it has a loop of its
        // own: it must not delay the renewals.
        tokio::select! { () = self.manage(stop) => {}, () = self.measure() => {} }
    }

    async fn manage(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let started = Instant::now();
            self.round().await;
            let pause = jittered(self.outboxes.options.lease / 4).saturating_sub(started.elapsed());
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
    }

    async fn round(&self) {
        self.renew().await;
        let share = self.share().await;
        self.release_beyond(share).await;
        self.acquire_up_to(share).await;
        #[expect(clippy::cast_precision_loss, reason = "at most 4,096 partitions")]
        metrics::gauge!("switchboard_recorder_partitions_owned").set(self.outboxes.leases.held().len() as f64);
    }

    /// Measures the lag repeatedly. Does not return.
    async fn measure(&self) {
        loop {
            self.measure_lag().await;
            tokio::time::sleep(jittered(self.outboxes.options.lease / 4)).await;
        }
    }

    /// Returns the number of partitions that this pod may own: 0 while it cannot reach MongoDB.
    async fn share(&self) -> usize {
        let Outboxes { rooms, records, options, lease_owner, .. } = self.outboxes;
        let announcement = records.announce_recorder(lease_owner, options.lease);
        let announced = timeout(options.lease / 4, announcement).await;
        match announced {
            Ok(Ok(recorders)) => usize::from(rooms.partitions()).div_ceil(recorders.max(1)),
            Ok(Err(_)) | Err(_) => 0,
        }
    }

    async fn renew(&self) {
        let Outboxes { rooms, options, lease_owner, leases, .. } = self.outboxes;
        let asked = Instant::now();
        let renewals = leases.held().into_iter().map(|partition| async move {
            (partition, in_time(rooms.acquire_lease(partition, lease_owner, options.lease)).await)
        });
        for (partition, renewed) in join_all(renewals).await {
            match renewed {
                Ok(true) => leases.insert(partition, asked + options.lease),
                Ok(false) => leases.remove(partition),
                // The lease may still be valid. After it has expired, another pod may own it.
                Err(_) => {}
            }
        }
    }

    /// Releases the leases beyond this number, also in the middle of a flush: the facts that it has
    /// not trimmed then are written once more, by the next owner.
    async fn release_beyond(&self, share: usize) {
        let Outboxes { rooms, lease_owner, leases, .. } = self.outboxes;
        let released = leases.held().into_iter().skip(share).map(|partition| {
            leases.remove(partition);
            // If this fails, the lease expires.
            in_time(rooms.release_lease(partition, lease_owner))
        });
        join_all(released).await;
    }

    /// Acquires leases of free partitions until this pod has its share, or no partition is left to
    /// try. It ends after the time limit of one request, because renewals wait for it, and a server
    /// of Redis may not answer.
    async fn acquire_up_to(&self, share: usize) {
        let Outboxes { rooms, options, lease_owner, leases, .. } = self.outboxes;
        let held = leases.held();
        let mut missing = share.saturating_sub(held.len());
        let mut free: Vec<_> =
            (0..rooms.partitions()).map(Partition).filter(|partition| !held.contains(partition)).collect();
        // Shuffle, so that pods that start together do not all try the same partitions first.
        free.shuffle(&mut rand::rng());
        let mut requests = FuturesUnordered::new();
        let acquisition = async {
            loop {
                // As many at the same time as leases are missing, so that never too many are
                // granted.
                while requests.len() < missing
                    && let Some(partition) = free.pop()
                {
                    requests.push(async move {
                        let until = Instant::now() + options.lease;
                        (partition, until, rooms.acquire_lease(partition, lease_owner, options.lease).await)
                    });
                }
                let Some((partition, until, acquired)) = requests.next().await else { return };
                // After an error, the partitions of other servers may still be acquired.
                if acquired.unwrap_or(false) {
                    leases.insert(partition, until);
                    missing -= 1;
                }
            }
        };
        // A lease whose grant is not received expires, or is acquired again in a later round.
        let _is_complete = timeout(OUTBOX_TIMEOUT, acquisition).await.is_ok();
    }

    /// Measures the number of facts in all outboxes and the age of the oldest. Every pod measures
    /// all partitions, so that the metrics exist even while a partition has no owner.
    async fn measure_lag(&self) {
        let rooms = &self.outboxes.rooms;
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

    /// Releases every partition, because the list of leases misses those whose grant was not
    /// received.
    pub(super) async fn release_all(&self) {
        let Outboxes { rooms, records, lease_owner, .. } = self.outboxes;
        let partitions = 0..rooms.partitions();
        let released = join_all(partitions.map(|number| rooms.release_lease(Partition(number), lease_owner))).await;
        if released.iter().any(Result::is_err) {
            tracing::warn!("releasing leases failed; they expire");
        }
        if records.retire_recorder(lease_owner).await.is_err() {
            tracing::info!("removing the recorder's announcement failed; it expires");
        }
    }
}
