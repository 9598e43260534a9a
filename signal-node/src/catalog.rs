//! What a signaling node measures.

use switchboard_core::metric_catalog::{Metric, Series::AsSeen, Series::Each, Series::One, counts, shows, spreads};

/// The lists of every crate that this node is made of.
pub const ALL: [&[Metric]; 5] = [
    switchboard_socketio::metric_catalog::METRICS,
    switchboard_auth::metric_catalog::METRICS,
    switchboard_rooms::metric_catalog::METRICS,
    switchboard_records::metric_catalog::METRICS,
    METRICS,
];

/// Every metric of the node's own.
pub const METRICS: &[Metric] = &[
    shows("switchboard_send_queue_bytes", One, "Bytes that wait for slow sockets"),
    counts("switchboard_refusals_total", AsSeen, "Events refused, by code"),
    counts("switchboard_joins_total", Each("outcome", &JOINS), "Attempts to enter a room"),
    spreads("switchboard_join_seconds", One, "From a join's reading to its answer"),
    counts("switchboard_relays_total", Each("kind", &RELAYS), "Events through a room's log"),
    spreads(
        "switchboard_relay_seconds",
        Each("stage", &["received", "logged", "delivered"]),
        "An event's way, by stage",
    ),
    shows("switchboard_sessions", One, "Sessions of this node that are in a room or on their way into one"),
    shows("switchboard_rooms", One, "Rooms with a session on this node"),
    counts(
        "switchboard_resumes_total",
        Each("outcome", &["resumed", "fresh", "missed"]),
        "Sessions that came back, by what they got",
    ),
    counts(
        "switchboard_reseats_total",
        Each("outcome", &["done", "gone", "error", "departed"]),
        "Seats taken again after Redis may have lost them",
    ),
    counts("switchboard_swept_total", One, "Times that this node was taken for dead in a partition"),
    counts("switchboard_nodes_buried_total", One, "Dead nodes that this node swept, by partition"),
    counts(
        "switchboard_subscription_gaps_total",
        Each("cause", &["reconnected", "moved", "silent"]),
        "Gaps of the subscription that were mended from the logs",
    ),
    shows(
        "switchboard_canary_silent_partitions",
        One,
        "Partitions whose subscription is lost, or brings nothing, at the moment",
    ),
    spreads("switchboard_canary_seconds", One, "From a beat's sending to the arrival of its own canary"),
    counts("switchboard_envelopes_refused_total", One, "Messages of the subscription that are none of ours"),
    counts(
        "switchboard_delivery_buffer_overflows_total",
        One,
        "Sessions closed because too much arrived while their log was read",
    ),
    shows("switchboard_cluster_degraded", One, "1 while a shard of Redis does not answer"),
    counts("switchboard_cluster_degradations_total", One, "Times that a shard of Redis stopped answering"),
    shows("switchboard_redis_memory_used_ratio", One, "How full the fullest shard of Redis is; 0 without a maxmemory"),
    shows("switchboard_draining", One, "1 while the node moves its clients off"),
    counts("switchboard_drained_sessions_total", One, "Sessions that were moved off"),
];

/// The events through a room's log that are told apart.
pub const RELAYS: [&str; 6] = ["offer", "answer", "candidate", "media", "chat", "other"];

/// How an attempt to enter a room ends: `refused` is the client's doing, `failed` is ours.
pub const JOINS: [&str; 4] = ["joined", "waiting", "refused", "failed"];
