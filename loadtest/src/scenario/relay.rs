//! Pairs of clients on different nodes, each in a room of its own: one offers, the other answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use tokio::sync::mpsc::Sender;

use super::ballast::Ballast;
use super::crowd::{Crowd, NOT_BEGUN, pairs};
use super::stage::Stage;
use super::target::Target;
use super::{Load, count};
use crate::client::behaviour::{Behaviour, Heard};
use crate::client::guest::Guest;
use crate::client::socket::Outbox;
use crate::measure::meter::Pen;
use crate::measure::pacer::Pacer;
use crate::measure::report::Report;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::stamp;
use crate::measure::threshold::PER_SECOND;

/// From the moment that an offer was meant to be sent until it is received.
pub(crate) const OFFER: &str = "offer";
/// Until its answer is received.
const EXCHANGE: &str = "offer and answer";
/// Until the server says that it has it.
const ACKNOWLEDGED: &str = "acknowledged";
const SENT: &str = "offers sent";
/// What a relay cost, in microseconds.
pub(crate) const CPU_OF_NODES: &str = "CPU of nodes";
pub(crate) const CPU_OF_REDIS: &str = "CPU of Redis";

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Pairs of clients.
    #[arg(long, default_value = "50", value_parser = count)]
    pub(crate) pairs: usize,
    /// Offers a second of all pairs together. Without it each pair goes on as soon as its answer is there: for the most that the
    /// servers can do, not for latencies.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// How the offers are spread over time.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) arrivals: Arrivals,
    /// Bytes of an SDP.
    #[arg(long, default_value_t = 1024)]
    pub(crate) bytes: usize,
    /// Offers that a pair has under way at once, without a rate.
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// Rooms that are there besides, with somebody in each: what a relay costs is to stay the same. Needs the address of Redis.
    #[arg(long, default_value_t = 0)]
    pub(crate) rooms_besides: usize,
}

/// Offers, or answers to offers.
#[derive(Debug)]
struct Party {
    pen: Pen,
    partner: String,
    bytes: usize,
    asked: u64,
    /// What is not acknowledged yet: id and moment of its sending, in order.
    pending: VecDeque<(u64, u64)>,
    /// Whether the answer to an offer begins the next one.
    again: Option<Arc<AtomicBool>>,
}

impl Party {
    /// Sends an `offer` or `answer` that carries this stamp.
    fn send(&mut self, kind: &str, stamp: u64, since: u64, out: &mut Outbox) {
        let (id, body) = (self.asked, stamp::body(stamp, self.bytes));
        self.asked += 1;
        self.pending.push_back((id, since));
        let to = &self.partner;
        out.text(&format!(r#"42{id}["webrtc:{kind}",{{"to":"{to}","{kind}":{{"type":"{kind}","sdp":"{body}"}}}}]"#));
    }

    fn offer(&mut self, meant: u64, out: &mut Outbox) {
        self.pen.count(SENT, meant);
        self.send("offer", meant, meant, out);
    }
}

impl Behaviour for Party {
    /// To offer, at the moment that was meant.
    type Order = u64;

    fn told(&mut self, meant: u64, out: &mut Outbox) {
        self.offer(meant, out);
    }

    fn heard(&mut self, heard: &Heard<'_>, out: &mut Outbox) {
        match heard {
            Heard::Event(event) => match (event.name(), stamp::read(event.text())) {
                ("webrtc:offer", Some(meant)) => {
                    self.pen.time(OFFER, meant);
                    self.send("answer", meant, self.pen.now(), out);
                }
                ("webrtc:answer", Some(meant)) => {
                    self.pen.time(EXCHANGE, meant);
                    if self.again.as_ref().is_some_and(|again| again.load(Ordering::Relaxed)) {
                        self.offer(self.pen.now(), out);
                    }
                }
                _ => {}
            },
            Heard::Ack { id, answer } => {
                let Some(at) = self.pending.iter().position(|(asked, _)| asked == id) else { return };
                // Those before it were never answered.
                let since = self.pending.drain(..=at).next_back().map_or(0, |(_, since)| since);
                if answer.is_success() {
                    self.pen.time(ACKNOWLEDGED, since);
                } else {
                    self.pen.count("refused", since);
                }
            }
            Heard::Ping => {}
        }
    }
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &Target) -> anyhow::Result<Report> {
    let mut stage = Stage::new("relay", &settings.load, target);
    stage.setting("pairs", settings.pairs);
    stage.setting("bytes", settings.bytes);
    stage.setting("rooms besides", settings.rooms_besides);
    stage.setting("rate", settings.rate.map_or_else(|| "as fast as it goes".to_owned(), |rate| format!("{rate}/s")));
    let ballast = ballast(settings, target, &stage).await?;
    let bar = stage.preparing("taking seats", settings.pairs * 2);
    let seated = pairs(target, settings.pairs, &bar).await?;

    let going = Arc::new(AtomicBool::new(true));
    let again = settings.rate.is_none().then(|| Arc::clone(&going));
    let party = |index: usize, partner: &Guest| Party {
        pen: stage.meter.pen(index),
        partner: partner.peer.clone(),
        bytes: settings.bytes,
        asked: 0,
        pending: VecDeque::new(),
        again: again.clone(),
    };
    let players = seated.into_iter().enumerate().flat_map(|(index, [caller, callee])| {
        let (offers, answers) = (party(index, &callee), party(index, &caller));
        [(caller, offers), (callee, answers)]
    });
    let crowd = Crowd::play(players);
    let pacer = begin(settings, &stage, &crowd.orders());
    stage.run(EXCHANGE).await;
    going.store(false, Ordering::Relaxed);
    drop(pacer);
    stage.settle(|total| total.timed(EXCHANGE) + total.counted("refused") >= total.counted(SENT)).await;
    let lost_sockets = crowd.leave().await;
    if let Some(ballast) = ballast {
        ballast.lift().await?;
    }

    let mut report = stage.report(&[EXCHANGE, OFFER, ACKNOWLEDGED]);
    report.counts.insert("sockets lost", lost_sockets);
    conclude(&mut report);
    Ok(report)
}

/// The rooms that are there besides, if there are to be any.
async fn ballast(settings: &Settings, target: &Target, stage: &Stage) -> anyhow::Result<Option<Ballast>> {
    if settings.rooms_besides == 0 {
        return Ok(None);
    }
    let bar = stage.preparing("making rooms", settings.rooms_besides);
    let redis = target.redis.as_deref().context("rooms besides need the address of Redis")?;
    Ballast::lay(redis, settings.rooms_besides, &bar).await.map(Some).context("making rooms besides")
}

/// Begins the offers: on schedule, or each pair's first ones.
fn begin(settings: &Settings, stage: &Stage, orders: &Arc<Vec<Sender<u64>>>) -> Option<Pacer> {
    let callers = settings.pairs;
    let Some(rate) = settings.rate else {
        for caller in 0..callers {
            for _ in 0..settings.in_flight.max(1) {
                // The queue is longer than what is in flight; a client that is gone already shows as a lost socket.
                let _ = orders[caller * 2].try_send(stage.meter.now());
            }
        }
        return None;
    };
    let (orders, pen) = (Arc::clone(orders), stage.meter.pen(0));
    Some(Pacer::start(&stage.meter, Schedule::new(rate, settings.arrivals), move |number, meant| {
        if orders[number % callers * 2].try_send(meant).is_err() {
            pen.count(NOT_BEGUN, meant);
        }
    }))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report) {
    let timed = |name| report.latencies.iter().find(|latency| latency.name == name).map_or(0, |latency| latency.count);
    let relays = timed(OFFER) + timed(EXCHANGE);
    report.lost = (report.count(SENT) * 2).saturating_sub(relays) + report.count(NOT_BEGUN);
    let (relays, seconds) = (relays as f64, report.seconds);
    report.figure(PER_SECOND, relays / seconds, "relays/s");
    if relays > 0.0 {
        for (name, process) in [(CPU_OF_NODES, "node"), (CPU_OF_REDIS, "redis"), ("CPU of this program", "loadtest")] {
            let cpu = report.cpu_of(process);
            if cpu > 0.0 {
                report.figure(name, cpu * 1e6 / relays, "us/relay");
            }
        }
    }
}
