//! Logs, metrics and traces.
//!
//! | file | content |
//! |---|---|
//! | `declare` | declares metrics at the start |
//! | `line_limit` | limits how often one place in the code writes to the log |
//! | `panics` | logs and counts panics |
//! | `traces` | exports traces to an OpenTelemetry collector |

mod declare;
mod line_limit;
mod panics;
pub mod traces;

use std::time::Duration;

use metrics::gauge;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{LogFormat, TelemetryConfig};
use line_limit::LineLimit;
use switchboard_core::metric_catalog::Metric;
use traces::Traces;

/// Error at the start of telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Another logger is installed already.
    #[error("logging: {0}")]
    Logs(#[from] TryInitError),
    /// The address of the collector is invalid.
    #[error("traces: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Another metrics recorder is installed already, or the buckets are invalid.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
    /// The upkeep thread cannot be started.
    #[error("metrics: {0}")]
    Upkeep(#[from] std::io::Error),
}

/// Upper bounds in seconds of every histogram named `..._seconds`: from a Redis script to a
/// request's time limit.
const SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of every other histogram: counts and sizes.
const COUNTS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// Starts logging to standard error, also of panics, and the export of traces if a collector is
/// configured.
///
/// # Errors
/// A logger is installed already, or the address of the collector is invalid.
pub fn init(config: &TelemetryConfig, service: &'static str) -> Result<Traces, TelemetryError> {
    let TelemetryConfig { log, trace } = config;
    let (traces, tracer) = Traces::start(trace, service)?;
    let traced = filter_fn(|metadata| metadata.target() == traces::TARGET);
    let filter = lines_filter(&log.filter).and(traced.clone().not()).and(LineLimit::default());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let mut layers = vec![lines.with_filter(filter).boxed()];
    // Add no trace layer without a collector, because even an idle layer makes every span be
    // recorded.
    layers.extend(tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer).with_filter(traced).boxed()));
    tracing_subscriber::registry().with(layers).try_init()?;
    panics::install_hook();
    Ok(traces)
}

/// Returns the filter of log lines. The library `fred` is silent unless the filter names it: it
/// logs a lost connection for each attempt, and `rooms` logs each cause once.
fn lines_filter(directives: &str) -> EnvFilter {
    let filter = EnvFilter::builder().parse_lossy(directives);
    match "fred=off".parse() {
        Ok(silent) if !directives.contains("fred") => filter.add_directive(silent),
        _ => filter,
    }
}

/// Interval at which recorded values are moved into histogram buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Renders the metrics that the process has recorded.
#[derive(Clone, Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder of the `metrics` macros. `program` and `version` are labels of
    /// `switchboard_build_info`. `catalogs` are the lists of metrics of the service's crates.
    ///
    /// # Errors
    /// A recorder is installed already.
    pub fn install(
        program: &'static str,
        version: &'static str,
        catalogs: &[&'static [Metric]],
    ) -> Result<Self, TelemetryError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .set_buckets(&COUNTS)?
            .install_recorder()?;
        declare::declare(declare::PROCESS);
        for list in catalogs {
            declare::declare(list);
        }
        gauge!("switchboard_build_info", "program" => program, "version" => version).set(1.0);
        let metrics = Self { handle };
        let kept = metrics.clone();
        // The thread is detached: it runs until the process ends, and its last run does not matter.
        std::thread::Builder::new().name("metrics".to_owned()).spawn(move || kept.keep_up())?;
        Ok(metrics)
    }

    /// Moves recorded values into histogram buckets, without end. A scrape does that as well, but a
    /// process that is never scraped would keep every value in memory.
    fn keep_up(&self) {
        loop {
            std::thread::sleep(UPKEEP);
            self.handle.run_upkeep();
        }
    }

    /// Returns all metrics in the Prometheus text format, with current values of the process
    /// itself.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some(usage) = ProcessUsage::read() {
            gauge!("process_resident_memory_bytes").set(usage.resident_bytes);
            gauge!("process_cpu_seconds_total").set(usage.cpu_seconds);
            gauge!("process_open_fds").set(usage.open_fds);
            gauge!("process_threads").set(usage.threads);
        }
        self.handle.run_upkeep();
        self.handle.render()
    }
}

/// Resource usage of this process, from the kernel.
#[derive(Clone, Copy, Debug)]
struct ProcessUsage {
    resident_bytes: f64,
    cpu_seconds: f64,
    open_fds: f64,
    threads: f64,
}

/// Unit of `utime` and `stime`: USER_HZ, which Linux fixes at 100 per second (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

impl ProcessUsage {
    /// Reads `/proc/self`. `None` on a system without it.
    fn read() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let field = |name: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // Count fields after the program's name, because the name (in parentheses) can contain
        // spaces.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let user: f64 = fields.next()?.parse().ok()?;
        let system: f64 = fields.next()?.parse().ok()?;
        #[allow(clippy::cast_precision_loss)] // a handful of descriptors
        let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count() as f64;
        Some(Self {
            resident_bytes: field("VmRSS:")? * 1024.0,
            cpu_seconds: (user + system) / TICKS_PER_SECOND,
            open_fds,
            threads: field("Threads:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use switchboard_core::metric_catalog::{Series, counter, histogram};

    use super::*;

    #[test]
    fn process_usage_has_memory_cpu_time_and_descriptors() {
        let usage = ProcessUsage::read().expect("Linux has /proc");
        assert!(usage.resident_bytes > 100_000.0 && usage.open_fds >= 3.0 && usage.threads >= 1.0);
        assert!(usage.cpu_seconds >= 0.0);
    }

    #[test]
    fn metrics_render_with_the_build_and_buckets_by_unit() {
        const OWN: &[Metric] = &[
            counter("switchboard_things_total", Series::Each("outcome", &["good", "bad"]), "Things"),
            histogram("switchboard_nothing_seconds", Series::One, "Nothing"),
        ];
        let metrics = Metrics::install("test", "1.2.3", &[OWN]).unwrap();
        metrics::histogram!("switchboard_something_seconds").record(0.002);
        metrics::histogram!("switchboard_batch_size").record(3.0);
        let text = metrics.render();
        assert!(text.contains(r#"switchboard_build_info{program="test",version="1.2.3"} 1"#), "{text}");
        assert!(text.contains(r#"switchboard_something_seconds_bucket{le="0.0025"} 1"#), "{text}");
        assert!(text.contains(r#"switchboard_batch_size_bucket{le="4"} 1"#), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.contains("# HELP switchboard_things_total Things"), "{text}");
        assert!(text.contains(r#"switchboard_things_total{outcome="bad"} 0"#), "there before the first: {text}");
        assert!(text.contains("switchboard_nothing_seconds_count 0"), "{text}");
    }
}
