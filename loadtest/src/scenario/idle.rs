//! Clients that join and stay idle: their memory on the nodes, and their heartbeats. At the end
//! each client sends one large message, to show whether a buffer stays allocated after its use.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::fleet::{Fleet, seat};
use super::run::Run;
use super::target::Target;
use super::{LoadArgs, count};
use crate::client::behaviour::{Behaviour, Incoming};
use crate::client::protocol::Protocol;
use crate::client::socket::SendBuffer;
use crate::measure::machine::WatchedProcess;
use crate::measure::meter::MeterHandle;
use crate::measure::summary::RunSummary;
use crate::measure::threshold::PER_SECOND;
use crate::measure::timestamp;

const SEATED: &str = "seated";
const LARGE_MESSAGE: &str = "large message";
const HEARTBEATS: &str = "heartbeats";
/// Memory of the nodes per client, in KiB.
pub(crate) const IDLE: &str = "memory of nodes, idle";
pub(crate) const IDLE_AFTER_MESSAGE: &str = "memory of nodes, after a large message";
/// Time for the servers to release memory after the large messages.
const RELEASE_DELAY: Duration = Duration::from_secs(3);

/// Command-line arguments of `idle`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Number of clients.
    #[arg(long, default_value = "1000", value_parser = count)]
    pub(crate) clients: usize,
    /// Clients per room.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=500))]
    pub(crate) room_size: u16,
    /// Bytes of the large message that each client sends at the end; 0 for none.
    #[arg(long, default_value_t = 8192)]
    pub(crate) large_message: usize,
}

/// Counts heartbeats and sends one large message on command.
struct IdleClient {
    meter: MeterHandle,
    protocol: Protocol,
    recipient: String,
    bytes: usize,
}

impl Behaviour for IdleClient {
    type Command = u64;

    fn on_command(&mut self, intended: u64, out: &mut SendBuffer) {
        let body = timestamp::body(intended, self.bytes);
        self.protocol.send_description(0, "offer", &self.recipient, &body, out);
    }

    fn on_message(&mut self, message: &Incoming<'_>, _: &mut SendBuffer) {
        match message {
            Incoming::Ping => self.meter.count(HEARTBEATS, self.meter.now()),
            Incoming::Event(event) if event.name() == "webrtc:offer" => {
                if let Some(intended) = timestamp::read(event.text()) {
                    self.meter.record_since(LARGE_MESSAGE, intended);
                }
            }
            Incoming::Ack { reply, .. } if !reply.is_success() => self.meter.count("refused", self.meter.now()),
            _ => {}
        }
    }
}

/// Runs the scenario.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<RunSummary> {
    let mut run = Run::new("idle", &settings.load, target);
    let (clients, size) = (settings.clients, usize::from(settings.room_size));
    run.add_setting("clients", clients);
    run.add_setting("room size", size);
    run.add_setting("large message", settings.large_message);
    let before = resident_bytes(target);
    let bar = run.progress("joining", clients);
    run.meter.open_window();
    let rooms = target.rooms(clients.div_ceil(size), size).await?;
    let places = (0..clients).map(|client| (client, rooms[client / size].clone())).collect();
    let guests = seat(target, places, &bar).await?;
    let peers: Vec<_> = guests.iter().map(|guest| guest.peer_id.clone()).collect();
    let idle_clients = guests.into_iter().enumerate().map(|(client, guest)| {
        let meter = run.meter.handle(client);
        meter.record(SEATED, meter.now(), u64::try_from(guest.timings[2].as_micros()).unwrap_or(u64::MAX));
        // The recipient is the next client of the room, in a ring.
        let first = client / size * size;
        let next = first + (client - first + 1) % size.min(clients - first);
        let recipient = peers[next].clone();
        let idle_client = IdleClient { meter, protocol: target.protocol, recipient, bytes: settings.large_message };
        (guest, idle_client)
    });
    let fleet = Fleet::start(idle_clients);
    // Heartbeats before the measurement do not count.
    run.meter.close_window();
    run.measure(HEARTBEATS).await;
    let heartbeats = run.count_of(HEARTBEATS);
    let idle = resident_bytes(target);
    run.meter.open_window();
    let mut sent = 0;
    if settings.large_message > 0 {
        for sender in fleet.command_senders().iter() {
            sent += u64::from(sender.try_send(run.meter.now()).is_ok());
            // Spread the messages: the result is the memory that stays, not the burst.
            sleep(Duration::from_micros(200)).await;
        }
        run.settle(|total| total.recorded(LARGE_MESSAGE) + total.count_of("refused") >= sent).await;
        sleep(RELEASE_DELAY).await;
    }
    let after = resident_bytes(target);
    let lost_sockets = fleet.leave().await;

    let mut summary = run.finish(&[SEATED, LARGE_MESSAGE]);
    summary.counts.insert("sockets lost", lost_sockets);
    summary.counts.insert(HEARTBEATS, heartbeats);
    let received = summary.latencies.iter().find(|latency| latency.name == LARGE_MESSAGE).map_or(0, |it| it.count);
    summary.lost = sent.saturating_sub(received);
    summarize(&mut summary, clients, [before, idle, after]);
    Ok(summary)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summarize(summary: &mut RunSummary, clients: usize, [before, idle, after]: [u64; 3]) {
    summary.add_figure(PER_SECOND, summary.count(HEARTBEATS) as f64 / summary.seconds, "heartbeats/s");
    if before > 0 {
        let per_client = |now: u64| now.saturating_sub(before) as f64 / 1024.0 / clients as f64;
        summary.add_figure(IDLE, per_client(idle), "KiB/client");
        summary.add_figure(IDLE_AFTER_MESSAGE, per_client(after), "KiB/client");
    }
}

/// Resident memory of all watched nodes, in bytes.
fn resident_bytes(target: &Target) -> u64 {
    let nodes = target.watched.iter().filter(|process| process.name.starts_with("node"));
    nodes.map(|node: &WatchedProcess| node.usage().rss).sum()
}
