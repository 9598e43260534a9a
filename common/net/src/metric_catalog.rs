//! Metrics of every process that serves clients.

use switchboard_core::client_address::Unreadable;
use switchboard_core::metric_catalog::Series::Each;
use switchboard_core::metric_catalog::{Metric, counter};

/// Metrics of this crate. The names of the counts of connections belong to the servers.
pub const METRICS: &[Metric] = &[counter(
    "switchboard_client_addresses_unreadable_total",
    Each("reason", &Unreadable::LABELS),
    "Requests whose client's address the proxies do not tell, by reason",
)];
