//! Hashes and verifies passwords and passcodes with argon2id.
//!
//! One hash takes 19 MiB of memory and tens of milliseconds of CPU time by design. Without a bound,
//! a burst of sign-ins would starve all other requests. So the work runs on a fixed number of
//! threads of low priority (`workers`). Further operations wait in a bounded queue that is fair
//! between client addresses (`queue`), and operations beyond it are refused. A passcode that was
//! compared recently is not hashed again (`proofs`). A text with letters beyond ASCII is compared
//! in each form in which it may have been hashed (`forms`).

use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;

use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::{Code, Refusal};

use proofs::Proofs;
use queue::FairQueue;
use workers::Workers;

mod forms;
mod proofs;
mod queue;
mod workers;

/// argon2id parameters of the OWASP Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Operations that may wait per running one. At about 40 ms each, the last one waits about 5 s.
const WAITING_PER_SLOT: usize = 128;
/// Share of the waiting operations that one address may have: one in so many.
const SHARE_OF_ADDRESS: usize = 4;
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
    /// The password is correct, but the hash is bcrypt (from the old Node.js backend) or has weaker
    /// parameters. The caller should store a new hash.
    CorrectButOutdated,
}

/// Hashes and verifies passwords on threads of its own. Cheap to clone; clones share the limits.
#[derive(Clone)]
pub struct PasswordHasher {
    queue: FairQueue,
    workers: Workers,
    proofs: Proofs,
}

impl PasswordHasher {
    /// Creates a hasher that runs at most `concurrency` operations at the same time (at least 1)
    /// and lets 128 times as many wait, a quarter of them for one client address.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        let slots = concurrency.max(1);
        let places = slots * WAITING_PER_SLOT;
        let queue = FairQueue::new(slots, places, places / SHARE_OF_ADDRESS);
        Self { queue, workers: Workers::start(slots), proofs: Proofs::new() }
    }

    /// Hashes the normal form of `text` with a random salt for the client at `from`. Returns a PHC
    /// string.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` if the queue has no place for this client; `INTERNAL_ERROR` if the
    /// system has no randomness or no memory.
    pub async fn hash(&self, from: Option<ClientNetwork>, text: String) -> Result<String, Refusal> {
        self.run("hash", from, move || {
            let text = forms::normal(&text);
            argon2().hash_password(text.as_bytes()).map(|hash: PasswordHash| hash.to_string()).map_err(|error| {
                tracing::error!(%error, "password hashing failed");
                Code::InternalError.into()
            })
        })
        .await?
    }

    /// Checks `text` against a stored hash: argon2 (PHC string) or bcrypt (`$2a$`, `$2b$`, `$2y$`),
    /// which the old Node.js backend stored.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` if the queue has no place for this client; `INTERNAL_ERROR` if the
    /// worker thread failed.
    pub async fn verify(
        &self,
        from: Option<ClientNetwork>,
        hash: String,
        text: String,
    ) -> Result<PasswordCheck, Refusal> {
        self.run("verify", from, move || compare(&hash, &text)).await
    }

    /// Takes as long as `verify`. For a sign-in with an unknown e-mail address, so that the
    /// duration does not reveal which addresses have an account.
    ///
    /// # Errors
    /// Same as `verify`.
    pub async fn verify_dummy(&self, from: Option<ClientNetwork>, text: String) -> Result<(), Refusal> {
        self.run("verify", from, move || compare(DUMMY, &text)).await.map(|_| ())
    }

    /// Returns the result for a passcode that needs no hash: it was compared recently, or the
    /// stored one is plain text, as the old Node.js backend stored some. Plain text is compared in
    /// constant time.
    fn recall_passcode(&self, stored: &str, text: &str) -> Option<bool> {
        if stored.starts_with('$') {
            return self.proofs.recall(&self.proofs.name(stored, text));
        }
        Some(forms::normal(stored).as_bytes().ct_eq(forms::normal(text).as_bytes()).into())
    }

    /// Checks a call's passcode. Equal ones that one client sends at the same time cost one hash
    /// together, and a result is remembered for a while. `may_hash` is asked only before a hash.
    ///
    /// # Errors
    /// Those of `verify`, or that of `may_hash`.
    pub async fn verify_passcode<E: From<Refusal>>(
        &self,
        from: Option<ClientNetwork>,
        (stored, text): (&str, &str),
        may_hash: impl Future<Output = Result<(), E>>,
    ) -> Result<bool, E> {
        if let Some(known) = self.recall_passcode(stored, text) {
            return Ok(known);
        }
        let name = self.proofs.name(stored, text);
        let running = self.proofs.running(name, from);
        let _first = running.lock().await;
        if let Some(known) = self.proofs.recall(&name) {
            return Ok(known);
        }
        may_hash.await?;
        let (proofs, stored, text) = (self.proofs.clone(), stored.to_owned(), text.to_owned());
        let right = self.run("verify", from, move || {
            // Another client may have proven it while this one waited for its turn.
            proofs.recall(&name).unwrap_or_else(|| {
                let right = compare(&stored, &text) != PasswordCheck::Wrong;
                proofs.remember(name, right);
                right
            })
        });
        Ok(right.await?)
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        from: Option<ClientNetwork>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let queue = metrics::gauge!("switchboard_password_queue");
        queue.increment(1.0);
        let _queued = Defer(|| queue.decrement(1.0));
        let Ok(slot) = self.queue.acquire(from).await else {
            metrics::counter!("switchboard_password_refused_total").increment(1);
            return Err(Code::ServiceUnavailable.into());
        };
        let started = Instant::now();
        let done = self.workers.run(move || {
            // The work holds the slot, not the caller: if the caller is cancelled, its hash still
            // runs.
            let _slot = slot;
            work()
        });
        let done = done.await;
        observe(operation, started.elapsed());
        done.ok_or_else(|| {
            tracing::error!("password worker panicked");
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

/// Compares `text` with a hash in each form that the hash may have. Its own form makes the hash
/// outdated, because the next device may write another one.
fn compare(hash: &str, text: &str) -> PasswordCheck {
    let mut forms = forms::stored(text).into_iter();
    let normal = forms.next().map_or(PasswordCheck::Wrong, |text| compare_form(hash, &text));
    if normal != PasswordCheck::Wrong {
        return normal;
    }
    let older = forms.any(|text| compare_form(hash, &text) != PasswordCheck::Wrong);
    if older { PasswordCheck::CorrectButOutdated } else { PasswordCheck::Wrong }
}

fn compare_form(hash: &str, text: &str) -> PasswordCheck {
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
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    async fn check(hasher: &PasswordHasher, from: Option<ClientNetwork>, stored: &str, text: &str) -> bool {
        hasher.verify_passcode(from, (stored, text), async { Ok::<_, Refusal>(()) }).await.unwrap()
    }

    #[tokio::test]
    async fn a_password_matches_only_its_own_hash() {
        let hasher = PasswordHasher::new(1);
        let hash = hasher.hash(None, "correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(hasher.verify(None, hash.clone(), "correct horse".into()).await.unwrap(), PasswordCheck::Correct);
        assert_eq!(hasher.verify(None, hash.clone(), "correct horsf".into()).await.unwrap(), PasswordCheck::Wrong);
        assert_ne!(hasher.hash(None, "correct horse".into()).await.unwrap(), hash);
    }

    #[tokio::test]
    async fn a_bcrypt_hash_is_accepted_and_reported_as_outdated() {
        let hasher = PasswordHasher::new(1);
        let parts = bcrypt::hash_with_salt("s3cret-pass", 4, [7; 16]).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let hash = parts.format_for_version(version);
            assert_eq!(
                hasher.verify(None, hash.clone(), "s3cret-pass".into()).await.unwrap(),
                PasswordCheck::CorrectButOutdated
            );
            assert_eq!(hasher.verify(None, hash, "other".into()).await.unwrap(), PasswordCheck::Wrong);
        }
    }

    #[tokio::test]
    async fn a_password_fits_in_each_form_that_a_keyboard_writes_and_older_hashes_still_do() {
        let hasher = PasswordHasher::new(1);
        let (composed, decomposed) = ("caf\u{e9} cr\u{e8}me", "cafe\u{301}\u{a0}cre\u{300}me");
        let new = hasher.hash(None, decomposed.into()).await.unwrap();
        for typed in [composed, decomposed] {
            assert_eq!(hasher.verify(None, new.clone(), typed.into()).await.unwrap(), PasswordCheck::Correct);
            assert!(check(&hasher, None, &new, typed).await && check(&hasher, None, composed, typed).await);
        }
        let old = |text: &str| bcrypt::hash(text, 4).unwrap();
        for (stored, typed) in
            [(decomposed, decomposed), ("cafe\u{301} cre\u{300}me", composed), (composed, decomposed)]
        {
            let found = hasher.verify(None, old(stored), typed.into()).await.unwrap();
            assert_eq!(found, PasswordCheck::CorrectButOutdated, "{stored} {typed}");
        }
        assert_eq!(hasher.verify(None, new, "cafe creme".into()).await.unwrap(), PasswordCheck::Wrong);
    }

    #[tokio::test]
    async fn a_malformed_hash_matches_no_password() {
        let hasher = PasswordHasher::new(1);
        for stored in ["", "plain", "$2b$10$short", "$argon2id$v=19$m=1", "$1$md5$x"] {
            assert_eq!(
                hasher.verify(None, stored.into(), stored.into()).await.unwrap(),
                PasswordCheck::Wrong,
                "{stored}"
            );
        }
        assert!(PasswordHash::new(DUMMY).is_ok(), "the dummy hash is valid, so that it costs a full verification");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_many_operations_is_refused_and_another_one_is_served() {
        let hasher = PasswordHasher::new(1);
        let address = |n| Some(ClientNetwork::of([192, 0, 2, n].into()));
        let running = hasher.queue.acquire(address(1)).await.ok();
        let share = WAITING_PER_SLOT / SHARE_OF_ADDRESS;
        let many: Vec<_> = (0..=share)
            .map(|_| {
                tokio::spawn({
                    let hasher = hasher.clone();
                    async move { hasher.hash(address(1), "x".into()).await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let refused = hasher.hash(address(1), "x".into()).await.unwrap_err();
        assert_eq!(refused.code, Code::ServiceUnavailable);
        let other = tokio::spawn({
            let hasher = hasher.clone();
            async move { hasher.hash(address(2), "x".into()).await }
        });
        tokio::task::yield_now().await;
        drop(running);
        assert!(other.await.unwrap().is_ok());
        let unfinished = many.iter().filter(|one| !one.is_finished()).count();
        assert!(unfinished > share / 2, "the other address did not wait for all of them: {unfinished}");
        many.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn forty_users_who_send_the_right_passcode_at_once_cost_one_hash_and_none_is_refused() {
        let hasher = PasswordHasher::new(1);
        let stored = hasher.hash(None, "1234".into()).await.unwrap();
        let office = Some(ClientNetwork::of([192, 0, 2, 1].into()));
        let running = hasher.queue.acquire(None).await.ok();
        let joins: Vec<_> = (0..40)
            .map(|_| {
                let (hasher, stored) = (hasher.clone(), stored.clone());
                tokio::spawn(async move { check(&hasher, office, &stored, "1234").await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(hasher.queue.waiting(), 1);
        drop(running);
        for join in joins {
            assert!(join.await.unwrap());
        }
        assert_eq!(hasher.recall_passcode(&stored, "1234"), Some(true));
        assert!(!check(&hasher, office, &stored, "4321").await);
        assert_eq!(hasher.recall_passcode(&stored, "4321"), Some(false));
    }

    #[tokio::test]
    async fn a_plain_text_passcode_is_still_accepted() {
        let hasher = PasswordHasher::new(1);
        assert!(check(&hasher, None, "1234", "1234").await);
        assert!(!check(&hasher, None, "1234", "1235").await);
    }
}
