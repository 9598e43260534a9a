//! The real scripts on a real Redis, one call at a time, and a copy of every log that no trimming reaches.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::TcpStream;

use bytes::Bytes;
use redis::{Cmd, Connection, FromRedisValue, Parser, Pipeline, Value, cmd, from_redis_value};
use switchboard_core::domain::RoomId;
use switchboard_rooms::keys::Keys;
use switchboard_rooms::scripts::Script;
use switchboard_rooms::{LogId, Partition};

/// The simulation has one partition: they do not touch each other.
pub(crate) const P: Partition = Partition(0);
/// Longer than any run: the simulator decides when something expires.
const LONG_MS: u64 = 3_600_000;
/// A seat without a socket may be expired at once, when the simulator likes.
const GRACE_MS: u64 = 0;

const CALL: &str = "0123456789abcdef01234567";
const HOST: &str = "u0";
const SEATS: &str = "100";
/// What may have to be told when a seat ends: user-left, join-request-cancelled, role-changed, join-request.
const PARTINGS: &str = concat!(
    r#""left","\u0001""#,
    "\n",
    r#""cancelled","\u0001""#,
    "\n",
    r#""role","\u0001","\u0004","\u0005""#,
    "\n",
    r#""request","\u0001""#
);

/// A textual change to every script that has the text, to prove that the audit notices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patch {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

/// An entry of a room's log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: LogId,
    pub(crate) to: String,
    pub(crate) except: String,
    pub(crate) event: String,
}

impl Entry {
    fn read(value: &Value) -> Self {
        let (id, fields): (String, Vec<(String, String)>) = from_redis_value(value.clone()).unwrap();
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).unwrap().1.clone();
        Self { id: LogId::parse(&id).unwrap(), to: field("t"), except: field("x"), event: field("d") }
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
    pub(crate) logs: BTreeMap<RoomId, Vec<Entry>>,
    log_length: usize,
    /// How often the data was lost.
    losses: u32,
    /// Readings are used even of a log that was trimmed: wrong, and a test says so.
    pub(crate) trusts_trimmed: bool,
    /// A seat is believed to be held still after a gap: wrong too.
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
            log_length,
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

    /// Runs a script and takes down what it logged; the reply's parts as text.
    fn run(&mut self, script: Script, keys: &[String], arguments: &[&str]) -> Vec<String> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("EVALSHA").arg(&self.hashes[&script]).arg(keys.len()).arg(keys).arg(arguments);
        for (room, log) in &self.logs {
            let last = log.last().map_or_else(LogId::default, |entry| entry.id);
            pipeline.cmd("XRANGE").arg(self.keys.log(P, room)).arg(format!("({last}")).arg("+");
        }
        let mut values: Vec<Value> = pipeline.query(&mut self.connection).unwrap();
        for (log, entries) in self.logs.values_mut().zip(values.split_off(1)) {
            let Value::Array(entries) = entries else { panic!("XRANGE answers an array") };
            log.extend(entries.iter().map(Entry::read));
        }
        let Value::Array(parts) = values.remove(0) else { panic!("a script answers an array") };
        parts.iter().map(|part| from_redis_value(part.clone()).unwrap_or_default()).collect()
    }

    /// What the scripts have published since the last call, with the channels.
    pub(crate) fn published(&mut self) -> Vec<(String, Bytes)> {
        self.subscriber.drain()
    }

    /// A script of `lua/seats.lua`.
    fn seats(&mut self, script: Script, room: &RoomId, more_keys: &[String], arguments: &[&str]) -> Vec<String> {
        let (k, p) = (&self.keys, P);
        let mut keys = vec![k.room(p, room), k.log(p, room), k.deadlines(p), k.outbox(p)];
        keys.extend_from_slice(more_keys);
        let (channels, window, length) = (k.channels(p), LONG_MS.to_string(), self.log_length.to_string());
        let left = PARTINGS;
        let mut all = vec![&*channels, room.as_str(), &window, &length, &window, left, r#"{"reason":"left"}"#];
        all.extend_from_slice(arguments);
        self.run(script, &keys, &all)
    }

    fn turn(&mut self, script: Script, room: &RoomId, arguments: &[&str]) -> Vec<String> {
        let keys = [self.keys.room(P, room), self.keys.log(P, room)];
        let (channels, window, length) = (self.keys.channels(P), LONG_MS.to_string(), self.log_length.to_string());
        let mut all = vec![&*channels, room.as_str(), &window, &length];
        all.extend_from_slice(arguments);
        self.run(script, &keys, &all)
    }

    pub(crate) fn open(&mut self, room: &RoomId) {
        let reply = self.seats(Script::Open, room, &[], &["{}", "1", CALL, HOST, SEATS, "-", "0"]);
        assert_eq!(reply, ["OK"]);
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
        let keys = [self.keys.nodes(P), self.keys.on(P, node)];
        let joined = r#""joined","\u0001""#;
        let given = self.given(room, uid);
        let role = if uid == HOST { "host" } else { given.as_deref().unwrap_or("participant") };
        let given = given.as_deref().unwrap_or("-");
        let rest = [uid, pid, node, handle, role, "1", old, "0", "{}", joined, "{}", "{}", given, "0", "-", "10", "{}"];
        self.seats(Script::Join, room, &keys, &rest)
    }

    /// The role that the room gives a user.
    fn given(&mut self, room: &RoomId, uid: &str) -> Option<String> {
        let mut look = cmd("HMGET");
        look.arg(self.keys.room(P, room)).arg("host").arg(format!("g:{uid}"));
        let (host, given): (Option<String>, Option<String>) = self.query(&look);
        if host.as_deref() == Some(uid) { Some("host".to_owned()) } else { given }
    }

    /// `patient`: the session has waited long enough to take the seat from an open socket.
    pub(crate) fn attach(
        &mut self,
        room: &RoomId,
        who: [&str; 4],
        offset: LogId,
        patient: bool,
    ) -> (Vec<String>, Option<Vec<Entry>>) {
        let [uid, pid, node, handle] = who;
        let keys = [self.keys.nodes(P), self.keys.on(P, node)];
        let first_try = if patient { "9999999999999" } else { "0" };
        let rest = [uid, pid, node, handle, &offset.to_string(), first_try, r#""connected","\u0001""#];
        let reply = self.seats(Script::Attach, room, &keys, &rest);
        let missed = if reply[0] == "OK" { self.range(room, offset, &reply[3]) } else { None };
        (reply, missed)
    }

    /// What a node reads for a session after a gap; `None` also when the seat is another's by now.
    pub(crate) fn catch_up(&mut self, room: &RoomId, seat: [&str; 2], from: LogId) -> Option<Vec<Entry>> {
        let found = self.range(room, from, "+")?;
        let now: Option<String> = self.query(cmd("HGET").arg(self.keys.room(P, room)).arg(format!("s:{}", seat[0])));
        let own = now.is_some_and(|now| now.split(' ').nth(1) == Some(seat[1]));
        (own || self.trusts_gaps).then_some(found)
    }

    /// What the log has after `from`, up to and with `to`; `None` when it no longer goes back to `from`. The floor is read last: what is
    /// whole after the reading was whole while reading.
    fn range(&mut self, room: &RoomId, from: LogId, to: &str) -> Option<Vec<Entry>> {
        let command = cmd("XRANGE").arg(self.keys.log(P, room)).arg(format!("({from}")).arg(to).to_owned();
        let entries: Vec<Value> = self.query(&command);
        let floor: Option<String> = self.query(cmd("HGET").arg(self.keys.room(P, room)).arg("floor"));
        let whole = floor.and_then(|floor| LogId::parse(&floor)).is_none_or(|floor| floor <= from);
        (whole || self.trusts_trimmed).then(|| entries.iter().map(Entry::read).collect())
    }

    pub(crate) fn relay(
        &mut self,
        room: &RoomId,
        seat: [&str; 2],
        op: u64,
        to: Option<&str>,
        event: &str,
    ) -> Vec<String> {
        let op = op.to_string();
        match to {
            Some(to) => self.turn(Script::Relay, room, &[seat[0], seat[1], &op, to, event]),
            None => self.turn(Script::Bcast, room, &[seat[0], seat[1], &op, event]),
        }
    }

    pub(crate) fn detach(&mut self, room: &RoomId, seat: [&str; 2], node: &str) -> Vec<String> {
        let keys = [self.keys.on(P, node)];
        let rest = [seat[0], seat[1], &GRACE_MS.to_string(), r#""reconnecting","\u0001""#];
        self.seats(Script::Detach, room, &keys, &rest)
    }

    pub(crate) fn leave(&mut self, room: &RoomId, seat: [&str; 2], node: &str) -> Vec<String> {
        let keys = [self.keys.on(P, node)];
        self.seats(Script::Leave, room, &keys, &seat)
    }

    pub(crate) fn beat(&mut self, node: &str, count: u64, first: bool) -> Vec<String> {
        let keys = [self.keys.nodes(P), self.keys.epoch(P)];
        let (channel, epoch) = (self.keys.channel(P, node), format!("epoch-{}", self.losses));
        self.run(Script::Beat, &keys, &[&channel, node, &count.to_string(), if first { "1" } else { "0" }, &epoch])
    }

    /// Redis comes back empty. Its clock has passed every id by then: lanes wait for that.
    pub(crate) fn lose(&mut self) {
        let _: () = self.query(&cmd("FLUSHALL"));
        self.losses += 1;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }

    /// A node puts a session's seat back. `operations`: the last number that it gave.
    pub(crate) fn reseat(
        &mut self,
        room: &RoomId,
        who: [&str; 4],
        seat: [&str; 2],
        operations: u64,
        join: LogId,
    ) -> String {
        let [uid, pid, node, handle] = who;
        let keys = [self.keys.nodes(P), self.keys.on(P, node)];
        let (operations, join) = (operations.to_string(), join.to_string());
        let room_again = ["{}", "{}", "{}", "1", CALL, HOST, SEATS, "0", "connected", &join, "-", "{}", "{}", "0"];
        let mut rest = vec![uid, pid, node, handle, "participant", seat[0], seat[1], &operations, &join];
        rest.extend(room_again);
        self.seats(Script::Reseat, room, &keys, &rest).swap_remove(0)
    }

    /// Registered nodes and their beats.
    pub(crate) fn registered(&mut self) -> BTreeMap<String, String> {
        let command = cmd("HGETALL").arg(self.keys.nodes(P)).to_owned();
        self.query(&command)
    }

    pub(crate) fn sweep_start(&mut self, node: &str, observed: &str, sweep: &str) -> Vec<String> {
        let k = &self.keys;
        let keys = [k.nodes(P), k.on(P, node), k.dead(P, sweep), k.sweeps(P)];
        self.run(Script::SweepStart, &keys, &[node, observed, sweep])
    }

    /// The members of a set, in an order that repeats.
    pub(crate) fn members(&mut self, key: &str) -> Vec<String> {
        let mut members: Vec<String> = self.query(cmd("SMEMBERS").arg(key));
        members.sort();
        members
    }

    pub(crate) fn sweep_one(&mut self, member: &str, node: &str, sweep: &str) {
        let (room, peer, generation) = parts(member);
        let keys = [self.keys.dead(P, sweep), self.keys.sweeps(P)];
        let rest = [peer, generation, node, &GRACE_MS.to_string(), r#""reconnecting","\u0001""#, sweep];
        self.seats(Script::SweepOne, &room, &keys, &rest);
    }

    /// Seats whose grace is over.
    pub(crate) fn deadlines(&mut self) -> Vec<String> {
        let command = cmd("ZRANGE").arg(self.keys.deadlines(P)).arg(0).arg(-1).to_owned();
        let members: Vec<String> = self.query(&command);
        members.into_iter().filter(|member| !member.ends_with(" * 0")).collect()
    }

    pub(crate) fn expire(&mut self, member: &str) {
        let (room, peer, generation) = parts(member);
        let chat = self.keys.chat(P, &room);
        self.seats(
            Script::Expire,
            &room,
            &[chat],
            &[peer, generation, r#""ended""#, "{}", &LONG_MS.to_string(), "now", r#""away""#],
        );
    }
}

/// `room peer gen`
fn parts(member: &str) -> (RoomId, &str, &str) {
    let mut parts = member.split(' ');
    let mut next = || parts.next().unwrap();
    (RoomId::parse(next()).unwrap(), next(), next())
}

/// A bare connection: what is published arrives in its place among the answers, so a PING tells that all has.
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
