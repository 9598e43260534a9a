//! How often something may be done.

use std::fmt;
use std::time::Duration;

/// So many requests in so much time; all of them may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests; at least one.
    pub requests: u32,
    /// The time in which they are earned again.
    pub period: Duration,
}

impl Rate {
    /// Reads `60/30`: requests and seconds. `Some(None)` for `0`: no limit.
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

    /// The time in which one request is earned again.
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

/// What a request found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// How many more may follow at once; none when this one had to wait already.
    pub left: u32,
    /// How long this one has to wait; none: it may go.
    pub wait: Option<Duration>,
    /// When all are there again.
    pub reset: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_requests_and_seconds_or_nothing() {
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
