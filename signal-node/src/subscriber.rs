//! From the bus to the hub, and nothing else; but for gaps, after which the rooms' logs say what was missed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use switchboard_common::domain::DisconnectReason;
use switchboard_common::room::bus::Sink;
use switchboard_common::room::{Bus, BusEvent, Partition, Rooms};
use switchboard_common::wire::envelope::Envelope;
use tokio_util::task::TaskTracker;

use crate::hub::{CatchUp, Hub};

/// Log reads in flight for one gap: a node of 20,000 sessions must not queue them all on Redis at once.
const READS: usize = 64;
/// Tries to read a log, and the pause between two. After that the session resumes, which reads the log too.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Mends gaps: reads what the subscription missed.
#[derive(Clone, Debug)]
pub struct Mender {
    /// The rooms' logs.
    pub rooms: Rooms,
    /// The sessions.
    pub hub: Arc<Hub>,
    /// Reading goes on apart from receiving, which must not wait for it.
    pub tasks: TaskTracker,
}

/// What the bus calls for every event, in order.
#[must_use]
pub fn sink(mender: Mender) -> Sink {
    Arc::new(move |event| match event {
        BusEvent::Message { partition, message } => match Envelope::parse(&message) {
            Some(envelope) => mender.hub.deliver(partition, envelope),
            None => {
                metrics::counter!("switchboard_envelopes_refused_total").increment(1);
                tracing::warn!(partition = partition.0, "an envelope that is none");
            }
        },
        BusEvent::Reconnected => mender.gap_everywhere("reconnected"),
        BusEvent::Lagged => mender.gap_everywhere("lagged"),
    })
}

impl Mender {
    fn gap_everywhere(&self, cause: &'static str) {
        for partition in 0..self.rooms.partitions() {
            self.gap(Partition(partition), cause);
        }
    }

    /// A partition's subscription is whole again after it was not: what was missed is read from the logs.
    pub fn gap(&self, partition: Partition, cause: &'static str) {
        metrics::counter!("switchboard_subscription_gaps_total", "cause" => cause).increment(1);
        let missed = self.hub.gap(partition);
        if !missed.is_empty() {
            let mender = self.clone();
            self.tasks.spawn(async move {
                stream::iter(missed).for_each_concurrent(READS, |missed| mender.catch_up(missed)).await;
            });
        }
    }

    /// Subscribes a partition again, and mends the gap that made it necessary.
    pub async fn resubscribe(&self, bus: &Bus, partition: Partition, cause: &'static str) {
        match bus.resubscribe(partition).await {
            Ok(()) => self.gap(partition, cause),
            Err(error) => tracing::warn!(partition = partition.0, %error, "could not subscribe again"),
        }
    }

    /// Reads one session's log and delivers what it missed.
    pub async fn catch_up(&self, CatchUp { link, from, epoch }: CatchUp) {
        let Some(seat) = link.seat() else { return };
        for _ in 0..TRIES {
            match self.rooms.catch_up(&seat, from).await {
                Ok(Some(missed)) => return link.caught_up(epoch, missed),
                Ok(None) => break,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        link.close(DisconnectReason::Fenced);
    }
}
