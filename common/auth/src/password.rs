//! Hashes and verifies passwords and passcodes with argon2id.
//!
//! One hash takes 19 MiB of memory and tens of milliseconds of CPU time by design. Without a bound,
//! a burst of sign-ins would starve all other requests. So the work runs on blocking threads, a
//! fixed number at once; further requests wait in a bounded queue, and requests beyond it are
//! refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use switchboard_core::domain::{Code, Refusal};

/// argon2id parameters of the OWASP Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Requests that may wait per running hash. At about 30 ms per hash, the last one waits about 2 s.
const WAITING_PER_SLOT: usize = 64;
/// Hash that is verified when the user does not exist, so that the answer takes the same time. Its
/// password is unknown.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$DYNYh8kfSxC67k2OUJ8i6w$UIuseXvEpD6N3ojrVJemamWL/5cJWOd2jb/L6O4UlZA";

/// Result of checking a password against a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password is wrong, or the stored hash has an unknown format.
    Wrong,
    /// The password is correct.
    Correct,
    /// The password is correct, but the hash is bcrypt (from the earlier Node.js service) or has
    /// weaker parameters. The caller should store a new hash.
    CorrectButOutdated,
}

/// Hashes and verifies passwords on blocking threads. Cheap to clone; clones share the limits.
#[derive(Clone)]
pub struct PasswordHasher {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl PasswordHasher {
    /// Creates a hasher that runs at most `concurrency` operations at once (at least 1) and lets 64
    /// times as many wait.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        let slots = concurrency.max(1);
        Self {
            running: Arc::new(Semaphore::new(slots)),
            admitted: Arc::new(Semaphore::new(slots * (WAITING_PER_SLOT + 1))),
        }
    }

    /// Hashes `text` with a random salt. Returns a PHC string.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` if the queue is full; `INTERNAL_ERROR` if the system has no randomness
    /// or no memory.
    pub async fn hash(&self, text: String) -> Result<String, Refusal> {
        self.run("hash", move || {
            argon2().hash_password(text.as_bytes()).map(|hash: PasswordHash| hash.to_string()).map_err(|error| {
                tracing::error!(%error, "password hashing failed");
                Code::InternalError.into()
            })
        })
        .await?
    }

    /// Checks `text` against a stored hash: argon2 (PHC string) or bcrypt (`$2a$`, `$2b$`, `$2y$`),
    /// which the earlier Node.js service stored.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` if the queue is full; `INTERNAL_ERROR` if the worker thread failed.
    pub async fn verify(&self, hash: String, text: String) -> Result<PasswordCheck, Refusal> {
        self.run("verify", move || compare(&hash, &text)).await
    }

    /// Takes as long as `verify`. For a sign-in with an unknown e-mail address, so that the
    /// duration does not reveal which addresses have an account.
    ///
    /// # Errors
    /// Same as `verify`.
    pub async fn verify_dummy(&self, text: String) -> Result<(), Refusal> {
        self.run("verify", move || compare(DUMMY, &text)).await.map(|_| ())
    }

    /// Checks a call's passcode. The earlier Node.js service stored some passcodes as plain text;
    /// they are compared in constant time.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` if the queue is full; `INTERNAL_ERROR` if the worker thread failed.
    pub async fn verify_passcode(&self, stored: &str, text: &str) -> Result<bool, Refusal> {
        if stored.starts_with('$') {
            return Ok(self.verify(stored.to_owned(), text.to_owned()).await? != PasswordCheck::Wrong);
        }
        Ok(stored.as_bytes().ct_eq(text.as_bytes()).into())
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
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
            // The work holds the slot, not the caller: if the caller is cancelled, its hash still
            // runs.
            let _slot = slot;
            work()
        })
        .await;
        observe(operation, started.elapsed());
        done.map_err(|error| {
            tracing::error!(%error, "password worker panicked");
            Code::InternalError.into()
        })
    }
}

/// Runs a function on drop, so that a cancelled request also leaves the queue's gauge.
struct Defer<F: FnMut()>(F);

impl<F: FnMut()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn observe(operation: &'static str, took: Duration) {
    metrics::histogram!("switchboard_password_seconds", "work" => operation).record(took.as_secs_f64());
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn compare(hash: &str, text: &str) -> PasswordCheck {
    if hash.starts_with("$2") {
        return match bcrypt::verify(text, hash) {
            Ok(true) => PasswordCheck::CorrectButOutdated,
            _ => PasswordCheck::Wrong,
        };
    }
    let Ok(parsed) = PasswordHash::new(hash) else { return PasswordCheck::Wrong };
    if argon2().verify_password(text.as_bytes(), &parsed).is_err() {
        return PasswordCheck::Wrong;
    }
    let current = Params::try_from(&parsed)
        .is_ok_and(|p| p.m_cost() >= MEMORY_KIB && p.t_cost() >= PASSES && parsed.algorithm.as_str() == "argon2id");
    if current { PasswordCheck::Correct } else { PasswordCheck::CorrectButOutdated }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_password_matches_only_its_own_hash() {
        let hasher = PasswordHasher::new(1);
        let hash = hasher.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(hasher.verify(hash.clone(), "correct horse".into()).await.unwrap(), PasswordCheck::Correct);
        assert_eq!(hasher.verify(hash.clone(), "correct horsf".into()).await.unwrap(), PasswordCheck::Wrong);
        assert_ne!(hasher.hash("correct horse".into()).await.unwrap(), hash);
    }

    #[tokio::test]
    async fn a_bcrypt_hash_is_accepted_and_reported_as_outdated() {
        let hasher = PasswordHasher::new(1);
        let parts = bcrypt::hash_with_salt("s3cret-pass", 4, [7; 16]).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let hash = parts.format_for_version(version);
            assert_eq!(
                hasher.verify(hash.clone(), "s3cret-pass".into()).await.unwrap(),
                PasswordCheck::CorrectButOutdated
            );
            assert_eq!(hasher.verify(hash, "other".into()).await.unwrap(), PasswordCheck::Wrong);
        }
    }

    #[tokio::test]
    async fn a_malformed_hash_matches_no_password() {
        let hasher = PasswordHasher::new(1);
        for stored in ["", "plain", "$2b$10$short", "$argon2id$v=19$m=1", "$1$md5$x"] {
            assert_eq!(hasher.verify(stored.into(), stored.into()).await.unwrap(), PasswordCheck::Wrong, "{stored}");
        }
        assert!(PasswordHash::new(DUMMY).is_ok(), "the dummy hash is valid, so that it costs a full verification");
    }

    #[tokio::test]
    async fn a_hash_is_refused_when_the_queue_is_full() {
        let hasher = PasswordHasher::new(1);
        let _all = hasher.admitted.acquire_many(u32::try_from(WAITING_PER_SLOT + 1).unwrap()).await.unwrap();
        assert_eq!(hasher.hash("x".into()).await.unwrap_err().code, Code::ServiceUnavailable);
    }

    #[tokio::test]
    async fn a_plain_text_passcode_is_still_accepted() {
        let hasher = PasswordHasher::new(1);
        assert!(hasher.verify_passcode("1234", "1234").await.unwrap());
        assert!(!hasher.verify_passcode("1234", "1235").await.unwrap());
    }
}
