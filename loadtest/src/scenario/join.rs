//! Clients that dial, connect, join a room, stay for a while and leave.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::fleet::{NOT_STARTED, arrivals};
use super::relay::{CPU_OF_NODES, CPU_OF_REDIS};
use super::run::Run;
use super::target::Target;
use super::{LoadArgs, seconds};
use crate::client::guest::Guest;
use crate::client::protocol::Protocol;
use crate::measure::meter::MeterHandle;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::summary::RunSummary;
use crate::measure::threshold::PER_SECOND;

/// Time from the intended arrival to the seat.
const SEATED: &str = "seated";
const OPENED: &str = "socket open";
const CONNECTED: &str = "connected";
const STARTED: &str = "started";

/// Command-line arguments of `join`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Arrivals per second.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) rate: f64,
    /// Distribution of the arrivals over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Number of rooms, which clients join in turn.
    #[arg(long, default_value_t = 50)]
    pub(crate) rooms: usize,
    /// Time that each client stays.
    #[arg(long, default_value = "1", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) stay: Duration,
    /// Concurrent clients above which no client starts.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) max_concurrent: usize,
}

/// Runs the scenario.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<RunSummary> {
    let mut run = Run::new("join", &settings.load, target);
    run.add_setting("rate", format!("{}/s", settings.rate));
    run.add_setting("rooms", settings.rooms);
    run.add_setting("stay", format!("{} s", settings.stay.as_secs_f64()));
    run.progress("creating rooms", 1);
    let rooms: Arc<[String]> = target.rooms(settings.rooms.max(1), 500).await?.into();
    let (nodes, protocol) = (Arc::clone(&target.nodes), target.protocol);
    let (meter, stay) = (Arc::clone(&run.meter), settings.stay);
    let start_visit = move |number: usize, intended| {
        // Successive clients of a room use different nodes.
        let node = nodes[(number + number / rooms.len()) % nodes.len()].clone();
        visit(protocol, node, rooms[number % rooms.len()].clone(), stay, meter.handle(number), intended)
    };
    arrivals(&mut run, Schedule::new(settings.rate, settings.arrivals), SEATED, settings.max_concurrent, start_visit)
        .await;

    let mut summary = run.finish(&[SEATED, CONNECTED, OPENED]);
    summarize(&mut summary);
    Ok(summary)
}

async fn visit(protocol: Protocol, node: String, room: String, stay: Duration, meter: MeterHandle, intended: u64) {
    meter.count(STARTED, intended);
    let Ok(mut guest) = Guest::join_over(protocol, &node, &room, "Visitor").await else {
        return meter.count("refused", intended);
    };
    let [opened, connected, _] = guest.timings.map(|step| u64::try_from(step.as_micros()).unwrap_or(u64::MAX));
    meter.record_since(SEATED, intended);
    meter.record(OPENED, intended, opened);
    meter.record(CONNECTED, intended, connected);
    sleep(stay).await;
    protocol.send_leave(&mut guest.send_buffer);
    if guest.send_buffer.flush(&guest.socket).await.is_err() {
        meter.count("sockets lost", intended);
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summarize(summary: &mut RunSummary) {
    let seated = summary.latencies.first().map_or(0, |latency| latency.count);
    summary.lost =
        summary.count(STARTED).saturating_sub(seated + summary.count("refused")) + summary.count(NOT_STARTED);
    summary.add_figure(PER_SECOND, seated as f64 / summary.seconds, "joins/s");
    if seated > 0 {
        for (name, process) in [(CPU_OF_NODES, "node"), (CPU_OF_REDIS, "redis")] {
            let cpu = summary.cpu_of(process);
            if cpu > 0.0 {
                summary.add_figure(name, cpu * 1e6 / seated as f64, "us/join");
            }
        }
    }
}
