//! Warm-up, window, sampling, and the report.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Load;
use super::target::Target;
use crate::measure::machine::{Usage, Watched, mib};
use crate::measure::meter::{Meter, Tally};
use crate::measure::report::{Moment, Report};

/// How long what is still under way at the end may take.
const SETTLE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

/// A run under way.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) meter: Arc<Meter>,
    /// Everything noted so far.
    pub(crate) total: Tally,
    watched: Vec<Watched>,
    load: Load,
    bar: ProgressBar,
    report: Report,
}

impl Stage {
    /// Prepares a run of this scenario.
    pub(crate) fn new(scenario: &'static str, load: &Load, target: &Target) -> Self {
        let began = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default();
        let mut report = Report { scenario, began, ..Report::default() };
        report.settings.push(("nodes", target.nodes.len().to_string()));
        report.settings.push(("duration", format!("{} s", load.duration.as_secs_f64())));
        report.settings.push(("warm-up", format!("{} s", load.warm_up.as_secs_f64())));
        // It draws only on a terminal.
        let bar = ProgressBar::new(1).with_style(style());
        bar.set_prefix(scenario);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            meter: Meter::new(load.threads.into()),
            total: Tally::default(),
            watched: target.watched.clone(),
            load: load.clone(),
            bar,
            report,
        }
    }

    /// Notes what was asked for.
    pub(crate) fn setting(&mut self, name: &'static str, value: impl ToString) {
        self.report.settings.push((name, value.to_string()));
    }

    /// Shows how far a preparation has come.
    pub(crate) fn preparing(&self, what: &'static str, count: usize) -> ProgressBar {
        self.bar.set_length(count as u64);
        self.bar.set_position(0);
        self.bar.set_message(what);
        self.bar.clone()
    }

    /// Warms up, opens the window, and samples it each second until it closes. `kind` names the times that the timeline shows.
    pub(crate) async fn run(&mut self, kind: &'static str) {
        self.bar.set_message("warming up");
        sleep(self.load.warm_up).await;
        self.meter.open();
        let opened = Instant::now();
        let closes = opened + self.load.duration;
        let before = self.usages();
        let (mut last, mut usages) = (opened, before.clone());
        self.bar.set_length(u64::try_from(self.load.duration.as_millis()).unwrap_or(u64::MAX));
        while last < closes {
            sleep_until((last + SECOND).min(closes)).await;
            let (now, used) = (Instant::now(), self.usages());
            let moment = self.sample(kind, now - opened, now - last, &usages, &used);
            self.bar.set_position(u64::try_from((now - opened).as_millis()).unwrap_or(u64::MAX));
            self.bar.set_message(format!("{:.0}/s, p50 {:.2} ms, p99 {:.2} ms", moment.rate, moment.p50, moment.p99));
            self.report.timeline.push(moment);
            (last, usages) = (now, used);
        }
        self.meter.close();
        self.report.seconds = opened.elapsed().as_secs_f64();
        let spent = self.watched.iter().zip(before).map(|(process, before)| process.spent(before, self.report.seconds));
        self.report.processes = spent.collect();
    }

    fn usages(&self) -> Vec<Usage> {
        self.watched.iter().map(Watched::usage).collect()
    }

    fn sample(
        &mut self,
        kind: &'static str,
        at: Duration,
        span: Duration,
        before: &[Usage],
        after: &[Usage],
    ) -> Moment {
        let mut news = self.meter.drain();
        let share = |cpu: Duration| cpu.as_secs_f64() / span.as_secs_f64() * 100.0;
        let mut moment = Moment {
            at: at.as_secs_f64(),
            cpu: before.iter().zip(after).map(|(b, a)| share(a.cpu.saturating_sub(b.cpu))).collect(),
            rss: after.iter().map(|usage| mib(usage.rss)).collect(),
            ..Moment::default()
        };
        if let Some(times) = news.times.get(kind) {
            (moment.rate, moment.p50, moment.p99) = summary(times, span);
        } else {
            moment.rate = events(news.counted(kind), span);
        }
        self.total.take(&mut news);
        moment
    }

    /// What was counted under a name so far.
    pub(crate) fn counted(&mut self, name: &str) -> u64 {
        self.total.take(&mut self.meter.drain());
        self.total.counted(name)
    }

    /// Waits until `done` says that nothing is under way any more, for a bounded time.
    pub(crate) async fn settle(&mut self, done: impl Fn(&Tally) -> bool) {
        self.bar.set_message("waiting for what is under way");
        let deadline = Instant::now() + SETTLE;
        loop {
            self.total.take(&mut self.meter.drain());
            if done(&self.total) || Instant::now() >= deadline {
                return;
            }
            sleep(POLL).await;
        }
    }

    /// Waits for a task to end, for a bounded time.
    pub(crate) async fn finishing(&mut self, task: JoinHandle<()>) {
        self.bar.set_message("waiting for what is under way");
        let stop = task.abort_handle();
        if timeout(SETTLE, task).await.is_err() {
            stop.abort();
        }
    }

    /// The report. `order` names the kinds of times that come first; the first of them is the scenario's own.
    pub(crate) fn report(mut self, order: &[&'static str]) -> Report {
        self.total.take(&mut self.meter.drain());
        self.bar.finish_and_clear();
        self.report.noted(&self.total, order);
        self.report
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summary(times: &Histogram<u64>, span: Duration) -> (f64, f64, f64) {
    let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    (events(times.len(), span), ms(0.5), ms(0.99))
}

/// So many a second.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn events(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

fn style() -> ProgressStyle {
    let known = ProgressStyle::with_template("{prefix:>9} {bar:30.cyan} {msg}");
    known.unwrap_or_else(|_| ProgressStyle::default_bar())
}
