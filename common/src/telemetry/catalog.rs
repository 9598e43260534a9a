//! What a service measures: the list that `/metrics` shows whole from the first scrape on, so that a rate or a ratio has data before
//! anything happened, and an alert never waits for a series to appear.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::rate_limit::CLASSES;

/// What sort of figure a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Which series a metric has.
#[derive(Clone, Copy, Debug)]
pub enum Series {
    /// One, without labels.
    One,
    /// One for each of these values of a label; all there from the start.
    Each(&'static str, &'static [&'static str]),
    /// By labels whose values are bounded and become known as they occur.
    AsSeen,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What sort of figure.
    pub kind: Kind,
    /// Its series.
    pub series: Series,
    /// What it tells, in one line.
    pub help: &'static str,
}

/// A counter.
#[must_use]
pub const fn counts(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, series, help }
}

/// A gauge.
#[must_use]
pub const fn shows(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, series, help }
}

/// A histogram.
#[must_use]
pub const fn spreads(name: &'static str, series: Series, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, series, help }
}

use Series::{AsSeen, Each, One};

/// What both services measure: the process, Redis, MongoDB, passwords.
pub const COMMON: &[Metric] = &[
    shows("switchboard_build_info", AsSeen, "1, with program and version"),
    shows("process_resident_memory_bytes", One, "Resident memory"),
    counts("process_cpu_seconds_total", AsSeen, "User and system time"),
    shows("process_open_fds", One, "Open file descriptors"),
    shows("process_threads", One, "Threads"),
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
    spreads("switchboard_mongodb_seconds", AsSeen, "MongoDB operations, by operation and outcome"),
    spreads(
        "switchboard_password_seconds",
        Each("work", &["hash", "verify"]),
        "Work on a password, waiting for its turn included",
    ),
    shows("switchboard_password_queue", One, "Passwords that wait for their turn or are worked on"),
    counts("switchboard_password_refused_total", One, "Passwords refused because too many waited"),
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

/// Describes the metrics, and makes those whose series are known appear at once.
pub(super) fn declare(metrics: &'static [Metric]) {
    for metric in metrics {
        describe(metric);
        match metric.series {
            One => appear(metric, None),
            Each(label, values) => values.iter().for_each(|value| appear(metric, Some((label, value)))),
            AsSeen => {}
        }
    }
}

fn describe(metric: &Metric) {
    match metric.kind {
        Kind::Counter => describe_counter!(metric.name, metric.help),
        Kind::Gauge => describe_gauge!(metric.name, metric.help),
        Kind::Histogram => describe_histogram!(metric.name, metric.help),
    }
}

fn appear(metric: &Metric, label: Option<(&'static str, &'static str)>) {
    let labels: Vec<_> = label.into_iter().collect();
    match metric.kind {
        Kind::Counter => counter!(metric.name, &labels).increment(0),
        Kind::Gauge => gauge!(metric.name, &labels).increment(0.0),
        // A histogram that was asked for is shown, with nothing in it.
        Kind::Histogram => drop(histogram!(metric.name, &labels)),
    }
}
