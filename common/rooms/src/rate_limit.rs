//! Rate limits that all pods share, counted in Redis.
//!
//! They fail open: while Redis does not answer promptly, every request passes and a metric counts
//! it. Otherwise an outage of Redis would refuse requests that work without Redis.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use switchboard_core::domain::{Rate, RateOutcome, RoomId};

use crate::Rooms;

/// Classes of requests, each counted by itself: the values of the metrics' label. Add a new class
/// here, so that its series exist before a request is refused.
pub const CLASSES: [&str; 7] = ["sign_in", "join", "write", "read", "passcode", "passcode_call", "room_create"];

/// Time that a request waits for its count.
const COUNT_TIMEOUT: Duration = Duration::from_millis(500);
/// Time without counts after a count that did not come.
const PAUSE_INTERVAL: Duration = Duration::from_secs(1);

/// Rates of tries of one call's passcode, over REST and sockets together. Each try is counted
/// before it is checked, and a right one is given back, so that many users who join at once with
/// the right passcode are not refused. Without a limit, four digits are guessed in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasscodeRates {
    /// `RATE_PASSCODE_PER_ADDRESS`: tries from one address.
    pub address: Option<Rate>,
    /// `RATE_PASSCODE_PER_CALL`: tries from all addresses together.
    pub call: Option<Rate>,
}

/// A request that exceeds a rate.
#[derive(Clone, Copy, Debug)]
pub struct Exceeded {
    /// Rate.
    pub rate: Rate,
    /// State of the rate.
    pub spent: RateOutcome,
}

/// Counts requests. Cheap to clone; clones share the pause after a failure.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    rooms: Rooms,
    born: Instant,
    /// Time in ms since `born` until which no request is counted.
    paused_until: Arc<AtomicU64>,
}

impl RateLimiter {
    /// Creates a limiter that counts in the Redis of these rooms.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms, born: Instant::now(), paused_until: Arc::default() }
    }

    /// Counts one request of `subject` in a class of [`CLASSES`]. Returns `None` without a count:
    /// the rate is off, or Redis does not answer within 500 ms.
    pub async fn spend(&self, class: &'static str, subject: &str, rate: Option<Rate>) -> Option<RateOutcome> {
        let rate = rate?;
        if self.now_ms() < self.paused_until.load(Ordering::Relaxed) {
            return self.open(class);
        }
        let Ok(Ok(spent)) = tokio::time::timeout(COUNT_TIMEOUT, self.rooms.spend(class, &digest(subject), rate)).await
        else {
            self.paused_until
                .store(self.now_ms() + u64::try_from(PAUSE_INTERVAL.as_millis()).unwrap_or(0), Ordering::Relaxed);
            return self.open(class);
        };
        if spent.retry_after.is_some() {
            metrics::counter!("switchboard_rate_limited_total", "class" => class).increment(1);
        }
        Some(spent)
    }

    /// Counts one try of a room's passcode from this address.
    ///
    /// # Errors
    /// `Exceeded`, if there were too many tries.
    pub async fn try_passcode(
        &self,
        room: &RoomId,
        from: Option<IpAddr>,
        rates: PasscodeRates,
    ) -> Result<(), Exceeded> {
        for (class, subject, rate) in passcode_counts(room, from, rates) {
            if let (Some(rate), Some(spent)) = (rate, self.spend(class, &subject, rate).await)
                && spent.retry_after.is_some()
            {
                return Err(Exceeded { rate, spent });
            }
        }
        Ok(())
    }

    /// Gives a try back, because the passcode was right. A try that cannot be given back becomes
    /// available again with time.
    pub async fn right_passcode(&self, room: &RoomId, from: Option<IpAddr>, rates: PasscodeRates) {
        for (class, subject, rate) in passcode_counts(room, from, rates) {
            if let Some(rate) = rate {
                let subject = digest(&subject);
                let refund = self.rooms.refund(class, &subject, rate);
                let _available_again_with_time = tokio::time::timeout(COUNT_TIMEOUT, refund).await;
            }
        }
    }

    fn open(&self, class: &'static str) -> Option<RateOutcome> {
        metrics::counter!("switchboard_rate_limit_open_total", "class" => class).increment(1);
        None
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns the counts of a try: class, subject, rate.
fn passcode_counts(
    room: &RoomId,
    from: Option<IpAddr>,
    rates: PasscodeRates,
) -> impl Iterator<Item = (&'static str, String, Option<Rate>)> {
    let own = from.map(|address| ("passcode", format!("{room} {address}"), rates.address));
    own.into_iter().chain([("passcode_call", room.to_string(), rates.call)])
}

/// Returns the hash under which a subject is counted. It has a fixed length and hides the subject.
fn digest(subject: &str) -> String {
    Sha256::digest(subject).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}
