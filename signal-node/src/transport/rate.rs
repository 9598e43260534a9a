//! A token bucket with debt: who goes on sending after being refused is told apart from who was only too quick.

use tokio::time::Instant;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Within the rate.
    Pass,
    /// Over it: to be refused.
    Refuse,
    /// Far over it, refusals notwithstanding: to be closed.
    Close,
}

/// Refills at `rate` a second up to twice that; refused packets run up debt, down to as much again.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    tokens: f64,
    refilled: Instant,
}

impl Bucket {
    /// A full bucket, or none for a rate of 0.
    pub(super) fn new(rate: u32, now: Instant) -> Option<Self> {
        let rate = f64::from(rate);
        (rate > 0.0).then_some(Self { rate, tokens: 2.0 * rate, refilled: now })
    }

    /// Counts one packet.
    pub(super) fn take(&mut self, now: Instant) -> Verdict {
        let refill = now.duration_since(self.refilled).as_secs_f64() * self.rate;
        self.refilled = now;
        self.tokens = (self.tokens + refill).min(2.0 * self.rate) - 1.0;
        if self.tokens >= 0.0 {
            Verdict::Pass
        } else if self.tokens >= -2.0 * self.rate {
            Verdict::Refuse
        } else {
            Verdict::Close
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_then_is_refused_then_closed_and_patience_is_rewarded() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start).unwrap();
        assert!((0..20).all(|_| bucket.take(start) == Verdict::Pass));
        assert!((0..20).all(|_| bucket.take(start) == Verdict::Refuse));
        assert_eq!(bucket.take(start), Verdict::Close);
        assert_eq!(bucket.take(start + Duration::from_secs(5)), Verdict::Pass);
        assert!(Bucket::new(0, start).is_none());
    }
}
