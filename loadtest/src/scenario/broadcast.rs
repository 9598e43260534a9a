//! One room: what somebody says to all reaches everybody else, on every node.

use clap::Args;

use super::Load;
use super::crowd::{Crowd, NOT_BEGUN, seat};
use super::relay::{CPU_OF_NODES, CPU_OF_REDIS};
use super::stage::Stage;
use super::target::Target;
use crate::client::behaviour::{Behaviour, Heard};
use crate::client::socket::Outbox;
use crate::measure::meter::Pen;
use crate::measure::pacer::Pacer;
use crate::measure::report::Report;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::stamp;
use crate::measure::threshold::PER_SECOND;

const RECEIVED: &str = "received";
const SENT: &str = "sent";

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// People in the room.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=500))]
    pub(crate) size: u16,
    /// Messages a second, by everybody in turn.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) rate: f64,
    /// How they are spread over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Bytes of a message.
    #[arg(long, default_value_t = 200)]
    pub(crate) bytes: usize,
}

struct Voice {
    pen: Pen,
    bytes: usize,
}

impl Behaviour for Voice {
    type Order = u64;

    fn told(&mut self, meant: u64, out: &mut Outbox) {
        self.pen.count(SENT, meant);
        let body = stamp::body(meant, self.bytes);
        out.text(&format!(r#"420["webrtc:data-channel",{{"message":"{body}","type":"text"}}]"#));
    }

    fn heard(&mut self, heard: &Heard<'_>, _: &mut Outbox) {
        match heard {
            Heard::Event(event) => {
                if let Some(meant) = stamp::read(event.text()) {
                    self.pen.time(RECEIVED, meant);
                }
            }
            Heard::Ack { answer, .. } if !answer.is_success() => self.pen.count("refused", self.pen.now()),
            _ => {}
        }
    }
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<Report> {
    let mut stage = Stage::new("broadcast", &settings.load, target);
    let size = usize::from(settings.size);
    stage.setting("people", size);
    stage.setting("rate", format!("{}/s", settings.rate));
    stage.setting("bytes", settings.bytes);
    let bar = stage.preparing("taking seats", size);
    let room = target.rooms(1, size).await?.remove(0);
    let places = (0..size).map(|index| (index, room.clone())).collect();
    let guests = seat(target, places, &bar).await?;
    let voice = |index| Voice { pen: stage.meter.pen(index), bytes: settings.bytes };
    let crowd = Crowd::play(guests.into_iter().enumerate().map(|(index, guest)| (guest, voice(index))));
    let (orders, pen) = (crowd.orders(), stage.meter.pen(0));
    let schedule = Schedule::new(settings.rate, settings.arrivals);
    let pacer = Pacer::start(&stage.meter, schedule, move |number, meant| {
        if orders[number % size].try_send(meant).is_err() {
            pen.count(NOT_BEGUN, meant);
        }
    });
    stage.run(RECEIVED).await;
    drop(pacer);
    let others = size as u64 - 1;
    stage
        .settle(|total| total.timed(RECEIVED) + total.counted("refused") * others >= total.counted(SENT) * others)
        .await;
    let lost_sockets = crowd.leave().await;

    let mut report = stage.report(&[RECEIVED]);
    report.counts.insert("sockets lost", lost_sockets);
    conclude(&mut report, others);
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report, others: u64) {
    let received = report.latencies.first().map_or(0, |latency| latency.count);
    report.lost = (report.count(SENT) * others).saturating_sub(received) + report.count(NOT_BEGUN);
    report.figure(PER_SECOND, received as f64 / report.seconds, "received/s");
    if received > 0 {
        let [nodes, redis] = ["node", "redis"].map(|process| report.cpu_of(process) * 1e6);
        if nodes > 0.0 {
            report.figure(CPU_OF_NODES, nodes / received as f64, "us/received");
        }
        if redis > 0.0 {
            report.figure(CPU_OF_REDIS, redis / report.count(SENT).max(1) as f64, "us/sent");
        }
    }
}
