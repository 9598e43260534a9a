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
}
