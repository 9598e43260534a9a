//! A token bucket with debt: who goes on sending after being refused is told apart from who was only too quick.

use tokio::time::Instant;

/// Bytes for which a packet counts once more: what a client has kept in a room's log is bounded by its rate, so a large packet must not pass for
/// a small one. An SDP is smaller.
const LARGE: usize = 8 * 1024;

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

    /// Counts one packet of this many bytes.
    pub(super) fn take(&mut self, now: Instant, bytes: usize) -> Verdict {
        #[expect(clippy::cast_precision_loss, reason = "no packet is that large")]
        let cost = 1.0 + (bytes / LARGE) as f64;
        let refill = now.duration_since(self.refilled).as_secs_f64() * self.rate;
        self.refilled = now;
        self.tokens = (self.tokens + refill).min(2.0 * self.rate) - cost;
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
        assert!((0..20).all(|_| bucket.take(start, 100) == Verdict::Pass));
        assert!((0..20).all(|_| bucket.take(start, 100) == Verdict::Refuse));
        assert_eq!(bucket.take(start, 100), Verdict::Close);
        assert_eq!(bucket.take(start + Duration::from_secs(5), 100), Verdict::Pass);
        assert!(Bucket::new(0, start).is_none());
    }

    #[test]
    fn a_large_packet_counts_as_several() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start).unwrap();
        assert!((0..4).all(|_| bucket.take(start, 4 * LARGE) == Verdict::Pass));
        assert_eq!(bucket.take(start, 4 * LARGE), Verdict::Refuse);
    }
}
