//! The metrics of apps and their API keys.

use switchboard_core::domain::AppLimit;
use switchboard_core::metric_catalog::Series::{Each, One};
use switchboard_core::metric_catalog::{Metric, counter, gauge};

/// Limits, as metrics show them.
const APP_LIMITS: [&str; 5] = {
    let mut names = [""; 5];
    let mut index = 0;
    while index < names.len() {
        names[index] = AppLimit::ALL[index].as_str();
        index += 1;
    }
    names
};

/// Metrics of every process that accepts tokens of apps.
pub const METRICS: &[Metric] = &[
    gauge("switchboard_app_keys", One, "Valid API keys of apps that this process knows"),
    gauge("switchboard_identity_sources", One, "Identity sources of apps that this process accepts"),
    counter(
        "switchboard_app_reads_total",
        Each("outcome", &["ok", "failed"]),
        "Reads of the apps that changed, by outcome",
    ),
    counter(
        "switchboard_app_limited_total",
        Each("limit", &APP_LIMITS),
        "Joins, calls, requests and events refused by a limit of their app, by limit",
    ),
    counter(
        "switchboard_app_entries_open_total",
        One,
        "Entries into rooms that passed uncounted because Redis did not answer",
    ),
    counter(
        "switchboard_app_tokens_total",
        Each("outcome", &["accepted", "expired", "invalid", "revoked", "unavailable"]),
        "Tokens of apps' users, of API keys and of identity sources, by outcome",
    ),
    counter(
        "switchboard_app_origins_refused_total",
        One,
        "User tokens of apps that were refused because of the origin of the page",
    ),
    counter(
        "switchboard_app_requests_total",
        Each("outcome", &["accepted", "invalid", "revoked", "unavailable"]),
        "Requests of backends with an API key, by outcome",
    ),
];
