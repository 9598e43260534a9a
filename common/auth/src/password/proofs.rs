//! Recent comparisons of passcodes, so that many users who join with one passcode cost one hash.
//!
//! An entry is found by an HMAC over the stored hash and the passcode, with a random key of this
//! process. So the memory of the process shows no passcode, and a new passcode of a call finds no
//! entry of the old one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use switchboard_core::client_address::ClientNetwork;

/// Maximum number of right passcodes that are remembered, and of wrong ones. At the bound, the
/// oldest one is forgotten.
const RIGHT_MAX: usize = 4096;
const WRONG_MAX: usize = 1024;
/// Time that a right passcode is remembered.
const RIGHT_LIFETIME: Duration = Duration::from_secs(600);
/// Time that a wrong one is remembered: a client that repeats it costs no hash.
const WRONG_LIFETIME: Duration = Duration::from_secs(60);

/// Name of a comparison.
pub(super) type Proof = [u8; 32];
/// A comparison that runs for one client. Others of that client wait for its result.
type Running = HashMap<(Proof, Option<ClientNetwork>), Weak<tokio::sync::Mutex<()>>>;

/// Recent comparisons, and those that run. Clones share them.
#[derive(Clone)]
pub(super) struct Proofs {
    key: [u8; 32],
    recent: Arc<Mutex<Recent>>,
    running: Arc<Mutex<Running>>,
}

struct Recent {
    right: Bounded,
    wrong: Bounded,
}

/// Proofs with the times of their ends, at most `max`.
struct Bounded {
    max: usize,
    until: HashMap<Proof, Instant>,
    order: VecDeque<Proof>,
}

impl Proofs {
    pub(super) fn new() -> Self {
        let recent = Recent { right: Bounded::new(RIGHT_MAX), wrong: Bounded::new(WRONG_MAX) };
        Self { key: rand::random(), recent: Arc::new(Mutex::new(recent)), running: Arc::default() }
    }

    /// Returns the name of the comparison of `text` with `stored`.
    pub(super) fn name(&self, stored: &str, text: &str) -> Proof {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        // The length keeps two pairs with the same concatenation apart.
        mac.update(&stored.len().to_be_bytes());
        mac.update(stored.as_bytes());
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// Returns the result of a recent comparison.
    pub(super) fn recall(&self, proof: &Proof) -> Option<bool> {
        let (recent, now) = (lock(&self.recent), Instant::now());
        let known = |bounded: &Bounded| bounded.until.get(proof).is_some_and(|until| now < *until);
        if known(&recent.right) { Some(true) } else { known(&recent.wrong).then_some(false) }
    }

    /// Remembers the result of a comparison.
    pub(super) fn remember(&self, proof: Proof, right: bool) {
        let mut recent = lock(&self.recent);
        let (bounded, lifetime) =
            if right { (&mut recent.right, RIGHT_LIFETIME) } else { (&mut recent.wrong, WRONG_LIFETIME) };
        bounded.insert(proof, Instant::now() + lifetime);
    }

    /// Returns the lock of a comparison for one client.
    pub(super) fn running(&self, proof: Proof, client: Option<ClientNetwork>) -> Arc<tokio::sync::Mutex<()>> {
        let mut running = lock(&self.running);
        if let Some(same) = running.get(&(proof, client)).and_then(Weak::upgrade) {
            return same;
        }
        running.retain(|_, other| other.strong_count() > 0);
        let fresh = Arc::default();
        running.insert((proof, client), Arc::downgrade(&fresh));
        fresh
    }
}

impl Bounded {
    fn new(max: usize) -> Self {
        Self { max, until: HashMap::new(), order: VecDeque::new() }
    }

    fn insert(&mut self, proof: Proof, until: Instant) {
        if self.until.insert(proof, until).is_none() {
            self.order.push_back(proof);
        }
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.until.remove(&oldest);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_remembered_for_its_own_hash_and_within_the_bound() {
        let proofs = Proofs::new();
        proofs.remember(proofs.name("hash", "1234"), true);
        proofs.remember(proofs.name("hash", "4321"), false);
        assert_eq!(proofs.recall(&proofs.name("hash", "1234")), Some(true));
        assert_eq!(proofs.recall(&proofs.name("hash", "4321")), Some(false));
        assert_eq!(proofs.recall(&proofs.name("hash1", "234")), None, "the parts are kept apart");
        assert_eq!(proofs.recall(&Proofs::new().name("hash", "1234")), None, "each process has its own key");
        for n in 0..2 * WRONG_MAX {
            proofs.remember(proofs.name("hash", &n.to_string()), false);
        }
        assert_eq!(lock(&proofs.recent).wrong.until.len(), WRONG_MAX);
        assert_eq!(proofs.recall(&proofs.name("hash", "1234")), Some(true), "wrong ones displace no right one");
    }
}
