//! The metrics of MongoDB.

use switchboard_core::metric_catalog::Series::AsSeen;
use switchboard_core::metric_catalog::{Metric, spreads};

/// Metrics of every process that uses the records.
pub const METRICS: &[Metric] =
    &[spreads("switchboard_mongodb_seconds", AsSeen, "MongoDB operations, by operation and outcome")];
