//! What is measured on every event's way. The handles are looked up once: a macro would look its metric up at each call.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use switchboard_core::domain::{Code, Refusal};
use tokio::time::Instant;

use crate::catalog::{JOINS, RELAYS};

/// Of events through a room's log.
#[derive(Debug)]
pub struct RelayMeters {
    kinds: [Counter; RELAYS.len()],
    received: Histogram,
    logged: Histogram,
}

impl Default for RelayMeters {
    fn default() -> Self {
        Self {
            kinds: RELAYS.map(|kind| counter!("switchboard_relays_total", "kind" => kind)),
            received: stage("received"),
            logged: stage("logged"),
        }
    }
}

impl RelayMeters {
    /// An event that was read at `read` was handed to its lane.
    pub fn received(&self, event: &str, read: Instant) {
        let kind = match event {
            "webrtc:offer" => 0,
            "webrtc:answer" => 1,
            "webrtc:ice-candidate" => 2,
            "participant:update-media-state" => 3,
            "chat:message" => 4,
            _ => 5,
        };
        self.kinds[kind].increment(1);
        self.received.record(read.elapsed().as_secs_f64());
    }

    /// Where to tell that Redis has answered.
    pub fn logged(&self) -> Histogram {
        self.logged.clone()
    }
}

/// From the log to the queue of a receiver's socket. Redis' clock began it and this node's ends it: a difference between the two is
/// in the figure.
#[derive(Debug)]
pub struct DeliveryMeter(Histogram);

impl Default for DeliveryMeter {
    fn default() -> Self {
        Self(stage("delivered"))
    }
}

impl DeliveryMeter {
    /// An event that was logged at this Unix time, in milliseconds, was queued for its receivers.
    pub fn delivered(&self, logged_ms: u64) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.0.record(now.saturating_sub(Duration::from_millis(logged_ms)).as_secs_f64());
    }
}

fn stage(stage: &'static str) -> Histogram {
    histogram!("switchboard_relay_seconds", "stage" => stage)
}

/// An attempt to enter a room, begun at `read`, is over. `waits`: it ended in the lobby.
pub fn entered(result: Result<&str, &Refusal>, waits: bool, read: Instant) {
    let [joined, waiting, refused, failed] = JOINS;
    let outcome = match result {
        Ok(_) if waits => waiting,
        Ok(_) => joined,
        Err(refusal) if is_ours(refusal.code) => failed,
        Err(_) => refused,
    };
    counter!("switchboard_joins_total", "outcome" => outcome).increment(1);
    histogram!("switchboard_join_seconds").record(read.elapsed().as_secs_f64());
}

/// Whether a refusal is the service's failure, not the client's doing.
const fn is_ours(code: Code) -> bool {
    matches!(code, Code::ServiceUnavailable | Code::InternalError | Code::DatabaseError)
}
