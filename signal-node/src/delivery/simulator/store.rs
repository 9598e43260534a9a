//! The real scripts on a real Redis, one at a time, and a copy of every log that no trimming
//! reaches. The file has more than 400 lines, because it is one list: every script with the
//! arguments that the simulator gives it.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Connection, ConnectionLike as _, FromRedisValue, Parser, Value, cmd, from_redis_value};
use switchboard_core::domain::{
    CallId, CallSettings, CallType, ConnectionState, MediaState, PeerId, PublicUser, Role, RoomId, SessionHandle,
    UserId,
};
use switchboard_core::wire::{EventKind, event_batch};
use switchboard_rooms::keys::Keys;
use switchboard_rooms::scripts::{
    AttachScript, BeatScript, BroadcastScript, CheckNodeScript, DeclareDeadScript, DetachScript, ExpireScript,
    JoinScript, LeaveRingScript, LeaveScript, OpenScript, OperationScope, RelayScript, RelaysScript, ReseatScript,
    RoomScope, Script, ScriptArguments, SeatScope, SweepOneScript, SweepStartScript, log_bounds, write_command,
};
use switchboard_rooms::seat::SeatMember;
use switchboard_rooms::{
    Attach, CaughtUp, Group, Join, LastBeat, LogEntry, LogId, Partition, Proof, RoomLog, RoomMeta, Seat, SeatCopy,
};

use crate::delivery::SeatReplica;

/// The simulation has one partition, because partitions do not affect each other.
pub(crate) const P: Partition = Partition(0);
/// Group of the partition.
const GROUP: Group = Group(0);
/// Longer than any run, so that the simulator decides when a seat or room expires.
const LONG_MS: u64 = 3_600_000;
/// A seat without a socket may expire immediately, when the simulator decides.
const GRACE_MS: u64 = 0;

/// Few enough that a run cuts a log at its bytes too.
const LOG_BYTES: usize = 16_000;

const CALL: &str = "0123456789abcdef01234567";
const HOST: &str = "u0";
const SEATS: u32 = 100;
const RECONNECTING: &str = r#""reconnecting","\u0001""#;
/// Templates of the events that the end of a seat may cause: user-left, join-request-cancelled,
/// role-changed, join-request.
const DEPARTURE_EVENTS: [&str; 4] =
    [r#""left","\u0001""#, r#""cancelled","\u0001""#, r#""role","\u0001","\u0004","\u0005""#, r#""request","\u0001""#];

/// A textual change to every script that has the text, to prove that the audit finds a missing
/// rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patch {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

/// An event of a room's log.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: LogId,
    pub(crate) to: String,
    pub(crate) except: String,
    pub(crate) event: String,
}

impl Event {
    /// Reads the events of an entry.
    fn read(value: &Value) -> Vec<Self> {
        let (id, fields): (String, Vec<(String, String)>) = from_redis_value(value.clone()).unwrap();
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).unwrap().1.clone();
        let (id, text) = (LogId::parse(&id).unwrap(), field("d"));
        let (kind, texts) = EventKind::split(&text).unwrap_or((EventKind::Unknown, &text));
        let event =
            |(id, event): (LogId, &str)| Self { id, to: field("t"), except: field("x"), event: event.to_owned() };
        event_batch::events(id, kind, texts).map(event).collect()
    }

    pub(crate) fn is_for(&self, peer: &str) -> bool {
        self.to == peer || (self.to == "*" && self.except != peer)
    }
}

pub(crate) struct Store {
    connection: Connection,
    subscriber: Subscriber,
    hashes: HashMap<Script, String>,
    pub(crate) keys: Keys,
    pub(crate) logs: BTreeMap<RoomId, Vec<Event>>,
    /// Number of entries with several events.
    pub(crate) shared_entries: u64,
    /// Leaked, because a run has one.
    log_bounds: &'static str,
    /// Number of times that Redis lost its data.
    losses: u32,
    /// Uses a read log even if it was trimmed meanwhile. This is wrong, and the audit must find it.
    pub(crate) trusts_trimmed: bool,
    /// Does not check the seat after a gap. This is wrong, and the audit must find it.
    pub(crate) trusts_gaps: bool,
}

impl Store {
    pub(crate) fn new(port: u16, rooms: &[RoomId], patches: &[Patch], log_length: usize) -> Self {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).unwrap();
        let mut connection = client.get_connection().unwrap();
        cmd("FLUSHALL").exec(&mut connection).unwrap();
        // So that a short log is trimmed within a short run.
        cmd("CONFIG").arg("SET").arg("stream-node-max-entries").arg(5).exec(&mut connection).unwrap();
        let mut hashes = HashMap::new();
        for patch in patches {
            assert!(
                Script::ALL.iter().any(|script| script.source().contains(patch.from)),
                "nothing to change: {patch:?}"
            );
        }
        for script in Script::ALL {
            let source =
                patches.iter().fold(script.source().to_owned(), |text, patch| text.replace(patch.from, patch.to));
            let hash: String = cmd("SCRIPT").arg("LOAD").arg(source).query(&mut connection).unwrap();
            hashes.insert(*script, hash);
        }
        let logs = rooms.iter().map(|room| (room.clone(), Vec::new())).collect();
        let subscriber = Subscriber::connect(port);
        Self {
            connection,
            subscriber,
            hashes,
            keys: Keys::new("sim", 1),
            logs,
            shared_entries: 0,
            log_bounds: log_bounds(log_length, LOG_BYTES).leak(),
            losses: 0,
            trusts_trimmed: false,
            trusts_gaps: false,
        }
    }

    pub(crate) fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> T {
        command.query(&mut self.connection).unwrap()
    }

    pub(crate) fn subscribe(&mut self, node: &str) {
        let channel = self.keys.channel(P, node);
        self.subscriber.subscribe(&channel);
    }

    /// Runs a script and copies the entries that it logged. Returns the reply's values as text.
    fn run<S: ScriptArguments>(&mut self, script: &S) -> Vec<String> {
        texts(&self.replies(script))
    }

    fn replies<S: ScriptArguments>(&mut self, script: &S) -> Vec<Value> {
        let mut packed = Vec::new();
        write_command(&mut packed, &self.hashes[&S::SCRIPT], script);
        for (room, log) in &self.logs {
            let last = log.last().map_or_else(LogId::default, |entry| entry.id);
            let key = self.keys.log(P, room);
            cmd("XRANGE").arg(key).arg(format!("({last}")).arg("+").write_packed_command(&mut packed);
        }
        let mut values = self.connection.req_packed_commands(&packed, 0, 1 + self.logs.len()).unwrap();
        for (log, entries) in self.logs.values_mut().zip(values.split_off(1)) {
            let Value::Array(entries) = entries else { panic!("XRANGE answers an array") };
            for entry in &entries {
                let events = Event::read(entry);
                self.shared_entries += u64::from(events.len() > 1);
                log.extend(events);
            }
        }
        let Value::Array(parts) = values.remove(0) else { panic!("a script answers an array") };
        parts
    }

    /// Returns the messages that were published since the last call, with their channels.
    pub(crate) fn published(&mut self) -> Vec<(String, Bytes)> {
        self.subscriber.drain()
    }

    pub(crate) fn open(&mut self, room: &RoomId) {
        let (keys, meta) = (self.keys.clone(), meta());
        let scope = seat_scope(&keys, room, self.log_bounds);
        let script = OpenScript { scope, meta: &meta, meta_json: "{}".to_owned(), created_details: None };
        assert_eq!(self.run(&script), ["OK"]);
    }

    pub(crate) fn join(
        &mut self,
        room: &RoomId,
        uid: &str,
        pid: &str,
        old: &str,
        node: &str,
        handle: &str,
    ) -> Vec<String> {
        let keys = self.keys.clone();
        let given = self.given(room, uid);
        let user = UserId::parse(uid).unwrap();
        let join = Join {
            room: room.clone(),
            meta_version: 1,
            grant: None,
            user: user.clone(),
            pid: pid.to_owned(),
            old_pid: Some(old).filter(|old| *old != "-").map(str::to_owned),
            handle: SessionHandle::parse(handle).unwrap(),
            role: if uid == HOST { Role::Host } else { given.unwrap_or(Role::Participant) },
            waits: false,
            public: PublicUser::new(user, String::new(), None),
            media: MediaState::default(),
            given,
            permissions: None,
            given_permissions: None,
            proof: Proof::default(),
        };
        self.run(&JoinScript {
            scope: seat_scope(&keys, room, self.log_bounds),
            node,
            join: &join,
            participant: "{}".to_owned(),
            waiting_participant: "{}".to_owned(),
            joined_event: r#""joined","\u0001""#.to_owned(),
            media: "{}".to_owned(),
            joined_details: "{}".to_owned(),
            lobby_places: 10,
            devices_max: 16,
            back_event: r#""connected","\u0001""#.to_owned(),
            first_try: None,
            probe_ms: 0,
            only_asks: false,
        })
    }

    /// Returns the role that the room gives a user.
    fn given(&mut self, room: &RoomId, uid: &str) -> Option<Role> {
        let mut read = cmd("HMGET");
        read.arg(self.keys.room(P, room)).arg("host").arg(format!("g:{uid}"));
        let (host, given): (Option<String>, Option<String>) = self.query(&read);
        if host.as_deref() == Some(uid) { Some(Role::Host) } else { given.and_then(|role| Role::parse(&role)) }
    }

    /// `patient`: the session has waited long enough to take the seat from an open socket.
    pub(crate) fn attach(
        &mut self,
        room: &RoomId,
        who: [&str; 4],
        offset: LogId,
        patient: bool,
    ) -> (Vec<String>, Option<Vec<LogEntry>>) {
        let [uid, pid, node, handle] = who;
        let keys = self.keys.clone();
        let attach = Attach {
            room: room.clone(),
            pid: pid.to_owned(),
            user: UserId::parse(uid).unwrap(),
            handle: SessionHandle::parse(handle).unwrap(),
            offset,
            address: None,
        };
        let reply = self.run(&AttachScript {
            scope: seat_scope(&keys, room, self.log_bounds),
            node,
            attach: &attach,
            first_try: Some(if patient { "9999999999999" } else { "0" }),
            connected_event: r#""connected","\u0001""#,
        });
        let missed = if reply[0] == "OK" { self.read(room, &reply[1], offset, &reply[3]) } else { None };
        (reply, missed)
    }

    /// Reads the log for a session that resumes, up to and including `to`; `None` if it does not go
    /// back to `from`.
    fn read(&mut self, room: &RoomId, peer: &str, from: LogId, to: &str) -> Option<Vec<LogEntry>> {
        let peer = PeerId::parse(peer).unwrap();
        let log = self.log(room, &peer, from, to);
        log.is_complete(from).then(|| log.entries_for(0, &peer, from).unwrap())
    }

    /// Reads the log for a session after a gap.
    pub(crate) fn catch_up(&mut self, seat: &Seat, from: LogId) -> CaughtUp {
        let log = self.log(&seat.room, &seat.peer, from, "+");
        let answer = log.caught_up(0, seat, from).unwrap();
        if self.trusts_gaps && matches!(answer, CaughtUp::NotSeated) {
            return CaughtUp::Missed(log.entries_for(0, &seat.peer, from).unwrap());
        }
        answer
    }

    /// Reads what a node reads, with the same code, but at once.
    fn log(&mut self, room: &RoomId, peer: &PeerId, from: LogId, to: &str) -> RoomLog {
        let read = cmd("XRANGE").arg(self.keys.log(P, room)).arg(RoomLog::start(from)).arg(to).to_owned();
        let page: Value = self.query(&read);
        let mut fields: Value = self.query(&RoomLog::fields(&self.keys, P, room, &[peer]));
        if self.trusts_trimmed
            && let Value::Array(fields) = &mut fields
        {
            fields[RoomLog::FLOOR] = Value::Nil;
        }
        let time: Value = self.query(&cmd("TIME"));
        RoomLog::parse(vec![page], &fields, &time, Duration::from_millis(LONG_MS)).unwrap()
    }

    /// Runs several relays in one call. Returns the reply to each.
    pub(crate) fn relays(&mut self, relays: &[Relay]) -> Vec<Vec<String>> {
        let keys = self.keys.clone();
        let scripts = relays.iter().map(|relay| RelayScript {
            scope: OperationScope {
                room: room_scope(&keys, &relay.seat.room, self.log_bounds),
                sender: &relay.seat.peer,
                generation: relay.seat.generation,
                number: relay.number,
                dedupe: None,
                kind: EventKind::IceCandidate,
                bytes_to_trim: None,
            },
            to: &relay.to,
            event: relay.event.as_bytes(),
        });
        let scripts: Vec<_> = scripts.collect();
        let replies = self.replies(&RelaysScript { relays: &scripts });
        let each = replies.iter().map(|reply| match reply {
            Value::Array(parts) => texts(parts),
            other => panic!("a relay answers an array, not {other:?}"),
        });
        each.collect()
    }

    pub(crate) fn relay(&mut self, seat: &Seat, op: u64, to: Option<&str>, event: &str) -> Vec<String> {
        let keys = self.keys.clone();
        let generation = seat.generation;
        let scope = OperationScope {
            room: room_scope(&keys, &seat.room, self.log_bounds),
            sender: &seat.peer,
            generation,
            number: op,
            dedupe: None,
            kind: EventKind::IceCandidate,
            bytes_to_trim: trims_log(generation, op).then_some(1_000),
        };
        let event = event.as_bytes();
        match to {
            Some(to) => self.run(&RelayScript { scope, to: &PeerId::parse(to).unwrap(), event }),
            None => self.run(&BroadcastScript { scope, event }),
        }
    }

    pub(crate) fn detach(&mut self, seat: &Seat, node: &str) -> Vec<String> {
        let keys = self.keys.clone();
        self.run(&DetachScript {
            scope: seat_scope(&keys, &seat.room, self.log_bounds),
            node,
            peer: seat.peer.as_str(),
            generation: seat.generation,
            grace_ms: GRACE_MS,
            reconnecting_event: RECONNECTING,
        })
    }

    pub(crate) fn leave(&mut self, seat: &Seat, node: &str) -> Vec<String> {
        let keys = self.keys.clone();
        self.run(&LeaveScript {
            scope: seat_scope(&keys, &seat.room, self.log_bounds),
            node,
            peer: seat.peer.as_str(),
            generation: seat.generation,
        })
    }

    pub(crate) fn beat(&mut self, node: &str, counter: u64, registers: bool) -> Vec<String> {
        let keys = self.keys.clone();
        self.run(&BeatScript { keys: &keys, group: GROUP, node, counter, registers, watched: 0 })
    }

    pub(crate) fn check_node(&mut self, node: &str, registration: &str, registers: bool) -> Vec<String> {
        let (keys, new_epoch) = (self.keys.clone(), format!("epoch-{}", self.losses));
        self.run(&CheckNodeScript { keys: &keys, partition: P, node, registration, registers, new_epoch })
    }

    /// Makes Redis lose its data. Its clock passes every id meanwhile, because lanes wait for that.
    pub(crate) fn lose(&mut self) {
        let _: () = self.query(&cmd("FLUSHALL"));
        self.losses += 1;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }

    /// Puts a session's seat back.
    pub(crate) fn reseat(&mut self, node: &str, replica: &SeatReplica) -> String {
        let (keys, seat) = (self.keys.clone(), &replica.seat);
        let script = ReseatScript {
            scope: seat_scope(&keys, &seat.room, self.log_bounds),
            node,
            seat,
            last_op: seat.op.load(Ordering::Relaxed),
            copy: &replica.copy,
            meta: &replica.meta,
            participant: "{}".to_owned(),
            joined_event: "{}".to_owned(),
            joined_details: "{}".to_owned(),
            grace_ms: GRACE_MS,
        };
        self.run(&script).swap_remove(0)
    }

    /// Returns the nodes on the ring and their heartbeats.
    pub(crate) fn heartbeats(&mut self) -> BTreeMap<String, String> {
        let command = cmd("HGETALL").arg(self.keys.heartbeats(GROUP)).to_owned();
        self.query(&command)
    }

    /// Returns the registered nodes and their registrations.
    pub(crate) fn registrations(&mut self) -> BTreeMap<String, String> {
        let command = cmd("HGETALL").arg(self.keys.nodes(P)).to_owned();
        self.query(&command)
    }

    /// Returns whether the node is declared dead.
    pub(crate) fn declare_dead(&mut self, node: &str, observed: &str) -> bool {
        let keys = self.keys.clone();
        let observed = observed.parse().map_or(LastBeat::Dead, LastBeat::Counted);
        self.run(&DeclareDeadScript { keys: &keys, group: GROUP, node, observed })[0] == "OK"
    }

    pub(crate) fn leave_ring(&mut self, node: &str) {
        let keys = self.keys.clone();
        self.run(&LeaveRingScript { keys: &keys, group: GROUP, node, only_dead: true });
    }

    pub(crate) fn sweep_start(&mut self, node: &str, observed: &str, sweep: &str) {
        let keys = self.keys.clone();
        self.run(&SweepStartScript { keys: &keys, partition: P, node, observed, sweep });
    }

    /// Returns the members of a set, sorted, so that a run can be repeated.
    pub(crate) fn members(&mut self, key: &str) -> Vec<String> {
        let mut members: Vec<String> = self.query(cmd("SMEMBERS").arg(key));
        members.sort();
        members
    }

    pub(crate) fn sweep_one(&mut self, member: &str, node: &str, sweep: &str) {
        assert!(sweep.starts_with(&format!("{node}:")), "a sweep is named by its node");
        let (keys, member) = (self.keys.clone(), SeatMember::parse(member).unwrap());
        self.run(&SweepOneScript {
            scope: seat_scope(&keys, &member.room, self.log_bounds),
            peer: &member.peer,
            generation: &member.generation,
            sweep,
            grace_ms: GRACE_MS,
            reconnecting_event: RECONNECTING,
        });
    }

    /// Returns the seats whose grace period is over.
    pub(crate) fn deadlines(&mut self) -> Vec<String> {
        let command = cmd("ZRANGE").arg(self.keys.deadlines(P)).arg(0).arg(-1).to_owned();
        let members: Vec<String> = self.query(&command);
        members.into_iter().filter(|member| !member.ends_with(" * 0")).collect()
    }

    pub(crate) fn expire(&mut self, member: &str) {
        let (keys, member) = (self.keys.clone(), SeatMember::parse(member).unwrap());
        self.run(&ExpireScript {
            scope: seat_scope(&keys, &member.room, self.log_bounds),
            peer: &member.peer,
            generation: &member.generation,
            ended_event: r#""ended""#,
            ended_details: "{}",
            tombstone_ms: LONG_MS,
            now: "now",
            reconnecting_event: r#""away""#,
        });
    }
}

/// Relay that shares a call with others.
pub(crate) struct Relay {
    pub(crate) seat: Arc<Seat>,
    pub(crate) number: u64,
    pub(crate) to: PeerId,
    pub(crate) event: String,
}

/// Returns whether this operation of a seat trims the log.
pub(crate) const fn trims_log(generation: u64, number: u64) -> bool {
    (generation + number).is_multiple_of(32)
}

fn texts(parts: &[Value]) -> Vec<String> {
    parts.iter().map(|part| from_redis_value(part.clone()).unwrap_or_default()).collect()
}

fn room_scope<'a>(keys: &'a Keys, room: &'a RoomId, log_bounds: &'a str) -> RoomScope<'a> {
    RoomScope { keys, partition: P, room, window_ms: LONG_MS, log_bounds }
}

fn seat_scope<'a>(keys: &'a Keys, room: &'a RoomId, log_bounds: &'a str) -> SeatScope<'a> {
    SeatScope {
        room: room_scope(keys, room, log_bounds),
        empty_after_ms: LONG_MS,
        departure_events: DEPARTURE_EVENTS.map(str::to_owned),
        left_details: r#"{"reason":"left"}"#.to_owned(),
    }
}

/// Returns the copy of a seat that `join` or `attach` gave.
pub(crate) fn replica(seat: Arc<Seat>, user: &str, pid: &str, join: LogId) -> SeatReplica {
    let copy = SeatCopy {
        pid: pid.to_owned(),
        state: ConnectionState::Connected,
        away: false,
        role: Role::Participant,
        permissions: None,
        permissions_given: false,
        public: PublicUser::new(UserId::parse(user).unwrap(), String::new(), None),
        media: MediaState::default(),
        hand_raised_at: None,
        join_id: join,
        from: join,
        joined_at: String::new(),
        address: None,
    };
    SeatReplica { seat, copy, meta: Arc::new(meta()) }
}

fn meta() -> RoomMeta {
    RoomMeta {
        call_id: CallId::parse(CALL).unwrap(),
        name: String::new(),
        host: UserId::parse(HOST).unwrap(),
        call_type: CallType::Public,
        settings: CallSettings::default(),
        max_participants: SEATS,
        locked: false,
        passcode_hash: None,
        invited: Vec::new(),
        created_at: String::new(),
        version: 1,
    }
}

/// A bare connection. Published messages arrive in order with the replies, so that the reply to a
/// PING means that all messages before it have arrived.
struct Subscriber {
    stream: TcpStream,
    parser: Parser,
    waiting: Vec<(String, Bytes)>,
}

impl Subscriber {
    fn connect(port: u16) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", port)).unwrap(), parser: Parser::new(), waiting: Vec::new() }
    }

    fn subscribe(&mut self, channel: &str) {
        self.send(cmd("SSUBSCRIBE").arg(channel));
        self.read_until("ssubscribe");
    }

    fn drain(&mut self) -> Vec<(String, Bytes)> {
        self.send(&cmd("PING"));
        self.read_until("pong");
        std::mem::take(&mut self.waiting)
    }

    fn send(&mut self, command: &Cmd) {
        self.stream.write_all(&command.get_packed_command()).unwrap();
    }

    fn read_until(&mut self, kind: &str) {
        loop {
            let value = self.parser.parse_value(&self.stream).unwrap();
            if matches!(&value, Value::SimpleString(text) if text.eq_ignore_ascii_case(kind)) {
                return;
            }
            let Value::Array(parts) = value else { panic!("{value:?}") };
            let text = |at: usize| from_redis_value::<String>(parts[at].clone()).unwrap();
            match text(0) {
                found if found == kind => return,
                found if found == "smessage" => self.waiting.push((text(1), Bytes::from(text(2)))),
                _ => {}
            }
        }
    }
}
