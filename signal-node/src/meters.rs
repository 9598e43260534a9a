//! Metrics that are written for every event. Their handles are looked up once, because a macro
//! looks up its metric at each call.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use switchboard_core::domain::{Code, Refusal};
use switchboard_core::wire::EventKind;
use tokio::time::Instant;

use crate::catalog::JOINS;

/// Metrics of events through a room's log.
#[derive(Debug)]
pub struct RelayMeters {
    /// Counters in the order of [`EventKind::ALL`]. Kinds with the same label share theirs.
    kinds: [Counter; EventKind::ALL.len()],
    received: Histogram,
    logged: Histogram,
    failed: Counter,
}

impl Default for RelayMeters {
    fn default() -> Self {
        Self {
            kinds: std::array::from_fn(|index| relays(EventKind::ALL[index])),
            received: stage("received"),
            logged: stage("logged"),
            failed: counter!("switchboard_relays_failed_total"),
        }
    }
}

impl RelayMeters {
    /// Records that an event, which was read at `read`, was submitted to its lane.
    pub fn received(&self, kind: EventKind, read: Instant) {
        self.kinds[kind.index()].increment(1);
        self.received.record(read.elapsed().as_secs_f64());
    }

    /// Returns the histogram for the time from reading an event to the reply that it is in the log.
    pub fn logged(&self) -> Histogram {
        self.logged.clone()
    }

    /// Returns the counter of events that were not logged, and not because of their senders.
    pub fn failed(&self) -> Counter {
        self.failed.clone()
    }
}

/// Time from the log to the send queues of the receivers. It begins by the Redis clock and ends by
/// this node's clock, so that it includes the difference of the two.
#[derive(Debug)]
pub struct DeliveryMeter(Histogram);

impl Default for DeliveryMeter {
    fn default() -> Self {
        Self(stage("delivered"))
    }
}

impl DeliveryMeter {
    /// Records that an event, logged at this Unix time in milliseconds, was queued for its
    /// receivers.
    pub fn delivered(&self, logged_ms: u64) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.0.record(now.saturating_sub(Duration::from_millis(logged_ms)).as_secs_f64());
    }
}

fn relays(kind: EventKind) -> Counter {
    counter!("switchboard_relays_total", "kind" => kind.metric_label())
}

fn stage(stage: &'static str) -> Histogram {
    histogram!("switchboard_relay_seconds", "stage" => stage)
}

/// Records an attempt to join a room, which was read at `read`. `waits`: it ended in the lobby.
pub fn record_join(result: Result<&str, &Refusal>, waits: bool, read: Instant) {
    let [joined, waiting, refused, failed] = JOINS;
    let outcome = match result {
        Ok(_) if waits => waiting,
        Ok(_) => joined,
        Err(refusal) if is_failure(refusal.code) => failed,
        Err(_) => refused,
    };
    counter!("switchboard_joins_total", "outcome" => outcome).increment(1);
    histogram!("switchboard_join_seconds").record(read.elapsed().as_secs_f64());
}

/// Returns whether a refusal is a failure of the service, not an error of the client.
const fn is_failure(code: Code) -> bool {
    matches!(code, Code::ServiceUnavailable | Code::InternalError | Code::DatabaseError)
}
