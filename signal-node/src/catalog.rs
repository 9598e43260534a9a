//! Metrics of the signaling node.

use switchboard_core::metric_catalog::{Metric, Series::Dynamic, Series::Each, Series::One, counter, gauge, histogram};
use switchboard_core::wire::EventKind;

/// Lists of all crates that this node consists of.
pub const ALL: [&[Metric]; 8] = [
    switchboard_net::metric_catalog::METRICS,
    switchboard_socketio::metric_catalog::METRICS,
    switchboard_auth::metric_catalog::METRICS,
    switchboard_rooms::metric_catalog::METRICS,
    switchboard_records::metric_catalog::METRICS,
    switchboard_calls::metric_catalog::METRICS,
    switchboard_jwks::metric_catalog::METRICS,
    METRICS,
];

/// Metrics that this crate writes.
pub const METRICS: &[Metric] = &[
    gauge("switchboard_send_queue_bytes", One, "Bytes queued for slow clients"),
    counter("switchboard_refusals_total", Dynamic, "Events refused, by code"),
    counter("switchboard_reactions_limited_total", One, "Changes of a hand and reactions refused by their rate"),
    counter("switchboard_reads_limited_total", One, "Reads of the chat history or of figures refused by their rate"),
    counter(
        "switchboard_profiles_unread_total",
        One,
        "Joins with the name in the token, because the user's record could not be read",
    ),
    counter("switchboard_joins_total", Each("outcome", &JOINS), "Attempts to join a room, by outcome"),
    histogram("switchboard_join_seconds", One, "Time from reading a join to its reply"),
    counter(
        "switchboard_relays_total",
        Each("kind", &EventKind::METRIC_LABELS),
        "Events through a room's log, by kind",
    ),
    counter(
        "switchboard_relays_failed_total",
        One,
        "Events that did not reach the log and were refused with SERVICE_UNAVAILABLE",
    ),
    histogram(
        "switchboard_relay_seconds",
        Each("stage", &["received", "logged", "delivered"]),
        "Time from reading an event to each stage",
    ),
    gauge("switchboard_sessions", One, "Sessions of this node that are in a room or joining one"),
    gauge("switchboard_rooms", One, "Rooms with a session on this node"),
    counter(
        "switchboard_resumes_total",
        Each("outcome", &["resumed", "fresh", "missed"]),
        "Sessions that reconnected, by outcome",
    ),
    counter(
        "switchboard_reseats_total",
        Each("outcome", &["done", "gone", "error", "departed", "retried"]),
        "Seats restored after Redis may have lost them, by outcome",
    ),
    counter("switchboard_swept_total", One, "Times that other nodes declared this node dead in a partition"),
    counter("switchboard_nodes_declared_dead_total", One, "Dead nodes that this node swept, counted in each group"),
    counter(
        "switchboard_stray_nodes_swept_total",
        One,
        "Dead nodes that no node watched and this node swept, counted in each partition",
    ),
    gauge(
        "switchboard_watched_nodes",
        One,
        "Nodes whose heartbeats this node reads: 3, one more for each before the first that lives, and 16 times as many while none lives",
    ),
    counter(
        "switchboard_subscription_gaps_total",
        Each("cause", &["reconnected", "moved", "silent"]),
        "Gaps of the subscription that were closed from the logs, by cause",
    ),
    counter("switchboard_room_reads_shared_total", One, "Joins of large rooms that shared the read of another one"),
    counter("switchboard_catch_up_retries_total", One, "Reads of a room's log that came after a failed one"),
    gauge("switchboard_canary_silent_partitions", One, "Partitions whose subscription is lost or delivers no canary"),
    histogram("switchboard_canary_seconds", One, "Time from sending a check of the node to the arrival of its canary"),
    counter("switchboard_envelopes_malformed_total", One, "Malformed pub/sub messages"),
    counter(
        "switchboard_delivery_buffer_overflows_total",
        One,
        "Sessions closed because too many events arrived while their log was read",
    ),
    gauge("switchboard_cluster_degraded", One, "1 while a shard of Redis does not reply"),
    counter("switchboard_cluster_degradations_total", One, "Times that a shard of Redis stopped replying"),
    gauge(
        "switchboard_redis_memory_used_ratio",
        One,
        "Used share of maxmemory of the fullest shard of Redis; 0 without maxmemory",
    ),
    gauge("switchboard_draining", One, "1 while this node moves its clients off"),
    counter("switchboard_drained_sessions_total", One, "Sessions that were moved off at shutdown"),
    gauge("switchboard_sessions_above_share", One, "Sessions of this node above the mean of all nodes"),
    counter("switchboard_rebalanced_sessions_total", One, "Sessions that were moved to nodes with fewer"),
    counter(
        "switchboard_rebalance_given_up_total",
        One,
        "Times that moving sessions was given up, because they came back",
    ),
];

/// Outcomes of an attempt to join a room: `refused` for a reason of the client's, `failed` for a
/// failure of the service.
pub const JOINS: [&str; 4] = ["joined", "waiting", "refused", "failed"];
