//! Catalog of the metrics of sockets.

use switchboard_core::metric_catalog::Series::{AsSeen, Each, One};
use switchboard_core::metric_catalog::{Metric, counts, shows};

/// Metrics of every process that serves sockets.
pub const METRICS: &[Metric] = &[
    shows("switchboard_connections_open", One, "TCP connections of clients open"),
    counts(
        "switchboard_connections_refused_total",
        Each("reason", &["node", "address"]),
        "TCP connections closed at once, by the bound that is reached",
    ),
    shows("switchboard_handovers_open", One, "Requests and WebSockets handed over to other nodes at present"),
    shows("switchboard_sockets_open", One, "Engine.IO sessions open"),
    counts("switchboard_sockets_opened_total", One, "Engine.IO sessions opened"),
    counts("switchboard_sockets_closed_total", AsSeen, "Socket.IO sessions ended, by reason"),
    counts("switchboard_handshakes_refused_total", AsSeen, "Requests refused by the transport, by reason"),
    counts(
        "switchboard_handovers_total",
        Each(
            "outcome",
            &["answered", "upgraded", "aborted", "unknown_node", "unreachable", "failed", "refused", "busy", "limited"],
        ),
        "Requests handed over to the session's node",
    ),
    counts("switchboard_session_panics_total", One, "Sessions whose code panicked"),
    counts("switchboard_events_rate_limited_total", One, "Events refused for the rate of their socket"),
    counts("switchboard_send_queue_overflows_total", One, "Sockets closed because their client does not read"),
];
