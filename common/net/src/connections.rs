//! The TCP connections of clients: their bounds, and those that are idle.
//!
//! Load balancers and browsers keep idle connections for their next request. These wait in a list.
//! When a bound is reached, the one that is idle for the longest time makes room for a new one, so
//! that idle connections keep no client out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::counts::{Counts, Full, Permit};

/// Names of the metrics of one server's connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionMetrics {
    /// Gauge: open connections.
    pub open: &'static str,
    /// Counter: idle connections that made room for a new one.
    pub replaced: &'static str,
}

/// Open connections, in total and by key.
#[derive(Debug)]
pub struct Connections<K: Eq + Hash> {
    counts: Arc<Counts<K>>,
    idle: Mutex<Idle<K>>,
    metrics: ConnectionMetrics,
}

/// Idle connections by age: the lowest number is idle for the longest time.
#[derive(Debug)]
struct Idle<K: Eq + Hash> {
    next: u64,
    by_age: BTreeMap<u64, IdleConnection<K>>,
    by_key: HashMap<K, BTreeSet<u64>>,
}

#[derive(Debug)]
struct IdleConnection<K: Eq + Hash> {
    key: K,
    /// Dropped when the connection makes room, before it has noticed.
    permit: Permit<K>,
    waker: Waker,
}

/// One open connection. Dropping it frees its slot.
#[derive(Debug)]
pub struct ConnectionSlot<K: Eq + Hash + Clone> {
    connections: Arc<Connections<K>>,
    key: K,
    state: SlotState<K>,
}

#[derive(Debug)]
enum SlotState<K: Eq + Hash> {
    /// Serves a request, or reads a head.
    Active(Permit<K>),
    /// In the list of idle connections, by this number.
    Idle(u64),
    /// Has made room for another connection.
    Replaced,
}

impl<K: Eq + Hash + Clone> Connections<K> {
    /// Creates the count of no connection. A maximum of 0 is off.
    #[must_use]
    pub fn new(metrics: ConnectionMetrics, max: usize, max_per_key: usize) -> Self {
        let idle = Idle { next: 0, by_age: BTreeMap::new(), by_key: HashMap::new() };
        Self { counts: Arc::new(Counts::new(metrics.open, max, max_per_key)), idle: Mutex::new(idle), metrics }
    }

    /// Counts a new connection. At a bound, it replaces the one that is idle for the longest time.
    ///
    /// # Errors
    /// The bound that is reached. No connection under it is idle.
    pub fn admit(self: &Arc<Self>, key: K) -> Result<ConnectionSlot<K>, Full> {
        loop {
            match self.counts.acquire(key.clone()) {
                Ok(permit) => {
                    return Ok(ConnectionSlot { connections: Arc::clone(self), key, state: SlotState::Active(permit) });
                }
                Err(full) => self.replace_idle(full, &key).ok_or(full)?,
            }
        }
    }

    /// Frees the slot of the connection that is idle for the longest time, and wakes it.
    fn replace_idle(&self, full: Full, key: &K) -> Option<()> {
        let mut idle = self.idle();
        let oldest = match full {
            Full::Total => *idle.by_age.keys().next()?,
            Full::Key => *idle.by_key.get(key)?.first()?,
        };
        let replaced = idle.remove(oldest)?;
        drop(idle);
        metrics::counter!(self.metrics.replaced).increment(1);
        replaced.waker.wake_by_ref();
        Some(())
    }

    fn idle(&self) -> MutexGuard<'_, Idle<K>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Idle<K> {
    fn remove(&mut self, number: u64) -> Option<IdleConnection<K>> {
        let removed = self.by_age.remove(&number)?;
        if let Some(numbers) = self.by_key.get_mut(&removed.key) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_key.remove(&removed.key);
            }
        }
        Some(removed)
    }
}

impl<K: Eq + Hash + Clone> ConnectionSlot<K> {
    /// Marks the connection as idle. `waker` is woken when it makes room for another one. Returns
    /// whether it still has its slot; otherwise it must close.
    pub(crate) fn set_idle(&mut self, waker: &Waker) -> bool {
        let mut idle = self.connections.idle();
        match std::mem::replace(&mut self.state, SlotState::Replaced) {
            SlotState::Replaced => false,
            SlotState::Active(permit) => {
                let number = idle.next;
                idle.next += 1;
                let connection = IdleConnection { key: self.key.clone(), permit, waker: waker.clone() };
                idle.by_age.insert(number, connection);
                idle.by_key.entry(self.key.clone()).or_default().insert(number);
                self.state = SlotState::Idle(number);
                true
            }
            SlotState::Idle(number) => {
                let Some(connection) = idle.by_age.get_mut(&number) else { return false };
                connection.waker.clone_from(waker);
                self.state = SlotState::Idle(number);
                true
            }
        }
    }

    /// Marks the connection as active. Returns whether it still has its slot; otherwise it must
    /// close.
    pub(crate) fn set_active(&mut self) -> bool {
        let SlotState::Idle(number) = self.state else { return matches!(self.state, SlotState::Active(_)) };
        let taken = self.connections.idle().remove(number);
        self.state = taken.map_or(SlotState::Replaced, |connection| SlotState::Active(connection.permit));
        matches!(self.state, SlotState::Active(_))
    }
}

impl<K: Eq + Hash + Clone> Drop for ConnectionSlot<K> {
    fn drop(&mut self) {
        if let SlotState::Idle(number) = self.state {
            let removed = self.connections.idle().remove(number);
            // After the list is unlocked.
            drop(removed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use proptest::prelude::*;

    const METRICS: ConnectionMetrics = ConnectionMetrics { open: "test_open", replaced: "test_replaced" };

    proptest! {
        #[test]
        fn an_idle_connection_is_replaced_before_a_new_one_is_refused(
            steps in proptest::collection::vec((0u8..3, 0u8..4), 1..80),
        ) {
            let connections = Arc::new(Connections::new(METRICS, 5, 3));
            // Open connections with their keys, the oldest first, and whether they are idle.
            let mut open: Vec<(u8, bool, ConnectionSlot<u8>)> = Vec::new();
            for (key, action) in steps {
                match action {
                    0 | 1 => {
                        let own = open.iter().filter(|(other, ..)| *other == key).count();
                        let idle = |all: bool| open.iter().any(|(other, idle, _)| *idle && (all || *other == key));
                        let fits = open.len() < 5 || idle(true);
                        let admitted = connections.admit(key);
                        if own < 3 && fits {
                            prop_assert!(admitted.is_ok());
                        }
                        if let Err(full) = &admitted {
                            let replaceable = idle(*full == Full::Total);
                            prop_assert!(!replaceable);
                        }
                        open.retain_mut(|(_, idle, slot)| !*idle || slot.set_idle(Waker::noop()));
                        open.extend(admitted.ok().map(|slot| (key, false, slot)));
                    }
                    2 => {
                        if let Some((_, idle, slot)) = open.iter_mut().find(|(other, idle, _)| *other == key && !*idle) {
                            prop_assert!(slot.set_idle(Waker::noop()));
                            *idle = true;
                        }
                    }
                    _ => {
                        if let Some((_, idle, slot)) = open.iter_mut().find(|(other, idle, _)| *other == key && *idle) {
                            prop_assert!(slot.set_active());
                            *idle = false;
                        }
                    }
                }
                prop_assert!(open.len() <= 5);
                prop_assert!((0..3).all(|key| open.iter().filter(|(other, ..)| *other == key).count() <= 3));
            }
            drop(open);
            let idle = connections.idle();
            prop_assert!(idle.by_age.is_empty() && idle.by_key.is_empty());
        }
    }

    #[test]
    fn the_connection_that_is_idle_for_the_longest_time_is_replaced_and_is_told() {
        let connections = Arc::new(Connections::new(METRICS, 2, 0));
        let (mut first, mut second) = (connections.admit(1).unwrap(), connections.admit(2).unwrap());
        assert_eq!(connections.admit(3).unwrap_err(), Full::Total);
        assert!(second.set_idle(Waker::noop()) && first.set_idle(Waker::noop()));
        let _third = connections.admit(3).unwrap();
        assert!(!second.set_active(), "it was idle first");
        assert!(first.set_active());
        assert_eq!(connections.admit(4).unwrap_err(), Full::Total, "an active connection is not replaced");
    }
}
