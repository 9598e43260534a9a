//! A node is killed. Its clients reconnect to the other nodes at the same time, while their
//! partners keep sending to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::fleet::{Fleet, seat};
use super::run::Run;
use super::target::Target;
use super::{LoadArgs, count};
use crate::client::behaviour::{Behaviour, ClientEnd, Incoming, drive};
use crate::client::guest::{Guest, connect};
use crate::client::packet::Event;
use crate::client::socket::SendBuffer;
use crate::measure::meter::MeterHandle;
use crate::measure::pacer::Pacer;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::summary::RunSummary;
use crate::measure::threshold::PER_SECOND;
use crate::print_progress;

/// Time from the successful dial to the resumed session.
const RESUMED: &str = "resumed";
/// Time from the loss of the socket to the new connection.
const OUTAGE: &str = "without a socket";
const NEW_SESSIONS: &str = "new sessions";
/// Failed dials, including those to the killed node.
const FAILED_DIALS: &str = "failed dials";
/// Time limit of one dial.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// First back-off of the official client: 1 s with a jitter of 50 %.
const BACK_OFF_SECONDS: std::ops::Range<f64> = 0.5..1.5;
/// Time from the start of the measurement to the kill.
const KILL_DELAY: Duration = Duration::from_secs(1);

/// Command-line arguments of `storm`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Clients of the killed node; each has a partner on another node.
    #[arg(long, default_value = "500", value_parser = count)]
    pub(crate) clients: usize,
    /// Messages per second that all partners together send.
    #[arg(long, default_value_t = 200.0)]
    pub(crate) rate: f64,
}

/// Messages to one client: numbers that it received, in order, and numbers that the server
/// acknowledged to its partner.
#[derive(Debug, Default)]
struct MessageLog {
    acknowledged: Mutex<Vec<u64>>,
    received: Mutex<Vec<u64>>,
}

impl MessageLog {
    /// Counts messages that were acknowledged but not received, and messages that were received
    /// twice or late.
    fn audit(&self) -> (u64, u64) {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        (missing(&acknowledged, &received), out_of_order(&received))
    }
}

/// Counts numbers in `acknowledged` that are not in `received`.
fn missing(acknowledged: &[u64], received: &[u64]) -> u64 {
    let mut received = received.to_vec();
    received.sort_unstable();
    acknowledged.iter().filter(|number| received.binary_search(number).is_err()).count() as u64
}

/// Counts numbers that are not greater than the number before them.
fn out_of_order(received: &[u64]) -> u64 {
    received.windows(2).filter(|pair| pair[1] <= pair[0]).count() as u64
}

/// Sends messages to a client of the killed node.
struct Partner {
    to: String,
    /// Numbers sent so far. The number is also the acknowledgement id.
    sent: u64,
    log: Arc<MessageLog>,
}

impl Behaviour for Partner {
    type Command = u64;

    fn on_command(&mut self, _: u64, out: &mut SendBuffer) {
        let (id, to) = (self.sent, &self.to);
        self.sent += 1;
        out.text(&format!(r#"42{id}["webrtc:data-channel",{{"to":"{to}","message":"@{id}@","type":"text"}}]"#));
    }

    fn on_message(&mut self, message: &Incoming<'_>, _: &mut SendBuffer) {
        if let Incoming::Ack { id, reply } = message
            && reply.is_success()
        {
            self.log.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(*id);
        }
    }
}

/// A client of the killed node.
struct DisconnectedClient {
    offset: Option<String>,
    log: Arc<MessageLog>,
}

impl DisconnectedClient {
    fn record_event(&mut self, event: Event<'_>) {
        if let Some(offset) = event.offset() {
            self.offset = Some(offset.to_owned());
        }
        if let Some(number) = crate::measure::timestamp::read(event.text()) {
            self.log.received.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        }
    }
}

impl Behaviour for DisconnectedClient {
    type Command = ();

    fn on_command(&mut self, (): (), _: &mut SendBuffer) {}

    fn on_message(&mut self, message: &Incoming<'_>, _: &mut SendBuffer) {
        if let Incoming::Event(event) = message {
            self.record_event(*event);
        }
    }
}

/// Last dial and last resume, on the meter's clock in microseconds.
#[derive(Debug, Default)]
struct LastReconnect {
    dialed: AtomicU64,
    resumed: AtomicU64,
}

/// Runs a client of the killed node and reconnects it to the other nodes.
struct Reconnector {
    nodes: Arc<[String]>,
    number: usize,
    meter: MeterHandle,
    last: Arc<LastReconnect>,
}

impl Reconnector {
    async fn run(self, mut guest: Guest, mut client: DisconnectedClient, mut commands: Receiver<()>) {
        while let ClientEnd::Lost(_) = drive(&mut guest, &mut client, &mut commands).await {
            let lost = self.meter.now();
            if !self.reconnect(&mut guest, &mut client).await {
                return self.meter.count(NEW_SESSIONS, lost);
            }
            self.meter.record_since(OUTAGE, lost);
        }
    }

    /// Dials until a connection succeeds. Returns whether the session was resumed.
    async fn reconnect(&self, guest: &mut Guest, client: &mut DisconnectedClient) -> bool {
        for attempt in 1.. {
            sleep(Duration::from_secs_f64(rand::random_range(BACK_OFF_SECONDS))).await;
            // Each attempt uses the next node, as a load balancer would.
            let node = &self.nodes[(self.number + attempt) % self.nodes.len()];
            let auth = json!({ "pid": guest.pid, "offset": client.offset });
            let dialed = self.meter.now();
            let Ok(Ok(connected)) = timeout(DIAL_TIMEOUT, connect(node, &auth)).await else {
                self.meter.count(FAILED_DIALS, dialed);
                continue;
            };
            self.last.dialed.fetch_max(dialed, Ordering::Relaxed);
            let resumed = connected.pid == guest.pid;
            connected.missed_events.iter().for_each(|text| client.record_event(Event::new(text)));
            (guest.socket, guest.send_buffer) = (connected.socket, connected.send_buffer);
            if resumed {
                self.meter.record_since(RESUMED, dialed);
                self.last.resumed.fetch_max(self.meter.now(), Ordering::Relaxed);
            }
            return resumed;
        }
        false
    }
}

/// Runs the scenario.
pub(crate) async fn run(settings: &Settings, target: &mut Target) -> anyhow::Result<RunSummary> {
    ensure!(target.nodes.len() > 1, "the storm scenario needs at least 2 nodes");
    let mut run = Run::new("storm", &settings.load, target);
    run.add_setting("clients", settings.clients);
    run.add_setting("rate", format!("{}/s", settings.rate));
    let bar = run.progress("joining", settings.clients * 2);
    let rooms = target.rooms(settings.clients, 2).await?;
    let disconnected = seat(target, rooms.iter().map(|room| (0, room.clone())).collect(), &bar).await?;
    let others = target.nodes.len() - 1;
    let places = rooms.into_iter().enumerate().map(|(index, room)| (1 + index % others, room)).collect();
    let partners = seat(target, places, &bar).await?;

    let last = Arc::new(LastReconnect::default());
    let (mut logs, mut partner_clients, mut tasks): (Vec<Arc<MessageLog>>, _, JoinSet<()>) = Default::default();
    let mut senders: Vec<Sender<()>> = Vec::new();
    for (number, (client, partner)) in disconnected.into_iter().zip(partners).enumerate() {
        let log = Arc::new(MessageLog::default());
        let sender_behaviour = Partner { to: client.peer_id.clone(), sent: 0, log: Arc::clone(&log) };
        let (meter, last) = (run.meter.handle(number), Arc::clone(&last));
        let reconnector = Reconnector { nodes: Arc::clone(&target.nodes), number, meter, last };
        let (sender, commands) = channel(1);
        tasks.spawn(reconnector.run(client, DisconnectedClient { offset: None, log: Arc::clone(&log) }, commands));
        senders.push(sender);
        Vec::push(&mut partner_clients, (partner, sender_behaviour));
        logs.push(log);
    }
    let fleet = Fleet::start(partner_clients);
    let (commands, clients) = (fleet.command_senders(), settings.clients);
    let schedule = Schedule::new(settings.rate, Arrivals::Even);
    let pacer = Pacer::start(&run.meter, schedule, move |number, intended| {
        // A message that is not sent is not acknowledged either.
        let _ = commands[number % clients].try_send(intended);
    });
    let kill_delay = settings.load.warm_up + KILL_DELAY;
    let (_, killed) = tokio::join!(run.measure(RESUMED), async {
        sleep(kill_delay).await;
        kill(target).await
    });
    killed?;
    run.settle(|total| total.recorded(RESUMED) + total.count_of(NEW_SESSIONS) >= settings.clients as u64).await;
    drop(pacer);
    let sum = || logs.iter().map(|log| log.audit()).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    run.settle(|_| sum().0 == 0).await;
    let lost_sockets = fleet.leave().await;
    drop(senders);

    let acknowledged =
        logs.iter().map(|it| it.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len() as u64).sum();
    let mut summary = run.finish(&[RESUMED, OUTAGE]);
    let (missing, out_of_order) = sum();
    summary.counts.extend([("messages acknowledged", acknowledged), ("duplicated or out of order", out_of_order)]);
    summary.counts.insert("sockets lost", lost_sockets);
    summarize(&mut summary, clients as u64, missing + out_of_order, &last);
    Ok(summary)
}

/// Kills the first node of the throw-away cluster. Asks the user to do it for a given cluster.
async fn kill(target: &mut Target) -> anyhow::Result<()> {
    let Some(cluster) = &mut target.cluster else {
        print_progress("kill the first node now");
        return Ok(());
    };
    let node = cluster.nodes.first_mut().context("the cluster has no nodes")?;
    node.process().kill()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summarize(summary: &mut RunSummary, clients: u64, delivery_errors: u64, last: &LastReconnect) {
    let resumed = summary.latencies.iter().find(|latency| latency.name == RESUMED).map_or(0, |latency| latency.count);
    summary.lost = delivery_errors + clients.saturating_sub(resumed);
    summary.add_figure(PER_SECOND, resumed as f64 / summary.seconds, "resumed/s");
    let (dialed, resumed) = (last.dialed.load(Ordering::Relaxed), last.resumed.load(Ordering::Relaxed));
    summary.add_figure("last resume after the last dial", resumed.saturating_sub(dialed) as f64 / 1e6, "s");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undelivered_messages_are_missing_and_repeated_or_late_ones_are_out_of_order() {
        assert_eq!((missing(&[0, 1, 2], &[0, 1, 2, 3]), out_of_order(&[0, 1, 2, 3])), (0, 0));
        assert_eq!((missing(&[0, 1, 2], &[2, 0]), out_of_order(&[2, 0])), (1, 1));
        assert_eq!((missing(&[], &[1, 1]), out_of_order(&[1, 1])), (0, 1));
    }
}
