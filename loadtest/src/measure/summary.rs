//! All results of a run, as one value. The table, the JSON and the page show it; the thresholds
//! check it.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::machine::ProcessUsage;
use super::meter::MetricSet;

/// Results of a run. The struct has more than eight fields, because it is a document that only its
/// writers read as a whole.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RunSummary {
    pub(crate) scenario: &'static str,
    /// Start of the run, RFC 3339.
    pub(crate) started_at: String,
    /// Duration of the measurement window in seconds.
    pub(crate) seconds: f64,
    /// Settings of the run, in order of the command line.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Counters, by name.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Operations or events that never completed or arrived.
    pub(crate) lost: u64,
    /// Latencies; the first is the scenario's main latency.
    pub(crate) latencies: Vec<Latency>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) processes: Vec<ProcessUsage>,
    pub(crate) timeline: Vec<TimelinePoint>,
    /// One text for each violated threshold.
    pub(crate) violations: Vec<String>,
}

/// A figure that only this scenario has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// Distribution of one latency, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Pairs of quantile (0 to less than 1) and latency.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// One second of the run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TimelinePoint {
    /// Seconds since the window opened.
    pub(crate) at: f64,
    /// Main operations per second.
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU percent of one core and memory in MiB of each process, in order of `processes`.
    pub(crate) cpu: Vec<f64>,
    pub(crate) rss: Vec<f64>,
}

impl Latency {
    /// Reads a histogram of microseconds.
    pub(crate) fn from_histogram(name: &'static str, times: &Histogram<u64>) -> Self {
        let at = |quantile: f64| ms(times.value_at_quantile(quantile));
        let steps = times.iter_quantiles(4).map(|step| (step.quantile(), ms(step.value_iterated_to())));
        // The chart cannot show quantile 1, which is `max`.
        let curve = steps.filter(|(quantile, _)| *quantile < 1.0).collect();
        Self {
            name,
            count: times.len(),
            mean: times.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(times.max()),
            curve,
        }
    }
}

impl RunSummary {
    /// Takes over the metrics of a run; `order` names the latencies that come first.
    pub(crate) fn add_metrics(&mut self, metrics: &MetricSet, order: &[&'static str]) {
        self.counts.extend(&metrics.counts);
        let rest = metrics.times.keys().filter(|name| !order.contains(name));
        for name in order.iter().chain(rest) {
            if let Some(times) = metrics.times.get(name).filter(|times| !times.is_empty()) {
                self.latencies.push(Latency::from_histogram(name, times));
            }
        }
    }

    /// Adds a figure.
    pub(crate) fn add_figure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit });
    }

    /// Value of a figure.
    pub(crate) fn figure_of(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// Value of a counter; 0 when it does not exist.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// CPU seconds of all processes whose name starts with `name`.
    pub(crate) fn cpu_of(&self, name: &str) -> f64 {
        self.processes.iter().filter(|process| process.name.starts_with(name)).map(|process| process.cpu_seconds).sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "minutes in microseconds are far below 2^53")]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}
