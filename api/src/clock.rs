//! The system clock, and pauses that differ between pods.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use switchboard_core::domain::Timestamp;

/// Returns the current time of this machine. A clock before 1970 reads as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Returns a random duration from 75 % to 100 % of `pause`, so that pods and partitions do not act
/// at the same moment.
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.75 + rand::random::<f64>() / 4.0)
}
