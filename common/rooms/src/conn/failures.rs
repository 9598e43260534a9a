//! Failures of connections, in the words of the server, of TLS or of the system: each cause is
//! logged once, however many connections meet it and however often they try again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// A Sentinel, which is asked for the address of the master.
    Sentinel,
    /// The server that a Sentinel named, which must be a master.
    Master,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Subscriptions => "subscriptions",
            Self::SlotMap => "slot map",
            Self::Sentinel => "sentinel",
            Self::Master => "master",
        }
    }
}

/// A command that nodes can do without. A provider may have renamed it, and the ACL may forbid it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OptionalCommand {
    /// `INFO memory`: without it, `maxmemory-policy` and the used memory are unknown.
    InfoMemory,
    /// `CLIENT KILL`: without it, a request of a lost connection can take effect late.
    ClientKill,
}

impl OptionalCommand {
    /// Returns the value of the metric's label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InfoMemory => "info_memory",
            Self::ClientKill => "client_kill",
        }
    }
}

type Subject = (Purpose, (String, u16));

/// Log of failures. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    log: Arc<Mutex<FailureLog<Subject>>>,
    denied: Arc<Mutex<HashSet<OptionalCommand>>>,
    started: Instant,
}

impl Default for Failures {
    fn default() -> Self {
        Self { log: Arc::default(), denied: Arc::default(), started: Instant::now() }
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
        let mut log = lock(&self.log);
        if log.failed((purpose, server.clone()), reason, now) {
            let (host, port) = server;
            let (purpose, server) = (purpose.name(), format!("{host}:{port}"));
            tracing::warn!(purpose, server, tls, reason, "redis connection failed");
        }
    }

    /// Logs that a connection works, if a failure was reported before.
    pub(super) fn recovered(&self, purpose: Purpose, server: &(String, u16)) {
        let mut log = lock(&self.log);
        if log.recovered(&(purpose, server.clone())) {
            let (host, port) = server;
            tracing::info!(purpose = purpose.name(), server = format!("{host}:{port}"), "redis connection works again");
        }
    }

    /// Logs once that a command is denied, and sets the gauge.
    pub(super) fn denied(&self, command: OptionalCommand, reason: &str) {
        if lock(&self.denied).insert(command) {
            metrics::gauge!("switchboard_redis_denied", "command" => command.name()).set(1.0);
            tracing::warn!(command = command.name(), reason, "redis denies an optional command");
        }
    }

    /// Returns whether a command was denied before.
    pub(super) fn is_denied(&self, command: OptionalCommand) -> bool {
        lock(&self.denied).contains(&command)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
