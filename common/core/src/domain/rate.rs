//! Rate limits.

use std::fmt;
use std::time::Duration;

/// Rate limit: `requests` per `period`, as a token bucket. The bucket holds `requests` tokens, so a
/// burst of that size is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per period: 1 to 1,000,000.
    pub requests: u32,
    /// Time in which an empty bucket refills completely: 1 s to 86,400 s (one day).
    pub period: Duration,
}

impl Rate {
    /// Parses `requests/seconds`, for example `60/30`.
    ///
    /// Returns `Some(None)` for `0` (no limit), and `None` if the text is malformed or out of
    /// bounds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Option<Self>> {
        if text == "0" {
            return Some(None);
        }
        let (requests, seconds) = text.split_once('/')?;
        let (requests, seconds) = (requests.trim().parse().ok()?, seconds.trim().parse().ok()?);
        let sound = (1..=1_000_000).contains(&requests) && (1..=86_400).contains(&seconds);
        sound.then(|| Some(Self { requests, period: Duration::from_secs(seconds) }))
    }

    /// Returns the time in which the bucket gains one token; at least 1 µs.
    #[must_use]
    pub fn interval(&self) -> Duration {
        (self.period / self.requests.max(1)).max(Duration::from_micros(1))
    }

    /// Takes `cost` tokens by the generic cell rate algorithm. The state of a bucket is its debt:
    /// the time until it is full again. Returns the new debt. The caller keeps the time, because
    /// this function knows no clock. `spend.lua` is the same for a rate that all pods share.
    ///
    /// # Errors
    /// The bucket has too few tokens: the time after which it has enough. Nothing is taken.
    pub fn take(&self, debt: Duration, cost: u32) -> Result<Duration, Duration> {
        let debt = debt.saturating_add(self.interval().saturating_mul(cost));
        let wait = debt.saturating_sub(self.period);
        if wait.is_zero() { Ok(debt) } else { Err(wait) }
    }
}

/// Returns a waiting time in whole seconds, at least 1. Rounds up, because a client that comes back
/// too early is refused again.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.period.as_secs())
    }
}

/// Result of counting one request against a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOutcome {
    /// Requests that may follow immediately; 0 if this request is over the limit.
    pub remaining: u32,
    /// Time until this request is allowed; `None`: it is allowed now.
    pub retry_after: Option<Duration>,
    /// Time until the bucket is full again.
    pub reset_after: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_requests_per_seconds_or_zero_for_no_limit() {
        let rate = |requests, seconds| Some(Some(Rate { requests, period: Duration::from_secs(seconds) }));
        assert_eq!(
            (Rate::parse("60/30"), Rate::parse("1 / 1"), Rate::parse("0")),
            (rate(60, 30), rate(1, 1), Some(None))
        );
        for wrong in ["", "60", "0/1", "1/0", "-1/2", "1/2/3", "1000001/1", "1/86401"] {
            assert_eq!(Rate::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bucket_gives_its_burst_then_one_token_for_each_interval_and_takes_nothing_on_refusal() {
        let rate = Rate { requests: 4, period: Duration::from_secs(2) };
        let half = Duration::from_millis(500);
        let debt = (0..4).fold(Duration::ZERO, |debt, _| rate.take(debt, 1).unwrap_or(Duration::MAX));
        assert_eq!(debt, rate.period);
        assert_eq!(rate.take(debt, 1), Err(half));
        assert_eq!(rate.take(debt.saturating_sub(half), 1), Ok(debt));
        assert_eq!(rate.take(Duration::ZERO, 5), Err(half));
        assert_eq!(rate.take(Duration::MAX, u32::MAX), Err(Duration::MAX - rate.period));
    }

    #[test]
    fn a_waiting_time_is_rounded_up_to_at_least_one_second() {
        for (ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (300_000, 300)] {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds, "{ms} ms");
        }
    }
}
