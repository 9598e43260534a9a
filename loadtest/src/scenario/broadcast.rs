//! One room on all nodes: each message of one participant must reach all others.

use clap::Args;

use super::LoadArgs;
use super::fleet::{Fleet, NOT_STARTED, seat};
use super::relay::{CPU_OF_NODES, CPU_OF_REDIS};
use super::run::Run;
use super::target::Target;
use crate::client::behaviour::{Behaviour, Incoming};
use crate::client::socket::SendBuffer;
use crate::measure::meter::MeterHandle;
use crate::measure::pacer::Pacer;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::summary::RunSummary;
use crate::measure::threshold::PER_SECOND;
use crate::measure::timestamp;

const RECEIVED: &str = "received";
const SENT: &str = "sent";

/// Command-line arguments of `broadcast`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Participants in the room.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=500))]
    pub(crate) size: u16,
    /// Messages per second, sent by all participants in turn.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// Distribution of the messages over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Bytes per message.
    #[arg(long, default_value_t = 200)]
    pub(crate) bytes: usize,
}

struct Speaker {
    meter: MeterHandle,
    bytes: usize,
}

impl Behaviour for Speaker {
    type Command = u64;

    fn on_command(&mut self, intended: u64, out: &mut SendBuffer) {
        self.meter.count(SENT, intended);
        let body = timestamp::body(intended, self.bytes);
        out.text(&format!(r#"420["webrtc:data-channel",{{"message":"{body}","type":"text"}}]"#));
    }

    fn on_message(&mut self, message: &Incoming<'_>, _: &mut SendBuffer) {
        match message {
            Incoming::Event(event) => {
                if let Some(intended) = timestamp::read(event.text()) {
                    self.meter.record_since(RECEIVED, intended);
                }
            }
            Incoming::Ack { reply, .. } if !reply.is_success() => self.meter.count("refused", self.meter.now()),
            _ => {}
        }
    }
}

/// Runs the scenario.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<RunSummary> {
    let mut run = Run::new("broadcast", &settings.load, target);
    let size = usize::from(settings.size);
    run.add_setting("participants", size);
    run.add_setting("rate", format!("{}/s", settings.rate));
    run.add_setting("bytes", settings.bytes);
    let bar = run.progress("joining", size);
    let room = target.rooms(1, size).await?.remove(0);
    let places = (0..size).map(|index| (index, room.clone())).collect();
    let guests = seat(target, places, &bar).await?;
    let speaker = |index| Speaker { meter: run.meter.handle(index), bytes: settings.bytes };
    let fleet = Fleet::start(guests.into_iter().enumerate().map(|(index, guest)| (guest, speaker(index))));
    let (commands, meter) = (fleet.command_senders(), run.meter.handle(0));
    let schedule = Schedule::new(settings.rate, settings.arrivals);
    let pacer = Pacer::start(&run.meter, schedule, move |number, intended| {
        if commands[number % size].try_send(intended).is_err() {
            meter.count(NOT_STARTED, intended);
        }
    });
    run.measure(RECEIVED).await;
    drop(pacer);
    let others = size as u64 - 1;
    run.settle(|total| total.recorded(RECEIVED) + total.count_of("refused") * others >= total.count_of(SENT) * others)
        .await;
    let lost_sockets = fleet.leave().await;

    let mut summary = run.finish(&[RECEIVED]);
    summary.counts.insert("sockets lost", lost_sockets);
    summarize(&mut summary, others);
    Ok(summary)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summarize(summary: &mut RunSummary, others: u64) {
    let received = summary.latencies.first().map_or(0, |latency| latency.count);
    summary.lost = (summary.count(SENT) * others).saturating_sub(received) + summary.count(NOT_STARTED);
    summary.add_figure(PER_SECOND, received as f64 / summary.seconds, "received/s");
    if received > 0 {
        let [nodes, redis] = ["node", "redis"].map(|process| summary.cpu_of(process) * 1e6);
        if nodes > 0.0 {
            summary.add_figure(CPU_OF_NODES, nodes / received as f64, "us/received");
        }
        if redis > 0.0 {
            summary.add_figure(CPU_OF_REDIS, redis / summary.count(SENT).max(1) as f64, "us/sent");
        }
    }
}
