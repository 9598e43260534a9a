//! Metrics of password hashing.

use switchboard_core::metric_catalog::Series::{Each, One};
use switchboard_core::metric_catalog::{Metric, counts, shows, spreads};

/// Metrics of a process that hashes passwords.
pub const METRICS: &[Metric] = &[
    spreads(
        "switchboard_password_seconds",
        Each("work", &["hash", "verify"]),
        "Time to hash or verify one password, in seconds, without the wait in the queue",
    ),
    shows("switchboard_password_queue", One, "Password operations that wait or run now"),
    counts("switchboard_password_refused_total", One, "Password operations refused because the queue was full"),
];
