//! Time of the scripts on a Redis of their own, through the same lanes as in a node: `cargo bench
//! -p switchboard-microbench --bench scripts`. Each sample has many operations in flight, so that
//! it measures the work of Redis and not the round trip. With `-- candidates` at the end, Redis'
//! processor time for candidates that wait together, in `candidates.rs`.

#![allow(clippy::print_stdout, reason = "a bench prints its result")]

mod candidates;

use std::sync::{Arc, mpsc};

use bytes::Bytes;
use devcluster::redis::RedisServer;
use divan::Bencher;
use divan::counter::ItemsCount;
use switchboard_core::domain::{
    CallId, CallSettings, CallType, MediaState, NodeId, PeerId, PublicUser, Role, RoomId, RoomMeta, SessionHandle,
    UserId,
};
use switchboard_core::wire::EventKind;
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Join, Joined, Op, OpKind, OpReply, Partition, Proof, RoomOptions, Rooms, Seat};
use tokio::runtime::Runtime;

/// Operations in flight.
const IN_FLIGHT: usize = 1000;
/// Seats of the room, all on one node.
const SEATS: usize = 10;

fn main() {
    if std::env::args().any(|argument| argument == "candidates") {
        candidates::run();
    } else {
        divan::main();
    }
}

/// A Redis, a store on it, and a room with participants.
struct TestBed {
    runtime: Runtime,
    rooms: Rooms,
    seats: Vec<Arc<Seat>>,
    /// The server stops when this value is dropped.
    _redis: RedisServer,
}

impl TestBed {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (redis, rooms, seats) = runtime.block_on(async {
            let redis = RedisServer::start().await.expect("redis-server");
            let url = RedisUrl::parse(&redis.url()).expect("an address");
            let node = NodeId::parse("n1").expect("an id");
            let rooms = Rooms::connect(&url, RoomOptions::default(), node).await.expect("a connection");
            for p in 0..rooms.partitions() {
                rooms.check_node(Partition(p), "r", true).await.expect("a heartbeat");
            }
            rooms.open(&room(), &meta()).await.expect("a room");
            let mut seats = Vec::new();
            for number in 0..SEATS {
                seats.push(join(&rooms, number).await);
            }
            (redis, rooms, seats)
        });
        Self { runtime, rooms, seats, _redis: redis }
    }

    /// Submits 1000 operations of the first participant, all in flight, and waits for their
    /// replies.
    fn submit(&self, kind: &OpKind) {
        let event = Bytes::from(format!("\"webrtc:offer\",{{\"offer\":\"{}\"}}", "v".repeat(1024)));
        let (sender, replies) = mpsc::channel();
        let _inside = self.runtime.enter();
        for _ in 0..IN_FLIGHT {
            let (op, sender) = (
                Op { kind: kind.clone(), event_kind: EventKind::Offer, event: event.clone(), dedupe: None },
                sender.clone(),
            );
            let done = move |reply| {
                assert!(matches!(reply, Ok(OpReply::Logged { .. })), "{reply:?}");
                // A failed bench no longer receives.
                let _ = sender.send(());
            };
            self.rooms.submit(&self.seats[0], op, Box::new(done));
        }
        drop(sender);
        assert_eq!(replies.iter().count(), IN_FLIGHT);
    }
}

fn room() -> RoomId {
    RoomId::parse("ABCDEF123456").expect("an id")
}

fn user(number: usize) -> UserId {
    UserId::parse(&format!("{number:024x}")).expect("an id")
}

fn meta() -> RoomMeta {
    RoomMeta {
        call_id: CallId::parse("65a0000000000000000000ff").expect("an id"),
        name: "A call".to_owned(),
        host: user(0),
        call_type: CallType::Public,
        settings: CallSettings::default(),
        max_participants: 500,
        passcode_hash: None,
        invited: Vec::new(),
        created_at: "2026-01-01T00:00:00.000Z".to_owned(),
        locked: false,
        version: 1,
    }
}

async fn join(rooms: &Rooms, number: usize) -> Arc<Seat> {
    let join = Join {
        room: room(),
        meta_version: 1,
        grant: None,
        user: user(number),
        pid: format!("pid-{number}"),
        old_pid: None,
        handle: SessionHandle(number as u64),
        role: Role::Participant,
        waits: false,
        public: PublicUser::new(user(number), "Participant".to_owned(), None),
        media: MediaState::default(),
        given: None,
        permissions: None,
        given_permissions: None,
        proof: Proof::default(),
    };
    match rooms.join(join).await.expect("an answer") {
        Joined::Seated { seat, .. } => seat,
        other => panic!("not seated: {other:?}"),
    }
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn relay(bencher: Bencher<'_, '_>) {
    let test_bed = TestBed::start();
    let to = OpKind::Relay { to: PeerId::parse(user(1).as_str()).expect("an id") };
    bencher.counter(ItemsCount::new(IN_FLIGHT)).bench_local(|| test_bed.submit(&to));
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn broadcast(bencher: Bencher<'_, '_>) {
    let test_bed = TestBed::start();
    bencher.counter(ItemsCount::new(IN_FLIGHT)).bench_local(|| test_bed.submit(&OpKind::Broadcast));
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn join_and_leave(bencher: Bencher<'_, '_>) {
    const PARTICIPANTS: usize = 100;
    let test_bed = TestBed::start();
    bencher.counter(ItemsCount::new(PARTICIPANTS)).bench_local(|| {
        test_bed.runtime.block_on(async {
            let join_then_leave = |number| {
                let rooms = test_bed.rooms.clone();
                tokio::spawn(async move {
                    let seat = join(&rooms, SEATS + number).await;
                    rooms.leave(&seat, "left").await.expect("an answer")
                })
            };
            let visits: Vec<_> = (0..PARTICIPANTS).map(join_then_leave).collect();
            for visit in visits {
                visit.await.expect("a visit");
            }
        });
    });
}
