//! A client that reconnects as the official Socket.IO client does: it presents its private session
//! id and last offset, uses the same back-off, and resends unacknowledged events under the same
//! `id`. It records every event for the audit. The file has more than 400 lines, because it is the
//! one state machine of such a client.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::record::{Record, has_id};
use crate::client::engine_session::EngineSession;
use crate::client::packet::{DISCONNECT, Event, PONG, Packet};

/// Back-off of the official client: 1 s, doubled up to 5 s, with a jitter of 50 %.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// Unacknowledged events above which a client sends no new event.
const UNACKNOWLEDGED_MAX: usize = 64;
/// Delay before a refused event or join is sent again.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Time limit for an acknowledgement before the event is sent again. It is above every timeout of
/// the server.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Identity, room and nodes of a client.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    pub(crate) name: String,
    /// Name of the partner; `None` for a client that sends nothing.
    pub(crate) partner: Option<String>,
    pub(crate) room: String,
    /// `host:port` of every node.
    pub(crate) nodes: Arc<[String]>,
    /// Index of the node for the first dial; later dials use the next nodes, round robin.
    pub(crate) first_node: usize,
    /// Time between two new events.
    pub(crate) send_interval: Duration,
}

/// Command to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCommand {
    /// Send new events at the configured interval.
    SendEvents,
    /// Send no new events.
    Pause,
    /// Send DISCONNECT and stop.
    Leave,
    /// Close the socket without DISCONNECT and stop.
    Vanish,
}

/// A running client. Dropping it makes the client vanish.
#[derive(Debug)]
pub(crate) struct ReconnectingClient {
    pub(crate) name: String,
    record: Arc<Mutex<Record>>,
    commands: watch::Sender<ClientCommand>,
    /// Number of times that its socket was cut.
    cuts: watch::Sender<u32>,
}

impl ReconnectingClient {
    /// Starts the client as a task.
    pub(crate) fn start(config: ClientConfig) -> Self {
        let (commands, watched) = watch::channel(ClientCommand::SendEvents);
        let (cuts, cut) = watch::channel(0);
        let (name, record) = (config.name.clone(), Arc::new(Mutex::new(Record::default())));
        let mut task = Task {
            next_node: config.first_node,
            config,
            record: Arc::clone(&record),
            commands: watched.clone(),
            cut,
            identity: Identity::default(),
            seat: SeatState::default(),
            pending: HashMap::new(),
            resend: BTreeMap::new(),
        };
        tokio::spawn(async move {
            let mut vanish = watched;
            tokio::select! {
                _ = vanish.wait_for(|command| *command == ClientCommand::Vanish) => {}
                () = task.run() => {}
            }
        });
        Self { name, record, commands, cuts }
    }

    /// Sends a command to the client.
    pub(crate) fn command(&self, command: ClientCommand) {
        self.commands.send_replace(command);
    }

    /// Breaks the client's socket. The client reconnects and resumes.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Locks and returns the client's record.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

impl Drop for ReconnectingClient {
    fn drop(&mut self) {
        self.command(ClientCommand::Vanish);
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Credentials that the official client presents when it reconnects.
#[derive(Debug, Default)]
struct Identity {
    pid: Option<String>,
    offset: Option<String>,
}

/// Seat in the room, as far as the client knows.
#[derive(Debug, Default)]
struct SeatState {
    taken: bool,
    /// Time of the next join attempt.
    join_at: Option<Instant>,
    partner: Option<String>,
}

impl SeatState {
    /// Finds the partner in the list of a join. The partner's join event may precede it; then the
    /// peer id of that event is kept.
    fn find_partner(&mut self, payload: &Value, partner: Option<&str>) {
        let found = participants(payload).filter(|(_, name)| *name == partner).last();
        self.partner = found.map(|(peer, _)| peer.to_owned()).or(self.partner.take());
    }
}

/// Returns the participants in the payload of a join: peer id and name.
fn participants(payload: &Value) -> impl Iterator<Item = (&str, Option<&str>)> {
    let all = payload["participants"].as_array().into_iter().flatten();
    all.filter_map(|participant| Some((participant["peerId"].as_str()?, participant["user"]["name"].as_str())))
}

/// Request that waits for an acknowledgement; an event with the time of its attempt.
#[derive(Clone, Copy, Debug)]
enum PendingRequest {
    Join,
    Event(usize, Instant),
}

struct Task {
    config: ClientConfig,
    record: Arc<Mutex<Record>>,
    commands: watch::Receiver<ClientCommand>,
    cut: watch::Receiver<u32>,
    next_node: usize,
    identity: Identity,
    seat: SeatState,
    /// By acknowledgement id.
    pending: HashMap<u64, PendingRequest>,
    /// Events to send again, each with its earliest time.
    resend: BTreeMap<usize, Instant>,
}

impl Task {
    async fn run(&mut self) {
        let mut failures = 0;
        let mut lost: Option<Instant> = None;
        while !matches!(*self.commands.borrow(), ClientCommand::Leave | ClientCommand::Vanish) {
            if let Some(mut session) = self.dial().await {
                let before = lock(&self.record).connects;
                match self.run_session(&mut session, &mut lost).await {
                    Ok(()) => return,
                    Err(error) => {
                        let mut record = lock(&self.record);
                        record.connected = false;
                        if record.connects > before {
                            record.socket_losses.push(error.to_string());
                            lost = Some(Instant::now());
                            failures = 0;
                        }
                    }
                }
            }
            if failures > 0 {
                lock(&self.record).failed_dials += 1;
            }
            let delay = BACK_OFF.saturating_mul(1 << failures.min(8)).min(BACK_OFF_MAX);
            failures += 1;
            sleep(delay.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    /// Tries to open a session once on each node, as a load balancer would.
    async fn dial(&mut self) -> Option<EngineSession> {
        for _ in 0..self.config.nodes.len() {
            let node = &self.config.nodes[self.next_node % self.config.nodes.len()];
            self.next_node += 1;
            if let Ok(session) = EngineSession::open(node).await {
                return Some(session);
            }
        }
        None
    }

    /// Runs a session from CONNECT to the end of its socket. Returns `Ok` after DISCONNECT.
    async fn run_session(&mut self, session: &mut EngineSession, lost: &mut Option<Instant>) -> anyhow::Result<()> {
        let auth = match &self.identity {
            Identity { pid: Some(pid), offset: Some(offset) } => json!({ "pid": pid, "offset": offset }),
            Identity { pid: Some(pid), .. } => json!({ "pid": pid }),
            Identity { .. } => json!({}),
        };
        session.send(format!("40{auth}")).await?;
        let mut ticks = interval(self.config.send_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connected = false;
        self.cut.mark_unchanged();
        loop {
            tokio::select! {
                _ = self.cut.changed() => bail!("cut by the test"),
                packet = session.next() => match packet? {
                    Packet::Ping => session.send(PONG).await?,
                    Packet::Connected(body) => {
                        connected = true;
                        let body: Value = serde_json::from_str(body)?;
                        let pid = body["pid"].as_str().context("the CONNECT answer has no pid")?.to_owned();
                        self.on_connected(pid, session.node.clone(), lost.take());
                    }
                    Packet::Refused(body) => {
                        let body: Value = serde_json::from_str(body)?;
                        lock(&self.record).violations.push(format!("CONNECT refused: {}", body["data"]["code"]));
                        bail!("CONNECT was refused");
                    }
                    Packet::Disconnected => {
                        lock(&self.record).violations.push("the server sent DISCONNECT".into());
                        bail!("disconnected by the server");
                    }
                    Packet::Event(event) => self.on_event(event)?,
                    Packet::Ack { id, reply } => self.on_ack(id, &reply.value()?),
                    Packet::Open(_) | Packet::Other => {}
                },
                _ = ticks.tick(), if connected => self.send_due(session).await?,
                _ = self.commands.changed() => if *self.commands.borrow_and_update() == ClientCommand::Leave {
                    return session.send(DISCONNECT).await;
                },
            }
        }
    }

    fn on_connected(&mut self, pid: String, node: String, lost: Option<Instant>) {
        let now = Instant::now();
        let resumed = self.identity.pid.as_ref() == Some(&pid);
        let mut record = lock(&self.record);
        record.connected = true;
        record.connects += 1;
        record.nodes.push((node, resumed));
        if let Some(lost) = lost {
            record.longest_outage = record.longest_outage.max(now - lost);
            if resumed { record.resumed += 1 } else { record.new_sessions += 1 }
        }
        drop(record);
        // The new socket never receives acknowledgements for events of the old one.
        for (_, pending) in self.pending.drain() {
            if let PendingRequest::Event(number, _) = pending {
                self.resend.insert(number, now);
            }
        }
        if !resumed {
            self.identity = Identity { pid: Some(pid), offset: None };
        }
        if !resumed || !self.seat.taken {
            self.seat = SeatState { taken: false, join_at: Some(now), partner: None };
        }
    }

    fn on_event(&mut self, event: Event<'_>) -> anyhow::Result<()> {
        if let Some(offset) = event.offset() {
            self.identity.offset = Some(offset.to_owned());
        }
        let (name, payload) = (event.name(), event.payload()?);
        let partner = self.config.partner.as_deref();
        let mut record = lock(&self.record);
        match name {
            "webrtc:data-channel" | "webrtc:ice-candidate" if payload["user"]["name"].as_str() == partner => {
                let text = payload["message"].as_str().or_else(|| payload["candidate"]["candidate"].as_str());
                let text = text.unwrap_or_default();
                match text.split(' ').next().and_then(|number| number.parse().ok()) {
                    Some(number) => record.received.push(number),
                    None => record.violations.push("received an event that the partner did not send".into()),
                }
            }
            "room:joined" => {
                record.participants = participants(&payload).map(|(peer, _)| peer.to_owned()).collect();
                self.seat.find_partner(&payload, partner);
            }
            "room:user-joined" => {
                let peer = payload["participant"]["peerId"].as_str().map(str::to_owned);
                record.participants.extend(peer.clone());
                if payload["participant"]["user"]["name"].as_str() == partner {
                    self.seat.partner = peer;
                }
            }
            "room:user-left" => {
                record.participants.remove(payload["peerId"].as_str().unwrap_or_default());
            }
            "participant:connection-changed" if payload["state"] == "reconnecting" => {
                let peer = payload["peerId"].as_str().unwrap_or_default().to_owned();
                record.reconnecting_peers.push((peer, Instant::now()));
            }
            "room:call-ended" => record.violations.push("the call was ended".into()),
            _ => {}
        }
        Ok(())
    }

    fn on_ack(&mut self, id: u64, reply: &Value) {
        let accepted = reply["success"] == true;
        let retry_at = Instant::now() + RETRY_DELAY;
        let mut record = lock(&self.record);
        if !accepted {
            *record.refused.entry(reply["code"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        }
        match self.pending.remove(&id) {
            Some(PendingRequest::Event(number, _)) if accepted => {
                record.sent[number].acknowledged = Some(Instant::now())
            }
            Some(PendingRequest::Event(number, _)) => {
                self.resend.insert(number, retry_at);
                // Redis has lost this session, so the client takes a new seat.
                if reply["code"] == "NOT_IN_ROOM" {
                    record.violations.push("lost the seat in the room".into());
                    self.seat = SeatState { taken: false, join_at: Some(retry_at), partner: None };
                }
            }
            Some(PendingRequest::Join) if accepted => {
                self.seat.taken = true;
                record.peer_id = reply["peerId"].as_str().map(str::to_owned);
                // In a large room the list is only in the event before this acknowledgement.
                self.seat.find_partner(reply, self.config.partner.as_deref());
            }
            Some(PendingRequest::Join) => self.seat.join_at = Some(retry_at),
            None => {}
        }
    }

    /// Sends everything that is due: a join, resends in order, and a new event with the candidates
    /// behind it.
    async fn send_due(&mut self, session: &mut EngineSession) -> anyhow::Result<()> {
        let now = Instant::now();
        if !self.seat.taken {
            if self.seat.join_at.take_if(|join_at| *join_at <= now).is_some() {
                let join = json!({ "roomId": self.config.room, "guestName": self.config.name });
                return self.request(session, "room:join", &join, PendingRequest::Join).await;
            }
            return Ok(());
        }
        let Some(partner) = self.seat.partner.clone() else { return Ok(()) };
        let overdue = self
            .pending
            .extract_if(|_, pending| matches!(pending, PendingRequest::Event(_, since) if now - *since > ACK_TIMEOUT));
        let overdue: Vec<_> = overdue.collect();
        for (_, pending) in overdue {
            lock(&self.record).violations.push(format!("an event was not acknowledged within {ACK_TIMEOUT:?}"));
            if let PendingRequest::Event(number, _) = pending {
                self.resend.insert(number, now);
            }
        }
        // An earlier event that waits for its retry delays all later ones, so that the order is
        // kept.
        while let Some(first) = self.resend.first_entry().filter(|entry| *entry.get() <= now) {
            let number = first.remove_entry().0;
            self.emit(session, &partner, number).await?;
        }
        if *self.commands.borrow() == ClientCommand::SendEvents
            && self.pending.len() + self.resend.len() < UNACKNOWLEDGED_MAX
        {
            loop {
                let number = lock(&self.record).start_event(now);
                self.emit(session, &partner, number).await?;
                if has_id(number + 1) {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn emit(&mut self, session: &mut EngineSession, partner: &str, number: usize) -> anyhow::Result<()> {
        lock(&self.record).add_attempt(number);
        let text = format!("{number} of many");
        // Ids are those of one seat, and shorter than a long name.
        let (name, event) = if has_id(number) {
            let id = format!("event-{number}");
            ("webrtc:data-channel", json!({ "to": partner, "message": text, "type": "text", "id": id }))
        } else {
            ("webrtc:ice-candidate", json!({ "to": partner, "candidate": { "candidate": text } }))
        };
        self.request(session, name, &event, PendingRequest::Event(number, Instant::now())).await
    }

    async fn request(
        &mut self,
        session: &mut EngineSession,
        name: &str,
        payload: &Value,
        pending: PendingRequest,
    ) -> anyhow::Result<()> {
        let id = {
            let mut record = lock(&self.record);
            record.requests += 1;
            record.requests
        };
        self.pending.insert(id, pending);
        session.send(format!("42{id}{}", json!([name, payload]))).await
    }
}
