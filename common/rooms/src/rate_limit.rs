//! Limits that all pods share, counted in Redis.
//!
//! They fail open: while Redis does not answer promptly everybody passes, which a metric tells. The other way round, an outage of Redis
//! would turn everybody away from what works without it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::Rooms;
use switchboard_core::domain::RoomId;
use switchboard_core::domain::{Rate, RateOutcome};

/// What is counted, each by itself: the values of the metrics' label. Who counts something else adds it here, so that its series are there
/// before anybody is turned away.
pub const CLASSES: [&str; 7] = ["sign_in", "join", "write", "read", "passcode", "passcode_call", "room_create"];

/// How long a request waits for its count.
const PATIENCE: Duration = Duration::from_millis(500);
/// After a count that did not come, how long nobody waits for one.
const PAUSE: Duration = Duration::from_secs(1);

/// How often one call's passcode may be tried, over REST and sockets together. Each try is spent before it is looked at, and a right one is
/// given back: a whole office that comes at ten is not a stranger who guesses. Four digits tried without a bound are guessed in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasscodeRates {
    /// `RATE_PASSCODE_PER_ADDRESS`: from one address.
    pub address: Option<Rate>,
    /// `RATE_PASSCODE_PER_CALL`: from all together.
    pub call: Option<Rate>,
}

/// A request that has to wait, and the rate that says so.
#[derive(Clone, Copy, Debug)]
pub struct Exceeded {
    /// The rate.
    pub rate: Rate,
    /// How it stands.
    pub spent: RateOutcome,
}

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

    /// Spends one request of `subject`, any text, in `class`, a word of the code's own. `None` when nothing is counted: the rate is off, or Redis does
    /// not answer.
    pub async fn spend(&self, class: &'static str, subject: &str, rate: Option<Rate>) -> Option<RateOutcome> {
        let rate = rate?;
        if self.now_ms() < self.paused_until.load(Ordering::Relaxed) {
            return self.open(class);
        }
        let Ok(Ok(spent)) = tokio::time::timeout(PATIENCE, self.rooms.spend(class, &digest(subject), rate)).await
        else {
            self.paused_until.store(self.now_ms() + u64::try_from(PAUSE.as_millis()).unwrap_or(0), Ordering::Relaxed);
            return self.open(class);
        };
        if spent.retry_after.is_some() {
            metrics::counter!("switchboard_rate_limited_total", "class" => class).increment(1);
        }
        Some(spent)
    }

    /// Spends one try of a room's passcode, by somebody at this address.
    ///
    /// # Errors
    /// There were too many.
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

    /// Gives a try back: the passcode was right. What cannot be given back now is earned again by itself.
    pub async fn right_passcode(&self, room: &RoomId, from: Option<IpAddr>, rates: PasscodeRates) {
        for (class, subject, rate) in passcode_counts(room, from, rates) {
            if let Some(rate) = rate {
                let subject = digest(&subject);
                let refund = self.rooms.refund(class, &subject, rate);
                let _earned_again_by_itself = tokio::time::timeout(PATIENCE, refund).await;
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

/// The counts of a try: class, subject, rate.
fn passcode_counts(
    room: &RoomId,
    from: Option<IpAddr>,
    rates: PasscodeRates,
) -> impl Iterator<Item = (&'static str, String, Option<Rate>)> {
    let own = from.map(|address| ("passcode", format!("{room} {address}"), rates.address));
    own.into_iter().chain([("passcode_call", room.to_string(), rates.call)])
}

/// What a subject is counted under: of one length, and nothing that Redis need not know.
fn digest(subject: &str) -> String {
    Sha256::digest(subject).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}
