//! How many requests may be in progress at the same time: in all, and to each endpoint.
//!
//! A receiver that fails or hangs must not take the requests that others need. An endpoint begins
//! with few slots. Each success doubles them, each failure halves them. Calls whose last event
//! failed use half of the endpoint's slots at most, so that the other calls of the endpoint go on.
//! Endpoints whose last event failed use half of all slots at most, together, so that the other
//! endpoints go on.

use std::collections::HashMap;

/// Slots of an endpoint at least, and at first.
const SLOTS_MIN: usize = 4;

/// Requests in progress.
#[derive(Debug)]
pub(super) struct Slots {
    /// Maximum for all endpoints.
    workers: usize,
    /// Maximum for one endpoint.
    most: usize,
    used: Used,
    endpoints: HashMap<String, EndpointSlots>,
}

/// One request in progress.
#[derive(Debug)]
pub(super) struct Slot {
    endpoint: String,
    /// Whether it counts among the endpoint's retries.
    is_retry: bool,
    /// Whether it counts among the requests to failing endpoints.
    is_doubtful: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    all: usize,
    /// Those of them that may fail again.
    doubtful: usize,
}

impl Used {
    const fn fits(self, limit: usize, is_doubtful: bool) -> bool {
        let half = if limit < 2 { 1 } else { limit / 2 };
        self.all < limit && (!is_doubtful || self.doubtful < half)
    }

    const fn add(&mut self, is_doubtful: bool) {
        self.all += 1;
        self.doubtful += is_doubtful as usize;
    }

    const fn remove(&mut self, is_doubtful: bool) {
        self.all -= 1;
        self.doubtful -= is_doubtful as usize;
    }
}

#[derive(Clone, Copy, Debug)]
struct EndpointSlots {
    used: Used,
    slots: usize,
    /// Whether the last event failed.
    is_failing: bool,
}

impl Slots {
    pub(super) fn new(workers: usize, most: usize) -> Self {
        Self { workers, most, used: Used::default(), endpoints: HashMap::new() }
    }

    /// Returns the number of requests in progress to an endpoint.
    pub(super) fn used_by(&self, endpoint: &str) -> usize {
        self.endpoints.get(endpoint).map_or(0, |slots| slots.used.all)
    }

    /// Returns whether no further request fits.
    pub(super) const fn is_full(&self) -> bool {
        self.used.all >= self.workers
    }

    /// Forgets the endpoints without requests in progress that are not known any more, so that
    /// endpoints which are created and removed do not stay in memory.
    pub(super) fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.endpoints.retain(|endpoint, slots| slots.used.all > 0 || is_known(endpoint));
    }

    /// Takes a slot for a call whose last event failed (`is_retry`) or did not. `None`: there is no
    /// slot.
    pub(super) fn take(&mut self, endpoint: &str, is_retry: bool) -> Option<Slot> {
        let first = EndpointSlots { used: Used::default(), slots: SLOTS_MIN.min(self.most), is_failing: false };
        let of = self.endpoints.entry(endpoint.to_owned()).or_insert(first);
        let is_doubtful = is_retry || of.is_failing;
        if !self.used.fits(self.workers, is_doubtful) || !of.used.fits(of.slots, is_retry) {
            return None;
        }
        self.used.add(is_doubtful);
        of.used.add(is_retry);
        Some(Slot { endpoint: endpoint.to_owned(), is_retry, is_doubtful })
    }

    /// Gives a slot back. `accepted`: whether the receiver accepted the last event; `None` without
    /// a request.
    pub(super) fn give_back(&mut self, slot: &Slot, accepted: Option<bool>) {
        let Some(of) = self.endpoints.get_mut(&slot.endpoint) else { return };
        self.used.remove(slot.is_doubtful);
        of.used.remove(slot.is_retry);
        let least = SLOTS_MIN.min(self.most);
        if let Some(accepted) = accepted {
            of.is_failing = !accepted;
            of.slots = if accepted { (of.slots * 2).min(self.most) } else { (of.slots / 2).max(least) };
        }
        if of.used.all == 0 && of.slots == least && !of.is_failing {
            self.endpoints.remove(&slot.endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(slots: &mut Slots, endpoint: &str, is_retry: bool) -> Vec<Slot> {
        std::iter::from_fn(|| slots.take(endpoint, is_retry)).take(1_000).collect()
    }

    #[test]
    fn an_endpoint_gets_more_slots_by_successes_and_fewer_by_failures() {
        let mut slots = Slots::new(100, 16);
        let mut held = taken(&mut slots, "a", false);
        assert_eq!(held.len(), 4);
        for slot in held.drain(..3) {
            slots.give_back(&slot, Some(true));
        }
        held.extend(taken(&mut slots, "a", false));
        assert_eq!((held.len(), slots.used_by("a")), (16, 16));
        for slot in held.drain(..) {
            slots.give_back(&slot, Some(false));
        }
        assert_eq!((slots.used_by("a"), taken(&mut slots, "a", false).len()), (0, 4));
    }

    #[test]
    fn endpoints_that_are_not_known_any_more_are_forgotten_after_their_requests() {
        let mut slots = Slots::new(100, 16);
        for endpoint in ["grown", "failing", "known"] {
            let slot = slots.take(endpoint, false).expect("a slot");
            slots.give_back(&slot, Some(endpoint != "failing"));
        }
        let last = slots.take("grown", false).expect("a slot");
        let endpoints = |slots: &mut Slots| {
            slots.retain(|endpoint| endpoint == "known");
            let mut left: Vec<_> = slots.endpoints.keys().cloned().collect();
            left.sort();
            left
        };
        assert_eq!(endpoints(&mut slots), ["grown", "known"]);
        slots.give_back(&last, Some(true));
        assert_eq!(endpoints(&mut slots), ["known"]);
        assert_eq!(taken(&mut slots, "known", false).len(), 8, "it keeps its slots");
    }

    #[test]
    fn failing_calls_leave_half_of_the_slots_of_their_endpoint_to_its_other_calls() {
        let mut slots = Slots::new(100, 16);
        assert_eq!((taken(&mut slots, "a", true).len(), taken(&mut slots, "a", false).len()), (2, 2));
    }

    #[test]
    fn failing_endpoints_leave_half_of_all_slots_to_the_others_and_a_success_ends_that() {
        let mut slots = Slots::new(16, 16);
        for endpoint in ["a", "b", "c", "d"] {
            let slot = slots.take(endpoint, false).expect("a slot");
            slots.give_back(&slot, Some(false));
        }
        let mut held: Vec<_> = ["a", "b", "c", "d"].iter().flat_map(|name| taken(&mut slots, name, false)).collect();
        assert_eq!(held.len(), 8, "of 16");
        let others: Vec<_> = ["e", "f"].iter().flat_map(|name| taken(&mut slots, name, false)).collect();
        assert_eq!((others.len(), slots.is_full()), (8, true));
        others.iter().for_each(|slot| slots.give_back(slot, None));
        slots.give_back(&held.remove(0), Some(true));
        assert_eq!(taken(&mut slots, "a", false).len(), 5, "of its 8");
    }
}
