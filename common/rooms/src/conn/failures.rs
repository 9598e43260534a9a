//! Failures of connections, in the words of the server, of TLS or of the system: each cause is
//! logged once, however many connections meet it and however often they try again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use switchboard_core::failure_log::FailureLog;

/// What a connection is for. The same server may serve one and refuse another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Scripts and reads.
    Requests,
    /// Subscriptions.
    Subscriptions,
    /// The slot map of a cluster.
    SlotMap,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Subscriptions => "subscriptions",
            Self::SlotMap => "slot map",
        }
    }
}

type Subject = (Purpose, (String, u16));

/// Log of failures. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    log: Arc<Mutex<FailureLog<Subject>>>,
    started: Instant,
}

impl Default for Failures {
    fn default() -> Self {
        Self { log: Arc::default(), started: Instant::now() }
    }
}

/// The log is no part of the address that it belongs to.
impl PartialEq for Failures {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Failures {}

impl Failures {
    /// Logs a failure, unless its reason was logged already.
    pub(super) fn failed(&self, purpose: Purpose, server: &(String, u16), tls: bool, reason: &str) {
        let now = self.started.elapsed();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.failed((purpose, server.clone()), reason, now) {
            let (host, port) = server;
            let (purpose, server) = (purpose.name(), format!("{host}:{port}"));
            tracing::warn!(purpose, server, tls, reason, "redis connection failed");
        }
    }

    /// Logs that a connection works, if a failure was reported before.
    pub(super) fn recovered(&self, purpose: Purpose, server: &(String, u16)) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.recovered(&(purpose, server.clone())) {
            let (host, port) = server;
            tracing::info!(purpose = purpose.name(), server = format!("{host}:{port}"), "redis connection works again");
        }
    }
}
