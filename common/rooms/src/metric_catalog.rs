//! The metrics of rooms on Redis.

use switchboard_core::metric_catalog::Series::{AsSeen, Each, One};
use switchboard_core::metric_catalog::{Metric, counts, shows, spreads};

use crate::rate_limit::CLASSES;

/// Metrics of every process that uses rooms: requests to Redis, subscriptions, rate limits, revoked sign-ins.
pub const METRICS: &[Metric] = &[
    counts("switchboard_redis_calls_total", AsSeen, "Scripts and commands sent to Redis, by script and outcome"),
    spreads("switchboard_redis_pipeline_seconds", One, "From writing a pipeline to Redis to its last answer"),
    spreads("switchboard_redis_lane_batch_size", One, "Commands in a pipeline"),
    shows("switchboard_redis_lane_queue_depth", One, "Calls that wait for their lane"),
    counts(
        "switchboard_redis_lane_refused_total",
        Each("reason", &["full", "late"]),
        "Calls refused before they were sent",
    ),
    counts("switchboard_redis_lane_reconnects_total", One, "Connections for commands that were made anew"),
    counts("switchboard_redis_takeovers_total", One, "Times that another server answered for a shard"),
    counts("switchboard_bus_reconnects_total", One, "Subscription connections that were made anew"),
    shows("switchboard_revoked_sign_ins", One, "Sign-ins on the list of revoked ones"),
    counts("switchboard_revocations_stale_total", One, "Looks at the list of revoked sign-ins that failed"),
    counts(
        "switchboard_rate_limited_total",
        Each("class", &CLASSES),
        "Requests turned away for coming too often, by class",
    ),
    counts(
        "switchboard_rate_limit_open_total",
        Each("class", &CLASSES),
        "Requests let through uncounted, since Redis did not answer, by class",
    ),
];
