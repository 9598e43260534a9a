//! Processor time of Redis for an ICE candidate, by the number of candidates of one sender to one
//! peer that wait together: one call of `relay` with an entry and a message for each, beside one
//! with an entry and a message for all. Both take turns on one Redis with an append-only file and a
//! subscriber, over a bare connection with one call at a time.

use devcluster::redis::{RedisOptions, RedisServer};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value, cmd};
use switchboard_core::domain::RoomId;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::event_batch::SEPARATOR;
use switchboard_rooms::keys::Keys;
use switchboard_rooms::scripts::Script;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Measurements of each script and number; the table has their medians.
const RUNS: usize = 11;
/// Candidates of one measurement.
const CANDIDATES: usize = 24_000;
/// Numbers of candidates that wait together; each divides [`CANDIDATES`].
const TOGETHER: [usize; 3] = [1, 4, 12];
const NODE: &str = "n1";
const SENDER: &str = "65a000000000000000000001";
const RECEIVER: &str = "65a000000000000000000002";
const GENERATION: &str = "1700000000000";
const WINDOW_MS: &str = "95000";
const LOG_BOUNDS: &str = "10000 16777216";

/// Prints the table.
pub(crate) fn run() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(measure_all());
}

async fn measure_all() {
    // The file is never rewritten, which would be a process of its own.
    let extra = ["--auto-aof-rewrite-percentage", "0"].map(str::to_owned).to_vec();
    let options = RedisOptions { appendonly: true, extra, ..RedisOptions::default() };
    let redis = RedisServer::start_with(&options).await.expect("redis-server");
    let mut bench = Bench::open(&redis).await;

    println!("| candidates together | entry each, us | one entry, us | saved |\n|---|---|---|---|");
    for together in TOGETHER {
        let (mut each, mut one) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            each.push(bench.measure(together, Bench::entry_each).await);
            one.push(bench.measure(together, Bench::one_entry).await);
        }
        let (each, one) = (median(each), median(one));
        println!("| {together} | {each:.2} | {one:.2} | {:.0} % |", (1.0 - one / each) * 100.0);
    }
}

/// A room of two participants, and a node that subscribes.
struct Bench {
    redis: MultiplexedConnection,
    /// Room's hash, room's log, prefix of the nodes' channels.
    keys: [String; 3],
    room: RoomId,
    relay: String,
    event: String,
    /// Number of the sender's last operation.
    number: usize,
}

impl Bench {
    async fn open(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).expect("an address");
        let mut redis = client.get_multiplexed_async_connection().await.expect("a connection");
        let (keys, room) = (Keys::new("bench", 64), RoomId::parse("ABCDEF123456").expect("an id"));
        let p = keys.partition_of(&room);
        for (peer, node, handle) in [(SENDER, "n2", 1), (RECEIVER, NODE, 2)] {
            let seat = format!("connected {GENERATION} {node} {handle} participant 0-1 pid uid 0-1 -");
            let mut command = cmd("HSET");
            command.arg(keys.room(p, &room)).arg(format!("s:{peer}")).arg(seat);
            command.exec_async(&mut redis).await.expect("a seat");
        }
        let source = Script::Relay.source();
        let relay = cmd("SCRIPT").arg("LOAD").arg(source).query_async(&mut redis).await.expect("a script");
        subscribe(server, &keys.channel(p, NODE)).await;
        let keys = [keys.room(p, &room), keys.log(p, &room), keys.channels(p)];
        Self { redis, keys, room, relay, event: candidate(), number: 0 }
    }

    /// Microseconds of Redis for a candidate.
    async fn measure(&mut self, together: usize, command: fn(&mut Self, usize) -> Cmd) -> f64 {
        cmd("DEL").arg(&self.keys[1]).exec_async(&mut self.redis).await.expect("an empty log");
        let before = self.cpu_micros().await;
        for _ in 0..CANDIDATES / together {
            let reply: Value = command(self, together).query_async(&mut self.redis).await.expect("a reply");
            assert!(is_logged(&reply, together), "{reply:?}");
        }
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let candidates = CANDIDATES as f64;
        (self.cpu_micros().await - before) / candidates
    }

    /// One call with an entry and a message for each candidate.
    fn entry_each(&mut self, together: usize) -> Cmd {
        let entries: Vec<_> = (1..=together).map(|place| (self.number + place).to_string()).collect();
        let events = vec![self.event.clone(); together];
        self.number += together;
        self.call(entries, events)
    }

    /// One call with one entry and one message for all candidates.
    fn one_entry(&mut self, together: usize) -> Cmd {
        let (first, last) = (self.number + 1, self.number + together);
        self.number = last;
        let numbers = if together == 1 { last.to_string() } else { format!("{first}-{last}") };
        let separator = char::from(SEPARATOR).to_string();
        self.call(vec![numbers], vec![vec![self.event.as_str(); together].join(&separator)])
    }

    /// Call with these operation numbers and events.
    fn call(&self, numbers: Vec<String>, events: Vec<String>) -> Cmd {
        let [hash, log, channels] = &self.keys;
        let mut command = cmd("EVALSHA");
        command.arg(&self.relay).arg(2 * numbers.len());
        for _ in &numbers {
            command.arg(hash).arg(log);
        }
        for (index, (number, event)) in numbers.into_iter().zip(events).enumerate() {
            command.arg(channels).arg(self.room.as_str());
            if index == 0 {
                command.arg(WINDOW_MS).arg(LOG_BOUNDS);
            }
            command.arg(SENDER).arg(GENERATION).arg(number).arg(RECEIVER);
            command.arg(EventKind::IceCandidate.prefix(&event));
        }
        command
    }

    /// Processor time of all threads of Redis, in microseconds.
    async fn cpu_micros(&mut self) -> f64 {
        let info: String = cmd("INFO").arg("cpu").query_async(&mut self.redis).await.expect("the times");
        let seconds = |name: &str| -> f64 {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.expect("a time").trim().parse().expect("seconds")
        };
        (seconds("used_cpu_user") + seconds("used_cpu_sys")) * 1e6
    }
}

/// The event of a candidate with 200 bytes, as its receiver gets it.
fn candidate() -> String {
    let line = "candidate:842163049 1 udp 1677729535 192.0.2.1 46154 typ srflx raddr 0.0.0.0 rport 0 \
                generation 0 ufrag Vx3k network-cost 999";
    let candidate = format!(r#"{{"candidate":"{line}","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"Vx3k"}}"#);
    let user = format!(r#"{{"id":"{SENDER}","name":"Alice","avatar":null,"isGuest":false}}"#);
    let peers = format!(r#""from":"{SENDER}","to":"{RECEIVER}""#);
    format!(r#""webrtc:ice-candidate",{{{peers},"candidate":{candidate},"user":{user},"roomId":"ABCDEF123456"}}"#)
}

/// Whether every candidate of a call is logged.
fn is_logged(reply: &Value, together: usize) -> bool {
    let is_ok = |reply: &Value| matches!(reply, Value::Array(parts) if parts.first() == Some(&Value::BulkString(b"OK".to_vec())));
    match reply {
        Value::Array(replies) if replies.len() == together && !is_ok(reply) => replies.iter().all(is_ok),
        reply => is_ok(reply),
    }
}

/// Subscribes, and reads all messages in a task.
async fn subscribe(server: &RedisServer, channel: &str) {
    let mut messages = TcpStream::connect(("127.0.0.1", server.port())).await.expect("a connection");
    messages.write_all(format!("SSUBSCRIBE {channel}\r\n").as_bytes()).await.expect("a subscription");
    let mut buffer = vec![0; 65_536];
    let length = messages.read(&mut buffer).await.expect("an answer");
    assert!(buffer[..length].ends_with(b":1\r\n"), "not subscribed");
    tokio::spawn(async move { while messages.read(&mut buffer).await.is_ok_and(|length| length > 0) {} });
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
