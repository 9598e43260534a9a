//! What the api measures.

use switchboard_core::metric_catalog::{Metric, Series::AsSeen, Series::Each, Series::One, counts, shows, spreads};

use crate::audit;

/// The lists of every crate that this service is made of.
pub const ALL: [&[Metric]; 4] = [
    switchboard_auth::metric_catalog::METRICS,
    switchboard_rooms::metric_catalog::METRICS,
    switchboard_records::metric_catalog::METRICS,
    METRICS,
];

/// Every metric of the api's own.
pub const METRICS: &[Metric] = &[
    spreads("switchboard_http_request_seconds", AsSeen, "Requests, by method, route and status"),
    counts("switchboard_http_panics_total", One, "Requests whose handler panicked"),
    counts(
        "switchboard_security_events_total",
        Each("event", audit::Event::NAMES),
        "Security events, as in the audit log",
    ),
    counts("switchboard_calls_created_total", One, "Calls created"),
    counts("switchboard_users_registered_total", One, "Accounts registered"),
    counts("switchboard_passwords_rehashed_total", One, "Passwords whose hash was brought up to date at a sign-in"),
    shows("switchboard_recorder_partitions_owned", One, "Outboxes that this pod records"),
    shows("switchboard_outbox_lag_seconds", One, "Age of the oldest fact that waits for MongoDB"),
    counts(
        "switchboard_facts_recorded_total",
        Each("kind", &["created", "joined", "left", "chat", "role", "updated", "ended"]),
        "Facts written to MongoDB",
    ),
    counts("switchboard_dead_facts_total", One, "Facts that can never be written, set aside"),
    counts("switchboard_calls_deleted_total", One, "Calls deleted by their hosts"),
    counts(
        "switchboard_calls_lapsed_total",
        One,
        "Calls that nobody was left to end: scheduled and never opened, or live without a room",
    ),
    shows("switchboard_outbox_facts", One, "Facts that wait for MongoDB"),
    counts(
        "switchboard_webhooks_total",
        Each("outcome", &["delivered", "postponed", "given_up"]),
        "Tries to deliver a webhook",
    ),
    spreads("switchboard_webhook_seconds", One, "From sending a webhook to its answer"),
    shows("switchboard_webhook_lag_seconds", AsSeen, "Age of the oldest webhook that its receiver has not taken"),
];
