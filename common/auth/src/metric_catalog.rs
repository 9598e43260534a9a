//! The metrics of password hashing.

use switchboard_core::metric_catalog::Series::{Each, One};
use switchboard_core::metric_catalog::{Metric, counts, shows, spreads};

/// Metrics of every process that hashes passwords.
pub const METRICS: &[Metric] = &[
    spreads(
        "switchboard_password_seconds",
        Each("work", &["hash", "verify"]),
        "Work on a password, waiting for its turn included",
    ),
    shows("switchboard_password_queue", One, "Passwords that wait for their turn or are worked on"),
    counts("switchboard_password_refused_total", One, "Passwords refused because too many waited"),
];
