//! Sockets that have joined and say nothing: what one costs in memory, and whether its heartbeats go on. At the end each sends one large
//! message, to see what a buffer that was once needed leaves behind.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::crowd::{Crowd, seat};
use super::stage::Stage;
use super::target::Target;
use super::{Load, count};
use crate::client::behaviour::{Behaviour, Heard};
use crate::client::socket::Outbox;
use crate::measure::machine::Watched;
use crate::measure::meter::Pen;
use crate::measure::report::Report;
use crate::measure::stamp;
use crate::measure::threshold::PER_SECOND;

const SEATED: &str = "seated";
const EXCHANGED: &str = "large message";
const HEARTBEATS: &str = "heartbeats";
/// What a client costs the nodes, in KiB.
pub(crate) const IDLE: &str = "memory of nodes, idle";
pub(crate) const AFTER: &str = "memory of nodes, after a message each";
/// How long servers have to give memory back.
const GIVEN_BACK: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Sockets.
    #[arg(long, default_value = "1000", value_parser = count)]
    pub(crate) clients: usize,
    /// Of them in each room.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=500))]
    pub(crate) room_size: u16,
    /// Bytes of the message that each sends at the end; 0 for none.
    #[arg(long, default_value_t = 8192)]
    pub(crate) message: usize,
}

/// Counts heartbeats, and sends one message when told to.
struct Quiet {
    pen: Pen,
    next: String,
    bytes: usize,
}

impl Behaviour for Quiet {
    type Order = u64;

    fn told(&mut self, meant: u64, out: &mut Outbox) {
        let (to, body) = (&self.next, stamp::body(meant, self.bytes));
        out.text(&format!(r#"420["webrtc:offer",{{"to":"{to}","offer":{{"type":"offer","sdp":"{body}"}}}}]"#));
    }

    fn heard(&mut self, heard: &Heard<'_>, _: &mut Outbox) {
        match heard {
            Heard::Ping => self.pen.count(HEARTBEATS, self.pen.now()),
            Heard::Event(event) if event.name() == "webrtc:offer" => {
                if let Some(meant) = stamp::read(event.text()) {
                    self.pen.time(EXCHANGED, meant);
                }
            }
            Heard::Ack { answer, .. } if !answer.is_success() => self.pen.count("refused", self.pen.now()),
            _ => {}
        }
    }
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<Report> {
    let mut stage = Stage::new("idle", &settings.load, target);
    let (clients, size) = (settings.clients, usize::from(settings.room_size));
    stage.setting("clients", clients);
    stage.setting("room size", size);
    stage.setting("message", settings.message);
    let before = resident(target);
    let bar = stage.preparing("taking seats", clients);
    stage.meter.open();
    let rooms = target.rooms(clients.div_ceil(size), size).await?;
    let places = (0..clients).map(|client| (client, rooms[client / size].clone())).collect();
    let guests = seat(target, places, &bar).await?;
    let peers: Vec<_> = guests.iter().map(|guest| guest.peer.clone()).collect();
    let players = guests.into_iter().enumerate().map(|(client, guest)| {
        let pen = stage.meter.pen(client);
        pen.took(SEATED, pen.now(), u64::try_from(guest.steps[2].as_micros()).unwrap_or(u64::MAX));
        // The next one of the room, round.
        let first = client / size * size;
        let next = first + (client - first + 1) % size.min(clients - first);
        let quiet = Quiet { pen, next: peers[next].clone(), bytes: settings.message };
        (guest, quiet)
    });
    let crowd = Crowd::play(players);
    // Heartbeats count from when the window opens.
    stage.meter.close();
    stage.run(HEARTBEATS).await;
    let heartbeats = stage.counted(HEARTBEATS);
    let idle = resident(target);
    stage.meter.open();
    let mut sent = 0;
    if settings.message > 0 {
        for order in crowd.orders().iter() {
            sent += u64::from(order.try_send(stage.meter.now()).is_ok());
            // A steady flow: the point is what is left behind, not the burst.
            sleep(Duration::from_micros(200)).await;
        }
        stage.settle(|total| total.timed(EXCHANGED) + total.counted("refused") >= sent).await;
        sleep(GIVEN_BACK).await;
    }
    let after = resident(target);
    let lost_sockets = crowd.leave().await;

    let mut report = stage.report(&[SEATED, EXCHANGED]);
    report.counts.insert("sockets lost", lost_sockets);
    report.counts.insert(HEARTBEATS, heartbeats);
    let received = report.latencies.iter().find(|latency| latency.name == EXCHANGED).map_or(0, |it| it.count);
    report.lost = sent.saturating_sub(received);
    conclude(&mut report, clients, [before, idle, after]);
    Ok(report)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report, clients: usize, [before, idle, after]: [u64; 3]) {
    report.figure(PER_SECOND, report.count(HEARTBEATS) as f64 / report.seconds, "heartbeats/s");
    if before > 0 {
        let each = |now: u64| now.saturating_sub(before) as f64 / 1024.0 / clients as f64;
        report.figure(IDLE, each(idle), "KiB/client");
        report.figure(AFTER, each(after), "KiB/client");
    }
}

/// Resident bytes of all nodes that are known here.
fn resident(target: &Target) -> u64 {
    let nodes = target.watched.iter().filter(|process| process.name.starts_with("node"));
    nodes.map(|node: &Watched| node.usage().rss).sum()
}
