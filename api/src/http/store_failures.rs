//! Failures of Redis and MongoDB that requests meet, and their log: each reason once, and again
//! after 10 minutes, however many requests fail. The duration of requests, by status, counts them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use switchboard_core::domain::Code;
use switchboard_core::failure_log::FailureLog;

/// Failure of a store that a request met.
#[derive(Clone, Debug)]
pub struct StoreFailure {
    /// Name of the store.
    pub store: &'static str,
    /// Code of the refusal.
    pub code: Code,
    /// Error of the store.
    pub error: String,
}

/// Log of failures. Clones share it.
#[derive(Clone)]
pub struct StoreFailures(Arc<(Instant, Mutex<FailureLog<&'static str>>)>);

impl Default for StoreFailures {
    fn default() -> Self {
        Self(Arc::new((Instant::now(), Mutex::default())))
    }
}

impl StoreFailures {
    /// Logs a failure, unless its reason was logged in the last 10 minutes.
    pub fn log(&self, StoreFailure { store, code, error }: &StoreFailure) {
        let (began, log) = &*self.0;
        let is_new = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.failed(store, error, began.elapsed())
        };
        match code {
            _ if !is_new => {}
            Code::ServiceUnavailable => tracing::warn!(store, error, "store is unavailable to requests"),
            _ => tracing::error!(store, error, "store operation failed"),
        }
    }
}
