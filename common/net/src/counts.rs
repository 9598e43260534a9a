//! Counts of open sockets and of open connections.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of open items, in total and by key: the network of a client, or a node. It keeps only the
/// keys of open items.
#[derive(Debug)]
pub struct Counts<K> {
    /// Name of the gauge with the total.
    gauge: &'static str,
    /// Maximum in total; 0 is off.
    max: usize,
    /// Maximum by key; 0 is off.
    max_per_key: usize,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    total: usize,
    by_key: HashMap<K, usize>,
}

/// Bound that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The bound in total.
    Total,
    /// The bound of one key.
    Key,
}

/// One counted item. Dropping it frees its slot.
#[derive(Debug)]
pub struct Permit<K: Eq + Hash> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Counts<K> {
    /// Creates counts of nothing. A maximum of 0 is off.
    #[must_use]
    pub fn new(gauge: &'static str, max: usize, max_per_key: usize) -> Self {
        metrics::gauge!(gauge).set(0.0);
        Self { gauge, max, max_per_key, state: Mutex::new(State { total: 0, by_key: HashMap::new() }) }
    }

    /// Counts one more item.
    ///
    /// # Errors
    /// The bound that is reached. Nothing is counted.
    pub fn acquire(self: &Arc<Self>, key: K) -> Result<Permit<K>, Full> {
        let mut state = self.state();
        // The key first, so that a key at its bound never makes others give room.
        if self.max_per_key > 0 && state.by_key.get(&key).is_some_and(|count| *count >= self.max_per_key) {
            return Err(Full::Key);
        }
        if self.max > 0 && state.total >= self.max {
            return Err(Full::Total);
        }
        if self.max_per_key > 0 {
            *state.by_key.entry(key.clone()).or_default() += 1;
        }
        state.total += 1;
        drop(state);
        metrics::gauge!(self.gauge).increment(1.0);
        Ok(Permit { counts: Arc::clone(self), key })
    }
}

impl<K> Counts<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut state = self.counts.state();
        state.total -= 1;
        if let Some(count) = state.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.by_key.remove(&self.key);
            }
        }
        drop(state);
        metrics::gauge!(self.counts.gauge).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use switchboard_core::client_address::ClientNetwork;

    fn network(number: u8) -> ClientNetwork {
        ClientNetwork::of(Ipv4Addr::new(10, 0, 0, number).into())
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together_and_a_mapped_address_counts_as_ipv4() {
        let counts = Arc::new(Counts::new("test_open", 0, 1));
        for (first, second) in [("2001:db8::1", "2001:db8::2"), ("192.0.2.7", "::ffff:192.0.2.7")] {
            let _first = counts.acquire(ClientNetwork::of(first.parse().unwrap())).unwrap();
            let second = counts.acquire(ClientNetwork::of(second.parse().unwrap()));
            assert_eq!(second.unwrap_err(), Full::Key, "{first}");
        }
    }

    proptest! {
        #[test]
        fn counts_never_exceed_their_bounds_and_leave_nothing_behind(
            steps in proptest::collection::vec((0u8..5, any::<bool>()), 1..80),
        ) {
            let counts = Arc::new(Counts::new("test_open", 6, 2));
            let mut held: Vec<(u8, Permit<ClientNetwork>)> = Vec::new();
            for (number, opens) in steps {
                let own = held.iter().filter(|(other, _)| *other == number).count();
                if opens {
                    let expected = if own == 2 {
                        Some(Full::Key)
                    } else {
                        (held.len() == 6).then_some(Full::Total)
                    };
                    let result = counts.acquire(network(number));
                    prop_assert_eq!(result.as_ref().err().copied(), expected);
                    held.extend(result.ok().map(|permit| (number, permit)));
                } else if let Some(at) = held.iter().position(|(other, _)| *other == number) {
                    held.swap_remove(at);
                }
            }
            held.clear();
            let state = counts.state();
            prop_assert_eq!((state.total, state.by_key.len()), (0, 0));
        }
    }
}
