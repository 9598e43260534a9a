//! Redis misbehaves while events flow: nothing acknowledged may be lost, doubled or reordered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Value, cmd};
use switchboard_rooms::*;

use super::bed::*;

const SENDERS: usize = 8;

/// Senders that never pause, to one receiver in the same room.
struct Load {
    rooms: Rooms,
    tally: Tally,
    receiver: Seated,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<usize>>,
}

impl Load {
    async fn start(bed: &Bed) -> Self {
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

    /// Waits until so many more operations are answered: the load goes on.
    async fn more(&self, count: usize) {
        let now = self.tally.answers().len();
        self.tally.wait_for(now + count).await;
    }

    /// Stops, waits for every answer and audits the log. Returns how many were refused.
    async fn audit(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut sent = 0;
        for task in self.tasks {
            sent += task.await.unwrap();
        }
        self.tally.wait_for(sent).await;
        // Everything is in order again: one more operation, in the same line as all before it, is answered.
        until("Redis serves again", async || self.rooms.snapshot(&room("R")).await.is_ok()).await;
        let got = self.rooms.read(&room("R"), &self.receiver.seat.peer, self.receiver.id).await.unwrap().unwrap();
        let mut logged: Vec<String> = Vec::new();
        for entry in &got {
            let text = String::from_utf8_lossy(&entry.event);
            if let Some(message) = text.strip_prefix("\"chat:message\",{\"message\":\"") {
                logged.push(message.trim_end_matches("\"}").to_owned());
            }
        }
        for n in 1..=SENDERS {
            let mine: Vec<usize> = logged
                .iter()
                .filter_map(|text| text.strip_prefix(&format!("{n}:")).map(|number| number.parse().unwrap()))
                .collect();
            assert!(mine.is_sorted_by(|a, b| a < b), "sender {n}: doubled or reordered");
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

pub(crate) async fn connections_killed_under_load_lose_double_or_reorder_nothing(mut bed: Bed) {
    let load = Load::start(&bed).await;
    let mut kill = cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    for _ in 0..20 {
        load.more(100).await;
        let killed: i64 = bed.everywhere::<i64>(&kill).await.into_iter().sum();
        assert!(killed >= 1);
    }
    load.more(100).await;
    assert_eq!(load.audit().await, 0);
}

pub(crate) async fn operations_sent_before_a_leave_are_done_though_connections_die(mut bed: Bed) {
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
        // Its own reply may be lost, and its repetition find nobody.
        assert!(left.is_ok());
        tally.wait_for(200).await;
        // A leave in one pipeline with them would have made their repetition stale.
        let done = |reply: &Result<OpReply, StoreError>| matches!(reply, Ok(OpReply::Logged { .. }));
        assert!(tally.answers().iter().all(|(_, reply)| done(reply)), "{:?}", tally.answers());
    }
    let got = rooms.read(&room("R"), &receiver.seat.peer, receiver.id).await.unwrap().unwrap();
    assert_eq!(got.iter().filter(|entry| entry.event.starts_with(b"\"chat:message\"")).count(), 40 * 200);
}

pub(crate) async fn scripts_flushed_under_load_lose_double_or_reorder_nothing(mut bed: Bed) {
    let load = Load::start(&bed).await;
    let mut flush = cmd("SCRIPT");
    flush.arg("FLUSH");
    for _ in 0..20 {
        load.more(100).await;
        bed.everywhere::<Value>(&flush).await;
        // A join is a transaction, and finds its script too.
        let seat = sit(&load.rooms, "R", 50).await.seat;
        assert_eq!(load.rooms.leave(&seat, "left").await.unwrap(), Left::Done);
    }
    load.more(100).await;
    assert_eq!(load.audit().await, 0);
}

pub(crate) async fn a_paused_redis_refuses_in_time_and_goes_on_without_a_gap_or_a_ghost(mut bed: Bed) {
    bed.options.lanes.queue_time = Duration::from_millis(300);
    let load = Load::start(&bed).await;
    let leaver = sit(&load.rooms, "R", 60).await.seat;
    load.more(100).await;
    for server in bed.servers() {
        server.process().pause().unwrap();
    }
    // Refused, not hanging; yet what must happen will.
    assert!(matches!(load.rooms.leave(&leaver, "left").await, Err(StoreError::Unavailable)));
    assert!(matches!(load.rooms.join(join("R", 61)).await, Err(StoreError::Unavailable)));
    assert!(load.rooms.ping().await.is_err());
    for server in bed.servers() {
        server.process().resume().unwrap();
    }
    until("Redis serves again", async || load.rooms.ping().await.is_ok()).await;
    load.more(500).await;
    until("who left is gone, and who was refused a seat has none", async || {
        let Ok(Some(snapshot)) = load.rooms.snapshot(&room("R")).await else { return false };
        !snapshot.seats.iter().any(|seat| [user(60), user(61)].contains(&seat.user_id))
    })
    .await;
    assert!(load.audit().await > 0);
}

pub(crate) async fn slot_moved_under_load(mut bed: Bed) {
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

/// Replication is asynchronous, so the last events before the loss may be gone; everything after it must be as ever.
pub(crate) async fn master_lost(mut bed: Bed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(100)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    logged(act(&rooms, &alice.seat, relay(bob.seat.peer.clone(), "before")).await);
    let slot = bed.keys().slot(rooms.partition_of(&room("R")));
    let master = usize::from(slot) * 3 / 16_384;
    let offset = async |server: &devcluster::redis::RedisServer, name: &str| {
        let info: String = server.query(cmd("INFO").arg("replication")).await.unwrap();
        info.lines().find_map(|line| line.strip_prefix(name)).and_then(|text| text.parse::<u64>().ok())
    };
    let servers = bed.servers();
    let written = offset(&servers[master], "master_repl_offset:").await;
    assert!(written.is_some());
    let replica = &servers[3 + master];
    let mut takeovers = rooms.takeovers();
    takeovers.mark_unchanged();
    until("the replica has everything", async || offset(replica, "slave_repl_offset:").await >= written).await;
    bed.servers()[master].process().kill().unwrap();
    until("relays go on", async || {
        matches!(act(&rooms, &alice.seat, relay(bob.seat.peer.clone(), "after")).await, Ok(OpReply::Logged { .. }))
    })
    .await;
    assert!(takeovers.has_changed().unwrap(), "the node was told to verify its seats");
    let got = rooms.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap();
    assert_eq!(got.last().unwrap().event, event("after"));
    sit(&rooms, "R", 3).await;
}
