//! The scripts on a Redis of their own, through the same lanes as a node's: `cargo bench -p switchboard-microbench --bench scripts`.
//! Each sample has many in flight, so that what is measured is what Redis does and not how far away it is.

use std::sync::{Arc, mpsc};

use bytes::Bytes;
use devcluster::redis::RedisServer;
use divan::Bencher;
use divan::counter::ItemsCount;
use switchboard_core::domain::{
    CallId, CallSettings, CallType, MediaState, NodeId, PeerId, PublicUser, Role, RoomId, RoomMeta, SessionHandle,
    UserId,
};
use switchboard_rooms::conn::RedisUrl;
use switchboard_rooms::{Join, Joined, Op, OpKind, OpReply, Partition, Proof, RoomOptions, Rooms, Seat};
use tokio::runtime::Runtime;

/// Operations in flight.
const AT_ONCE: usize = 1000;
/// Seats of the room that is broadcast to, on one node.
const SEATS: usize = 10;

fn main() {
    divan::main();
}

/// A Redis, a store on it, and a room with people in it.
struct Bed {
    runtime: Runtime,
    rooms: Rooms,
    seats: Vec<Arc<Seat>>,
    /// Ends the server when it is dropped.
    _redis: RedisServer,
}

impl Bed {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (redis, rooms, seats) = runtime.block_on(async {
            let redis = RedisServer::start().await.expect("redis-server");
            let url = RedisUrl::parse(&redis.url()).expect("an address");
            let node = NodeId::parse("n1").expect("an id");
            let rooms = Rooms::connect(&url, RoomOptions::default(), node).await.expect("a connection");
            for p in 0..rooms.partitions() {
                rooms.beat(Partition(p), 1, true).await.expect("a beat");
            }
            rooms.open(&room(), &meta()).await.expect("a room");
            let mut seats = Vec::new();
            for number in 0..SEATS {
                seats.push(sit(&rooms, number).await);
            }
            (redis, rooms, seats)
        });
        Self { runtime, rooms, seats, _redis: redis }
    }

    /// Has the first one do this so many times, all in flight.
    fn act(&self, kind: &OpKind) {
        let event = Bytes::from(format!("\"webrtc:offer\",{{\"offer\":\"{}\"}}", "v".repeat(1024)));
        let (told, answered) = mpsc::channel();
        let _inside = self.runtime.enter();
        for _ in 0..AT_ONCE {
            let (op, told) = (Op { kind: kind.clone(), event: event.clone(), dedupe: None }, told.clone());
            let done = move |reply| {
                assert!(matches!(reply, Ok(OpReply::Logged { .. })), "{reply:?}");
                // A bench that has failed listens no more.
                let _ = told.send(());
            };
            self.rooms.submit(&self.seats[0], op, Box::new(done));
        }
        drop(told);
        assert_eq!(answered.iter().count(), AT_ONCE);
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

async fn sit(rooms: &Rooms, number: usize) -> Arc<Seat> {
    let join = Join {
        room: room(),
        meta_version: 1,
        user: user(number),
        pid: format!("pid-{number}"),
        old_pid: None,
        handle: SessionHandle(number as u64),
        role: Role::Participant,
        waits: false,
        public: PublicUser::new(user(number), "Somebody".to_owned(), None),
        media: MediaState::default(),
        given: None,
        proof: Proof::default(),
    };
    match rooms.join(join).await.expect("an answer") {
        Joined::Seated { seat, .. } => seat,
        other => panic!("not seated: {other:?}"),
    }
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn relay(bencher: Bencher<'_, '_>) {
    let bed = Bed::start();
    let to = OpKind::Relay { to: PeerId::parse(user(1).as_str()).expect("an id") };
    bencher.counter(ItemsCount::new(AT_ONCE)).bench_local(|| bed.act(&to));
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn broadcast(bencher: Bencher<'_, '_>) {
    let bed = Bed::start();
    bencher.counter(ItemsCount::new(AT_ONCE)).bench_local(|| bed.act(&OpKind::Broadcast));
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn join_and_leave(bencher: Bencher<'_, '_>) {
    const PEOPLE: usize = 100;
    let bed = Bed::start();
    bencher.counter(ItemsCount::new(PEOPLE)).bench_local(|| {
        bed.runtime.block_on(async {
            let come_and_go = |number| {
                let rooms = bed.rooms.clone();
                tokio::spawn(async move {
                    let seat = sit(&rooms, SEATS + number).await;
                    rooms.leave(&seat, "left").await.expect("an answer")
                })
            };
            let visits: Vec<_> = (0..PEOPLE).map(come_and_go).collect();
            for visit in visits {
                visit.await.expect("a visit");
            }
        });
    });
}
