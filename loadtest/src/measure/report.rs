//! Everything that a run came to, as one value: the table, the JSON and the page show it, the thresholds judge it.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::machine::Spent;
use super::meter::Tally;

/// A run. More than eight fields: it is a document, whose parts nothing but the writers of it put together.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    /// RFC 3339.
    pub(crate) began: String,
    /// How long the window was open.
    pub(crate) seconds: f64,
    /// What was asked for, in the order of the command line.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// What was sent, received, refused, ..., by name.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// What was to arrive and did not.
    pub(crate) lost: u64,
    /// The first is the scenario's own.
    pub(crate) latencies: Vec<Latency>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) processes: Vec<Spent>,
    pub(crate) timeline: Vec<Moment>,
    /// The thresholds that were not kept, one text each.
    pub(crate) violations: Vec<String>,
}

/// A figure of a scenario's own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// The distribution of one kind of time, in milliseconds.
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
    /// Quantiles from 0 up to less than 1, and the time of each.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// One second of the run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Moment {
    /// Seconds since the window opened.
    pub(crate) at: f64,
    /// Times of the first kind that were noted, a second.
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Of each process, in the order of the report: per cent of a core, and MiB.
    pub(crate) cpu: Vec<f64>,
    pub(crate) rss: Vec<f64>,
}

impl Latency {
    /// Reads a histogram of microseconds.
    pub(crate) fn of(name: &'static str, times: &Histogram<u64>) -> Self {
        let at = |quantile: f64| ms(times.value_at_quantile(quantile));
        let steps = times.iter_quantiles(4).map(|step| (step.quantile(), ms(step.value_iterated_to())));
        // The last one, at 1, lies infinitely many nines away; it is `max`.
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

impl Report {
    /// Takes over what was noted; `order` names the kinds of times that come first.
    pub(crate) fn noted(&mut self, tally: &Tally, order: &[&'static str]) {
        self.counts.extend(&tally.counts);
        let rest = tally.times.keys().filter(|name| !order.contains(name));
        for name in order.iter().chain(rest) {
            if let Some(times) = tally.times.get(name).filter(|times| !times.is_empty()) {
                self.latencies.push(Latency::of(name, times));
            }
        }
    }

    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, value, unit });
    }

    /// A figure's value.
    pub(crate) fn figure_of(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// A count; 0 for one that never was.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// Processor seconds of the processes whose name begins so.
    pub(crate) fn cpu_of(&self, name: &str) -> f64 {
        self.processes.iter().filter(|process| process.name.starts_with(name)).map(|process| process.cpu_seconds).sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "minutes in microseconds are far below 2^53")]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}
