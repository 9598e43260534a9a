//! People who come: each dials, connects, takes a seat, stays a while and leaves.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::crowd::{NOT_BEGUN, arrivals};
use super::relay::{CPU_OF_NODES, CPU_OF_REDIS};
use super::stage::Stage;
use super::target::Target;
use super::{Load, seconds};
use crate::client::guest::Guest;
use crate::client::packet::GOODBYE;
use crate::measure::meter::Pen;
use crate::measure::report::Report;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::threshold::PER_SECOND;

/// From the moment that somebody was meant to come until the seat was given.
const SEATED: &str = "seated";
const OPENED: &str = "socket open";
const CONNECTED: &str = "connected";
const BEGUN: &str = "begun";

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// People a second.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) rate: f64,
    /// How they are spread over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Rooms that they come into, in turn.
    #[arg(long, default_value_t = 50)]
    pub(crate) rooms: usize,
    /// How long each stays.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) stay: Duration,
    /// People at the same time, beyond which no more come.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) most: usize,
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<Report> {
    let mut stage = Stage::new("join", &settings.load, target);
    stage.setting("rate", format!("{}/s", settings.rate));
    stage.setting("rooms", settings.rooms);
    stage.setting("stay", format!("{} s", settings.stay.as_secs_f64()));
    stage.preparing("making rooms", 1);
    let rooms: Arc<[String]> = target.rooms(settings.rooms.max(1), 500).await?.into();
    let (nodes, meter, stay) = (Arc::clone(&target.nodes), Arc::clone(&stage.meter), settings.stay);
    let come = move |number: usize, meant| {
        // Whoever comes into a room comes by another node than the one before.
        let node = nodes[(number + number / rooms.len()) % nodes.len()].clone();
        visit(node, rooms[number % rooms.len()].clone(), stay, meter.pen(number), meant)
    };
    arrivals(&mut stage, Schedule::new(settings.rate, settings.arrivals), SEATED, settings.most, come).await;

    let mut report = stage.report(&[SEATED, CONNECTED, OPENED]);
    conclude(&mut report);
    Ok(report)
}

async fn visit(node: String, room: String, stay: Duration, pen: Pen, meant: u64) {
    pen.count(BEGUN, meant);
    let Ok(mut guest) = Guest::enter(&node, &room, "Visitor").await else {
        return pen.count("refused", meant);
    };
    let [opened, connected, _] = guest.steps.map(|step| u64::try_from(step.as_micros()).unwrap_or(u64::MAX));
    pen.time(SEATED, meant);
    pen.took(OPENED, meant, opened);
    pen.took(CONNECTED, meant, connected);
    sleep(stay).await;
    guest.outbox.text(GOODBYE);
    if guest.outbox.flush(&guest.socket).await.is_err() {
        pen.count("sockets lost", meant);
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report) {
    let seated = report.latencies.first().map_or(0, |latency| latency.count);
    report.lost = report.count(BEGUN).saturating_sub(seated + report.count("refused")) + report.count(NOT_BEGUN);
    report.figure(PER_SECOND, seated as f64 / report.seconds, "joins/s");
    if seated > 0 {
        for (name, process) in [(CPU_OF_NODES, "node"), (CPU_OF_REDIS, "redis")] {
            let cpu = report.cpu_of(process);
            if cpu > 0.0 {
                report.figure(name, cpu * 1e6 / seated as f64, "us/join");
            }
        }
    }
}
