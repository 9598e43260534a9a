//! State of a simulated cluster, without Redis, which is real; and one random step after another.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use switchboard_core::domain::RoomId;
use switchboard_rooms::{CaughtUp, LogEntry, LogId, Seat};
use switchboard_socketio::send_queue::Queue;

use super::rng::Rng;
use super::store::Store;
use crate::delivery::mutation::Rule;
use crate::delivery::{CatchUpRequest, Hub, SessionLink};

/// Rules that a run keeps. A test switches one off to prove that the audit finds the missing rule.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// The rule of delivery that is switched off, if any.
    pub(crate) without: Option<Rule>,
    /// Reads the log after a gap in a subscription.
    pub(crate) catch_up: bool,
    /// Does not use a log that was trimmed while it was read.
    pub(crate) whole: bool,
    /// Checks a session's seat after a gap.
    pub(crate) seat: bool,
    /// Puts a node's seats back after Redis lost its data.
    pub(crate) reseat: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self { without: None, catch_up: true, whole: true, reseat: true, seat: true };
}

/// Request of a node to Redis.
#[derive(Debug)]
pub(crate) enum Ask {
    Join {
        pid: String,
        old: Option<String>,
    },
    Attach {
        pid: String,
        offset: LogId,
        patient: bool,
    },
    Send {
        to: Option<String>,
        event: String,
        number: u64,
    },
    Detach,
    Leave,
    Read(CatchUpRequest),
    Reseat,
    /// A heartbeat on the ring.
    Beat,
    /// A check of the registration in the partition.
    Check,
}

/// Answer of Redis.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Vec<String>),
    Attached(Vec<String>, Option<Vec<LogEntry>>),
    Log(CaughtUp),
}

/// A request in a node's lane.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) session: Option<usize>,
    pub(crate) ask: Ask,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// The session's script has not answered.
    Pending,
    Live,
    Dead,
}

/// A session of a node: the delivery of a real node, and what its dispatcher and its transport keep
/// beside it.
pub(crate) struct Session {
    pub(crate) link: Arc<SessionLink>,
    /// The messages that delivery sends.
    pub(crate) queue: Arc<Queue>,
    pub(crate) socket: usize,
    /// The seat that join or attach gave.
    pub(crate) seat: Option<Arc<Seat>>,
    pub(crate) phase: Phase,
    /// The session lost its seat or its socket before its script answered.
    pub(crate) doomed: bool,
}

/// A node. The struct has more than eight fields, because it stands for a whole process: its
/// delivery, its membership, its lane and its subscription.
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) alive: bool,
    pub(crate) paused: bool,
    /// Number of requests that were sent when the node was paused.
    pub(crate) on_wire: usize,
    pub(crate) hub: Hub,
    pub(crate) subscribed: bool,
    /// The subscription is back, and delivery does not know yet.
    pub(crate) unreported: bool,
    /// The node is on the ring, and registered in the partition, as far as it knows.
    pub(crate) on_ring: bool,
    pub(crate) registered: bool,
    pub(crate) registration: String,
    /// The node was declared dead and does not know yet whether Redis lost its data.
    pub(crate) swept: bool,
    /// Epoch of the data; changes when Redis loses them.
    pub(crate) data_epoch: String,
    pub(crate) beats: u64,
    pub(crate) inbox: VecDeque<Bytes>,
    pub(crate) lane: VecDeque<Request>,
    pub(crate) answers: VecDeque<(Request, Answer)>,
    /// Indexes of the node's sessions.
    pub(crate) sessions: Vec<usize>,
}

impl Node {
    pub(crate) fn new(id: String, alive: bool) -> Self {
        Self {
            id,
            alive,
            paused: false,
            on_wire: 0,
            hub: Hub::new(1),
            subscribed: alive,
            unreported: false,
            on_ring: false,
            registered: false,
            registration: String::new(),
            swept: false,
            data_epoch: String::new(),
            beats: 0,
            inbox: VecDeque::new(),
            lane: VecDeque::new(),
            answers: VecDeque::new(),
            sessions: Vec::new(),
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.alive && !self.paused
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ToServer {
    Connect { pid: Option<String>, offset: LogId },
    Join { pid: String, old: Option<String> },
    Send { to: Option<String>, event: String },
    Leave,
    Eof,
}

#[derive(Clone, Debug)]
pub(crate) enum ToClient {
    Fresh,
    Joined { id: LogId, peer: String, pid: String },
    Resumed,
    Event { id: LogId, event: String },
    Tick { offset: LogId },
    Ack,
}

/// A connection. Each end closes by itself, because it may not know that the other end has closed.
pub(crate) struct Socket {
    pub(crate) client: usize,
    pub(crate) node: usize,
    pub(crate) server_open: bool,
    pub(crate) client_open: bool,
    /// The server does not know yet that the client is gone.
    pub(crate) half_open: bool,
    pub(crate) up: VecDeque<ToServer>,
    pub(crate) down: VecDeque<ToClient>,
    pub(crate) session: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Out,
    Joining,
    In,
}

pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) room: RoomId,
    pub(crate) socket: Option<usize>,
    pub(crate) place: Place,
    pub(crate) pid: Option<String>,
    pub(crate) old_pid: Option<String>,
    pub(crate) offset: LogId,
    /// Index of the client's present life.
    pub(crate) life: Option<usize>,
    pub(crate) sent: u64,
}

/// Events that a client received from one join to its end, over all of its sockets.
pub(crate) struct Life {
    pub(crate) client: usize,
    pub(crate) peer: String,
    pub(crate) start: LogId,
    pub(crate) got: Vec<(LogId, String)>,
    pub(crate) over: bool,
}

/// A sweep in progress.
pub(crate) struct Sweep {
    pub(crate) node: String,
    /// Name of the sweep.
    pub(crate) name: String,
    /// Registration of the node before it was declared dead, until it is removed.
    pub(crate) registration: Option<String>,
}

/// Counts of the events of a run, so that a test can check that a run was not idle.
#[derive(Default, Debug, Clone)]
pub(crate) struct Tally(pub(crate) BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) rules: Rules,
    pub(crate) store: Store,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) lives: Vec<Life>,
    pub(crate) sweeps: Vec<Sweep>,
    /// Sender of each event, and whether it was acknowledged.
    pub(crate) sent: HashMap<String, (usize, bool)>,
    pub(crate) violations: Vec<String>,
    pub(crate) tally: Tally,
    /// Number of faults in 1,000 steps.
    pub(crate) faults: usize,
    /// Whether Redis loses its data sometimes.
    pub(crate) lossy: bool,
    serial: u64,
    seed: u64,
    /// What each step did, to read a schedule that fails.
    pub(crate) trace: Vec<String>,
}

pub(crate) const NODES: usize = 3;
pub(crate) const CLIENTS: usize = 6;

impl World {
    pub(crate) fn new(seed: u64, rules: Rules, mut store: Store) -> Self {
        let rooms: Vec<RoomId> = store.logs.keys().cloned().collect();
        for room in &rooms {
            store.open(room);
        }
        // Two of the clients are two devices of one user in the same room.
        store.trusts_trimmed = !rules.whole;
        store.trusts_gaps = !rules.seat;
        let clients = (0..CLIENTS).map(|index| Client {
            user: format!("u{}", if index == CLIENTS - 1 { 1 } else { index }),
            room: rooms[index % rooms.len()].clone(),
            socket: None,
            place: Place::Out,
            pid: None,
            old_pid: None,
            offset: LogId::default(),
            life: None,
            sent: 0,
        });
        let mut world = Self {
            rng: Rng::new(seed),
            rules,
            store,
            nodes: Vec::new(),
            clients: clients.collect(),
            sockets: Vec::new(),
            sessions: Vec::new(),
            lives: Vec::new(),
            sweeps: Vec::new(),
            sent: HashMap::new(),
            violations: Vec::new(),
            tally: Tally::default(),
            faults: 15,
            lossy: false,
            serial: 0,
            seed,
            trace: Vec::new(),
        };
        for node in 0..NODES {
            world.nodes.push(Node::new(String::new(), false));
            world.boot(node);
        }
        world
    }

    /// Returns a number that was not returned before.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Starts a node with a new name.
    pub(crate) fn boot(&mut self, node: usize) {
        let id = format!("n{node}.{}", self.fresh());
        self.store.subscribe(&id);
        let registration = format!("r{}", self.fresh());
        self.nodes[node] = Node { registration, ..Node::new(id, true) };
        self.ask(node, None, Ask::Beat);
    }

    pub(crate) fn ask(&mut self, node: usize, session: Option<usize>, ask: Ask) {
        self.nodes[node].lane.push_back(Request { session, ask });
    }

    /// Runs one random step. Its number and the seed decide it, so that a schedule may leave out
    /// steps without a change of the others.
    pub(crate) fn step(&mut self, number: u64) {
        self.rng = Rng::of(self.seed, number);
        if self.rng.chance(self.faults) {
            let node = self.rng.below(NODES);
            self.fault(node);
            self.collect();
            return;
        }
        let node = self.rng.below(NODES);
        let client = self.rng.below(CLIENTS);
        if self.nodes[node].runs() && self.rng.chance(30) {
            self.repair_subscription(node);
        }
        match self.rng.below(985) {
            0..340 => {
                let runs = self.nodes[node].runs();
                // Redis executes requests that were sent, even while the node is paused.
                if runs || (self.nodes[node].alive && self.nodes[node].on_wire > 0 && self.rng.chance(300)) {
                    self.nodes[node].on_wire = self.nodes[node].on_wire.saturating_sub(1);
                    self.execute(node);
                }
            }
            340..600 if self.nodes[node].runs() => drop(self.take_answer(node)),
            600..720 if self.nodes[node].runs() => drop(self.take_message(node)),
            720..820 => {
                let idle = !self.client_receives(client);
                if idle && self.rng.chance(500) {
                    self.client_notices(client);
                }
            }
            820..900 if self.nodes[node].runs() => {
                let waiting: Vec<usize> = self.sockets_of(node).filter(|s| !self.sockets[*s].up.is_empty()).collect();
                if let Some(socket) = self.rng.pick(&waiting) {
                    self.server_receives(socket);
                }
            }
            900.. => self.client_acts(client),
            _ => {}
        }
        self.collect();
    }

    /// Notes what happens.
    pub(crate) fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    /// Returns the open connections of a node.
    pub(crate) fn sockets_of(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.sockets.len()).filter(move |s| self.sockets[*s].node == node && self.sockets[*s].server_open)
    }

    /// Delivers published messages to the nodes that are subscribed.
    pub(crate) fn collect(&mut self) {
        for (channel, message) in self.store.published() {
            let keys = &self.store.keys;
            let to = self.nodes.iter_mut().find(|node| keys.channel(super::store::P, &node.id) == channel);
            if let Some(node) = to.filter(|node| node.alive && node.subscribed) {
                node.inbox.push_back(message);
            }
        }
    }
}
