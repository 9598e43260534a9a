//! Passwords and passcodes: argon2id, off the async threads and bounded.
//!
//! A hash takes 19 MiB and tens of milliseconds of a core on purpose. Unbounded, a burst of sign-ins would starve
//! every other request; so a few run at once, some wait, and the rest are told to come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use switchboard_core::domain::{Code, Refusal};

/// OWASP's first choice for argon2id: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How many may wait for each one that runs. With about 30 ms a hash the last waits about two seconds.
const WAITING_PER_SLOT: usize = 64;
/// Verified against when there is no such user, so that the answer takes as long. Nobody knows a password for it.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$DYNYh8kfSxC67k2OUJ8i6w$UIuseXvEpD6N3ojrVJemamWL/5cJWOd2jb/L6O4UlZA";

/// The outcome of comparing a password with a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is another one, or the stored hash is of no kind we know.
    Wrong,
    /// It is the one.
    Right,
    /// It is the one, but the hash is of the Node service (bcrypt) or has weaker parameters: store a new one.
    RightButRehash,
}

/// Hashes and verifies on blocking threads. Cheap to clone; clones share the bound.
#[derive(Clone)]
pub struct Hasher {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Hasher {
    /// At most `concurrency` (at least one) run at once; 64 times as many wait.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        let slots = concurrency.max(1);
        Self {
            running: Arc::new(Semaphore::new(slots)),
            admitted: Arc::new(Semaphore::new(slots * (WAITING_PER_SLOT + 1))),
        }
    }

    /// Hashes `text` to a PHC string with a salt of its own.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` when too many wait already; `INTERNAL_ERROR` when the system has no randomness or memory.
    pub async fn hash(&self, text: String) -> Result<String, Refusal> {
        self.run("hash", move || {
            argon2().hash_password(text.as_bytes()).map(|hash: PasswordHash| hash.to_string()).map_err(|error| {
                tracing::error!(%error, "a password could not be hashed");
                Code::InternalError.into()
            })
        })
        .await?
    }

    /// Compares `text` with a stored hash: argon2 (PHC), or bcrypt `$2a$ $2b$ $2y$` as the Node service stored.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` when too many wait already.
    pub async fn verify(&self, hash: String, text: String) -> Result<Verdict, Refusal> {
        self.run("verify", move || compare(&hash, &text)).await
    }

    /// Takes as long as `verify` and always fails: for an e-mail that nobody has, so that the time does not tell.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` when too many wait already, as `verify`.
    pub async fn verify_nobody(&self, text: String) -> Result<(), Refusal> {
        self.run("verify", move || compare(DUMMY, &text)).await.map(|_| ())
    }

    /// Compares a call's passcode. The Node service stored some as plain text; those are compared in constant time.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` when too many wait already.
    pub async fn verify_passcode(&self, stored: &str, text: &str) -> Result<bool, Refusal> {
        if stored.starts_with('$') {
            return Ok(self.verify(stored.to_owned(), text.to_owned()).await? != Verdict::Wrong);
        }
        Ok(stored.as_bytes().ct_eq(text.as_bytes()).into())
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let Ok(_admitted) = self.admitted.try_acquire() else {
            metrics::counter!("switchboard_password_refused_total").increment(1);
            return Err(Code::ServiceUnavailable.into());
        };
        let queue = metrics::gauge!("switchboard_password_queue");
        queue.increment(1.0);
        let _queued = Defer(|| queue.decrement(1.0));
        let slot = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Code::InternalError)?;
        let started = Instant::now();
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work, not by the caller: a request that is given up leaves its hash running.
            let _slot = slot;
            work()
        })
        .await;
        observe(what, started.elapsed());
        done.map_err(|error| {
            tracing::error!(%error, "password work panicked");
            Code::InternalError.into()
        })
    }
}

/// Runs on drop, so that a cancelled request leaves the queue's gauge too.
struct Defer<F: FnMut()>(F);

impl<F: FnMut()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn observe(what: &'static str, took: Duration) {
    metrics::histogram!("switchboard_password_seconds", "work" => what).record(took.as_secs_f64());
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn compare(hash: &str, text: &str) -> Verdict {
    if hash.starts_with("$2") {
        return match bcrypt::verify(text, hash) {
            Ok(true) => Verdict::RightButRehash,
            _ => Verdict::Wrong,
        };
    }
    let Ok(parsed) = PasswordHash::new(hash) else { return Verdict::Wrong };
    if argon2().verify_password(text.as_bytes(), &parsed).is_err() {
        return Verdict::Wrong;
    }
    let current = Params::try_from(&parsed)
        .is_ok_and(|p| p.m_cost() >= MEMORY_KIB && p.t_cost() >= PASSES && parsed.algorithm.as_str() == "argon2id");
    if current { Verdict::Right } else { Verdict::RightButRehash }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let hasher = Hasher::new(1);
        let hash = hasher.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(hasher.verify(hash.clone(), "correct horse".into()).await.unwrap(), Verdict::Right);
        assert_eq!(hasher.verify(hash.clone(), "correct horsf".into()).await.unwrap(), Verdict::Wrong);
        assert_ne!(hasher.hash("correct horse".into()).await.unwrap(), hash);
    }

    #[tokio::test]
    async fn a_bcrypt_hash_of_the_node_service_verifies_and_asks_for_a_new_one() {
        let hasher = Hasher::new(1);
        let parts = bcrypt::hash_with_salt("s3cret-pass", 4, [7; 16]).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let hash = parts.format_for_version(version);
            assert_eq!(hasher.verify(hash.clone(), "s3cret-pass".into()).await.unwrap(), Verdict::RightButRehash);
            assert_eq!(hasher.verify(hash, "other".into()).await.unwrap(), Verdict::Wrong);
        }
    }

    #[tokio::test]
    async fn what_is_no_hash_verifies_nothing() {
        let hasher = Hasher::new(1);
        for stored in ["", "plain", "$2b$10$short", "$argon2id$v=19$m=1", "$1$md5$x"] {
            assert_eq!(hasher.verify(stored.into(), stored.into()).await.unwrap(), Verdict::Wrong, "{stored}");
        }
        assert!(PasswordHash::new(DUMMY).is_ok(), "the dummy costs a whole verification");
    }

    #[tokio::test]
    async fn past_the_bound_of_waiting_a_hash_is_refused() {
        let hasher = Hasher::new(1);
        let _all = hasher.admitted.acquire_many(u32::try_from(WAITING_PER_SLOT + 1).unwrap()).await.unwrap();
        assert_eq!(hasher.hash("x".into()).await.unwrap_err().code, Code::ServiceUnavailable);
    }

    #[tokio::test]
    async fn a_plain_passcode_of_the_node_service_still_opens() {
        let hasher = Hasher::new(1);
        assert!(hasher.verify_passcode("1234", "1234").await.unwrap());
        assert!(!hasher.verify_passcode("1234", "1235").await.unwrap());
    }
}
