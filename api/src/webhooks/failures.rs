//! Log of failures: each reason of an endpoint once, and again after 10 minutes, however many
//! events fail.

use std::sync::{Arc, Mutex, PoisonError};

use switchboard_core::failure_log::FailureLog;
use tokio::time::Instant;

use super::options::Endpoint;

/// Failures of all endpoints. Clones share them.
#[derive(Clone)]
pub(super) struct Failures {
    log: Arc<Mutex<FailureLog<String>>>,
    started: Instant,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self { log: Arc::default(), started: Instant::now() }
    }

    /// Records that a receiver accepted an event.
    pub(super) fn delivered(&self, endpoint: &Endpoint) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.recovered(&endpoint.name) {
            tracing::info!(endpoint = endpoint.name, app_id = app(endpoint), "webhooks are delivered again");
        }
    }

    /// Records that a receiver did not accept an event.
    pub(super) fn failed(&self, endpoint: &Endpoint, event_id: &str, problem: &str) {
        if self.is_new(&endpoint.name, problem) {
            let (endpoint, app_id) = (&endpoint.name, app(endpoint));
            tracing::warn!(endpoint, app_id, event_id, problem, "webhook failed; retrying");
        }
    }

    /// Records that an event is given up.
    pub(super) fn given_up(&self, endpoint: &Endpoint, event_id: &str, problem: &str) {
        if self.is_new(&format!("{} given up", endpoint.name), problem) {
            let (endpoint, app_id) = (&endpoint.name, app(endpoint));
            tracing::error!(endpoint, app_id, event_id, problem, "webhook given up");
        }
    }

    /// Records a failure of MongoDB.
    pub(super) fn store_failed(&self, problem: &str) {
        if self.is_new("", problem) {
            tracing::warn!(problem, "webhooks are delayed; retrying");
        }
    }

    /// Records that MongoDB works.
    pub(super) fn store_works(&self) {
        if self.log.lock().unwrap_or_else(PoisonError::into_inner).recovered(&String::new()) {
            tracing::info!("webhooks are no longer delayed");
        }
    }

    fn is_new(&self, subject: &str, problem: &str) -> bool {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.failed(subject.to_owned(), problem, self.started.elapsed())
    }
}

fn app(endpoint: &Endpoint) -> Option<&str> {
    endpoint.app.as_ref().map(switchboard_core::domain::AppId::as_str)
}
