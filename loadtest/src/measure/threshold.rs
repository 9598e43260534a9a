//! Thresholds of a run, which decide the exit status. Pure.

use clap::Args;

use super::summary::RunSummary;

/// Thresholds; an absent one is not checked.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Thresholds {
    /// Highest 99th percentile of the scenario's main latency.
    #[arg(long, value_name = "MS")]
    pub(crate) max_p99_ms: Option<f64>,
    /// Highest 99.9th percentile of the scenario's main latency.
    #[arg(long, value_name = "MS")]
    pub(crate) max_p999_ms: Option<f64>,
    /// Highest number of lost messages or operations.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) max_lost: u64,
    /// Highest number of refused operations.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) max_refused: u64,
    /// Highest number of unexpectedly lost sockets.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) max_sockets_lost: u64,
    /// Lowest number of main operations per second.
    #[arg(long, value_name = "RATE")]
    pub(crate) min_per_second: Option<f64>,
}

impl Thresholds {
    /// Returns one text for each violated threshold.
    pub(crate) fn violations(&self, summary: &RunSummary) -> Vec<String> {
        let mut violations = Vec::new();
        let mut maximum = |name: &str, got: f64, bound: Option<f64>, unit: &str| {
            if let Some(bound) = bound.filter(|bound| got > *bound) {
                violations.push(format!("{name}: {got}{unit}, threshold {bound}{unit}"));
            }
        };
        let latency = summary.latencies.first();
        maximum("99th percentile", latency.map_or(f64::INFINITY, |it| it.p99), self.max_p99_ms, " ms");
        maximum("99.9th percentile", latency.map_or(f64::INFINITY, |it| it.p999), self.max_p999_ms, " ms");
        let counts = [
            ("lost", summary.lost, self.max_lost),
            ("refused", summary.count("refused"), self.max_refused),
            ("sockets lost", summary.count("sockets lost"), self.max_sockets_lost),
        ];
        for (name, got, bound) in counts {
            if got > bound {
                violations.push(format!("{name}: {got}, threshold {bound}"));
            }
        }
        if let Some(bound) = self.min_per_second {
            let got = summary.figure_of(PER_SECOND).unwrap_or_default();
            if got < bound {
                violations.push(format!("per second: {got:.1}, threshold {bound}"));
            }
        }
        // A run without operations would satisfy all other thresholds.
        if latency.is_none_or(|latency| latency.count == 0) {
            violations.push("no operation was measured".into());
        }
        violations
    }
}

/// Name of the figure with the main operations per second.
pub(crate) const PER_SECOND: &str = "per second";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::summary::Latency;

    fn summary() -> RunSummary {
        let mut summary = RunSummary::default();
        summary.latencies.push(Latency { count: 9, p99: 5.0, p999: 50.0, ..Latency::default() });
        summary.add_figure(PER_SECOND, 100.0, "");
        summary
    }

    #[test]
    fn a_run_within_its_bounds_has_no_violations() {
        let bounds = Thresholds { max_p99_ms: Some(5.0), min_per_second: Some(100.0), ..Thresholds::default() };
        assert_eq!(bounds.violations(&summary()), Vec::<String>::new());
    }

    #[test]
    fn each_bound_is_checked_separately() {
        let mut lossy = summary();
        lossy.lost = 3;
        lossy.counts.extend([("refused", 2), ("sockets lost", 1)]);
        let strict = Thresholds {
            max_p99_ms: Some(4.9),
            max_p999_ms: Some(49.0),
            min_per_second: Some(101.0),
            ..Thresholds::default()
        };
        assert_eq!(strict.violations(&lossy).len(), 6);
        let lenient = Thresholds { max_lost: 3, max_refused: 2, max_sockets_lost: 1, ..Thresholds::default() };
        assert_eq!(lenient.violations(&lossy).len(), 0);
    }

    #[test]
    fn a_run_that_measured_nothing_fails() {
        let bounds = Thresholds { max_p99_ms: Some(5.0), ..Thresholds::default() };
        assert_eq!(bounds.violations(&RunSummary::default()).len(), 2);
        assert_eq!(Thresholds::default().violations(&RunSummary::default()).len(), 1);
    }
}
