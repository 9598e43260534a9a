//! The metrics of MongoDB.

use switchboard_core::metric_catalog::Series::{Dynamic, Each, One};
use switchboard_core::metric_catalog::{Metric, counter, gauge, histogram};

/// Metrics of every process that uses the records.
pub const METRICS: &[Metric] = &[
    histogram("switchboard_mongodb_seconds", Dynamic, "MongoDB operations, by operation and outcome"),
    counter(
        "switchboard_mongodb_refused_total",
        Dynamic,
        "MongoDB operations without a free connection, by share and reason",
    ),
    counter(
        "switchboard_lines_dropped_total",
        Each("kind", &["chat", "event"]),
        "Facts without a line, because their call has its most lines, by kind",
    ),
    gauge("switchboard_schema_version", One, "Schema version of the documents, as it was last read; 0 before"),
    counter("switchboard_migrated_documents_total", One, "Documents that migrations of the schema changed"),
    counter("switchboard_unlisted_guests_total", One, "Joins of guests who are counted but not listed in their call"),
];
