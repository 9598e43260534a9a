//! Rate of the packets of one socket. It distinguishes a client that ignores refusals from one that
//! was briefly too fast.

use std::time::Duration;

use tokio::time::Instant;

/// A packet costs one more token for each 8 KiB, because applications may store packets and bound
/// their memory by the rate. Most SDPs are smaller.
const BYTES_PER_TOKEN: usize = 8 * 1024;

/// Seconds of the rate that a socket may send at once.
const BURST_SECONDS: f64 = 2.0;

/// Debt of a socket at most, as a part of its burst. It stays below the point at which refused
/// packets close the socket, because a client does not see a charge come.
const DEBT_PART: f64 = 0.5;

/// Seconds in which the application's burst is earned again.
const APPLICATION_BURST_SECONDS: f64 = 30.0;

/// Returns the tokens that a packet of this many bytes costs.
pub(crate) fn cost(bytes: usize) -> u32 {
    u32::try_from(1 + bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX)
}

/// Decision about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateDecision {
    /// The packet is within the rate.
    Pass,
    /// The packet exceeds the rate and is refused. One packet passes after this time, if the client
    /// sends none until then.
    Refuse(Duration),
    /// The client ignores refusals. Its socket is closed.
    Close,
}

/// Tokens that a socket has spent and not yet earned again.
///
/// It may spend twice its rate at once, and earns the rate in a second. Beyond that it may spend
/// the application's burst, for what a client has to send at the same time, and earns that again in
/// 30 s. Refused packets are spent too. Twice the rate and the burst of them closes the socket.
#[derive(Debug)]
pub(crate) struct PacketRate {
    rate: f64,
    spent: f64,
    /// Time at which `spent` was right.
    spent_at: Instant,
    burst_spent: f64,
    /// Time at which `burst_spent` was right.
    burst_spent_at: Instant,
}

impl PacketRate {
    /// Creates a rate of which nothing is spent; `None` for a rate of 0.
    pub(crate) fn new(rate: u32, now: Instant) -> Option<Self> {
        let rate = f64::from(rate);
        (rate > 0.0).then_some(Self { rate, spent: 0.0, spent_at: now, burst_spent: 0.0, burst_spent_at: now })
    }

    /// Spends the tokens of one packet. `burst` returns the application's burst at present; it is
    /// asked only when the socket's own tokens are spent.
    pub(crate) fn take(&mut self, now: Instant, cost: u32, burst: impl FnOnce() -> u32) -> RateDecision {
        let cost = f64::from(cost);
        self.earn(now);
        if self.spent + cost <= self.own() {
            self.spent += cost;
            return RateDecision::Pass;
        }
        let burst = f64::from(burst());
        if self.take_from_burst(now, cost, burst) {
            return RateDecision::Pass;
        }
        self.spent += cost;
        if self.spent <= 2.0 * self.own() + burst {
            RateDecision::Refuse(Duration::from_secs_f64((1.0 + self.spent - self.own()) / self.rate))
        } else {
            RateDecision::Close
        }
    }

    /// Spends tokens before a cost is paid. It passes if the socket has them, or half of its own
    /// burst, so that no cost is refused forever. `burst` is as in [`take`](PacketRate::take).
    ///
    /// # Errors
    /// The socket has too few tokens: the time after which it has enough. Nothing is spent.
    pub(crate) fn spend(&mut self, now: Instant, cost: u32, burst: impl FnOnce() -> u32) -> Result<(), Duration> {
        self.earn(now);
        let missing = self.spent + f64::from(cost).min(self.own() / 2.0) - self.own();
        if missing > 0.0 && !self.take_from_burst(now, f64::from(cost), f64::from(burst())) {
            return Err(Duration::from_secs_f64(missing / self.rate));
        }
        if missing <= 0.0 {
            self.owe(cost);
        }
        Ok(())
    }

    /// Spends tokens after a cost was paid. What is missing is debt, of at most half a burst.
    pub(crate) fn charge(&mut self, now: Instant, cost: u32) {
        self.earn(now);
        self.owe(cost);
    }

    fn owe(&mut self, cost: u32) {
        let limit = self.own() * (1.0 + DEBT_PART);
        self.spent = self.spent.max((self.spent + f64::from(cost)).min(limit));
    }

    /// Tokens that the socket may spend at once.
    fn own(&self) -> f64 {
        BURST_SECONDS * self.rate
    }

    fn earn(&mut self, now: Instant) {
        self.spent = (self.spent - seconds_between(self.spent_at, now) * self.rate).max(0.0);
        self.spent_at = now;
    }

    /// Spends tokens of the application's burst. Returns false if it has too few.
    fn take_from_burst(&mut self, now: Instant, cost: f64, burst: f64) -> bool {
        let earned = seconds_between(self.burst_spent_at, now) * burst.max(self.rate) / APPLICATION_BURST_SECONDS;
        self.burst_spent = (self.burst_spent - earned).max(0.0);
        self.burst_spent_at = now;
        let passes = self.burst_spent + cost <= burst;
        if passes {
            self.burst_spent += cost;
        }
        passes
    }
}

fn seconds_between(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    fn is_refused(decision: RateDecision) -> bool {
        matches!(decision, RateDecision::Refuse(_))
    }

    fn no_burst() -> u32 {
        0
    }

    #[test]
    fn a_burst_passes_then_is_refused_then_closed_and_a_pause_earns_it_again() {
        let start = Instant::now();
        let mut rate = PacketRate::new(10, start).unwrap();
        assert!((0..20).all(|_| rate.take(start, 1, no_burst) == RateDecision::Pass));
        assert_eq!(rate.take(start, 1, no_burst), RateDecision::Refuse(Duration::from_millis(200)));
        assert!((0..19).all(|_| is_refused(rate.take(start, 1, no_burst))));
        assert_eq!(rate.take(start, 1, no_burst), RateDecision::Close);
        assert_eq!(rate.take(start + Duration::from_secs(5), 1, no_burst), RateDecision::Pass);
        assert!(PacketRate::new(0, start).is_none());
    }

    #[test]
    fn a_large_packet_costs_several_tokens() {
        assert_eq!((cost(0), cost(BYTES_PER_TOKEN - 1), cost(4 * BYTES_PER_TOKEN)), (1, 1, 5));
        let start = Instant::now();
        let mut rate = PacketRate::new(10, start).unwrap();
        assert!((0..4).all(|_| rate.take(start, 5, no_burst) == RateDecision::Pass));
        assert!(is_refused(rate.take(start, 5, no_burst)));
    }

    #[test]
    fn the_burst_of_the_application_passes_too_once_in_30_seconds_and_moves_the_end_of_the_socket() {
        let start = Instant::now();
        let mut rate = PacketRate::new(10, start).unwrap();
        assert!((0..20 + 300).all(|_| rate.take(start, 1, || 300) == RateDecision::Pass));
        assert!((0..20 + 300).all(|_| is_refused(rate.take(start, 1, || 300))));
        assert_eq!(rate.take(start, 1, || 300), RateDecision::Close);

        let mut rate = PacketRate::new(10, start).unwrap();
        assert!((0..20 + 300).all(|_| rate.take(start, 1, || 300) == RateDecision::Pass));
        let later = start + Duration::from_secs(15);
        let passed = (0..400).take_while(|_| rate.take(later, 1, || 300) == RateDecision::Pass).count();
        assert_eq!(passed, 20 + 150, "half of it is earned again");
    }

    #[test]
    fn a_debt_refuses_packets_until_it_is_earned_and_does_not_close_the_socket() {
        let start = Instant::now();
        let mut rate = PacketRate::new(10, start).unwrap();
        rate.charge(start, 1000);
        assert!((0..10).all(|_| is_refused(rate.take(start, 1, no_burst))), "the debt is no flood");
        let mut rate = PacketRate::new(10, start).unwrap();
        rate.charge(start, 1000);
        assert_eq!(rate.spend(start, 1, no_burst), Err(Duration::from_millis(1100)));
        let later = start + Duration::from_millis(1100);
        assert_eq!(rate.take(later, 1, no_burst), RateDecision::Pass);
    }

    #[test]
    fn a_cost_above_the_burst_passes_with_half_of_it_or_from_the_burst_of_the_application() {
        let start = Instant::now();
        let mut rate = PacketRate::new(10, start).unwrap();
        assert_eq!(rate.spend(start, 10, no_burst), Ok(()));
        assert_eq!(rate.spend(start, 1000, no_burst), Ok(()));
        assert_eq!(rate.spend(start, 1, no_burst), Err(Duration::from_millis(1100)));
        assert_eq!(rate.spend(start, 300, || 300), Ok(()));
        assert!(rate.spend(start, 300, || 300).is_err());
    }
}
