//! A rate limit by network, in bounded memory and with a constant cost.
//!
//! The table is set-associative, as caches are: the hash of a network selects a set, and a set
//! holds at most [`WAYS`] buckets. In a full set the fullest bucket makes room, because it has the
//! least to remember. The hash is keyed at random, so that no client can choose the set that its
//! address falls into.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::Rate;
use tokio::time::Instant;

/// Number of sets. With [`WAYS`] it bounds the table to 32,768 networks, about 1 MiB.
const SETS: usize = 4096;

/// Maximum number of buckets in a set.
const WAYS: usize = 8;

/// Token buckets by network.
#[derive(Debug)]
pub struct RateTable {
    rate: Rate,
    hasher: RandomState,
    sets: Box<[Mutex<Vec<Bucket>>]>,
}

#[derive(Debug)]
struct Bucket {
    network: ClientNetwork,
    /// Time at which the bucket is full again.
    full_at: Instant,
}

impl RateTable {
    /// Creates a table in which all buckets are full.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self { rate, hasher: RandomState::new(), sets }
    }

    /// Takes this many tokens of a network.
    ///
    /// # Errors
    /// The bucket has too few. Returns the time after which it has enough. Nothing is taken.
    pub fn take(&self, network: ClientNetwork, tokens: u32, now: Instant) -> Result<(), Duration> {
        self.change(network, now, |debt| self.rate.take(debt, tokens))
    }

    /// Takes tokens of a network before a cost that may exceed its bucket: see [`Rate::spend`].
    ///
    /// # Errors
    /// As [`take`](RateTable::take).
    pub fn spend(&self, network: ClientNetwork, tokens: u32, now: Instant) -> Result<(), Duration> {
        self.change(network, now, |debt| self.rate.spend(debt, tokens))
    }

    /// Takes tokens of a network that it may not have: see [`Rate::charge`].
    pub fn charge(&self, network: ClientNetwork, tokens: u32, now: Instant) {
        let _never_refused = self.change(network, now, |debt| Ok(self.rate.charge(debt, tokens)));
    }

    /// Replaces the debt of a network, unless `new_debt` refuses.
    fn change(
        &self,
        network: ClientNetwork,
        now: Instant,
        new_debt: impl FnOnce(Duration) -> Result<Duration, Duration>,
    ) -> Result<(), Duration> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash select a set")]
        let set = &self.sets[self.hasher.hash_one(network) as usize % SETS];
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let found = set.iter().position(|bucket| bucket.network == network);
        let debt = found.map_or(Duration::ZERO, |at| set[at].full_at.saturating_duration_since(now));
        let full_at = now + new_debt(debt)?;
        match found.or_else(|| if set.len() < WAYS { None } else { fullest(&set) }) {
            Some(at) => set[at] = Bucket { network, full_at },
            None => set.push(Bucket { network, full_at }),
        }
        Ok(())
    }
}

/// Returns the position of the bucket that is full first.
fn fullest(set: &[Bucket]) -> Option<usize> {
    (0..set.len()).min_by_key(|at| set[*at].full_at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn table(rate: &str) -> RateTable {
        RateTable::new(Rate::parse(rate).unwrap().unwrap())
    }

    fn network(number: u32) -> ClientNetwork {
        ClientNetwork::of(Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn a_burst_passes_and_a_refusal_names_the_time_after_which_the_next_one_passes() {
        let (table, now) = (table("4/2"), Instant::now());
        assert!((0..4).all(|_| table.take(network(1), 1, now).is_ok()));
        assert_eq!(table.take(network(1), 1, now), Err(Duration::from_millis(500)));
        assert!(table.take(network(2), 1, now).is_ok(), "another network has its own bucket");
        assert!(table.take(network(1), 1, now + Duration::from_millis(500)).is_ok());
    }

    #[test]
    fn a_charge_leaves_a_debt_for_the_network_alone() {
        let (table, now) = (table("4/2"), Instant::now());
        table.charge(network(1), 6, now);
        assert_eq!(table.take(network(1), 1, now), Err(Duration::from_millis(1500)));
        assert_eq!(table.spend(network(1), 1, now), Err(Duration::from_millis(1500)));
        assert_eq!(table.spend(network(2), 100, now), Ok(()));
        assert!(table.take(network(2), 1, now).is_err());
    }

    #[test]
    fn more_networks_than_the_table_holds_do_not_let_a_busy_network_pass() {
        let (table, now) = (table("100/10"), Instant::now());
        while table.take(network(0), 1, now).is_ok() {}
        for number in 0..100_000_u64 {
            let address = Ipv6Addr::from_bits(u128::from(number) << 64 | 0x2001_0db8 << 96);
            assert!(table.take(ClientNetwork::of(address.into()), 1, now).is_ok());
        }
        assert!(table.take(network(0), 1, now).is_err(), "the empty bucket is kept: fuller ones make room");
        assert!(table.sets.iter().all(|set| set.lock().unwrap().len() <= WAYS));
    }

    proptest! {
        #[test]
        fn no_window_passes_more_than_a_burst_and_its_refill(
            waits in proptest::collection::vec(0u64..300, 1..200),
        ) {
            let (table, start) = (table("5/1"), Instant::now());
            let mut passed: Vec<u64> = Vec::new();
            let mut at = 0;
            for wait in waits {
                at += wait;
                if table.take(network(7), 1, start + Duration::from_millis(at)).is_ok() {
                    passed.push(at);
                }
            }
            for (i, from) in passed.iter().enumerate() {
                for (count, to) in passed[i..].iter().enumerate() {
                    // A burst of 5 tokens, and one more each 200 ms.
                    prop_assert!((count as u64) < 5 + (to - from) / 200);
                }
            }
        }
    }
}
