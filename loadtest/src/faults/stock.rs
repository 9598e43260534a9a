//! A client that behaves as the stock one does: it keeps its private id and last offset, comes back with the stock back-off,
//! and sends again, under the same `id`, what was not acknowledged. It remembers everything for the audit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::record::Record;
use crate::client::packet::{Event, GOODBYE, PONG, Packet};
use crate::client::wire::Wire;

/// The stock client's back-off: 1 s doubled up to 5 s, each 50 % more or less.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// Unacknowledged events, beyond which a client sends nothing new.
const WINDOW: usize = 64;
/// How long a refused event or join rests before it is sent again.
const REST: Duration = Duration::from_millis(200);
/// How long an acknowledgement may take before the event is sent again: above every bound of the server's.
const ACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Who a client is and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// The name of whom it talks to; nobody for one that only watches.
    pub(crate) partner: Option<String>,
    pub(crate) room: String,
    /// `host:port` of every node.
    pub(crate) nodes: Arc<[String]>,
    /// The node that it dials first; then the next, round robin.
    pub(crate) home: usize,
    /// Between two new events.
    pub(crate) pace: Duration,
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send at its pace.
    Talk,
    /// Send nothing new.
    Hush,
    /// Say goodbye.
    Leave,
    /// Vanish without a word, for good.
    Die,
}

/// A running client. It vanishes when dropped.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    record: Arc<Mutex<Record>>,
    orders: watch::Sender<Order>,
}

impl Client {
    /// Starts it.
    pub(crate) fn start(profile: Profile) -> Self {
        let (orders, watched) = watch::channel(Order::Talk);
        let (name, record) = (profile.name.clone(), Arc::new(Mutex::new(Record::default())));
        let mut task = Task {
            next_node: profile.home,
            profile,
            record: Arc::clone(&record),
            orders: watched.clone(),
            identity: Identity::default(),
            seat: Seat::default(),
            asked: HashMap::new(),
            again: BTreeMap::new(),
        };
        tokio::spawn(async move {
            let mut dies = watched;
            tokio::select! {
                _ = dies.wait_for(|order| *order == Order::Die) => {}
                () = task.live() => {}
            }
        });
        Self { name, record, orders }
    }

    /// Tells it what to do.
    pub(crate) fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    /// What it remembers.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.order(Order::Die);
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the stock client presents when it comes back.
#[derive(Debug, Default)]
struct Identity {
    pid: Option<String>,
    offset: Option<String>,
}

/// Its place in the room, as far as it knows.
#[derive(Debug, Default)]
struct Seat {
    taken: bool,
    /// When to ask for it.
    due: Option<Instant>,
    partner: Option<String>,
}

/// What an acknowledgement is for, and since when it is awaited.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Join,
    Event(usize, Instant),
}

struct Task {
    profile: Profile,
    record: Arc<Mutex<Record>>,
    orders: watch::Receiver<Order>,
    next_node: usize,
    identity: Identity,
    seat: Seat,
    /// By acknowledgement id.
    asked: HashMap<u64, Asked>,
    /// Events to send again, and from when.
    again: BTreeMap<usize, Instant>,
}

impl Task {
    async fn live(&mut self) {
        let mut failures = 0;
        let mut lost: Option<Instant> = None;
        while !matches!(*self.orders.borrow(), Order::Leave | Order::Die) {
            if let Some(mut wire) = self.dial().await {
                let before = lock(&self.record).connects;
                match self.session(&mut wire, &mut lost).await {
                    Ok(()) => return,
                    Err(error) => {
                        let mut record = lock(&self.record);
                        record.connected = false;
                        if record.connects > before {
                            record.dropped.push(error.to_string());
                            lost = Some(Instant::now());
                            failures = 0;
                        }
                    }
                }
            }
            if failures > 0 {
                lock(&self.record).vain += 1;
            }
            let growing = BACK_OFF.saturating_mul(1 << failures.min(8)).min(BACK_OFF_MAX);
            failures += 1;
            sleep(growing.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    /// One attempt to open a session: the next node, and as a load balancer would, the one after it if that one refuses.
    async fn dial(&mut self) -> Option<Wire> {
        for _ in 0..self.profile.nodes.len() {
            let node = &self.profile.nodes[self.next_node % self.profile.nodes.len()];
            self.next_node += 1;
            if let Ok(wire) = Wire::open(node).await {
                return Some(wire);
            }
        }
        None
    }

    /// From CONNECT to the end of the socket. `Ok` when it said goodbye.
    async fn session(&mut self, wire: &mut Wire, lost: &mut Option<Instant>) -> anyhow::Result<()> {
        let auth = match &self.identity {
            Identity { pid: Some(pid), offset: Some(offset) } => json!({ "pid": pid, "offset": offset }),
            Identity { pid: Some(pid), .. } => json!({ "pid": pid }),
            Identity { .. } => json!({}),
        };
        wire.send(format!("40{auth}")).await?;
        let mut ticks = interval(self.profile.pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connected = false;
        loop {
            tokio::select! {
                packet = wire.next() => match packet? {
                    Packet::Ping => wire.send(PONG).await?,
                    Packet::Connected(body) => {
                        connected = true;
                        let body: Value = serde_json::from_str(body)?;
                        self.connected(body["pid"].as_str().context("no pid")?.to_owned(), lost.take());
                    }
                    Packet::Refused(body) => {
                        let why: Value = serde_json::from_str(body)?;
                        lock(&self.record).complaints.push(format!("CONNECT refused: {}", why["data"]["code"]));
                        bail!("refused");
                    }
                    Packet::Disconnected => {
                        lock(&self.record).complaints.push("the server said goodbye".into());
                        bail!("told to go");
                    }
                    Packet::Event(event) => self.heard(event)?,
                    Packet::Ack { id, answer } => self.answered(id, &answer.value()?),
                    Packet::Open(_) | Packet::Other => {}
                },
                _ = ticks.tick(), if connected => self.speak(wire).await?,
                _ = self.orders.changed() => if *self.orders.borrow_and_update() == Order::Leave {
                    return wire.send(GOODBYE).await;
                },
            }
        }
    }

    fn connected(&mut self, pid: String, lost: Option<Instant>) {
        let now = Instant::now();
        let resumed = self.identity.pid.as_ref() == Some(&pid);
        let mut record = lock(&self.record);
        record.connected = true;
        record.connects += 1;
        if let Some(lost) = lost {
            record.longest_gap = record.longest_gap.max(now - lost);
            if resumed { record.resumed += 1 } else { record.fresh += 1 }
        }
        drop(record);
        // What was not acknowledged by the old socket never will be.
        for (_, asked) in self.asked.drain() {
            if let Asked::Event(number, _) = asked {
                self.again.insert(number, now);
            }
        }
        if !resumed {
            self.identity = Identity { pid: Some(pid), offset: None };
        }
        if !resumed || !self.seat.taken {
            self.seat = Seat { taken: false, due: Some(now), partner: None };
        }
    }

    fn heard(&mut self, event: Event<'_>) -> anyhow::Result<()> {
        if let Some(offset) = event.offset() {
            self.identity.offset = Some(offset.to_owned());
        }
        let (name, payload) = (event.name(), event.payload()?);
        let partner = self.profile.partner.as_deref();
        let mut record = lock(&self.record);
        match name {
            "webrtc:data-channel" if payload["user"]["name"].as_str() == partner => {
                let text = payload["message"].as_str().unwrap_or_default();
                match text.split(' ').next().and_then(|number| number.parse().ok()) {
                    Some(number) => record.received.push(number),
                    None => record.complaints.push("an event that nobody sent".into()),
                }
            }
            "room:user-joined" if payload["participant"]["user"]["name"].as_str() == partner => {
                self.seat.partner = payload["participant"]["peerId"].as_str().map(str::to_owned);
            }
            "participant:connection-changed" if payload["state"] == "reconnecting" => {
                let peer = payload["peerId"].as_str().unwrap_or_default().to_owned();
                record.told.push((peer, Instant::now()));
            }
            "room:call-ended" => record.complaints.push("the call was ended".into()),
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, id: u64, answer: &Value) {
        let accepted = answer["success"] == true;
        let rest = Instant::now() + REST;
        let mut record = lock(&self.record);
        if !accepted {
            *record.refused.entry(answer["code"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        }
        match self.asked.remove(&id) {
            Some(Asked::Event(number, _)) if accepted => record.sent[number].acknowledged = Some(Instant::now()),
            Some(Asked::Event(number, _)) => {
                self.again.insert(number, rest);
                // Only a client that Redis does not know any more is told so: it takes a seat again.
                if answer["code"] == "NOT_IN_ROOM" {
                    record.complaints.push("in no room any more".into());
                    self.seat = Seat { taken: false, due: Some(rest), partner: None };
                }
            }
            Some(Asked::Join) if accepted => {
                self.seat.taken = true;
                record.peer = answer["peerId"].as_str().map(str::to_owned);
                let others = answer["participants"].as_array().into_iter().flatten();
                let mut partners =
                    others.filter(|other| other["user"]["name"].as_str() == self.profile.partner.as_deref());
                let found = partners.next_back().and_then(|it| it["peerId"].as_str()).map(str::to_owned);
                // Who joined right after may have been told already: the acknowledgement comes after that event.
                self.seat.partner = found.or(self.seat.partner.take());
            }
            Some(Asked::Join) => self.seat.due = Some(rest),
            None => {}
        }
    }

    /// What is due: a seat, events that must be sent again in their order, a new event.
    async fn speak(&mut self, wire: &mut Wire) -> anyhow::Result<()> {
        let now = Instant::now();
        if !self.seat.taken {
            if self.seat.due.take_if(|due| *due <= now).is_some() {
                let join = json!({ "roomId": self.profile.room, "guestName": self.profile.name });
                return self.ask(wire, "room:join", &join, Asked::Join).await;
            }
            return Ok(());
        }
        let Some(partner) = self.seat.partner.clone() else { return Ok(()) };
        let overdue =
            self.asked.extract_if(|_, asked| matches!(asked, Asked::Event(_, since) if now - *since > ACKNOWLEDGED));
        let overdue: Vec<_> = overdue.collect();
        for (_, asked) in overdue {
            lock(&self.record).complaints.push("an event was not answered".into());
            if let Asked::Event(number, _) = asked {
                self.again.insert(number, now);
            }
        }
        // An earlier one that rests holds back the later ones.
        while let Some(first) = self.again.first_entry().filter(|entry| *entry.get() <= now) {
            let number = first.remove_entry().0;
            self.emit(wire, &partner, number).await?;
        }
        if *self.orders.borrow() == Order::Talk && self.asked.len() + self.again.len() < WINDOW {
            let number = lock(&self.record).begin(now);
            self.emit(wire, &partner, number).await?;
        }
        Ok(())
    }

    async fn emit(&mut self, wire: &mut Wire, partner: &str, number: usize) -> anyhow::Result<()> {
        lock(&self.record).attempt(number);
        let id = format!("{}-{number}", self.profile.name);
        let event = json!({ "to": partner, "message": format!("{number} of them"), "type": "text", "id": id });
        self.ask(wire, "webrtc:data-channel", &event, Asked::Event(number, Instant::now())).await
    }

    async fn ask(&mut self, wire: &mut Wire, name: &str, payload: &Value, asked: Asked) -> anyhow::Result<()> {
        let id = {
            let mut record = lock(&self.record);
            record.asks += 1;
            record.asks
        };
        self.asked.insert(id, asked);
        wire.send(format!("42{id}{}", json!([name, payload]))).await
    }
}
