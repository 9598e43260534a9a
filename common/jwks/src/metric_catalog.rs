//! The metrics of public keys.

use switchboard_core::metric_catalog::Series::Each;
use switchboard_core::metric_catalog::{Metric, counter};

/// Metrics of every process that accepts tokens of identity sources.
pub const METRICS: &[Metric] = &[counter(
    "switchboard_jwks_reads_total",
    Each("outcome", &["ok", "failed"]),
    "Reads of the public keys of identity sources, by outcome",
)];
