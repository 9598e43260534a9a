//! The metrics of MongoDB.

use switchboard_core::metric_catalog::Series::{AsSeen, One};
use switchboard_core::metric_catalog::{Metric, counts, spreads};

/// Metrics of every process that uses the records.
pub const METRICS: &[Metric] = &[
    spreads("switchboard_mongodb_seconds", AsSeen, "MongoDB operations, by operation and outcome"),
    counts("switchboard_unlisted_guests_total", One, "Joins of guests who are counted but not listed in their call"),
];
