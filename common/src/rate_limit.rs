//! Limits that all pods share, counted in Redis.
//!
//! They fail open: while Redis does not answer promptly everybody passes, which a metric tells. The other way round, an outage of Redis
//! would turn everybody away from what works without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::room::{Rate, Rooms, Spent};

/// How long a request waits for its count.
const PATIENCE: Duration = Duration::from_millis(500);
/// After a count that did not come, how long nobody waits for one.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts requests. Cheap to clone; clones share what they know of Redis.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    rooms: Rooms,
    born: Instant,
    /// Milliseconds since `born` before which nobody asks.
    paused_until: Arc<AtomicU64>,
}

impl RateLimiter {
    /// Counts in the Redis of these rooms.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms, born: Instant::now(), paused_until: Arc::default() }
    }

    /// Spends one request of `subject` in `class`, a word of the code's own. `None` when nothing is counted: the rate is off, or Redis does
    /// not answer.
    pub async fn spend(&self, class: &'static str, subject: &str, rate: Option<Rate>) -> Option<Spent> {
        let rate = rate?;
        if self.now_ms() < self.paused_until.load(Ordering::Relaxed) {
            return self.open(class);
        }
        let Ok(Ok(spent)) = tokio::time::timeout(PATIENCE, self.rooms.spend(class, subject, rate)).await else {
            self.paused_until.store(self.now_ms() + u64::try_from(PAUSE.as_millis()).unwrap_or(0), Ordering::Relaxed);
            return self.open(class);
        };
        if spent.wait.is_some() {
            metrics::counter!("switchboard_rate_limited_total", "class" => class).increment(1);
        }
        Some(spent)
    }

    fn open(&self, class: &'static str) -> Option<Spent> {
        metrics::counter!("switchboard_rate_limit_open_total", "class" => class).increment(1);
        None
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
