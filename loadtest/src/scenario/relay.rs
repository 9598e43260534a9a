//! Pairs of clients on different nodes, each pair in its own room: one offers, the other answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use tokio::sync::mpsc::Sender;

use super::background_rooms::BackgroundRooms;
use super::fleet::{Fleet, NOT_STARTED, seat_pairs};
use super::run::Run;
use super::target::Target;
use super::{LoadArgs, count};
use crate::client::behaviour::{Behaviour, Incoming};
use crate::client::guest::Guest;
use crate::client::protocol::Protocol;
use crate::client::socket::SendBuffer;
use crate::measure::meter::MeterHandle;
use crate::measure::pacer::Pacer;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::summary::RunSummary;
use crate::measure::threshold::PER_SECOND;
use crate::measure::timestamp;

/// Time from the intended sending of an offer to its receipt.
pub(crate) const OFFER: &str = "offer";
/// Time from the intended sending of an offer to the receipt of its answer.
const EXCHANGE: &str = "offer and answer";
/// Time from sending to the server's acknowledgement.
const ACKNOWLEDGED: &str = "acknowledged";
const SENT: &str = "offers sent";
/// CPU time per relay, in microseconds.
pub(crate) const CPU_OF_NODES: &str = "CPU of nodes";
pub(crate) const CPU_OF_REDIS: &str = "CPU of Redis";

/// Command-line arguments of `relay`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Number of client pairs.
    #[arg(long, default_value = "50", value_parser = count)]
    pub(crate) pairs: usize,
    /// Offers per second of all pairs together. Without a rate each pair sends the next offer when
    /// it receives an answer (closed loop), which measures throughput, not latency.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Distribution of the offers over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Bytes per SDP.
    #[arg(long, default_value_t = 1024)]
    pub(crate) bytes: usize,
    /// Offers in flight per pair, without a rate.
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// Idle rooms with one participant each, created before the run; the cost of a relay must not
    /// depend on them. Needs the address of Redis.
    #[arg(long, default_value_t = 0)]
    pub(crate) background_rooms: usize,
}

/// Sends offers, or answers to offers.
#[derive(Debug)]
struct RelayClient {
    meter: MeterHandle,
    protocol: Protocol,
    partner: String,
    bytes: usize,
    next_id: u64,
    /// Unacknowledged requests: id and time of sending, in order.
    pending: VecDeque<(u64, u64)>,
    /// Set in closed-loop mode: whether an answer triggers the next offer.
    closed_loop: Option<Arc<AtomicBool>>,
}

impl RelayClient {
    /// Sends an `offer` or `answer` with this timestamp in its body.
    fn send(&mut self, kind: &str, timestamp: u64, since: u64, out: &mut SendBuffer) {
        let (id, body) = (self.next_id, timestamp::body(timestamp, self.bytes));
        self.next_id += 1;
        self.pending.push_back((id, since));
        self.protocol.send_description(id, kind, &self.partner, &body, out);
    }

    fn offer(&mut self, intended: u64, out: &mut SendBuffer) {
        self.meter.count(SENT, intended);
        self.send("offer", intended, intended, out);
    }
}

impl Behaviour for RelayClient {
    /// Intended time of an offer.
    type Command = u64;

    fn on_command(&mut self, intended: u64, out: &mut SendBuffer) {
        self.offer(intended, out);
    }

    fn on_message(&mut self, message: &Incoming<'_>, out: &mut SendBuffer) {
        match message {
            Incoming::Event(event) => match (event.name(), timestamp::read(event.text())) {
                ("webrtc:offer", Some(intended)) => {
                    self.meter.record_since(OFFER, intended);
                    self.send("answer", intended, self.meter.now(), out);
                }
                ("webrtc:answer", Some(intended)) => {
                    self.meter.record_since(EXCHANGE, intended);
                    if self.closed_loop.as_ref().is_some_and(|closed_loop| closed_loop.load(Ordering::Relaxed)) {
                        self.offer(self.meter.now(), out);
                    }
                }
                _ => {}
            },
            Incoming::Ack { id, reply } => {
                let Some(at) = self.pending.iter().position(|(pending, _)| pending == id) else { return };
                // Earlier requests in the queue were never acknowledged.
                let since = self.pending.drain(..=at).next_back().map_or(0, |(_, since)| since);
                if reply.is_success() {
                    self.meter.record_since(ACKNOWLEDGED, since);
                } else {
                    self.meter.count("refused", since);
                }
            }
            Incoming::Ping => {}
        }
    }
}

/// Runs the scenario.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<RunSummary> {
    let mut run = Run::new("relay", &settings.load, target);
    run.add_setting("pairs", settings.pairs);
    run.add_setting("bytes", settings.bytes);
    run.add_setting("background rooms", settings.background_rooms);
    run.add_setting("rate", settings.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate}/s")));
    let background_rooms = create_background_rooms(settings, target, &run).await?;
    let bar = run.progress("joining", settings.pairs * 2);
    let seated = seat_pairs(target, settings.pairs, &bar).await?;

    let running = Arc::new(AtomicBool::new(true));
    let closed_loop = settings.rate.is_none().then(|| Arc::clone(&running));
    let client = |index: usize, partner: &Guest| RelayClient {
        meter: run.meter.handle(index),
        protocol: target.protocol,
        partner: partner.peer_id.clone(),
        bytes: settings.bytes,
        next_id: 0,
        pending: VecDeque::new(),
        closed_loop: closed_loop.clone(),
    };
    let clients = seated.into_iter().enumerate().flat_map(|(index, [caller, callee])| {
        let (offers, answers) = (client(index, &callee), client(index, &caller));
        [(caller, offers), (callee, answers)]
    });
    let fleet = Fleet::start(clients);
    let pacer = start_offers(settings, &run, &fleet.command_senders());
    run.measure(EXCHANGE).await;
    running.store(false, Ordering::Relaxed);
    drop(pacer);
    run.settle(|total| total.recorded(EXCHANGE) + total.count_of("refused") >= total.count_of(SENT)).await;
    let lost_sockets = fleet.leave().await;
    if let Some(background_rooms) = background_rooms {
        background_rooms.close().await?;
    }

    let mut summary = run.finish(&[EXCHANGE, OFFER, ACKNOWLEDGED]);
    summary.counts.insert("sockets lost", lost_sockets);
    summarize(&mut summary);
    Ok(summary)
}

/// Creates the background rooms; `None` when their number is 0.
async fn create_background_rooms(
    settings: &Settings,
    target: &Target,
    run: &Run,
) -> anyhow::Result<Option<BackgroundRooms>> {
    if settings.background_rooms == 0 {
        return Ok(None);
    }
    let bar = run.progress("creating rooms", settings.background_rooms);
    let redis = target.redis.as_deref().context("background rooms need the address of Redis: set --redis")?;
    BackgroundRooms::create(redis, settings.background_rooms, &bar)
        .await
        .map(Some)
        .context("cannot create background rooms")
}

/// Starts the offers: on schedule with a rate, else the first offers of each pair.
fn start_offers(settings: &Settings, run: &Run, commands: &Arc<Vec<Sender<u64>>>) -> Option<Pacer> {
    let callers = settings.pairs;
    let Some(rate) = settings.rate else {
        for caller in 0..callers {
            for _ in 0..settings.in_flight.max(1) {
                // The queue is longer than the offers in flight; a vanished client is already
                // counted as a lost socket.
                let _ = commands[caller * 2].try_send(run.meter.now());
            }
        }
        return None;
    };
    let (commands, meter) = (Arc::clone(commands), run.meter.handle(0));
    Some(Pacer::start(&run.meter, Schedule::new(rate, settings.arrivals), move |number, intended| {
        if commands[number % callers * 2].try_send(intended).is_err() {
            meter.count(NOT_STARTED, intended);
        }
    }))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn summarize(summary: &mut RunSummary) {
    let timed = |name| summary.latencies.iter().find(|latency| latency.name == name).map_or(0, |latency| latency.count);
    let relays = timed(OFFER) + timed(EXCHANGE);
    summary.lost = (summary.count(SENT) * 2).saturating_sub(relays) + summary.count(NOT_STARTED);
    let (relays, seconds) = (relays as f64, summary.seconds);
    summary.add_figure(PER_SECOND, relays / seconds, "relays/s");
    if relays > 0.0 {
        for (name, process) in [(CPU_OF_NODES, "node"), (CPU_OF_REDIS, "redis"), ("CPU of loadtest", "loadtest")] {
            let cpu = summary.cpu_of(process);
            if cpu > 0.0 {
                summary.add_figure(name, cpu * 1e6 / relays, "us/relay");
            }
        }
    }
}
