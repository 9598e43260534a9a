//! Authenticated reads of the REST api.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use tokio::task::JoinSet;

use super::LoadArgs;
use super::fleet::{NOT_STARTED, arrivals};
use super::run::Run;
use super::target::Target;
use crate::client::api::Account;
use crate::client::http_client::HttpClient;
use crate::measure::meter::MeterHandle;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::summary::RunSummary;
use crate::measure::threshold::PER_SECOND;

const ANSWERED: &str = "answered";
const STARTED: &str = "started";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";
/// Status of a successful read. Every other status counts as refused.
const OK: u16 = 200;
/// Default path.
pub(crate) const PROFILE: &str = "/api/auth/profile";
/// Default number of connections in closed-loop mode.
pub(crate) const CONNECTIONS: usize = 50;
/// CPU time per read, in microseconds.
pub(crate) const CPU_OF_API: &str = "CPU of the api";
pub(crate) const CPU_OF_MONGO: &str = "CPU of MongoDB";

/// Command-line arguments of `rest`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Requests per second. Without a rate each connection sends the next request when it receives
    /// a response (closed loop), which measures throughput, not latency.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Distribution of the requests over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Path to read.
    #[arg(long, default_value = PROFILE)]
    pub(crate) path: String,
    /// Requests in flight above which no request starts, with a rate.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) max_concurrent: usize,
    /// Connections, without a rate.
    #[arg(long, default_value_t = CONNECTIONS)]
    pub(crate) connections: usize,
}

/// Runs the scenario.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<RunSummary> {
    let mut run = Run::new("rest", &settings.load, target);
    run.add_setting("rate", settings.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate}/s")));
    run.add_setting("path", &settings.path);
    let account = target.account.clone().context("the rest scenario needs an api: set --api")?;
    match settings.rate {
        Some(rate) => open_loop(settings, rate, &mut run, account).await,
        None => closed_loop(settings, &mut run, &account).await?,
    }
    let mut summary = run.finish(&[ANSWERED]);
    summarize(&mut summary);
    Ok(summary)
}

async fn open_loop(settings: &Settings, rate: f64, run: &mut Run, account: Account) {
    let (meter, path) = (Arc::clone(&run.meter), settings.path.clone());
    let request = move |number, intended| {
        let (account, path, meter) = (account.clone(), path.clone(), meter.handle(number));
        async move {
            meter.count(STARTED, intended);
            let status = account.get(&path).await;
            record_status(&meter, intended, status.ok());
        }
    };
    arrivals(run, Schedule::new(rate, settings.arrivals), ANSWERED, settings.max_concurrent, request).await;
}

async fn closed_loop(settings: &Settings, run: &mut Run, account: &Account) -> anyhow::Result<()> {
    run.add_setting("connections", settings.connections);
    let mut http_clients = Vec::with_capacity(settings.connections);
    for _ in 0..settings.connections {
        http_clients.push(account.http_client(&settings.path).await.context("cannot connect to the api")?);
    }
    let running = Arc::new(AtomicBool::new(true));
    let mut tasks: JoinSet<_> = (0..)
        .zip(http_clients)
        .map(|(index, client)| repeat_request(client, run.meter.handle(index), Arc::clone(&running)))
        .collect();
    run.measure(ANSWERED).await;
    running.store(false, Ordering::Relaxed);
    run.wait_task(tokio::spawn(async move { while tasks.join_next().await.is_some() {} })).await;
    Ok(())
}

/// Repeats the request until the run ends or the connection fails.
async fn repeat_request(mut http_client: HttpClient, meter: MeterHandle, running: Arc<AtomicBool>) {
    while running.load(Ordering::Relaxed) {
        let intended = meter.now();
        meter.count(STARTED, intended);
        let status = http_client.get().await.ok();
        record_status(&meter, intended, status);
        if status.is_none() {
            return;
        }
    }
}

/// Records the status of a response; `None` when the request failed.
fn record_status(meter: &MeterHandle, intended: u64, status: Option<u16>) {
    match status {
        Some(OK) => meter.record_since(ANSWERED, intended),
        Some(_) => meter.count(REFUSED, intended),
        None => meter.count(FAILED, intended),
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summarize(summary: &mut RunSummary) {
    let timed = summary.latencies.iter().find(|latency| latency.name == ANSWERED);
    let answered = timed.map_or(0, |latency| latency.count);
    summary.lost =
        summary.count(STARTED).saturating_sub(answered + summary.count(REFUSED)) + summary.count(NOT_STARTED);
    summary.add_figure(PER_SECOND, answered as f64 / summary.seconds, "requests/s");
    if answered > 0 {
        for (name, process) in [(CPU_OF_API, "api"), (CPU_OF_MONGO, "mongo"), ("CPU of loadtest", "loadtest")] {
            let cpu = summary.cpu_of(process);
            if cpu > 0.0 {
                summary.add_figure(name, cpu * 1e6 / answered as f64, "us/request");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::meter::Meter;
    use crate::measure::threshold::Thresholds;

    /// Summary of reads with these statuses.
    fn summary_of(statuses: &[Option<u16>]) -> RunSummary {
        let all = Meter::new(1);
        all.open_window();
        let meter = all.handle(0);
        for status in statuses {
            let intended = meter.now();
            meter.count(STARTED, intended);
            record_status(&meter, intended, *status);
        }
        let mut summary = RunSummary { seconds: 2.0, ..RunSummary::default() };
        summary.add_metrics(&all.drain(), &[ANSWERED]);
        summarize(&mut summary);
        summary
    }

    #[test]
    fn only_responses_with_status_200_count_as_answered() {
        let summary = summary_of(&[Some(200), Some(200), Some(204), Some(401), None]);
        assert_eq!(summary.figure_of(PER_SECOND), Some(1.0));
        assert_eq!((summary.lost, summary.count(REFUSED)), (1, 2));
    }

    #[test]
    fn one_failed_or_refused_read_violates_the_thresholds() {
        let violations = |statuses: &[Option<u16>]| Thresholds::default().violations(&summary_of(statuses)).len();
        assert_eq!(violations(&[Some(200); 9]), 0);
        assert_eq!(violations(&[Some(200), Some(429)]), 1);
        assert_eq!(violations(&[Some(200), None]), 1);
    }
}
