//! Warm-up, measurement window, sampling and summary of a run.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::LoadArgs;
use super::target::Target;
use crate::measure::machine::{Usage, WatchedProcess, mib};
use crate::measure::meter::{Meter, MetricSet};
use crate::measure::summary::{RunSummary, TimelinePoint};

/// Time limit for pending operations after the window closes.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A scenario run in progress.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) meter: Arc<Meter>,
    /// All metrics recorded so far.
    pub(crate) total: MetricSet,
    watched: Vec<WatchedProcess>,
    load: LoadArgs,
    bar: ProgressBar,
    summary: RunSummary,
}

impl Run {
    /// Prepares a run of this scenario.
    pub(crate) fn new(scenario: &'static str, load: &LoadArgs, target: &Target) -> Self {
        let started_at = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default();
        let mut summary = RunSummary { scenario, started_at, ..RunSummary::default() };
        summary.settings.push(("nodes", target.nodes.len().to_string()));
        summary.settings.push(("duration", format!("{} s", load.duration.as_secs_f64())));
        summary.settings.push(("warm-up", format!("{} s", load.warm_up.as_secs_f64())));
        // The bar draws only on a terminal.
        let bar = ProgressBar::new(1).with_style(style());
        bar.set_prefix(scenario);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            meter: Meter::new(load.threads.into()),
            total: MetricSet::default(),
            watched: target.watched.clone(),
            load: load.clone(),
            bar,
            summary,
        }
    }

    /// Adds a setting to the summary.
    pub(crate) fn add_setting(&mut self, name: &'static str, value: impl ToString) {
        self.summary.settings.push((name, value.to_string()));
    }

    /// Resets the progress bar for a preparation step of `count` items.
    pub(crate) fn progress(&self, message: &'static str, count: usize) -> ProgressBar {
        self.bar.set_length(count as u64);
        self.bar.set_position(0);
        self.bar.set_message(message);
        self.bar.clone()
    }

    /// Warms up, opens the measurement window and samples it every second until it closes. `kind`
    /// names the latency of the timeline.
    pub(crate) async fn measure(&mut self, kind: &'static str) {
        self.bar.set_message("warming up");
        sleep(self.load.warm_up).await;
        self.meter.open_window();
        let opened = Instant::now();
        let closes = opened + self.load.duration;
        let before = self.usages();
        let (mut last, mut usages) = (opened, before.clone());
        self.bar.set_length(u64::try_from(self.load.duration.as_millis()).unwrap_or(u64::MAX));
        while last < closes {
            sleep_until((last + SAMPLE_INTERVAL).min(closes)).await;
            let (now, used) = (Instant::now(), self.usages());
            let point = self.sample(kind, now - opened, now - last, &usages, &used);
            self.bar.set_position(u64::try_from((now - opened).as_millis()).unwrap_or(u64::MAX));
            self.bar.set_message(format!("{:.0}/s, p50 {:.2} ms, p99 {:.2} ms", point.rate, point.p50, point.p99));
            self.summary.timeline.push(point);
            (last, usages) = (now, used);
        }
        self.meter.close_window();
        self.summary.seconds = opened.elapsed().as_secs_f64();
        let usages =
            self.watched.iter().zip(before).map(|(process, before)| process.usage_since(before, self.summary.seconds));
        self.summary.processes = usages.collect();
    }

    fn usages(&self) -> Vec<Usage> {
        self.watched.iter().map(WatchedProcess::usage).collect()
    }

    fn sample(
        &mut self,
        kind: &'static str,
        at: Duration,
        span: Duration,
        before: &[Usage],
        after: &[Usage],
    ) -> TimelinePoint {
        let mut metrics = self.meter.drain();
        let share = |cpu: Duration| cpu.as_secs_f64() / span.as_secs_f64() * 100.0;
        let mut point = TimelinePoint {
            at: at.as_secs_f64(),
            cpu: before.iter().zip(after).map(|(b, a)| share(a.cpu.saturating_sub(b.cpu))).collect(),
            rss: after.iter().map(|usage| mib(usage.rss)).collect(),
            ..TimelinePoint::default()
        };
        if let Some(times) = metrics.times.get(kind) {
            (point.rate, point.p50, point.p99) = rate_and_percentiles(times, span);
        } else {
            point.rate = per_second(metrics.count_of(kind), span);
        }
        self.total.merge(&mut metrics);
        point
    }

    /// Current value of a counter.
    pub(crate) fn count_of(&mut self, name: &str) -> u64 {
        self.total.merge(&mut self.meter.drain());
        self.total.count_of(name)
    }

    /// Waits until `done` returns `true`, for at most [`SETTLE_TIMEOUT`].
    pub(crate) async fn settle(&mut self, done: impl Fn(&MetricSet) -> bool) {
        self.bar.set_message("waiting for pending operations");
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            self.total.merge(&mut self.meter.drain());
            if done(&self.total) || Instant::now() >= deadline {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until a task ends; aborts it after [`SETTLE_TIMEOUT`].
    pub(crate) async fn wait_task(&mut self, task: JoinHandle<()>) {
        self.bar.set_message("waiting for pending operations");
        let abort_handle = task.abort_handle();
        if timeout(SETTLE_TIMEOUT, task).await.is_err() {
            abort_handle.abort();
        }
    }

    /// Finishes the run. `order` names the latencies that come first; the first is the scenario's
    /// main latency.
    pub(crate) fn finish(mut self, order: &[&'static str]) -> RunSummary {
        self.total.merge(&mut self.meter.drain());
        self.bar.finish_and_clear();
        self.summary.add_metrics(&self.total, order);
        self.summary
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn rate_and_percentiles(times: &Histogram<u64>, span: Duration) -> (f64, f64, f64) {
    let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    (per_second(times.len(), span), ms(0.5), ms(0.99))
}

/// Rate per second.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn per_second(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

fn style() -> ProgressStyle {
    let known = ProgressStyle::with_template("{prefix:>9} {bar:30.cyan} {msg}");
    known.unwrap_or_else(|_| ProgressStyle::default_bar())
}
