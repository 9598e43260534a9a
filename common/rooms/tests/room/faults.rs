//! Faults of Redis under load: no acknowledged event is lost, duplicated or reordered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use devcluster::redis::RedisServer;
use futures_util::future::join_all;
use redis::{Value, cmd};
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::*;

use super::testbed::*;

const SENDERS: usize = 8;
/// More operations than a test under load sends on a slow machine, so that the audit reads all.
const LOG_MAX_LEN: usize = 1_000_000;

/// Senders without a pause, to one receiver in the same room.
struct Load {
    rooms: Rooms,
    tally: Tally,
    receiver: Seated,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<usize>>,
}

impl Load {
    async fn start(bed: &TestBed) -> Self {
        let rooms = bed.node("n1").await;
        rooms.open(&room("R"), &meta(100)).await.unwrap();
        let receiver = sit(&rooms, "R", 100).await;
        let (tally, stop) = (Tally::default(), Arc::new(AtomicBool::new(false)));
        let mut tasks = Vec::new();
        for n in 1..=SENDERS {
            let seat = sit(&rooms, "R", n).await.seat;
            let (rooms, tally, stop) = (rooms.clone(), tally.clone(), stop.clone());
            let to = receiver.seat.peer.clone();
            tasks.push(tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    tally.submit(&rooms, &seat, to.clone(), format!("{n}:{sent}"));
                    sent += 1;
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
                sent
            }));
        }
        Self { rooms, tally, receiver, stop, tasks }
    }

    /// Waits until that many more operations are answered under load.
    async fn more(&self, count: usize) {
        let now = self.tally.answers().len();
        self.tally.wait_for(now + count).await;
    }

    /// Stops, waits for every reply and audits the log. Returns the number of refused operations.
    async fn audit(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = 0;
        for task in self.tasks {
            sent += task.await.unwrap();
        }
        self.tally.wait_for(sent).await;
        // One more operation in the same line is answered, so the lane has recovered.
        until("Redis serves again", async || self.rooms.peek(&room("R")).await.is_ok()).await;
        let got = self.rooms.read(&room("R"), &self.receiver.seat.peer, self.receiver.id).await.unwrap().unwrap();
        let mut logged: Vec<String> = Vec::new();
        for entry in &got {
            let text = entry.event();
            if let Some(message) = text.strip_prefix("\"chat:message\",{\"message\":\"") {
                logged.push(message.trim_end_matches("\"}").to_owned());
            }
        }
        for n in 1..=SENDERS {
            let mine: Vec<usize> = logged
                .iter()
                .filter_map(|text| text.strip_prefix(&format!("{n}:")).map(|number| number.parse().unwrap()))
                .collect();
            assert!(mine.is_sorted_by(|a, b| a < b), "sender {n}: duplicated or reordered");
        }
        let logged: std::collections::HashSet<String> = logged.into_iter().collect();
        let mut refused = 0;
        for (text, reply) in self.tally.answers() {
            match reply {
                Ok(OpReply::Logged { .. }) => assert!(logged.contains(&text), "{text} was acknowledged and is lost"),
                Err(StoreError::Unavailable) => refused += 1,
                other => panic!("{text}: {other:?}"),
            }
        }
        refused
    }
}

pub(crate) async fn killed_connections_under_load_lose_duplicate_or_reorder_no_event(mut bed: TestBed) {
    bed.options.log_max_len = LOG_MAX_LEN;
    let load = Load::start(&bed).await;
    let mut kill = cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    for _ in 0..20 {
        load.more(100).await;
        // A lane that is between two connections has none to kill.
        let killed = async { while bed.everywhere::<i64>(&kill).await.into_iter().sum::<i64>() == 0 {} };
        tokio::time::timeout(LONG, killed).await.expect("a connection to kill");
    }
    load.more(100).await;
    assert_eq!(load.audit().await, 0);
}

pub(crate) async fn operations_before_a_leave_take_effect_although_connections_die(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(100)).await.unwrap();
    let receiver = sit(&rooms, "R", 100).await;
    let mut kill = cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    for round in 0..40 {
        let (tally, seat) = (Tally::default(), sit(&rooms, "R", 1).await.seat);
        for number in 0..200 {
            tally.submit(&rooms, &seat, receiver.seat.peer.clone(), format!("{round}:{number}"));
        }
        let leaving = rooms.leave(&seat, "left");
        let (left, _) = tokio::join!(leaving, bed.everywhere::<i64>(&kill));
        // The reply to the leave may be lost; then its repetition is stale.
        assert!(left.is_ok());
        tally.wait_for(200).await;
        // In one pipeline with the operations, the leave would have made their repetition stale.
        let done = |reply: &Result<OpReply, StoreError>| matches!(reply, Ok(OpReply::Logged { .. }));
        assert!(tally.answers().iter().all(|(_, reply)| done(reply)), "{:?}", tally.answers());
    }
    let got = rooms.read(&room("R"), &receiver.seat.peer, receiver.id).await.unwrap().unwrap();
    assert_eq!(got.iter().filter(|entry| entry.event().starts_with("\"chat:message\"")).count(), 40 * 200);
}

pub(crate) async fn flushed_scripts_under_load_lose_duplicate_or_reorder_no_event(mut bed: TestBed) {
    bed.options.log_max_len = LOG_MAX_LEN;
    let load = Load::start(&bed).await;
    let mut flush = cmd("SCRIPT");
    flush.arg("FLUSH");
    for _ in 0..20 {
        load.more(100).await;
        bed.everywhere::<Value>(&flush).await;
        // A join is a transaction, and is sent again too when its script is missing.
        let seat = sit(&load.rooms, "R", 50).await.seat;
        assert_eq!(load.rooms.leave(&seat, "left").await.unwrap(), LeaveOutcome::Done);
    }
    load.more(100).await;
    assert_eq!(load.audit().await, 0);
}

pub(crate) async fn a_paused_redis_refuses_callers_in_time_and_leaves_no_gap_or_ghost(mut bed: TestBed) {
    bed.options.lanes.queue_time = Duration::from_millis(300);
    let load = Load::start(&bed).await;
    let leaver = sit(&load.rooms, "R", 60).await.seat;
    load.more(100).await;
    for server in bed.servers() {
        server.process().pause().unwrap();
    }
    // Callers are refused in time; leave and detach take effect later all the same.
    assert!(matches!(load.rooms.leave(&leaver, "left").await, Err(StoreError::Unavailable)));
    assert!(matches!(load.rooms.join(join("R", 61)).await, Err(StoreError::Unavailable)));
    assert!(load.rooms.ping().await.is_err());
    for server in bed.servers() {
        server.process().resume().unwrap();
    }
    until("Redis serves again", async || load.rooms.ping().await.is_ok()).await;
    load.more(500).await;
    until("the seat that left is free, and the refused join holds no seat", async || {
        let Ok(Some(snapshot)) = load.rooms.snapshot(&room("R")).await else { return false };
        !snapshot.seats.iter().any(|seat| [user(60), user(61)].contains(&seat.user_id))
    })
    .await;
    assert!(load.audit().await > 0);
}

pub(crate) async fn a_redis_that_refuses_writes_loses_no_leave_and_no_operation_number(mut bed: TestBed) {
    bed.options.lanes.queue_time = Duration::from_millis(300);
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(10)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await.seat, sit(&rooms, "R", 2).await);
    // Too few replicas, and no memory for more.
    for (round, (parameter, refusing, usual)) in
        [("min-replicas-to-write", "1", "0"), ("maxmemory", "1", "0")].into_iter().enumerate()
    {
        let set = |value: &str| {
            let mut set = cmd("CONFIG");
            set.arg("SET").arg(parameter).arg(value);
            set
        };
        let leaver = sit(&rooms, "R", 3).await.seat;
        bed.everywhere::<()>(&set(refusing)).await;
        let refused = act(&rooms, &alice, relay(bob.seat.peer.clone(), format!("{round}: refused"))).await;
        assert!(matches!(refused, Err(StoreError::Unavailable)), "{parameter}: {refused:?}");
        // Under `OOM` a leave takes effect at once, because its first write needs no memory.
        let _now_or_later = rooms.leave(&leaver, "left").await;
        assert!(rooms.snapshot(&room("R")).await.is_ok(), "reads go on");
        bed.everywhere::<()>(&set(usual)).await;
        until("the seat that left is free", async || {
            let Ok(Some(snapshot)) = rooms.snapshot(&room("R")).await else { return false };
            !snapshot.seats.iter().any(|seat| seat.user_id == user(3))
        })
        .await;
        logged(act(&rooms, &alice, relay(bob.seat.peer.clone(), format!("{round}: after"))).await);
    }
    let entries = rooms.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap();
    let events: Vec<_> = entries.iter().map(|entry| entry.event()).filter(|event| event.contains(": ")).collect();
    assert_eq!(events.len(), 4, "{events:?}");
}

pub(crate) async fn a_busy_redis_or_one_that_denies_scripts_loses_no_leave(mut bed: TestBed) {
    const LONG_SCRIPT: &str = "local from = tonumber(redis.call('TIME')[1])
        repeat local now = tonumber(redis.call('TIME')[1]) until now - from > 1";
    bed.options.lanes.queue_time = Duration::from_millis(300);
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(10)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await.seat, sit(&rooms, "R", 2).await);
    let is_free = async || {
        let Ok(Some(snapshot)) = rooms.snapshot(&room("R")).await else { return false };
        !snapshot.seats.iter().any(|seat| seat.user_id == user(3))
    };

    let leaver = sit(&rooms, "R", 3).await.seat;
    let mut threshold = cmd("CONFIG");
    threshold.arg("SET").arg("busy-reply-threshold").arg(20);
    bed.everywhere::<()>(&threshold).await;
    let mut long = cmd("EVAL");
    long.arg(LONG_SCRIPT).arg(0);
    // The question may give up before its answer comes.
    let servers: &[RedisServer] = bed.servers();
    let long = join_all(servers.iter().map(|server| server.query::<Value>(&long)));
    let busy = async {
        for server in servers {
            until("Redis is busy", async || {
                server.query::<String>(&cmd("PING")).await.is_err_and(|error| format!("{error:#}").contains("BUSY"))
            })
            .await;
        }
        let left = rooms.leave(&leaver, "left").await;
        assert!(matches!(left, Err(StoreError::Unavailable)), "{left:?}");
        act(&rooms, &alice, relay(bob.seat.peer.clone(), "busy: 1")).await
    };
    let (_, relayed) = tokio::join!(long, busy);
    assert!(matches!(relayed, Ok(_) | Err(StoreError::Unavailable)), "{relayed:?}");
    until("the seat that left is free", is_free).await;
    logged(act(&rooms, &alice, relay(bob.seat.peer.clone(), "busy: 2")).await);

    let leaver = sit(&rooms, "R", 3).await.seat;
    let set = |right: &str| {
        let mut set = cmd("ACL");
        set.arg("SETUSER").arg("default").arg(right);
        set
    };
    bed.everywhere::<()>(&set("-evalsha")).await;
    let left = rooms.leave(&leaver, "left").await;
    assert!(matches!(left, Err(StoreError::Unavailable)), "{left:?}");
    bed.everywhere::<()>(&set("+evalsha")).await;
    until("the seat that left is free", is_free).await;
}

pub(crate) async fn slot_moved_under_load(mut bed: TestBed) {
    let load = Load::start(&bed).await;
    load.more(500).await;
    let slot = bed.keys().slot(load.rooms.partition_of(&room("R")));
    let Servers::Many(cluster) = &mut bed.servers else { panic!("only a cluster has slots") };
    let mut owner = usize::from(slot) * 3 / 16_384;
    for _ in 0..4 {
        let next = (owner + 1) % 3;
        cluster.move_slot(slot, owner, next).await.unwrap();
        owner = next;
        load.more(500).await;
    }
    assert_eq!(load.audit().await, 0);
}

/// Waits until a replica has all that its master has at this moment.
async fn replicated(servers: &[RedisServer], master: usize, replica: usize) {
    let offset = async |server: &RedisServer, name: &str| {
        let info: String = server.query(cmd("INFO").arg("replication")).await.unwrap();
        info.lines().find_map(|line| line.strip_prefix(name)).and_then(|text| text.parse::<u64>().ok())
    };
    let written = offset(&servers[master], "master_repl_offset:").await;
    assert!(written.is_some());
    let replica = &servers[replica];
    until("the replica is up to date", async || offset(replica, "slave_repl_offset:").await >= written).await;
}

/// Fails over twice, because of a crash and on request: relays go on, and messages reach the
/// subscription on the new master. On request, the old master goes on as a master for seconds, so
/// that only the announcement of the Sentinels tells that it must not be used.
pub(crate) async fn sentinel_failover(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    let (bus, mut events) = bed.listen("n1").await;
    rooms.open(&room("R"), &meta(100)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    let mut takeovers = rooms.takeovers();
    let mut master = 0;
    for round in 0..2 {
        logged(act(&rooms, &alice.seat, relay(bob.seat.peer.clone(), format!("{round}: before"))).await);
        replicated(bed.servers(), master, 1 - master).await;
        takeovers.mark_unchanged();
        let Servers::Sentinel(redis) = &mut bed.servers else { panic!("only Sentinels fail over") };
        let new = if round == 0 { redis.kill_master().await.unwrap() } else { redis.fail_over().await.unwrap() };
        assert_eq!(new, 1 - master);
        master = new;
        let restored = async {
            let mut missing: BTreeSet<Partition> = (0..rooms.partitions()).map(Partition).collect();
            while !missing.is_empty() {
                if let BusEvent::Restored { partition, .. } = events.recv().await.unwrap() {
                    missing.remove(&partition);
                }
            }
        };
        // As the node's checks do: the one after a failover counts no receiver.
        let checks = async {
            loop {
                for p in (0..rooms.partitions()).map(Partition) {
                    if let Ok(CheckOutcome::Registered(check)) = rooms.check_node(p, "r", false).await
                        && check.receivers == 0
                    {
                        let _repeated_by_the_next_heartbeat = bus.resubscribe(p).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            done = tokio::time::timeout(LONG, restored) => done.expect("every partition is subscribed again"),
            () = checks => {}
        }
        let text = format!("{round}: after");
        until("relays continue", async || {
            let reply = act(&rooms, &alice.seat, relay(bob.seat.peer.clone(), &text)).await;
            matches!(reply, Ok(OpReply::Logged { .. }))
        })
        .await;
        let key = bed.keys().log(rooms.partition_of(&room("R")), &room("R"));
        let entries: Value = bed.servers()[master].query(cmd("XRANGE").arg(key).arg("-").arg("+")).await.unwrap();
        assert!(format!("{entries:?}").contains(&text), "the event is in the log of the new master");
        assert!(takeovers.has_changed().unwrap(), "a takeover is counted, so that the node verifies its seats");
        let is_it =
            |envelope: &Envelope<'_>| matches!(envelope, Envelope::Event { event, .. } if event.contains(&text));
        next_envelope(&mut events, is_it).await;
        let got = rooms.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap();
        let logged: Vec<&str> = got.iter().map(LogEntry::event).collect();
        assert!(logged.iter().any(|it| it.contains(&format!("{round}: before"))), "{logged:?}");
        let Servers::Sentinel(redis) = &mut bed.servers else { panic!("only Sentinels fail over") };
        if round == 0 {
            redis.restore().await.unwrap();
        }
    }
    sit(&rooms, "R", 3).await;
}

/// Replication is asynchronous, so the last events before the loss may be gone. All operations
/// after it must succeed.
pub(crate) async fn master_lost(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(100)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    logged(act(&rooms, &alice.seat, relay(bob.seat.peer.clone(), "before")).await);
    let slot = bed.keys().slot(rooms.partition_of(&room("R")));
    let master = usize::from(slot) * 3 / 16_384;
    let mut takeovers = rooms.takeovers();
    takeovers.mark_unchanged();
    replicated(bed.servers(), master, 3 + master).await;
    bed.servers()[master].process().kill().unwrap();
    until("relays continue", async || {
        matches!(act(&rooms, &alice.seat, relay(bob.seat.peer.clone(), "after")).await, Ok(OpReply::Logged { .. }))
    })
    .await;
    assert!(takeovers.has_changed().unwrap(), "a takeover is counted, so that the node verifies its seats");
    let got = rooms.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap();
    assert_eq!(got.last().unwrap().event().as_bytes(), event("after"));
    sit(&rooms, "R", 3).await;
}
