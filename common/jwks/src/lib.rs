//! Public keys of identity sources: reads JSON Web Key Sets, and keeps them for this process.
//!
//! | module | content |
//! |---|---|
//! | `key_set` | decides what to do with the keys that are held. Pure |
//! | `fetch` | reads one key set over HTTP |
//! | `options` | times of the cache |
//! | `metric_catalog` | metrics |
//!
//! A set is read when a token needs it: when there is none, when the one that is held is too old,
//! or when a token names an unknown key. One read at a time serves all tokens. A token waits for it
//! for a bounded time, and no longer than that while the provider hangs.

mod fetch;
mod key_set;
pub mod metric_catalog;
mod options;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchboard_auth::{PublicKey, UnverifiedToken};
use switchboard_core::domain::{Code, Refusal};
use switchboard_core::failure_log::FailureLog;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use fetch::fetch;
use key_set::{Decision, KeySet};

pub use options::JwksOptions;

/// Reads of key sets at the same time. Others wait within their time limit.
const FETCHES_MAX: usize = 8;

/// Key sets by their addresses. Clones share them.
#[derive(Clone)]
pub struct JwksCache(Arc<Parts>);

struct Parts {
    options: JwksOptions,
    sets: Mutex<HashMap<String, Arc<Entry>>>,
    permits: Semaphore,
    failures: Mutex<FailureLog<String>>,
    started: Instant,
}

struct Entry {
    uri: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    set: KeySet,
    /// The read that runs; its sender is dropped at the end.
    running: Option<watch::Receiver<()>>,
}

impl Default for JwksCache {
    fn default() -> Self {
        Self::new(JwksOptions::default())
    }
}

impl JwksCache {
    /// Creates an empty cache.
    #[must_use]
    pub fn new(options: JwksOptions) -> Self {
        Self(Arc::new(Parts {
            options,
            sets: Mutex::default(),
            permits: Semaphore::new(FETCHES_MAX),
            failures: Mutex::default(),
            started: Instant::now(),
        }))
    }

    /// Returns the key that a token names, from the set at this address; `None` if the set has no
    /// such key. Only addresses that an operator registered are asked for, so that the cache is
    /// bounded.
    ///
    /// # Errors
    /// `IDENTITY_SOURCE_UNAVAILABLE`: the set cannot be read, and none that is recent enough is
    /// held.
    pub async fn key(&self, uri: &str, token: &UnverifiedToken) -> Result<Option<PublicKey>, Refusal> {
        let entry = self.entry(uri);
        let running = {
            let mut state = lock(&entry.state);
            let now = Instant::now();
            match state.set.decide(token, now, &self.0.options) {
                Decision::Found(key) => return Ok(Some(*key)),
                Decision::Unknown => return Ok(None),
                Decision::Unavailable => return Err(Code::IdentitySourceUnavailable.into()),
                Decision::Read => self.join_or_start(&entry, &mut state, now),
            }
        };
        self.wait(running).await;
        let state = lock(&entry.state);
        state
            .set
            .after_read(token, Instant::now(), &self.0.options)
            .ok_or_else(|| Code::IdentitySourceUnavailable.into())
    }

    /// Forgets the sets at all other addresses.
    pub fn retain(&self, is_known: impl Fn(&str) -> bool) {
        lock(&self.0.sets).retain(|uri, _| is_known(uri));
    }

    fn entry(&self, uri: &str) -> Arc<Entry> {
        let mut sets = lock(&self.0.sets);
        if let Some(entry) = sets.get(uri) {
            return Arc::clone(entry);
        }
        let entry = Arc::new(Entry { uri: uri.to_owned(), state: Mutex::default() });
        sets.insert(uri.to_owned(), Arc::clone(&entry));
        entry
    }

    fn join_or_start(&self, entry: &Arc<Entry>, state: &mut State, now: Instant) -> watch::Receiver<()> {
        // A sender that is gone belongs to a read that has ended.
        if let Some(running) = state.running.as_ref().filter(|running| running.has_changed().is_ok()) {
            return running.clone();
        }
        let (done, running) = watch::channel(());
        state.set.begin(now);
        state.running = Some(running.clone());
        // A task of its own, because a client that disconnects must not end the read of others.
        let (cache, entry) = (self.clone(), Arc::clone(entry));
        tokio::spawn(async move {
            cache.read(&entry).await;
            drop(done);
        });
        running
    }

    async fn wait(&self, mut running: watch::Receiver<()>) {
        // An error says that the read has ended; a timeout that it goes on without this token.
        let _ended_or_late = timeout(self.0.options.wait, running.changed()).await;
    }

    async fn read(&self, entry: &Entry) {
        let Parts { options, permits, .. } = &*self.0;
        let reading = async {
            let _permit = permits.acquire().await.map_err(|_| "the cache is closed".to_owned())?;
            fetch(&entry.uri).await
        };
        let read = timeout(options.timeout, reading).await;
        let read = read.unwrap_or_else(|_| Err("the provider did not answer in time".to_owned()));
        let outcome = if read.is_ok() { "ok" } else { "failed" };
        metrics::counter!("switchboard_jwks_reads_total", "outcome" => outcome).increment(1);
        self.log(&entry.uri, read.as_ref().err());
        lock(&entry.state).set.end(read.ok(), Instant::now(), options);
    }

    fn log(&self, uri: &String, problem: Option<&String>) {
        let mut failures = lock(&self.0.failures);
        match problem {
            Some(problem) => {
                if failures.failed(uri.clone(), problem, self.0.started.elapsed()) {
                    tracing::warn!(jwks_uri = uri, problem, "reading public keys failed");
                }
            }
            None => {
                if failures.recovered(uri) {
                    tracing::info!(jwks_uri = uri, "public keys read again");
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under a lock panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use switchboard_auth::TokenSigner;
    use tokio::net::TcpListener;

    use super::*;

    fn token() -> UnverifiedToken {
        let encode = |part: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, part);
        let token = format!("{}.{}.", encode(r#"{"alg":"EdDSA","kid":"one"}"#), encode(r#"{"iss":"a"}"#));
        match TokenSigner::of(&token) {
            TokenSigner::Source(token) => token,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn many_tokens_share_one_read_and_none_waits_longer_than_its_bound_for_a_provider_that_hangs() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                held.push(stream);
            }
        });
        let times = JwksOptions {
            wait: Duration::from_millis(200),
            timeout: Duration::from_millis(400),
            ..JwksOptions::default()
        };
        let cache = JwksCache::new(times);
        let ask = || {
            let (cache, uri) = (cache.clone(), uri.clone());
            tokio::spawn(async move { cache.key(&uri, &token()).await.map(drop).map_err(|refusal| refusal.code) })
        };
        let asked: Vec<_> = (0..100).map(|_| ask()).collect();
        for one in asked {
            // Within the bound of a test, and long before the provider would answer.
            let answer = timeout(Duration::from_secs(30), one).await.unwrap().unwrap();
            assert_eq!(answer, Err(Code::IdentitySourceUnavailable));
        }
        assert_eq!(connections.load(Ordering::Relaxed), 1);
        cache.retain(|_| false);
        assert!(lock(&cache.0.sets).is_empty());
    }
}
