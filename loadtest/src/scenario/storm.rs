//! A node is killed: its clients come back to the others, all at once, while their partners go on talking to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::crowd::{Crowd, seat};
use super::stage::Stage;
use super::target::Target;
use super::{Load, count};
use crate::client::behaviour::{Behaviour, Ended, Heard, play};
use crate::client::guest::{Guest, connect};
use crate::client::packet::Event;
use crate::client::socket::Outbox;
use crate::measure::meter::Pen;
use crate::measure::pacer::Pacer;
use crate::measure::report::Report;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::threshold::PER_SECOND;
use crate::tell;

/// From dialling again until the session was resumed.
const RESUMED: &str = "resumed";
/// From the loss of the socket until then.
const WITHOUT: &str = "without a socket";
const FRESH: &str = "fresh sessions";
/// Dials that came to nothing, those to the dead node too.
const IN_VAIN: &str = "dials in vain";
/// How long one may take.
const DIAL: Duration = Duration::from_secs(10);
/// The stock client's first pause is 1 s, half more or less.
const BACK_OFF: std::ops::Range<f64> = 0.5..1.5;
/// From the opening of the window until the kill.
const CALM: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Clients of the node that is killed; each has a partner on another one.
    #[arg(long, default_value = "500", value_parser = count)]
    pub(crate) clients: usize,
    /// Messages a second that the partners send to them, together.
    #[arg(long, default_value_t = 200.0)]
    pub(crate) rate: f64,
}

/// What became of one client: the numbers it received, in order, and those its partner was told are in the log.
#[derive(Debug, Default)]
struct Ledger {
    accepted: Mutex<Vec<u64>>,
    received: Mutex<Vec<u64>>,
}

impl Ledger {
    /// Messages that were accepted and never received, and those that were received twice or late.
    fn audit(&self) -> (u64, u64) {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        (missed(&accepted, &received), disorder(&received))
    }
}

/// How many of `accepted` are not in `received`.
fn missed(accepted: &[u64], received: &[u64]) -> u64 {
    let mut received = received.to_vec();
    received.sort_unstable();
    accepted.iter().filter(|number| received.binary_search(number).is_err()).count() as u64
}

/// How many do not come after all before them.
fn disorder(received: &[u64]) -> u64 {
    received.windows(2).filter(|pair| pair[1] <= pair[0]).count() as u64
}

/// Talks to a client of the node that is killed.
struct Partner {
    to: String,
    /// Numbers sent so far: each is the id of its acknowledgement too.
    sent: u64,
    ledger: Arc<Ledger>,
}

impl Behaviour for Partner {
    type Order = u64;

    fn told(&mut self, _: u64, out: &mut Outbox) {
        let (id, to) = (self.sent, &self.to);
        self.sent += 1;
        out.text(&format!(r#"42{id}["webrtc:data-channel",{{"to":"{to}","message":"@{id}@","type":"text"}}]"#));
    }

    fn heard(&mut self, heard: &Heard<'_>, _: &mut Outbox) {
        if let Heard::Ack { id, answer } = heard
            && answer.is_success()
        {
            self.ledger.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(*id);
        }
    }
}

/// A client of the node that is killed.
struct Victim {
    offset: Option<String>,
    ledger: Arc<Ledger>,
}

impl Victim {
    fn note(&mut self, event: Event<'_>) {
        if let Some(offset) = event.offset() {
            self.offset = Some(offset.to_owned());
        }
        if let Some(number) = crate::measure::stamp::read(event.text()) {
            self.ledger.received.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        }
    }
}

impl Behaviour for Victim {
    type Order = ();

    fn told(&mut self, (): (), _: &mut Outbox) {}

    fn heard(&mut self, heard: &Heard<'_>, _: &mut Outbox) {
        if let Heard::Event(event) = heard {
            self.note(*event);
        }
    }
}

/// When, on the meter's clock.
#[derive(Debug, Default)]
struct Latest {
    dialled: AtomicU64,
    resumed: AtomicU64,
}

/// A victim's life: its socket is lost, and it comes back to any other node.
struct Life {
    nodes: Arc<[String]>,
    number: usize,
    pen: Pen,
    latest: Arc<Latest>,
}

impl Life {
    async fn live(self, mut guest: Guest, mut victim: Victim, mut orders: Receiver<()>) {
        while let Ended::Lost(_) = play(&mut guest, &mut victim, &mut orders).await {
            let lost = self.pen.now();
            if !self.come_back(&mut guest, &mut victim).await {
                return self.pen.count(FRESH, lost);
            }
            self.pen.time(WITHOUT, lost);
        }
    }

    /// Dials until it is connected; whether its session was resumed.
    async fn come_back(&self, guest: &mut Guest, victim: &mut Victim) -> bool {
        for attempt in 1.. {
            sleep(Duration::from_secs_f64(rand::random_range(BACK_OFF))).await;
            // As a load balancer would: the next node, and whichever takes it.
            let node = &self.nodes[(self.number + attempt) % self.nodes.len()];
            let auth = json!({ "pid": guest.pid, "offset": victim.offset });
            let dialled = self.pen.now();
            let Ok(Ok(back)) = timeout(DIAL, connect(node, &auth)).await else {
                self.pen.count(IN_VAIN, dialled);
                continue;
            };
            self.latest.dialled.fetch_max(dialled, Ordering::Relaxed);
            let resumed = back.pid == guest.pid;
            back.missed.iter().for_each(|text| victim.note(Event::of(text)));
            (guest.socket, guest.outbox) = (back.socket, back.outbox);
            if resumed {
                self.pen.time(RESUMED, dialled);
                self.latest.resumed.fetch_max(self.pen.now(), Ordering::Relaxed);
            }
            return resumed;
        }
        false
    }
}

/// Runs it.
pub(crate) async fn run(settings: &Settings, target: &mut Target) -> anyhow::Result<Report> {
    ensure!(target.nodes.len() > 1, "there must be another node to come back to");
    let mut stage = Stage::new("storm", &settings.load, target);
    stage.setting("clients", settings.clients);
    stage.setting("rate", format!("{}/s", settings.rate));
    let bar = stage.preparing("taking seats", settings.clients * 2);
    let rooms = target.rooms(settings.clients, 2).await?;
    let victims = seat(target, rooms.iter().map(|room| (0, room.clone())).collect(), &bar).await?;
    let others = target.nodes.len() - 1;
    let places = rooms.into_iter().enumerate().map(|(index, room)| (1 + index % others, room)).collect();
    let partners = seat(target, places, &bar).await?;

    let latest = Arc::new(Latest::default());
    let (mut ledgers, mut talkers, mut tasks): (Vec<Arc<Ledger>>, _, JoinSet<()>) = Default::default();
    let mut stays: Vec<Sender<()>> = Vec::new();
    for (number, (victim, partner)) in victims.into_iter().zip(partners).enumerate() {
        let ledger = Arc::new(Ledger::default());
        let talker = Partner { to: victim.peer.clone(), sent: 0, ledger: Arc::clone(&ledger) };
        let (pen, latest) = (stage.meter.pen(number), Arc::clone(&latest));
        let life = Life { nodes: Arc::clone(&target.nodes), number, pen, latest };
        let (stay, orders) = channel(1);
        tasks.spawn(life.live(victim, Victim { offset: None, ledger: Arc::clone(&ledger) }, orders));
        stays.push(stay);
        Vec::push(&mut talkers, (partner, talker));
        ledgers.push(ledger);
    }
    let crowd = Crowd::play(talkers);
    let (orders, clients) = (crowd.orders(), settings.clients);
    let schedule = Schedule::new(settings.rate, Arrivals::Even);
    let pacer = Pacer::start(&stage.meter, schedule, move |number, meant| {
        // One that is not sent is not accepted either.
        let _ = orders[number % clients].try_send(meant);
    });
    let calm = settings.load.warm_up + CALM;
    let (_, killed) = tokio::join!(stage.run(RESUMED), async {
        sleep(calm).await;
        kill(target).await
    });
    killed?;
    stage.settle(|total| total.timed(RESUMED) + total.counted(FRESH) >= settings.clients as u64).await;
    drop(pacer);
    let sum = || ledgers.iter().map(|ledger| ledger.audit()).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    stage.settle(|_| sum().0 == 0).await;
    let lost_sockets = crowd.leave().await;
    drop(stays);

    let accepted =
        ledgers.iter().map(|it| it.accepted.lock().unwrap_or_else(PoisonError::into_inner).len() as u64).sum();
    let mut report = stage.report(&[RESUMED, WITHOUT]);
    let (missed, disorder) = sum();
    report.counts.extend([("messages accepted", accepted), ("doubled or out of order", disorder)]);
    report.counts.insert("sockets lost", lost_sockets);
    conclude(&mut report, clients as u64, missed + disorder, &latest);
    Ok(report)
}

/// Kills the first node of the throw-away cluster; asks for it otherwise.
async fn kill(target: &mut Target) -> anyhow::Result<()> {
    let Some(cluster) = &mut target.own else {
        tell("kill the first node now");
        return Ok(());
    };
    let node = cluster.nodes.first_mut().context("a cluster without nodes")?;
    node.process().kill()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn conclude(report: &mut Report, clients: u64, wrong: u64, latest: &Latest) {
    let resumed = report.latencies.iter().find(|latency| latency.name == RESUMED).map_or(0, |latency| latency.count);
    report.lost = wrong + clients.saturating_sub(resumed);
    report.figure(PER_SECOND, resumed as f64 / report.seconds, "resumed/s");
    let (dialled, resumed) = (latest.dialled.load(Ordering::Relaxed), latest.resumed.load(Ordering::Relaxed));
    report.figure("last resumed after the last one dialled", resumed.saturating_sub(dialled) as f64 / 1e6, "s");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_and_never_came_is_missed_and_what_came_twice_or_late_is_disorder() {
        assert_eq!((missed(&[0, 1, 2], &[0, 1, 2, 3]), disorder(&[0, 1, 2, 3])), (0, 0));
        assert_eq!((missed(&[0, 1, 2], &[2, 0]), disorder(&[2, 0])), (1, 1));
        assert_eq!((missed(&[], &[1, 1]), disorder(&[1, 1])), (0, 1));
    }
}
