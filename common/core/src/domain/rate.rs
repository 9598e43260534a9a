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

    /// Takes `cost` tokens before a cost is paid that may exceed the whole bucket. It passes if the
    /// bucket has `cost` tokens or is half full, so that no cost is refused forever. What is
    /// missing becomes debt, as in [`charge`](Rate::charge).
    ///
    /// # Errors
    /// The bucket has too few tokens: the time after which it has enough. Nothing is taken.
    pub fn spend(&self, debt: Duration, cost: u32) -> Result<Duration, Duration> {
        self.take(debt, cost.min(self.requests.div_ceil(2)))?;
        Ok(self.charge(debt, cost))
    }

    /// Takes `cost` tokens for a cost that is known only after it was paid. The bucket goes at most
    /// one burst below empty, so that no later wait is longer than the period and one token.
    /// Returns the new debt.
    #[must_use]
    pub fn charge(&self, debt: Duration, cost: u32) -> Duration {
        debt.saturating_add(self.interval().saturating_mul(cost)).min(2 * self.period)
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
    fn a_charge_takes_tokens_that_the_bucket_does_not_have_but_at_most_one_burst_of_them() {
        let rate = Rate { requests: 4, period: Duration::from_secs(2) };
        let half = Duration::from_millis(500);
        assert_eq!(rate.charge(Duration::ZERO, 5), 5 * half);
        assert_eq!(rate.take(5 * half, 1), Err(2 * half));
        assert_eq!(rate.charge(5 * half, u32::MAX), 2 * rate.period);
    }

    #[test]
    fn a_cost_above_the_burst_passes_with_half_a_bucket_and_leaves_a_debt() {
        let rate = Rate { requests: 4, period: Duration::from_secs(2) };
        let half = Duration::from_millis(500);
        assert_eq!(rate.spend(2 * half, 100), Ok(2 * rate.period));
        assert_eq!(rate.spend(3 * half, 100), Err(half));
        assert_eq!((rate.spend(3 * half, 1), rate.spend(4 * half, 1)), (Ok(4 * half), Err(half)));
    }

    #[test]
    fn a_waiting_time_is_rounded_up_to_at_least_one_second() {
        for (ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (300_000, 300)] {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds, "{ms} ms");
        }
    }
}
