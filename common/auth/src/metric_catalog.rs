//! Metrics of password hashing.

use switchboard_core::metric_catalog::Series::{Each, One};
use switchboard_core::metric_catalog::{Metric, counter, gauge, histogram};

/// Metrics of a process that hashes passwords.
pub const METRICS: &[Metric] = &[
    histogram(
        "switchboard_password_seconds",
        Each("work", &["hash", "verify"]),
        "Time to hash or verify one password, in seconds, without the wait in the queue",
    ),
    gauge("switchboard_password_queue", One, "Password operations that wait or run now"),
    counter("switchboard_password_refused_total", One, "Password operations refused because the queue was full"),
];
