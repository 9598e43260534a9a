//! What the records tell after an api pod and MongoDB were killed, and came back, under two hundred joins and leaves a second.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use devcluster::mongo::Mongo;
use devcluster::ports;
use devcluster::process::{Process, Spec};
use devcluster::redis::RedisServer;
use switchboard_core::domain::{CallId, CallStatus, MediaState, NodeId, PublicUser, Role, RoomId, SessionHandle};
use switchboard_records::{Records, RecordsTimeouts};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Created, Ended, Join, Joined, Left, Partition, Proof, RoomOptions, Rooms, Seat};
use tempfile::TempDir;
use tokio::sync::watch;

use support::{BOUND, meta, until, user};

const CALLS: u16 = 20;
/// Of each call: with all calls, two hundred a second.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that a client did, and was told that it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Deed {
    kind: &'static str,
    user: Option<String>,
}

/// A call, and what was done in it.
struct Story {
    rooms: Rooms,
    number: u16,
    id: CallId,
    room: RoomId,
    there: Vec<Arc<Seat>>,
    visits: u64,
    deeds: Vec<Deed>,
    peak: usize,
}

impl Story {
    async fn begin(rooms: Rooms, number: u16) -> Self {
        // Its host is nobody of those who come: nobody's going makes somebody else the host.
        let meta = meta(number.into(), user(99));
        let room = RoomId::parse(&format!("room-{number}")).unwrap();
        let details = serde_json::to_string(&meta).unwrap();
        assert_eq!(rooms.create(&room, &meta, &details).await.unwrap(), Created::Done);
        let deeds = vec![Deed { kind: "created", user: None }];
        Self { rooms, number, id: meta.call_id, room, there: Vec::new(), visits: 0, deeds, peak: 0 }
    }

    /// Somebody comes or goes. Five people, who come again and again, some on two devices.
    async fn step(&mut self, number: u64) {
        if self.there.len() > 3 || (number % 3 == 2 && !self.there.is_empty()) {
            let seat = self.there.remove(usize::try_from(number).unwrap() % self.there.len());
            assert_eq!(self.rooms.leave(&seat, "left").await.unwrap(), Left::Done);
            self.deeds.push(Deed { kind: "left", user: Some(seat.peer.user().to_owned()) });
            return;
        }
        self.visits += 1;
        let (user, session) = (user(number % 5), u64::from(self.number) << 32 | self.visits);
        let join = Join {
            room: self.room.clone(),
            meta_version: 0,
            user: user.clone(),
            pid: format!("{session:032x}"),
            old_pid: None,
            handle: SessionHandle(session),
            role: Role::Participant,
            waits: false,
            public: PublicUser::new(user.clone(), "Person".into(), None),
            media: MediaState::default(),
            given: None,
            proof: Proof::default(),
        };
        match self.rooms.join(join).await.unwrap() {
            Joined::Seated { seat, .. } => self.there.push(seat),
            other => panic!("{other:?}"),
        }
        self.deeds.push(Deed { kind: "joined", user: Some(user.to_string()) });
        self.peak = self.peak.max(self.there.len());
    }

    async fn end(&mut self) {
        assert_eq!(self.rooms.end(&self.room, &self.id, "ended_by_host").await.unwrap(), Ended::Done);
        let gone = self.there.drain(..).map(|seat| Deed { kind: "left", user: Some(seat.peer.user().to_owned()) });
        self.deeds.extend(gone);
        self.deeds.push(Deed { kind: "ended", user: None });
    }

    /// The log has every deed once and in order, and the record is the sum of the log.
    async fn assert_recorded(&self, records: &Records) {
        let events = records.call_events(&self.id).await.unwrap();
        let told = events.iter().map(|event| (event.kind.clone(), event.user.clone())).collect();
        let done = self.deeds.iter().map(|deed| (deed.kind.to_owned(), deed.user.clone())).collect();
        assert_eq!(without_order_at_the_end(told), without_order_at_the_end(done), "{}", self.room);

        let call = records.call(&self.id).await.unwrap().unwrap();
        let over = self.deeds.last().is_some_and(|deed| deed.kind == "ended");
        assert_eq!(call.status, if over { CallStatus::Ended } else { CallStatus::Live });
        assert_eq!(usize::try_from(call.peak).unwrap(), self.peak, "{}", self.room);
        let mut sums: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
        for event in &events {
            let Some(user) = event.user.as_deref() else { continue };
            let (open, since, sum) = sums.entry(user).or_insert((0, 0, 0));
            match event.kind.as_str() {
                "joined" => {
                    if *open == 0 {
                        *since = event.at.0;
                    }
                    *open += 1;
                }
                "left" => {
                    *open -= 1;
                    if *open == 0 {
                        *sum += event.at.0 - *since;
                    }
                }
                _ => {}
            }
        }
        let came: Vec<_> = call.participants.iter().filter(|entry| entry.joined_at.is_some()).collect();
        assert_eq!(came.len(), sums.len());
        for entry in came {
            let (open, _, sum) = sums[entry.user.as_str()];
            assert_eq!(entry.is_connected, open > 0, "{} of {}", entry.user, self.room);
            assert_eq!(entry.presence.as_ref().unwrap().connected_ms, sum, "{} of {}", entry.user, self.room);
        }
    }
}

/// Who is told off when a call ends is so in no order of its own.
fn without_order_at_the_end(mut events: Vec<(String, Option<String>)>) -> Vec<(String, Option<String>)> {
    if events.last().is_some_and(|last| last.0 == "ended") {
        let end = events.len() - 1;
        let begin = events[..end].iter().rposition(|event| event.0 != "left").map_or(0, |last| last + 1);
        events[begin..end].sort_unstable();
    }
    events
}

/// An api as a process of its own.
async fn api(name: &str, mongo: &Mongo, redis: &RedisServer, dir: &TempDir) -> Process {
    let (port, admin) = (ports::free().unwrap(), ports::free().unwrap());
    let spec = Spec::new(name, env!("CARGO_BIN_EXE_api"), dir.path())
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("API_PORT", port)
        .env("METRICS_PORT", admin)
        .env("MONGODB_URI", mongo.uri("faults"))
        .env("REDIS_URL", redis.url());
    let mut process = Process::spawn(spec).unwrap();
    let probe = format!("http://127.0.0.1:{admin}/readyz");
    let ready =
        process.ready(BOUND, || async { reqwest::get(&probe).await.is_ok_and(|answer| answer.status() == 200) });
    ready.await.unwrap();
    process
}

async fn connect(redis: &RedisServer) -> Rooms {
    let (url, node) = (RedisUrl::parse(&redis.url()).unwrap(), NodeId::parse("n1").unwrap());
    Rooms::connect(&url, RoomOptions::default(), node).await.unwrap()
}

async fn waiting(rooms: &Rooms) -> u64 {
    let mut sum = 0;
    for number in 0..rooms.partitions() {
        sum += rooms.outbox_len(Partition(number)).await.unwrap();
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_equal_what_clients_did_though_a_pod_and_mongodb_were_killed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start().await.unwrap();
    let mut mongo = Mongo::start().await.unwrap();
    let rooms = connect(&redis).await;
    for number in 0..rooms.partitions() {
        rooms.beat(Partition(number), 1, true).await.unwrap();
    }
    let mut first = api("first", &mongo, &redis, &dir).await;
    let _second = api("second", &mongo, &redis, &dir).await;
    let timeouts = RecordsTimeouts { select: Duration::from_millis(500), operation: Duration::from_secs(5) };
    let records = Records::connect(&mongo.uri("faults"), timeouts).await.unwrap();

    let (stop, stopped) = watch::channel(false);
    let mut stories = Vec::new();
    for number in 0..CALLS {
        let mut story = Story::begin(rooms.clone(), number).await;
        let stopped = stopped.clone();
        stories.push(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PAUSE);
            let mut number = u64::from(story.number);
            while !*stopped.borrow() {
                ticks.tick().await;
                story.step(number).await;
                number += 1;
            }
            story
        }));
    }
    let recorded = async || {
        let mut sum = 0;
        for number in 0..CALLS {
            sum += records.call_events(&CallId::parse(&format!("{number:024x}")).unwrap()).await.unwrap().len();
        }
        sum
    };
    until("the first facts to be recorded", async || recorded().await > 0).await;
    first.kill().unwrap();
    let then = recorded().await;
    until("the other pod to go on", async || recorded().await > then).await;
    mongo.process().kill().unwrap();
    let before = waiting(&rooms).await;
    until("facts to pile up", async || waiting(&rooms).await > before + 200).await;
    // Before they can take up again: afterwards there may be no pile any more.
    let pile = waiting(&rooms).await;
    mongo.restart().await.unwrap();
    first.respawn().unwrap();
    until("the pile to shrink", async || waiting(&rooms).await < pile).await;
    stop.send(true).unwrap();
    let mut done = Vec::new();
    for story in stories {
        done.push(story.await.unwrap());
    }
    for story in done.iter_mut().step_by(2) {
        story.end().await;
    }
    until("every fact to be recorded", async || waiting(&rooms).await == 0).await;
    let deeds: usize = done.iter().map(|story| story.deeds.len()).sum();
    assert!(deeds > 400, "only {deeds} things were done");
    for story in &done {
        story.assert_recorded(&records).await;
    }
    assert_eq!(records.dead_facts().await.unwrap(), []);
}
