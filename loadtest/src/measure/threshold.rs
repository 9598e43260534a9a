//! What a run must keep to, for the exit status. Pure.

use clap::Args;

use super::report::Report;

/// Bounds; those that are not given are not looked at.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Thresholds {
    /// Fails when the 99th percentile of the scenario's latency is above this.
    #[arg(long, value_name = "MS")]
    pub(crate) max_p99_ms: Option<f64>,
    /// The same of the 99.9th percentile.
    #[arg(long, value_name = "MS")]
    pub(crate) max_p999_ms: Option<f64>,
    /// Fails when more was sent and never arrived.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) max_lost: u64,
    /// Fails when more was refused, or failed.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) max_refused: u64,
    /// Fails when more sockets were lost that should not have been.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) max_sockets_lost: u64,
    /// Fails when less a second was done of what the scenario does.
    #[arg(long, value_name = "RATE")]
    pub(crate) min_per_second: Option<f64>,
}

impl Thresholds {
    /// What a report breaks, one text each.
    pub(crate) fn broken_by(&self, report: &Report) -> Vec<String> {
        let mut broken = Vec::new();
        let mut most = |what: &str, got: f64, bound: Option<f64>, unit: &str| {
            if let Some(bound) = bound.filter(|bound| got > *bound) {
                broken.push(format!("{what}: {got}{unit}, at most {bound}{unit} asked for"));
            }
        };
        let latency = report.latencies.first();
        most("99th percentile", latency.map_or(f64::INFINITY, |it| it.p99), self.max_p99_ms, " ms");
        most("99.9th percentile", latency.map_or(f64::INFINITY, |it| it.p999), self.max_p999_ms, " ms");
        let counts = [
            ("lost", report.lost, self.max_lost),
            ("refused", report.count("refused"), self.max_refused),
            ("sockets lost", report.count("sockets lost"), self.max_sockets_lost),
        ];
        for (what, got, bound) in counts {
            if got > bound {
                broken.push(format!("{what}: {got}, at most {bound} asked for"));
            }
        }
        if let Some(bound) = self.min_per_second {
            let got = report.figure_of(PER_SECOND).unwrap_or_default();
            if got < bound {
                broken.push(format!("{got:.1} a second, at least {bound} asked for"));
            }
        }
        // A run that did nothing keeps to everything else.
        if latency.is_none_or(|latency| latency.count == 0) {
            broken.push("nothing was measured".into());
        }
        broken
    }
}

/// The figure of what a scenario did a second.
pub(crate) const PER_SECOND: &str = "per second";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::report::Latency;

    fn report() -> Report {
        let mut report = Report::default();
        report.latencies.push(Latency { count: 9, p99: 5.0, p999: 50.0, ..Latency::default() });
        report.figure(PER_SECOND, 100.0, "");
        report
    }

    #[test]
    fn a_run_that_keeps_to_its_bounds_breaks_nothing() {
        let bounds = Thresholds { max_p99_ms: Some(5.0), min_per_second: Some(100.0), ..Thresholds::default() };
        assert_eq!(bounds.broken_by(&report()), Vec::<String>::new());
    }

    #[test]
    fn each_bound_is_judged_by_itself() {
        let mut lossy = report();
        lossy.lost = 3;
        lossy.counts.extend([("refused", 2), ("sockets lost", 1)]);
        let strict = Thresholds {
            max_p99_ms: Some(4.9),
            max_p999_ms: Some(49.0),
            min_per_second: Some(101.0),
            ..Thresholds::default()
        };
        assert_eq!(strict.broken_by(&lossy).len(), 6);
        let lenient = Thresholds { max_lost: 3, max_refused: 2, max_sockets_lost: 1, ..Thresholds::default() };
        assert_eq!(lenient.broken_by(&lossy).len(), 0);
    }

    #[test]
    fn a_run_that_measured_nothing_fails() {
        let bounds = Thresholds { max_p99_ms: Some(5.0), ..Thresholds::default() };
        assert_eq!(bounds.broken_by(&Report::default()).len(), 2);
        assert_eq!(Thresholds::default().broken_by(&Report::default()).len(), 1);
    }
}
