//! Records after an API pod and MongoDB were killed and restarted, and after MongoDB was restored
//! from a backup, under joins and leaves.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod support;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use devcluster::mongo::Mongo;
use devcluster::ports;
use devcluster::process::{Process, Spec};
use devcluster::redis::RedisServer;
use switchboard_core::domain::{
    AppId, CallId, CallStatus, MediaState, NodeId, PublicUser, Role, RoomId, SessionHandle, Timestamp,
};
use switchboard_records::{Records, RecordsError, RecordsTimeouts, UserRecord};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Created, Ended, Join, Joined, LeaveOutcome, Partition, Proof, RoomOptions, Rooms, Seat};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use support::{BOUND, meta, until, user};

const CALLS: u16 = 20;
/// Pause between two steps of one call; over all calls it makes 200 steps a second.
const PAUSE: Duration = Duration::from_millis(100);

/// Action of a client that the store has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Action {
    kind: &'static str,
    user: Option<String>,
}

/// Call, and the actions in it.
struct TrackedCall {
    rooms: Rooms,
    number: u16,
    id: CallId,
    room: RoomId,
    there: Vec<Arc<Seat>>,
    visits: u64,
    actions: Vec<Action>,
    peak: usize,
}

impl TrackedCall {
    async fn begin(rooms: Rooms, number: u16) -> Self {
        // The host is not among the participants, so that a leave never transfers the host.
        let meta = meta(number.into(), user(99));
        let room = RoomId::parse(&format!("room-{number}")).unwrap();
        let details = serde_json::to_string(&meta).unwrap();
        assert_eq!(rooms.create(&room, &meta, &details).await.unwrap(), Created::Done);
        let actions = vec![Action { kind: "created", user: None }];
        Self { rooms, number, id: meta.call_id, room, there: Vec::new(), visits: 0, actions, peak: 0 }
    }

    /// Joins or leaves. Five users join repeatedly, some on two devices.
    async fn step(&mut self, number: u64) {
        if self.there.len() > 3 || (number % 3 == 2 && !self.there.is_empty()) {
            let seat = self.there.remove(usize::try_from(number).unwrap() % self.there.len());
            assert_eq!(self.rooms.leave(&seat, "left").await.unwrap(), LeaveOutcome::Done);
            self.actions.push(Action { kind: "left", user: Some(seat.peer.user().to_owned()) });
            return;
        }
        self.visits += 1;
        let (user, session) = (user(number % 5), u64::from(self.number) << 32 | self.visits);
        let join = Join {
            room: self.room.clone(),
            meta_version: 0,
            grant: None,
            user: user.clone(),
            pid: format!("{session:032x}"),
            old_pid: None,
            handle: SessionHandle(session),
            role: Role::Participant,
            waits: false,
            public: PublicUser::new(user.clone(), "Person".into(), None),
            media: MediaState::default(),
            given: None,
            permissions: None,
            given_permissions: None,
            proof: Proof::default(),
        };
        match self.rooms.join(join).await.unwrap() {
            Joined::Seated { seat, .. } => self.there.push(seat),
            other => panic!("{other:?}"),
        }
        self.actions.push(Action { kind: "joined", user: Some(user.to_string()) });
        self.peak = self.peak.max(self.there.len());
    }

    async fn end(&mut self) {
        assert_eq!(self.rooms.end(&self.room, &self.id, "ended_by_host").await.unwrap(), Ended::Done);
        let gone = self.there.drain(..).map(|seat| Action { kind: "left", user: Some(seat.peer.user().to_owned()) });
        self.actions.extend(gone);
        self.actions.push(Action { kind: "ended", user: None });
    }

    /// Asserts that the log has every action once and in order, and that the record matches the
    /// log.
    async fn assert_recorded(&self, records: &Records) {
        let events = records.call_events(&self.id).await.unwrap();
        let recorded = events.iter().map(|event| (event.kind.clone(), event.user.clone())).collect();
        let done = self.actions.iter().map(|action| (action.kind.to_owned(), action.user.clone())).collect();
        assert_eq!(without_order_at_the_end(recorded), without_order_at_the_end(done), "{}", self.room);

        let call = records.call(&AppId::default(), &self.id).await.unwrap().unwrap();
        let over = self.actions.last().is_some_and(|action| action.kind == "ended");
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

/// Sorts the leaves at the end of a call, because their order is arbitrary.
fn without_order_at_the_end(mut events: Vec<(String, Option<String>)>) -> Vec<(String, Option<String>)> {
    if events.last().is_some_and(|last| last.0 == "ended") {
        let end = events.len() - 1;
        let begin = events[..end].iter().rposition(|event| event.0 != "left").map_or(0, |last| last + 1);
        events[begin..end].sort_unstable();
    }
    events
}

/// Starts an API in its own process.
async fn api(name: &str, mongo: &Mongo, redis: &RedisServer, dir: &TempDir) -> Process {
    let (port, admin) = (ports::free().unwrap(), ports::free().unwrap());
    let spec = Spec::new(name, env!("CARGO_BIN_EXE_api"), dir.path())
        .env("NODE_ENV", "development")
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("API_PORT", port)
        .env("METRICS_PORT", admin)
        .env("MONGODB_URI", mongo.uri("faults"))
        .env("REDIS_URL", redis.url());
    let mut process = Process::spawn(spec).unwrap();
    let probe = format!("http://127.0.0.1:{admin}/readyz");
    let ready =
        process.wait_ready(BOUND, || async { reqwest::get(&probe).await.is_ok_and(|answer| answer.status() == 200) });
    ready.await.unwrap();
    process
}

/// Connects as a node that is alive.
async fn connect(redis: &RedisServer) -> Rooms {
    let (url, node) = (RedisUrl::parse(&redis.url()).unwrap(), NodeId::parse("n1").unwrap());
    // No node runs here that could say that a socket is alive, so every socket counts as alive.
    let options = RoomOptions { probe: Duration::ZERO, ..RoomOptions::default() };
    let rooms = Rooms::connect(&url, options, node).await.unwrap();
    for number in 0..rooms.partitions() {
        rooms.check_node(Partition(number), "r", true).await.unwrap();
    }
    rooms
}

async fn records(mongo: &Mongo) -> Records {
    let timeouts = RecordsTimeouts { select: Duration::from_millis(500), operation: Duration::from_secs(5) };
    Records::connect(&mongo.uri("faults"), timeouts).await.unwrap()
}

async fn waiting(rooms: &Rooms) -> u64 {
    let mut sum = 0;
    for number in 0..rooms.partitions() {
        sum += rooms.outbox_len(Partition(number)).await.unwrap();
    }
    sum
}

/// Begins calls, in which clients join and leave until [`finish`].
async fn begin(rooms: &Rooms, numbers: Range<u16>) -> (watch::Sender<bool>, Vec<JoinHandle<TrackedCall>>) {
    let (stop, stopped) = watch::channel(false);
    let mut calls = Vec::new();
    for number in numbers {
        let mut call = TrackedCall::begin(rooms.clone(), number).await;
        let stopped = stopped.clone();
        calls.push(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PAUSE);
            let mut number = u64::from(call.number);
            while !*stopped.borrow() {
                ticks.tick().await;
                call.step(number).await;
                number += 1;
            }
            call
        }));
    }
    (stop, calls)
}

/// Ends the joins and leaves, not the calls.
async fn finish(stop: watch::Sender<bool>, calls: Vec<JoinHandle<TrackedCall>>) -> Vec<TrackedCall> {
    stop.send(true).unwrap();
    let mut done = Vec::new();
    for call in calls {
        done.push(call.await.unwrap());
    }
    done
}

/// Returns how many events of these calls are recorded.
async fn recorded(records: &Records, numbers: Range<u16>) -> usize {
    let mut sum = 0;
    for number in numbers {
        sum += records.call_events(&CallId::parse(&format!("{number:024x}")).unwrap()).await.unwrap().len();
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_match_the_clients_actions_although_a_pod_and_mongodb_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start().await.unwrap();
    let mut mongo = Mongo::start().await.unwrap();
    let rooms = connect(&redis).await;
    let mut first = api("first", &mongo, &redis, &dir).await;
    let _second = api("second", &mongo, &redis, &dir).await;
    let records = records(&mongo).await;

    let (stop, calls) = begin(&rooms, 0..CALLS).await;
    let recorded = async || recorded(&records, 0..CALLS).await;
    until("the first facts to be recorded", async || recorded().await > 0).await;
    first.kill().unwrap();
    let then = recorded().await;
    until("the other pod to continue", async || recorded().await > then).await;
    mongo.process().kill().unwrap();
    let before = waiting(&rooms).await;
    until("facts to pile up", async || waiting(&rooms).await > before + 200).await;
    // Measure before the recorders resume, because afterwards no facts may be waiting.
    let pile = waiting(&rooms).await;
    mongo.restart().await.unwrap();
    first.respawn().unwrap();
    until("the pile to shrink", async || waiting(&rooms).await < pile).await;
    let mut done = finish(stop, calls).await;
    for call in done.iter_mut().step_by(2) {
        call.end().await;
    }
    until("every fact to be recorded", async || waiting(&rooms).await == 0).await;
    let actions: usize = done.iter().map(|call| call.actions.len()).sum();
    assert!(actions > 400, "only {actions} things were done");
    for call in &done {
        call.assert_recorded(&records).await;
    }
    assert_eq!(records.dead_facts().await.unwrap(), []);
}

/// The drill of docs/OPERATIONS.md, "Backup and restore".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_taken_while_calls_run_is_restored_and_calls_go_on() {
    const OLD: Range<u16> = 0..4;
    const LATER: Range<u16> = 4..6;
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start().await.unwrap();
    let mut mongo = Mongo::start().await.unwrap();
    let rooms = connect(&redis).await;
    let _api = api("restored", &mongo, &redis, &dir).await;
    let records = records(&mongo).await;
    records.insert_user(&account()).await.unwrap();

    let (stop, calls) = begin(&rooms, OLD).await;
    until("facts to be recorded", async || recorded(&records, OLD).await > 20).await;
    let before = recorded(&records, OLD).await;
    let backup = dir.path().join("backup");
    mongo.back_up(&backup).await.unwrap();
    let (stop_later, later_calls) = begin(&rooms, LATER).await;
    until("facts that the backup lacks", async || recorded(&records, LATER).await > 20).await;
    // Facts stay in Redis until the recorder has written them, and then writes the next ones.
    let written = recorded(&records, LATER).await;
    until("Redis to forget these facts", async || recorded(&records, LATER).await > written + 20).await;

    mongo.restore(&backup).await.unwrap();
    let after = recorded(&records, OLD).await;
    assert!(after >= before, "the backup has {after} of {before} events");
    // A fact that was recorded after the backup is lost, and so is a call that was created then.
    // Its room goes on.
    until("calls to go on", async || recorded(&records, OLD).await > after + 20).await;
    let mut done = finish(stop, calls).await;
    done.extend(finish(stop_later, later_calls).await);
    until("every fact to be recorded", async || waiting(&rooms).await == 0).await;
    let mut kept = 0;
    for TrackedCall { id, room, actions, .. } in &done {
        let events = records.call_events(id).await.unwrap();
        let events: Vec<_> =
            events.into_iter().map(|event| Action { kind: known(&event.kind), user: event.user }).collect();
        assert!(has_one_gap(actions, &events), "{room}: {events:?} is not {actions:?} with a gap");
        kept += events.len();
    }
    let actions: usize = done.iter().map(|call| call.actions.len()).sum();
    assert!(kept < actions, "the backup was not older than the disaster");
    assert_eq!(records.dead_facts().await.unwrap(), []);
    assert!(matches!(records.insert_user(&account()).await, Err(RecordsError::Duplicate)), "the account is back");

    // A call that begins now is recorded completely.
    let (stop, calls) = begin(&rooms, 6..7).await;
    until("the new call to be recorded", async || recorded(&records, 6..7).await > 5).await;
    let mut done = finish(stop, calls).await;
    done[0].end().await;
    until("every fact to be recorded", async || waiting(&rooms).await == 0).await;
    done[0].assert_recorded(&records).await;
}

fn account() -> UserRecord {
    UserRecord {
        id: Records::new_user_id(),
        name: "Ann".into(),
        email: "ann@example.org".into(),
        password: String::new(),
        avatar: None,
        sign_ins_since: None,
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
    }
}

/// Returns the kind as [`Action`] has it.
fn known(kind: &str) -> &'static str {
    ["created", "joined", "left", "ended"].into_iter().find(|known| *known == kind).unwrap_or("other")
}

/// Returns whether `some` is `all` without a part that is in one piece.
fn has_one_gap(all: &[Action], some: &[Action]) -> bool {
    let same = all.iter().zip(some).take_while(|(one, other)| one == other).count();
    all.ends_with(&some[same..])
}
