//! Honest load: pairs that relay offers, and clients that join calls and leave. All of it must work
//! during an attack. The clients are guests, or users of an app.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use super::attack::HonestAction;
use super::entrance::{Entrance, honest_address};
use crate::client::behaviour::{Behaviour, ClientEnd, Incoming, drive};
use crate::client::guest::Guest;
use crate::client::packet::DISCONNECT;
use crate::client::route::Route;
use crate::client::socket::SendBuffer;
use crate::measure::meter::{Meter, MeterHandle, MetricSet};
use crate::measure::pacer::Pacer;
use crate::measure::schedule::{Arrivals, Schedule};
use crate::measure::timestamp;

/// Time from the intended sending of an offer to its receipt.
const RELAY: &str = "relay";
const SENT: &str = "offers sent";
const ACKNOWLEDGED: &str = "offers acknowledged";
const REFUSED: &str = "offers refused";
/// Time from the intended start of a join to the seat: REST, socket and `room:join`.
const JOIN: &str = "join";
const JOINS: &str = "joins started";
const JOINS_FAILED: &str = "joins failed";
/// Time of the action of an honest person who has to do with the attacked object.
const ACTION: &str = "action";
const ACTIONS: &str = "actions started";
const ACTIONS_FAILED: &str = "actions failed";

/// Bytes per SDP.
const SDP_BYTES: usize = 1024;
/// Time that a guest stays.
const STAY: Duration = Duration::from_millis(500);
/// Calls that guests join in turn.
const JOIN_ROOMS: usize = 20;
/// Time limit for pending operations after a window closes.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Commands that wait for a client.
const COMMAND_QUEUE: usize = 4096;
const CONCURRENT_MAX: usize = 16;

/// Amount of honest load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HonestProfile {
    pub(crate) pairs: usize,
    /// Relays per second of each pair.
    pub(crate) relays: f64,
    /// Joins per second.
    pub(crate) joins: f64,
}

/// Refusals, errors and losses of honest clients: each text with its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles(Arc<Mutex<BTreeMap<String, u64>>>);

impl Troubles {
    fn add(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(text).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Figures of one window. Latencies are in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HonestFigures {
    pub(crate) relays: u64,
    pub(crate) relays_lost: u64,
    /// Relays without any acknowledgement. It tells a lost offer from a lost delivery.
    pub(crate) relays_unanswered: u64,
    pub(crate) relay_p50: f64,
    pub(crate) relay_p99: f64,
    pub(crate) joins: u64,
    pub(crate) join_p50: f64,
    pub(crate) join_p99: f64,
    /// 99th percentile of the action on the attacked object; 0 without one.
    pub(crate) action_p99: f64,
    /// Refusals, errors and losses, each with its number. None is allowed.
    pub(crate) troubles: BTreeMap<String, u64>,
}

/// Sends offers to the partner, or receives them.
#[derive(Debug)]
struct Talker {
    meter: MeterHandle,
    troubles: Troubles,
    partner: String,
    next_id: u64,
    /// Unacknowledged offers: id and intended start, in order.
    pending: VecDeque<(u64, u64)>,
}

impl Behaviour for Talker {
    /// Intended start of an offer.
    type Command = u64;

    fn on_command(&mut self, intended: u64, out: &mut SendBuffer) {
        let (id, to, sdp) = (self.next_id, &self.partner, timestamp::body(intended, SDP_BYTES));
        self.next_id += 1;
        self.pending.push_back((id, intended));
        out.text(&format!(r#"42{id}["webrtc:offer",{{"to":"{to}","offer":{{"type":"offer","sdp":"{sdp}"}}}}]"#));
    }

    fn on_message(&mut self, message: &Incoming<'_>, _out: &mut SendBuffer) {
        match message {
            Incoming::Event(event) if event.name() == "webrtc:offer" => {
                if let Some(intended) = timestamp::read(event.text()) {
                    self.meter.record_since(RELAY, intended);
                }
            }
            Incoming::Ack { id, reply } => {
                let Some(at) = self.pending.iter().position(|(pending, _)| pending == id) else { return };
                let Some((_, intended)) = self.pending.remove(at) else { return };
                if reply.is_success() {
                    self.meter.count(ACKNOWLEDGED, intended);
                } else {
                    self.meter.count(REFUSED, intended);
                    self.troubles.add(format!("relay {}", reply.code()));
                }
            }
            Incoming::Event(_) | Incoming::Ping => {}
        }
    }
}

/// The running honest load. It ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct HonestLoad {
    meter: Arc<Meter>,
    troubles: Troubles,
    _pacer: Pacer,
    _tasks: JoinSet<()>,
}

impl HonestLoad {
    /// Creates the calls, seats all pairs and starts the load.
    pub(crate) async fn start(
        api: &str,
        nodes: &[String],
        profile: HonestProfile,
        entrance: &Entrance,
    ) -> anyhow::Result<Self> {
        let (meter, troubles) = (Meter::new(1), Troubles::default());
        let mut rooms = entrance.create_rooms(api, profile.pairs + JOIN_ROOMS).await?;
        let join_rooms = rooms.split_off(profile.pairs);
        let mut tasks = JoinSet::new();
        let seats = rooms.into_iter().enumerate().map(|(index, room)| async move {
            let seat = |side: usize| {
                let node = &nodes[(index + side) % nodes.len()];
                let (room, number) = (&room, 2 * index + side);
                async move { entrance.seat(number, Route::new(honest_address(number), node), room).await }
            };
            anyhow::Ok([seat(0).await?, seat(1).await?])
        });
        let seated: Vec<_> = stream::iter(seats).buffered(CONCURRENT_MAX).try_collect().await.context("cannot seat")?;
        let mut callers: Vec<Sender<u64>> = Vec::new();
        let mut callees = Vec::new();
        for [caller, callee] in seated {
            let talker = |partner: &Guest| Talker {
                meter: meter.handle(0),
                troubles: troubles.clone(),
                partner: partner.peer_id.clone(),
                next_id: 0,
                pending: VecDeque::new(),
            };
            let (offers, answers) = (talker(&callee), talker(&caller));
            callers.push(spawn_talker(&mut tasks, caller, offers));
            callees.push(spawn_talker(&mut tasks, callee, answers));
        }
        // A client leaves when its command queue closes.
        tasks.spawn(async move {
            let _open = callees;
            std::future::pending().await
        });
        let joins = (join_rooms, profile.joins, entrance.clone());
        spawn_joins(&mut tasks, api, nodes, joins, (&meter, &troubles));
        #[expect(clippy::cast_precision_loss, reason = "a small number of pairs")]
        let schedule = Schedule::new(profile.relays * profile.pairs as f64, Arrivals::Even);
        let (full, started) = (troubles.clone(), meter.handle(0));
        let pacer = Pacer::start(&meter, schedule, move |number, intended| {
            started.count(SENT, intended);
            if callers[number % callers.len()].try_send(intended).is_err() {
                full.add("relay not started: the socket is lost or far behind".into());
            }
        });
        Ok(Self { meter, troubles, _pacer: pacer, _tasks: tasks })
    }

    /// Opens a measurement window.
    pub(crate) fn open_window(&self) {
        self.meter.restart_window();
    }

    /// Closes the window.
    pub(crate) fn close_window(&self) {
        self.meter.close_window();
    }

    /// Waits until all operations of the window are done, for at most 15 s. Returns its figures.
    pub(crate) async fn settle(&self) -> HonestFigures {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let mut total = self.meter.drain();
        while !is_settled(&total) && Instant::now() < deadline {
            sleep(POLL_INTERVAL).await;
            total.merge(&mut self.meter.drain());
        }
        figures(&total, self.troubles.take())
    }

    /// Starts to repeat an action, `times` in each window of this length.
    pub(crate) fn repeat(&self, action: HonestAction, window: Duration) -> JoinSet<()> {
        let (meter, troubles) = (self.meter.handle(0), self.troubles.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            // A little more often than asked, so that no window misses the action.
            let mut ticks = interval(window.mul_f64(0.9) / action.times.max(1));
            let mut running = JoinSet::new();
            loop {
                ticks.tick().await;
                while running.try_join_next().is_some() {}
                let intended = meter.now();
                meter.count(ACTIONS, intended);
                let (act, meter, troubles) = ((action.act)(), meter.clone(), troubles.clone());
                running.spawn(async move {
                    match act.await {
                        Ok(()) => meter.record_since(ACTION, intended),
                        Err(error) => {
                            meter.count(ACTIONS_FAILED, intended);
                            troubles.add(format!("{error:#}"));
                        }
                    }
                });
            }
        });
        task
    }
}

fn spawn_talker(tasks: &mut JoinSet<()>, mut guest: Guest, mut talker: Talker) -> Sender<u64> {
    let (sender, mut receiver) = channel(COMMAND_QUEUE);
    tasks.spawn(async move {
        if let ClientEnd::Lost(reason) = drive(&mut guest, &mut talker, &mut receiver).await {
            talker.troubles.add(format!("socket lost: {reason}"));
        }
    });
    sender
}

/// Starts joins on schedule, from many addresses.
fn spawn_joins(
    tasks: &mut JoinSet<()>,
    api: &str,
    nodes: &[String],
    (rooms, rate, entrance): (Vec<String>, f64, Entrance),
    (meter, troubles): (&Arc<Meter>, &Troubles),
) {
    let (api, nodes, meter, troubles) = (api.to_owned(), nodes.to_vec(), meter.handle(0), troubles.clone());
    tasks.spawn(async move {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / rate.max(0.01)));
        let mut joins = JoinSet::new();
        for number in 0_usize.. {
            ticks.tick().await;
            while joins.try_join_next().is_some() {}
            let (intended, meter, troubles) = (meter.now(), meter.clone(), troubles.clone());
            let (api, room) = (api.clone(), rooms[number % rooms.len()].clone());
            let (node, entrance) = (nodes[number % nodes.len()].clone(), entrance.clone());
            joins.spawn(async move {
                meter.count(JOINS, intended);
                match entrance.join(number, &api, &node, &room).await {
                    Ok(mut guest) => {
                        meter.record_since(JOIN, intended);
                        sleep(STAY).await;
                        guest.send_buffer.text(DISCONNECT);
                        if guest.send_buffer.flush(&guest.socket).await.is_err() {
                            troubles.add("socket lost before the leave".into());
                        }
                    }
                    Err(error) => {
                        meter.count(JOINS_FAILED, intended);
                        troubles.add(format!("join {error:#}"));
                    }
                }
            });
        }
    });
}

/// Whether every operation of the window has completed or failed.
fn is_settled(total: &MetricSet) -> bool {
    let done = |started, recorded, failed| total.count_of(started) <= total.recorded(recorded) + total.count_of(failed);
    done(SENT, RELAY, REFUSED) && done(JOINS, JOIN, JOINS_FAILED) && done(ACTIONS, ACTION, ACTIONS_FAILED)
}

fn figures(total: &MetricSet, mut troubles: BTreeMap<String, u64>) -> HonestFigures {
    let missing = |started, recorded, failed| {
        total.count_of(started).saturating_sub(total.recorded(recorded) + total.count_of(failed))
    };
    for (text, count) in [
        ("join never answered", missing(JOINS, JOIN, JOINS_FAILED)),
        ("no answer", missing(ACTIONS, ACTION, ACTIONS_FAILED)),
    ] {
        if count > 0 {
            troubles.insert(text.to_owned(), count);
        }
    }
    let ms = |name: &str, quantile| total.times.get(name).map_or(0.0, |times| milliseconds(times, quantile));
    HonestFigures {
        relays: total.recorded(RELAY),
        relays_lost: missing(SENT, RELAY, REFUSED),
        relays_unanswered: total.count_of(SENT).saturating_sub(total.count_of(ACKNOWLEDGED) + total.count_of(REFUSED)),
        relay_p50: ms(RELAY, 0.5),
        relay_p99: ms(RELAY, 0.99),
        joins: total.recorded(JOIN),
        join_p50: ms(JOIN, 0.5),
        join_p99: ms(JOIN, 0.99),
        action_p99: ms(ACTION, 0.99),
        troubles,
    }
}

#[expect(clippy::cast_precision_loss, reason = "minutes in microseconds are far below 2^53")]
fn milliseconds(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_without_an_end_are_lost_or_never_answered() {
        let mut total = MetricSet::default();
        for _ in 0..3 {
            total.count(SENT, 1);
            total.count(JOINS, 1);
        }
        total.record(RELAY, 2_000);
        total.count(REFUSED, 1);
        total.record(JOIN, 7_000);
        total.count(JOINS_FAILED, 1);
        assert!(!is_settled(&total));
        let found = figures(&total, BTreeMap::from([("relay X".to_owned(), 1)]));
        assert_eq!((found.relays, found.relays_lost, found.joins), (1, 1, 1));
        assert_eq!(found.troubles, BTreeMap::from([("relay X".to_owned(), 1), ("join never answered".to_owned(), 1)]));
        assert!((1.9..2.1).contains(&found.relay_p50) && (6.9..7.1).contains(&found.join_p99), "{found:?}");
        total.record(RELAY, 1);
        total.record(JOIN, 1);
        assert!(is_settled(&total));
    }
}
