//! Which partitions this pod works on: its fair part, by leases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rand::seq::SliceRandom;
use switchboard_rooms::Partition;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drain::{Outboxes, jittered};
use crate::app::now;

/// How long a clean stop waits for batches that are being written.
const FAREWELL: Duration = Duration::from_secs(5);

/// A partition that is this pod's.
struct Holding {
    /// Ends the work on it.
    stop: CancellationToken,
    /// The work.
    task: AbortHandle,
    /// When the lease runs out unless it is renewed.
    until: Instant,
}

pub(super) struct Steward {
    outboxes: Arc<Outboxes>,
    holdings: HashMap<u16, Holding>,
    /// Owns the work: dropped, it aborts all of it.
    tasks: JoinSet<()>,
}

impl Steward {
    pub(super) fn new(outboxes: Arc<Outboxes>) -> Self {
        Self { outboxes, holdings: HashMap::new(), tasks: JoinSet::new() }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.round().await;
            let pause = jittered(self.outboxes.options.lease / 4);
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
        self.retire().await;
    }

    async fn round(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.holdings.retain(|_, holding| !holding.task.is_finished());
        self.renew().await;
        let share = self.share().await;
        self.give_up_beyond(share);
        self.take_up_to(share).await;
        #[expect(clippy::cast_precision_loss, reason = "at most 4,096 partitions")]
        metrics::gauge!("switchboard_recorder_partitions_owned").set(self.holdings.len() as f64);
        self.measure_lag().await;
    }

    /// How many partitions are this pod's part: none while it cannot reach MongoDB.
    async fn share(&self) -> usize {
        let Outboxes { rooms, records, options, token, .. } = &*self.outboxes;
        let announced = tokio::time::timeout(options.lease / 4, records.announce_recorder(token, options.lease)).await;
        match announced {
            Ok(Ok(recorders)) => usize::from(rooms.partitions()).div_ceil(recorders.max(1)),
            Ok(Err(_)) | Err(_) => 0,
        }
    }

    async fn renew(&mut self) {
        let Outboxes { rooms, options, token, .. } = &*self.outboxes;
        let asked = Instant::now();
        // One that is being given up would be taken again, and nobody would work on it.
        let kept = self.holdings.iter().filter(|(_, holding)| !holding.stop.is_cancelled());
        let renewals =
            kept.map(|(&number, _)| async move { (number, rooms.own(Partition(number), token, options.lease).await) });
        for (number, renewed) in join_all(renewals).await {
            let Some(holding) = self.holdings.get_mut(&number) else { continue };
            match renewed {
                Ok(true) => holding.until = asked + options.lease,
                // Unsure: the lease may be good still. Past its end somebody else may have it.
                Err(_) if Instant::now() < holding.until => {}
                Ok(false) | Err(_) => holding.stop.cancel(),
            }
        }
    }

    fn give_up_beyond(&mut self, share: usize) {
        let kept: Vec<_> = self.holdings.values().filter(|holding| !holding.stop.is_cancelled()).collect();
        for holding in kept.iter().skip(share) {
            holding.stop.cancel();
        }
    }

    async fn take_up_to(&mut self, share: usize) {
        let mut free: Vec<u16> =
            (0..self.outboxes.rooms.partitions()).filter(|number| !self.holdings.contains_key(number)).collect();
        // In an order of its own, so that pods that start together do not run after one another.
        free.shuffle(&mut rand::rng());
        for number in free {
            if self.holdings.len() >= share {
                return;
            }
            let Outboxes { rooms, options, token, .. } = &*self.outboxes;
            let until = Instant::now() + options.lease;
            match rooms.own(Partition(number), token, options.lease).await {
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
        self.holdings.insert(number, Holding { stop, task, until });
    }

    /// How many facts wait anywhere, and the age of the oldest. Every pod tells it, so it is told even while nobody owns the partition.
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

    async fn retire(mut self) {
        for holding in self.holdings.values() {
            holding.stop.cancel();
        }
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        let finished = tokio::time::timeout(FAREWELL, finished).await.is_ok();
        self.tasks.shutdown().await;
        let Outboxes { rooms, records, token, .. } = &*self.outboxes;
        // Every partition: a lease whose granting was never heard of, or whose work ended some other way, is in no list.
        let partitions = 0..rooms.partitions();
        let given_up = join_all(partitions.map(|number| rooms.disown(Partition(number), token))).await;
        if !finished || given_up.iter().any(Result::is_err) {
            tracing::warn!("some partitions were not given up in time; their leases may have to run out");
        }
        if records.retire_recorder(token).await.is_err() {
            tracing::info!("the recorder's announcement could not be taken back; it runs out");
        }
    }
}
