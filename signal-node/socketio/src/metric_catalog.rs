//! Catalog of the metrics of sockets.

use switchboard_core::metric_catalog::Series::{Dynamic, Each, One};
use switchboard_core::metric_catalog::{Metric, counter, gauge};

/// Metrics of every process that serves sockets.
pub const METRICS: &[Metric] = &[
    gauge("switchboard_connections_open", One, "TCP connections of clients open"),
    counter(
        "switchboard_connections_refused_total",
        Each("reason", &["node", "address"]),
        "TCP connections closed immediately, by the bound that is reached",
    ),
    counter(
        "switchboard_connections_replaced_total",
        One,
        "Idle TCP connections closed at a bound to make room for new ones",
    ),
    gauge("switchboard_handovers_open", One, "Requests and WebSockets handed over to other nodes at present"),
    gauge("switchboard_sockets_open", One, "Engine.IO sessions open"),
    counter("switchboard_sockets_opened_total", One, "Engine.IO sessions opened"),
    counter("switchboard_sockets_closed_total", Dynamic, "Socket.IO sessions ended, by reason"),
    counter("switchboard_handshakes_refused_total", Dynamic, "Requests refused by the transport, by reason"),
    counter(
        "switchboard_handovers_total",
        Each(
            "outcome",
            &[
                "answered",
                "upgraded",
                "aborted",
                "malformed",
                "unknown_node",
                "unreachable",
                "failed",
                "refused",
                "busy",
                "limited",
            ],
        ),
        "Requests handed over to the session's node",
    ),
    gauge("switchboard_large_messages_open", One, "Messages and bodies over 64 KiB that are being received"),
    counter(
        "switchboard_messages_skipped_total",
        Each("reason", &["too_large", "busy"]),
        "Messages received and not kept, because of their size",
    ),
    counter("switchboard_events_rate_limited_total", One, "Events refused for the rate of their socket or address"),
    counter("switchboard_send_queue_overflows_total", One, "Sockets closed because their client does not read"),
];
