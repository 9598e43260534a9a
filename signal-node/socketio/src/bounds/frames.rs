//! The frames of one socket.
//!
//! Every frame counts: messages, fragments, pings, pongs, noops and empty ones, because each costs
//! time of the thread that all sockets of a worker share. A socket that uses up its turn on the
//! thread waits until the others had theirs.

use std::task::{Context, Poll};
use std::time::Duration;

use switchboard_core::domain::Rate;
use tokio::time::Instant;

use super::NetworkBudget;
use crate::protocol::CloseReason;

/// A frame costs one more token for each 4 KiB.
const BYTES_PER_TOKEN: usize = 4 * 1024;

/// Length of the burst, in seconds of the rate.
const BURST_SECONDS: u32 = 8;

/// Maximum number of frames that a socket reads before it lets other sockets run.
const FRAMES_PER_TURN: usize = 4;

/// Maximum number of bytes that a socket reads before it lets other sockets run.
const BYTES_PER_TURN: usize = 64 * 1024;

/// Tokens that a socket takes of its network's rate at once, so that most frames cost no lock.
const NETWORK_TOKENS: u32 = 16;

/// Rate of the frames of one socket, its share of its network's rate, and its turn on the thread.
#[derive(Debug, Default)]
pub(crate) struct FrameMeter {
    /// `None` is off.
    rate: Option<Rate>,
    /// Time at which the bucket is full again; `None` at the start.
    full_at: Option<Instant>,
    /// Rate of the network; `None` before there is a session.
    network: Option<NetworkBudget>,
    /// Tokens that were taken of the network's rate and are not spent.
    network_tokens: u32,
    turn_frames: usize,
    turn_bytes: usize,
    yielded: bool,
}

impl FrameMeter {
    /// Creates a meter of this many frames a second; 0 is off. Frames count for the network too.
    pub(crate) fn new(frames_per_second: u32, network: Option<NetworkBudget>) -> Self {
        let requests = frames_per_second.saturating_mul(BURST_SECONDS);
        let rate = Rate { requests, period: Duration::from_secs(BURST_SECONDS.into()) };
        Self { rate: (requests > 0).then_some(rate), network, ..Self::default() }
    }

    /// Counts a received frame with a payload of this many bytes.
    ///
    /// # Errors
    /// The client, or its network, exceeded its rate. The frame must not be processed.
    pub(crate) fn count(&mut self, bytes: usize, now: Instant) -> Result<(), CloseReason> {
        self.turn_frames += 1;
        let cost = u32::try_from(1 + bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX);
        if let Some(rate) = self.rate {
            let debt = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            self.full_at = Some(now + rate.take(debt, cost).map_err(|_| CloseReason::FrameFlood)?);
        }
        self.count_for_network(cost, now)
    }

    fn count_for_network(&mut self, cost: u32, now: Instant) -> Result<(), CloseReason> {
        let Some(network) = &self.network else { return Ok(()) };
        if self.network_tokens < cost {
            let tokens = cost.max(NETWORK_TOKENS);
            network.take_frames(tokens, now).map_err(|_| CloseReason::FrameFlood)?;
            self.network_tokens += tokens;
        }
        self.network_tokens -= cost;
        Ok(())
    }

    /// Counts bytes that were read for the turn.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.turn_bytes += bytes;
    }

    /// Returns `Pending` if the turn is used up, and wakes the task for its next turn.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.yielded = self.turn_frames >= FRAMES_PER_TURN || self.turn_bytes >= BYTES_PER_TURN;
        if !self.yielded {
            return Poll::Ready(());
        }
        self.end_turn();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the turn, because nothing is left to read.
    pub(crate) fn end_turn(&mut self) {
        (self.turn_frames, self.turn_bytes) = (0, 0);
    }

    /// Returns whether the socket last stopped to read because its turn was used up, so that more
    /// may be unread.
    pub(crate) fn has_yielded(&self) -> bool {
        self.yielded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{ClientNetwork, NetworkRates};
    use crate::config::AdmissionLimits;
    use futures_util::task::noop_waker_ref;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    #[test]
    fn a_burst_passes_then_the_socket_is_closed_and_a_slower_one_goes_on() {
        let now = Instant::now();
        let mut meter = FrameMeter::new(100, None);
        assert!((0..800).all(|_| meter.count(0, now).is_ok()));
        assert_eq!(meter.count(0, now), Err(CloseReason::FrameFlood));
        let mut meter = FrameMeter::new(100, None);
        assert!((0..5000).all(|frame| meter.count(0, now + Duration::from_millis(10 * frame)).is_ok()));
        let mut off = FrameMeter::new(0, None);
        assert!((0..100_000).all(|_| off.count(70_000, now).is_ok()));
    }

    #[test]
    fn the_sockets_of_a_network_share_its_rate_and_take_it_in_chunks() {
        let now = Instant::now();
        let limits = AdmissionLimits { frames: Rate::parse("160/1").expect("a rate"), ..AdmissionLimits::default() };
        let rates = Arc::new(NetworkRates::new(&limits));
        let meter = |number| {
            let network = ClientNetwork::of(Ipv4Addr::new(10, 0, 0, number).into());
            FrameMeter::new(0, Some(NetworkBudget::new(network, &rates, 0)))
        };
        let (mut one, mut sibling, mut other) = (meter(1), meter(1), meter(2));
        let passed = (0..200).take_while(|_| one.count(0, now).is_ok() && sibling.count(0, now).is_ok()).count();
        assert_eq!(passed, 80);
        assert_eq!(one.count(0, now), Err(CloseReason::FrameFlood));
        assert_eq!(other.count(70_000, now), Ok(()));
        assert_eq!(one.count(0, now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn a_turn_ends_after_its_frames_or_its_bytes_and_the_next_one_begins_at_once() {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut meter = FrameMeter::new(0, None);
        for _ in 0..FRAMES_PER_TURN {
            assert_eq!((meter.poll_turn(&mut cx), meter.has_yielded()), (Poll::Ready(()), false));
            assert!(meter.count(0, Instant::now()).is_ok());
        }
        assert_eq!((meter.poll_turn(&mut cx), meter.has_yielded()), (Poll::Pending, true));
        assert_eq!((meter.poll_turn(&mut cx), meter.has_yielded()), (Poll::Ready(()), false));
        meter.read(BYTES_PER_TURN);
        assert_eq!(meter.poll_turn(&mut cx), Poll::Pending);
    }

    proptest! {
        #[test]
        fn large_frames_cost_as_much_as_the_small_frames_they_replace(sizes in proptest::collection::vec(0usize..65_536, 1..200)) {
            let now = Instant::now();
            let (mut whole, mut parts) = (FrameMeter::new(10, None), FrameMeter::new(10, None));
            for size in sizes {
                let pieces = 1 + size / BYTES_PER_TOKEN;
                let by_parts = (0..pieces).try_for_each(|_| parts.count(0, now));
                prop_assert_eq!(whole.count(size, now), by_parts);
                if by_parts.is_err() {
                    break;
                }
            }
        }
    }
}
