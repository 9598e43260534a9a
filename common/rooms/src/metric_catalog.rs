//! Catalogue of the metrics of rooms in Redis.

use switchboard_core::metric_catalog::Series::{Dynamic, Each, One};
use switchboard_core::metric_catalog::{Metric, counter, gauge, histogram};

use crate::rate_limit::CLASSES;

/// Metrics of every process that uses rooms: requests to Redis, subscriptions, rate limits, revoked
/// sign-ins.
pub const METRICS: &[Metric] = &[
    counter("switchboard_redis_calls_total", Dynamic, "Scripts and commands sent to Redis, by script and outcome"),
    histogram(
        "switchboard_redis_pipeline_seconds",
        One,
        "Time from writing a pipeline, or an api pod's request, to its last answer",
    ),
    histogram("switchboard_redis_lane_batch_size", One, "Commands in a pipeline of lanes"),
    gauge(
        "switchboard_redis_lane_queue_depth",
        One,
        "Requests that wait for a lane; in api pods those without a reply",
    ),
    gauge(
        "switchboard_redis_read_lane_queue_depth",
        One,
        "Reads with large answers that wait for their lane; in api pods those without a reply",
    ),
    counter(
        "switchboard_redis_lane_refused_total",
        Each("reason", &["full", "late"]),
        "Requests refused: the queue was full, or the answer was late",
    ),
    counter(
        "switchboard_replays_refused_total",
        One,
        "Resumes refused, because 64 others read their room's log and none ended in time",
    ),
    counter("switchboard_redis_lane_reconnects_total", One, "Connections for requests that were lost and opened again"),
    counter("switchboard_redis_takeovers_total", One, "Times that another Redis server took over partitions"),
    gauge(
        "switchboard_redis_denied",
        Each("command", &["client_kill", "info_memory"]),
        "1 if Redis denies this process an optional command",
    ),
    counter("switchboard_bus_reconnects_total", One, "Subscription connections that were lost and opened again"),
    counter("switchboard_relays_shared_total", One, "Relays sent to Redis in the log entry of the one before them"),
    counter("switchboard_room_log_cuts_total", One, "Times that a room's log was cut at its bounds within the window"),
    gauge("switchboard_revoked_sign_ins", One, "Sign-ins in the list of revoked ones"),
    counter("switchboard_revocations_stale_total", One, "Failed reads of the list of revoked sign-ins"),
    counter("switchboard_rate_limited_total", Each("class", &CLASSES), "Requests refused by a rate limit, by class"),
    counter(
        "switchboard_rate_limit_open_total",
        Each("class", &CLASSES),
        "Requests allowed uncounted because Redis did not answer, by class",
    ),
];
