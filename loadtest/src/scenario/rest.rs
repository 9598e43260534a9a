//! Authenticated reads of the REST side.

use anyhow::Context;
use clap::Args;

use super::Load;
use super::crowd::{NOT_BEGUN, arrivals};
use super::stage::Stage;
use super::target::Target;
use crate::measure::report::Report;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::threshold::PER_SECOND;

const ANSWERED: &str = "answered";
const BEGUN: &str = "begun";

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Requests a second.
    #[arg(long, default_value_t = 100.0)]
    pub(crate) rate: f64,
    /// How they are spread over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// What is read.
    #[arg(long, default_value = "/api/auth/profile")]
    pub(crate) path: String,
    /// Requests at the same time, beyond which none is begun.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) most: usize,
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<Report> {
    let mut stage = Stage::new("rest", &settings.load, target);
    stage.setting("rate", format!("{}/s", settings.rate));
    stage.setting("path", &settings.path);
    let host = target.host.clone().context("requests need an api")?;
    let (meter, path) = (std::sync::Arc::clone(&stage.meter), settings.path.clone());
    let ask = move |number, meant| {
        let (host, path, pen) = (host.clone(), path.clone(), meter.pen(number));
        async move {
            pen.count(BEGUN, meant);
            match host.get(&path).await {
                Ok(200..=299) => pen.time(ANSWERED, meant),
                Ok(_) => pen.count("refused", meant),
                Err(_) => pen.count("failed", meant),
            }
        }
    };
    arrivals(&mut stage, Schedule::new(settings.rate, settings.arrivals), ANSWERED, settings.most, ask).await;

    let mut report = stage.report(&[ANSWERED]);
    conclude(&mut report);
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report) {
    let answered = report.latencies.first().map_or(0, |latency| latency.count);
    report.lost = report.count(BEGUN).saturating_sub(answered + report.count("refused")) + report.count(NOT_BEGUN);
    report.figure(PER_SECOND, answered as f64 / report.seconds, "requests/s");
    if answered > 0 {
        report.figure("CPU of the api", report.cpu_of("api") * 1e6 / answered as f64, "us/request");
    }
}
