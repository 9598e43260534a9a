//! Token bucket with debt: it distinguishes a client that ignores refusals from one that was
//! briefly too fast.

use std::time::Duration;

use tokio::time::Instant;

/// A packet costs one more token for each 8 KiB, because applications may store packets and bound
/// their memory by the rate. An SDP is smaller.
const BYTES_PER_TOKEN: usize = 8 * 1024;

/// Decision about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RateDecision {
    /// The packet is within the rate.
    Pass,
    /// The packet exceeds the rate and is refused. One packet passes after this time, if the client
    /// sends none until then.
    Refuse(Duration),
    /// The client ignores refusals. Its socket is closed.
    Close,
}

/// Bucket that holds at most `2 * rate` tokens and refills with `rate` tokens a second. Refused
/// packets add debt, at most `2 * rate`.
#[derive(Debug)]
pub(super) struct TokenBucket {
    rate: f64,
    tokens: f64,
    refilled: Instant,
}

impl TokenBucket {
    /// Creates a full bucket; `None` for a rate of 0.
    pub(super) fn new(rate: u32, now: Instant) -> Option<Self> {
        let rate = f64::from(rate);
        (rate > 0.0).then_some(Self { rate, tokens: 2.0 * rate, refilled: now })
    }

    /// Takes the tokens of one packet of this many bytes.
    pub(super) fn take(&mut self, now: Instant, bytes: usize) -> RateDecision {
        #[expect(clippy::cast_precision_loss, reason = "no packet is that large")]
        let cost = 1.0 + (bytes / BYTES_PER_TOKEN) as f64;
        let refill = now.duration_since(self.refilled).as_secs_f64() * self.rate;
        self.refilled = now;
        self.tokens = (self.tokens + refill).min(2.0 * self.rate) - cost;
        if self.tokens >= 0.0 {
            RateDecision::Pass
        } else if self.tokens >= -2.0 * self.rate {
            RateDecision::Refuse(Duration::from_secs_f64((1.0 - self.tokens) / self.rate))
        } else {
            RateDecision::Close
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    fn is_refused(decision: RateDecision) -> bool {
        matches!(decision, RateDecision::Refuse(_))
    }

    #[test]
    fn a_burst_passes_then_is_refused_then_closed_and_a_pause_refills_the_bucket() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, start).unwrap();
        assert!((0..20).all(|_| bucket.take(start, 100) == RateDecision::Pass));
        assert_eq!(bucket.take(start, 100), RateDecision::Refuse(Duration::from_millis(200)));
        assert!((0..19).all(|_| is_refused(bucket.take(start, 100))));
        assert_eq!(bucket.take(start, 100), RateDecision::Close);
        assert_eq!(bucket.take(start + Duration::from_secs(5), 100), RateDecision::Pass);
        assert!(TokenBucket::new(0, start).is_none());
    }

    #[test]
    fn a_large_packet_costs_several_tokens() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, start).unwrap();
        assert!((0..4).all(|_| bucket.take(start, 4 * BYTES_PER_TOKEN) == RateDecision::Pass));
        assert!(is_refused(bucket.take(start, 4 * BYTES_PER_TOKEN)));
    }
}
