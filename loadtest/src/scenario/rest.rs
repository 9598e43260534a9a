//! Authenticated reads of the REST side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use tokio::task::JoinSet;

use super::Load;
use super::crowd::{NOT_BEGUN, arrivals};
use super::stage::Stage;
use super::target::Target;
use crate::client::api::Host;
use crate::client::line::Line;
use crate::measure::meter::Pen;
use crate::measure::report::Report;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::threshold::PER_SECOND;

const ANSWERED: &str = "answered";
const BEGUN: &str = "begun";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";
/// What a read is answered with. Anything else is no read, and counts as refused.
const OK: u16 = 200;
/// What a read is, by itself.
pub(crate) const PROFILE: &str = "/api/auth/profile";
/// Connections without a rate, by themselves.
pub(crate) const CONNECTIONS: usize = 50;
/// What a read cost, in microseconds.
pub(crate) const CPU_OF_API: &str = "CPU of the api";
pub(crate) const CPU_OF_MONGO: &str = "CPU of MongoDB";

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Requests a second. Without it each connection asks again as soon as it is answered: for the most that the servers can do, not
    /// for latencies.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// How they are spread over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// What is read.
    #[arg(long, default_value = PROFILE)]
    pub(crate) path: String,
    /// Requests at the same time, beyond which none is begun, with a rate.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) most: usize,
    /// Connections, without a rate.
    #[arg(long, default_value_t = CONNECTIONS)]
    pub(crate) connections: usize,
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<Report> {
    let mut stage = Stage::new("rest", &settings.load, target);
    stage.setting("rate", settings.rate.map_or_else(|| "as fast as it goes".to_owned(), |rate| format!("{rate}/s")));
    stage.setting("path", &settings.path);
    let host = target.host.clone().context("requests need an api")?;
    match settings.rate {
        Some(rate) => on_schedule(settings, rate, &mut stage, host).await,
        None => as_fast_as_it_goes(settings, &mut stage, &host).await?,
    }
    let mut report = stage.report(&[ANSWERED]);
    conclude(&mut report);
    Ok(report)
}

async fn on_schedule(settings: &Settings, rate: f64, stage: &mut Stage, host: Host) {
    let (meter, path) = (Arc::clone(&stage.meter), settings.path.clone());
    let ask = move |number, meant| {
        let (host, path, pen) = (host.clone(), path.clone(), meter.pen(number));
        async move {
            pen.count(BEGUN, meant);
            let answer = host.get(&path).await;
            note(&pen, meant, answer.ok());
        }
    };
    arrivals(stage, Schedule::new(rate, settings.arrivals), ANSWERED, settings.most, ask).await;
}

async fn as_fast_as_it_goes(settings: &Settings, stage: &mut Stage, host: &Host) -> anyhow::Result<()> {
    stage.setting("connections", settings.connections);
    let mut lines = Vec::with_capacity(settings.connections);
    for _ in 0..settings.connections {
        lines.push(host.line(&settings.path).await.context("connecting")?);
    }
    let going = Arc::new(AtomicBool::new(true));
    let mut tasks: JoinSet<_> =
        (0..).zip(lines).map(|(index, line)| keep_asking(line, stage.meter.pen(index), Arc::clone(&going))).collect();
    stage.run(ANSWERED).await;
    going.store(false, Ordering::Relaxed);
    stage.finishing(tokio::spawn(async move { while tasks.join_next().await.is_some() {} })).await;
    Ok(())
}

/// Asks again and again, until it is to end or the connection does.
async fn keep_asking(mut line: Line, pen: Pen, going: Arc<AtomicBool>) {
    while going.load(Ordering::Relaxed) {
        let meant = pen.now();
        pen.count(BEGUN, meant);
        let answer = line.ask().await.ok();
        note(&pen, meant, answer);
        if answer.is_none() {
            return;
        }
    }
}

/// Notes an answer's status, or that there was none.
fn note(pen: &Pen, meant: u64, status: Option<u16>) {
    match status {
        Some(OK) => pen.time(ANSWERED, meant),
        Some(_) => pen.count(REFUSED, meant),
        None => pen.count(FAILED, meant),
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report) {
    let timed = report.latencies.iter().find(|latency| latency.name == ANSWERED);
    let answered = timed.map_or(0, |latency| latency.count);
    report.lost = report.count(BEGUN).saturating_sub(answered + report.count(REFUSED)) + report.count(NOT_BEGUN);
    report.figure(PER_SECOND, answered as f64 / report.seconds, "requests/s");
    if answered > 0 {
        for (name, process) in [(CPU_OF_API, "api"), (CPU_OF_MONGO, "mongo"), ("CPU of this program", "loadtest")] {
            let cpu = report.cpu_of(process);
            if cpu > 0.0 {
                report.figure(name, cpu * 1e6 / answered as f64, "us/request");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::meter::Meter;
    use crate::measure::threshold::Thresholds;

    /// The report of reads that were answered so.
    fn report(statuses: &[Option<u16>]) -> Report {
        let meter = Meter::new(1);
        meter.open();
        let pen = meter.pen(0);
        for status in statuses {
            let meant = pen.now();
            pen.count(BEGUN, meant);
            note(&pen, meant, *status);
        }
        let mut report = Report { seconds: 2.0, ..Report::default() };
        report.noted(&meter.drain(), &[ANSWERED]);
        conclude(&mut report);
        report
    }

    #[test]
    fn only_what_was_read_counts_as_done() {
        let report = report(&[Some(200), Some(200), Some(204), Some(401), None]);
        assert_eq!(report.figure_of(PER_SECOND), Some(1.0));
        assert_eq!((report.lost, report.count(REFUSED)), (1, 2));
    }

    #[test]
    fn one_read_that_is_not_answered_as_one_fails_the_run() {
        let broken = |statuses: &[Option<u16>]| Thresholds::default().broken_by(&report(statuses)).len();
        assert_eq!(broken(&[Some(200); 9]), 0);
        assert_eq!(broken(&[Some(200), Some(429)]), 1);
        assert_eq!(broken(&[Some(200), None]), 1);
    }
}
