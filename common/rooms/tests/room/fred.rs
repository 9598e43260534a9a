//! Faults of Redis under the requests of api pods, which use `fred`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::{Value, cmd};
use switchboard_core::domain::*;
use switchboard_rooms::*;
use tokio::task::JoinHandle;

use super::testbed::*;

const CREATORS: usize = 8;

/// Returns the metadata of call `n`.
fn call(n: usize) -> RoomMeta {
    RoomMeta { call_id: CallId::parse(&format!("{n:024x}")).unwrap(), ..meta(5) }
}

/// Creates calls without a pause, from several tasks.
struct Creators {
    created: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<usize>>,
}

impl Creators {
    fn start(api: &Rooms) -> Self {
        let (created, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let create = |creator: usize| {
            let (api, created, stop) = (api.clone(), created.clone(), stop.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    let n = creator * 1_000_000 + done;
                    let outcome = api.create(&room(&format!("R{n}")), &call(n), "{}").await;
                    assert!(matches!(outcome, Ok(Created::Done)), "call {n}: {outcome:?}");
                    done += 1;
                    created.fetch_add(1, Ordering::Relaxed);
                }
                done
            })
        };
        let tasks = (0..CREATORS).map(create).collect();
        Self { created, stop, tasks }
    }

    /// Waits until that many more calls are created.
    async fn more(&self, count: usize) {
        let wanted = self.created.load(Ordering::Relaxed) + count;
        until("calls are created", async || self.created.load(Ordering::Relaxed) >= wanted).await;
    }

    /// Stops, and asserts that every call has one fact.
    async fn audit(self, api: &Rooms) {
        self.stop.store(true, Ordering::Relaxed);
        let created: usize = join_all(self.tasks).await.into_iter().map(Result::unwrap).sum();
        assert!(created > 0);
        let mut calls: Vec<CallId> = facts(api).await.into_iter().map(|fact| fact.call).collect();
        assert_eq!(calls.len(), created, "one fact for each call");
        calls.sort();
        calls.dedup();
        assert_eq!(calls.len(), created, "no call twice");
    }
}

pub(crate) async fn calls_are_created_once_although_connections_die_and_scripts_are_flushed(mut bed: TestBed) {
    let api = bed.guest("api").await;
    let creators = Creators::start(&api);
    let (mut kill, mut flush) = (cmd("CLIENT"), cmd("SCRIPT"));
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    flush.arg("FLUSH");
    for _ in 0..10 {
        creators.more(50).await;
        bed.everywhere::<i64>(&kill).await;
        creators.more(50).await;
        bed.everywhere::<Value>(&flush).await;
    }
    creators.more(50).await;
    creators.audit(&api).await;
}

pub(crate) async fn a_paused_redis_refuses_requests_in_time_and_serves_when_it_goes_on(mut bed: TestBed) {
    bed.options.lanes.queue_time = Duration::from_millis(300);
    let api = bed.guest("api").await;
    for server in bed.servers() {
        server.process().pause().unwrap();
    }
    // Each is refused by its own time, and none waits for those before it.
    let (started, name, calls) = (Instant::now(), room("R"), (0..200).map(call).collect::<Vec<_>>());
    let outcomes = join_all(calls.iter().map(|call| api.create(&name, call, "{}"))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Unavailable))), "{outcomes:?}");
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
    for server in bed.servers() {
        server.process().resume().unwrap();
    }
    until("redis serves again", async || api.ping().await.is_ok()).await;
    assert_eq!(api.end(&room("other"), &call(1).call_id, "ended").await.unwrap(), Ended::Done);
}

pub(crate) async fn a_restarted_redis_is_used_again(mut bed: TestBed) {
    let api = bed.guest("api").await;
    assert_eq!(api.create(&room("before"), &call(1), "{}").await.unwrap(), Created::Done);
    for server in bed.servers() {
        server.restart().await.unwrap();
    }
    until("redis serves again", async || api.ping().await.is_ok()).await;
    // It has lost its scripts.
    until("calls are created again", async || api.create(&room("after"), &call(2), "{}").await.is_ok()).await;
    assert!(matches!(api.peek(&room("after")).await.unwrap(), RoomPeek::Open { .. }));
}

pub(crate) async fn a_request_above_the_bound_is_refused_immediately(mut bed: TestBed) {
    bed.options.lanes.queue_max = 4;
    bed.options.lanes.queue_time = LONG;
    let api = bed.guest("api").await;
    for server in bed.servers() {
        server.process().pause().unwrap();
    }
    // Those that wait would be answered only by the time limit of the test.
    let waiting: Vec<_> = (0..4).map(|n| room(&format!("R{n}"))).collect();
    let waiting = waiting.iter().map(|name| api.peek(name)).collect::<Vec<_>>();
    let mut waiting = std::pin::pin!(join_all(waiting));
    let one_more = room("R");
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("redis is paused"),
        refused = api.peek(&one_more) => assert!(matches!(refused, Err(StoreError::Unavailable))),
    }
    for server in bed.servers() {
        server.process().resume().unwrap();
    }
    let answers = waiting.await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(RoomPeek::Absent))), "{answers:?}");
}

pub(crate) async fn a_request_of_a_seat_is_refused(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let seat = sit(&rooms, "R", 1).await.seat;
    let refused = |error: StoreError| matches!(error, StoreError::Unexpected(reason) if reason.contains("lanes"));
    assert!(refused(api.join(join("R", 2)).await.unwrap_err()));
    assert!(refused(api.leave(&seat, "left").await.unwrap_err()));
    assert!(refused(act(&api, &seat, broadcast("x")).await.unwrap_err()));
    assert_eq!(rooms.leave(&seat, "left").await.unwrap(), LeaveOutcome::Done);
}

pub(crate) async fn a_moved_slot_is_followed(mut bed: TestBed) {
    let api = bed.guest("api").await;
    let creators = Creators::start(&api);
    creators.more(100).await;
    let slot = bed.keys().slot(Partition(0));
    let Servers::Many(cluster) = &mut bed.servers else { panic!("only a cluster has slots") };
    let mut owner = usize::from(slot) * 3 / 16_384;
    let before = api.lanes();
    for _ in 0..4 {
        let next = (owner + 1) % 3;
        cluster.move_slot(slot, owner, next).await.unwrap();
        owner = next;
        creators.more(100).await;
    }
    assert_eq!(api.lanes().len(), before.len());
    creators.audit(&api).await;
}

/// A pool for the whole cluster would refuse the requests to all masters while one is down.
pub(crate) async fn a_lost_master_stops_only_its_own_rooms(mut bed: TestBed) {
    let api = bed.guest("api").await;
    let master = |p: Partition| usize::from(bed.keys().slot(p)) * 3 / 16_384;
    let partitions: Vec<Partition> = (0..api.partitions()).map(Partition).collect();
    let lost = master(partitions[0]);
    let others: Vec<Partition> = partitions.iter().copied().filter(|&p| master(p) != lost).collect();
    assert!(!others.is_empty());
    let mut takeovers = api.takeovers();
    takeovers.mark_unchanged();
    bed.servers()[lost].process().kill().unwrap();
    until("the rooms of the lost master continue on its replica", async || {
        for &p in &others {
            assert!(api.acquire_lease(p, "me", LONG).await.unwrap());
        }
        api.acquire_lease(partitions[0], "me", LONG).await.is_ok()
    })
    .await;
    assert!(takeovers.has_changed().unwrap(), "a takeover is counted");
}

/// Fails over twice, because of a crash and on request. On request, the old master goes on as a
/// master for seconds, so that only the announcement of the Sentinels tells that it must not be
/// used.
pub(crate) async fn the_master_that_sentinels_name_is_followed(mut bed: TestBed) {
    let api = bed.guest("api").await;
    for round in 0..2 {
        assert_eq!(api.create(&room(&format!("before-{round}")), &call(round), "{}").await.unwrap(), Created::Done);
        let Servers::Sentinel(redis) = &mut bed.servers else { panic!("only Sentinels fail over") };
        let new = if round == 0 { redis.kill_master().await.unwrap() } else { redis.fail_over().await.unwrap() };
        let name = room(&format!("after-{round}"));
        let key = bed.keys().room(api.partition_of(&name), &name);
        let master = &bed.servers()[new];
        until("calls are created on the new master", async || {
            let created = api.create(&name, &call(10 + round), "{}").await.is_ok();
            created && master.query::<i64>(cmd("EXISTS").arg(&key)).await.ok() == Some(1)
        })
        .await;
        let Servers::Sentinel(redis) = &mut bed.servers else { panic!("only Sentinels fail over") };
        if round == 0 {
            redis.restore().await.unwrap();
        }
    }
}
