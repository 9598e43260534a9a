//! Declares metrics to the metrics recorder at the start.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use switchboard_core::metric_catalog::Series::{Dynamic, Each, One};
use switchboard_core::metric_catalog::{Metric, MetricType, counter, gauge};

/// Metrics of every process.
pub(super) const PROCESS: &[Metric] = &[
    gauge("switchboard_build_info", Dynamic, "Always 1; the labels are program and version"),
    gauge("process_resident_memory_bytes", One, "Resident memory in bytes"),
    counter("process_cpu_seconds_total", Dynamic, "User and system CPU time in seconds"),
    gauge("process_open_fds", One, "Open file descriptors"),
    gauge("process_threads", One, "Threads"),
    counter("switchboard_panics_total", One, "Panics. Each is a bug; the log names the place in the code"),
    counter(
        "switchboard_log_lines_dropped_total",
        One,
        "Log lines dropped, because one place in the code wrote more than 100 within 10 s",
    ),
    counter(
        "switchboard_key_reloads_total",
        Each("outcome", &["loaded", "refused"]),
        "Reads of key files: loaded after a change, or refused, each 10 s until the file is valid",
    ),
];

/// Describes the metrics. Metrics with known series appear immediately, with the value 0.
pub(super) fn declare(metrics: &'static [Metric]) {
    for metric in metrics {
        describe(metric);
        match metric.series {
            One => appear(metric, None),
            Each(label, values) => values.iter().for_each(|value| appear(metric, Some((label, value)))),
            Dynamic => {}
        }
    }
}

fn describe(metric: &Metric) {
    match metric.kind {
        MetricType::Counter => describe_counter!(metric.name, metric.help),
        MetricType::Gauge => describe_gauge!(metric.name, metric.help),
        MetricType::Histogram => describe_histogram!(metric.name, metric.help),
    }
}

fn appear(metric: &Metric, label: Option<(&'static str, &'static str)>) {
    let labels: Vec<_> = label.into_iter().collect();
    match metric.kind {
        MetricType::Counter => counter!(metric.name, &labels).increment(0),
        MetricType::Gauge => gauge!(metric.name, &labels).increment(0.0),
        // Creating the histogram is enough to show it, empty.
        MetricType::Histogram => drop(histogram!(metric.name, &labels)),
    }
}
