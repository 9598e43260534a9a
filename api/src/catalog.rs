//! The list of metrics of the API.

use switchboard_core::metric_catalog::{Metric, Series::Dynamic, Series::Each, Series::One, counter, gauge, histogram};

use crate::audit;

/// The lists of metrics of every crate in this service.
pub const ALL: [&[Metric]; 7] = [
    switchboard_net::metric_catalog::METRICS,
    switchboard_auth::metric_catalog::METRICS,
    switchboard_rooms::metric_catalog::METRICS,
    switchboard_records::metric_catalog::METRICS,
    switchboard_calls::metric_catalog::METRICS,
    switchboard_jwks::metric_catalog::METRICS,
    METRICS,
];

/// Metrics of this crate.
pub const METRICS: &[Metric] = &[
    histogram("switchboard_http_request_seconds", Dynamic, "Duration of requests, by method, route and status"),
    gauge("switchboard_http_requests_in_progress", One, "Requests in progress"),
    gauge("switchboard_http_lists_in_progress", One, "Requests that read many documents, by account and by address"),
    counter(
        "switchboard_http_requests_refused_total",
        Each("reason", &["rate", "in_progress", "lists"]),
        "Requests refused by this pod's own bounds, by reason",
    ),
    gauge("switchboard_http_connections_open", One, "Connections of clients open"),
    counter(
        "switchboard_http_connections_refused_total",
        Each("reason", &["pod", "address"]),
        "Connections closed immediately, by the bound that is reached",
    ),
    counter(
        "switchboard_http_connections_replaced_total",
        One,
        "Idle connections closed at a bound to make room for new ones",
    ),
    counter(
        "switchboard_http_connections_cut_total",
        Each("reason", &["unread", "silent", "malformed", "lost"]),
        "Connections that ended in the middle of a request or an answer, by reason",
    ),
    counter(
        "switchboard_security_events_total",
        Each("event", audit::Event::NAMES),
        "Security events of accounts, as in the audit log",
    ),
    counter("switchboard_calls_created_total", One, "Calls created"),
    counter("switchboard_users_registered_total", One, "Accounts registered"),
    counter("switchboard_passwords_rehashed_total", One, "Outdated password hashes replaced at a sign-in"),
    gauge("switchboard_recorder_partitions_owned", One, "Partitions whose outbox this pod records"),
    gauge("switchboard_outbox_lag_seconds", One, "Age of the oldest fact that is not in MongoDB yet"),
    counter(
        "switchboard_facts_recorded_total",
        Each(
            "kind",
            &["created", "joined", "left", "chat", "denied", "role", "updated", "emptied", "ended", "reopened"],
        ),
        "Facts written to MongoDB",
    ),
    counter("switchboard_dead_facts_total", One, "Facts that can never be written; stored in deadfacts"),
    counter("switchboard_calls_deleted_total", One, "Calls deleted by their hosts"),
    counter("switchboard_calls_reopened_total", One, "Ended calls reopened by their hosts"),
    counter(
        "switchboard_stale_calls_total",
        One,
        "Stale calls closed: never opened after their date, or live without a room",
    ),
    gauge("switchboard_outbox_facts", One, "Facts that are not in MongoDB yet"),
    counter(
        "switchboard_webhooks_total",
        Each("outcome", &["delivered", "postponed", "given_up"]),
        "Attempts to deliver a webhook, by outcome",
    ),
    histogram("switchboard_webhook_seconds", One, "Time from sending a webhook to its answer"),
    gauge(
        "switchboard_webhook_lag_seconds",
        Dynamic,
        "Age of the oldest undelivered webhook, by receiver of the deployment; `apps`: of all apps",
    ),
];
