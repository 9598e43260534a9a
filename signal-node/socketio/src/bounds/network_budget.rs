//! The tokens that one client may spend: of its socket, and of its network.
//!
//! Packets are counted as they come. An application that knows that an event costs more than its
//! packet spends or charges the rest here, and needs to know no rate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::packet_rate::{PacketRate, RateDecision, cost};
use super::{ClientNetwork, RateTable};
use crate::config::AdmissionLimits;

/// Rates by network that all sockets of a server share. `None` is off.
#[derive(Debug, Default)]
pub(crate) struct NetworkRates {
    events: Option<RateTable>,
    frames: Option<RateTable>,
}

impl NetworkRates {
    /// Creates the rates with all buckets full.
    pub(crate) fn new(limits: &AdmissionLimits) -> Self {
        Self { events: limits.events.map(RateTable::new), frames: limits.frames.map(RateTable::new) }
    }
}

/// Budget of one socket and of its network. Clones belong to the same socket.
#[derive(Debug, Clone)]
pub struct NetworkBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    network: ClientNetwork,
    rates: Arc<NetworkRates>,
    /// Packets of this socket; `None` without a limit.
    packets: Mutex<Option<PacketRate>>,
}

impl NetworkBudget {
    /// Creates the budget of a new socket, which may send this many packets a second; 0 is off.
    pub(crate) fn new(network: ClientNetwork, rates: &Arc<NetworkRates>, events_per_second: u32) -> Self {
        let packets = Mutex::new(PacketRate::new(events_per_second, Instant::now()));
        Self(Arc::new(Budget { network, rates: Arc::clone(rates), packets }))
    }

    /// Spends tokens for an event before it is performed, besides those of its packet. `burst`
    /// returns the application's burst, as [`Application::burst`](crate::Application::burst) does.
    /// It passes with half a burst of tokens, so that no cost is refused forever; what is missing
    /// is debt.
    ///
    /// # Errors
    /// The socket or its network has too few tokens: the time after which it has enough.
    pub fn spend(&self, tokens: u32, burst: impl FnOnce() -> u32) -> Result<(), Duration> {
        if tokens == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let own = self.packets().as_mut().map_or(Ok(()), |packets| packets.spend(now, tokens, burst));
        let events = self.0.rates.events.as_ref();
        own.and_then(|()| events.map_or(Ok(()), |events| events.spend(self.0.network, tokens, now)))
            .inspect_err(|_| metrics::counter!("switchboard_events_rate_limited_total").increment(1))
    }

    /// Charges tokens for a cost that is known only after it was paid. Missing tokens are debt: the
    /// next packets are refused until it is earned. The debt of a network is at most one burst,
    /// that of a socket half a burst.
    pub fn charge(&self, tokens: u32) {
        if tokens == 0 {
            return;
        }
        let now = Instant::now();
        if let Some(packets) = self.packets().as_mut() {
            packets.charge(now, tokens);
        }
        if let Some(events) = &self.0.rates.events {
            events.charge(self.0.network, tokens, now);
        }
    }

    /// Counts a packet of this many bytes: for this socket, and for all sockets of its network,
    /// because many sockets of one client must not add up.
    pub(crate) fn count_packet(&self, bytes: usize, burst: impl FnOnce() -> u32) -> RateDecision {
        let (now, cost) = (Instant::now(), cost(bytes));
        let own = self.packets().as_mut().map_or(RateDecision::Pass, |packets| packets.take(now, cost, burst));
        let events = self.0.rates.events.as_ref();
        match events.map_or(Ok(()), |events| events.take(self.0.network, cost, now)) {
            Err(wait) if own == RateDecision::Pass => RateDecision::Refuse(wait),
            Ok(()) | Err(_) => own,
        }
    }

    /// Takes tokens for frames of the network.
    ///
    /// # Errors
    /// The network exceeds its rate: the time after which it has enough.
    pub(super) fn take_frames(&self, tokens: u32, now: Instant) -> Result<(), Duration> {
        let frames = self.0.rates.frames.as_ref();
        frames.map_or(Ok(()), |frames| frames.take(self.0.network, tokens, now))
    }

    fn packets(&self) -> MutexGuard<'_, Option<PacketRate>> {
        self.0.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use std::net::Ipv4Addr;
    use switchboard_core::domain::Rate;

    fn budgets(events: &str, per_second: u32) -> [NetworkBudget; 3] {
        let limits = AdmissionLimits { events: Rate::parse(events).unwrap(), ..AdmissionLimits::default() };
        let rates = Arc::new(NetworkRates::new(&limits));
        [1, 1, 2].map(|number| {
            let network = ClientNetwork::of(Ipv4Addr::new(10, 0, 0, number).into());
            NetworkBudget::new(network, &rates, per_second)
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_charge_of_one_socket_refuses_packets_of_its_whole_network_and_of_no_other() {
        let [one, sibling, other] = budgets("100/100", 0);
        one.charge(150);
        for budget in [&one, &sibling] {
            assert_eq!(budget.count_packet(10, || 0), RateDecision::Refuse(Duration::from_secs(51)));
            assert_eq!(budget.spend(10, || 0), Err(Duration::from_secs(60)));
        }
        assert_eq!(other.count_packet(10, || 0), RateDecision::Pass);
        tokio::time::advance(Duration::from_secs(51)).await;
        assert_eq!(sibling.count_packet(10, || 0), RateDecision::Pass);
    }

    #[tokio::test(start_paused = true)]
    async fn a_charge_of_a_socket_refuses_its_own_packets_and_those_of_no_sibling() {
        let [one, sibling, _] = budgets("0", 10);
        one.charge(1000);
        assert_eq!(one.count_packet(10, || 0), RateDecision::Refuse(Duration::from_millis(1200)));
        assert_eq!(sibling.count_packet(10, || 0), RateDecision::Pass);
        assert_eq!(one.spend(5, || 5), Ok(()), "the burst of the application is not owed");
    }
}
