//! Nodes: registered, dead, swept by mistake, deregistered; and loss of data.

use redis::{Value, cmd};
use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::*;

use super::testbed::*;

pub(crate) async fn only_a_registered_node_gives_seats(bed: TestBed) {
    let (node, guest) = (bed.node("n1").await, bed.guest("n2").await);
    node.open(&room("R"), &meta(5)).await.unwrap();
    assert!(matches!(guest.join(join("R", 1)).await.unwrap(), Joined::Fenced));
    let alice = sit(&node, "R", 1).await;
    assert!(matches!(guest.attach(attach("R", 1, 9, alice.id)).await.unwrap(), Attached::Fenced));
    assert!(matches!(node.join(join("other", 2)).await.unwrap(), Joined::Absent));
    let stale = Join { meta_version: 7, ..join("R", 2) };
    assert!(matches!(node.join(stale).await.unwrap(), Joined::Changed));
    assert!(matches!(guest.beat(Partition(0), 1, false).await.unwrap(), BeatOutcome::Swept));
    let BeatOutcome::Beat(beat) = node.beat(Partition(0), 2, false).await.unwrap() else { panic!("swept") };
    assert_eq!(beat.nodes, [("n1".to_owned(), 2)]);
    assert!(!beat.epoch.is_empty() && beat.time_ms > 0);
}

pub(crate) async fn two_sweepers_sweep_a_dead_node_once(bed: TestBed) {
    const SEATS: usize = 300;
    let (dead, one, two) = (bed.node("n1").await, bed.node("n2").await, bed.node("n3").await);
    one.open(&room("R"), &meta(500)).await.unwrap();
    let watcher = sit(&one, "R", 999).await;
    for n in 1..=SEATS {
        sit(&dead, "R", n).await;
    }
    let p = one.partition_of(&room("R"));
    assert!(!one.sweep(p, "n1", 7).await.unwrap().declared, "its counter is 1, not 7");
    let (a, b) = tokio::join!(one.sweep(p, "n1", 1), two.sweep(p, "n1", 1));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(usize::from(a.declared) + usize::from(b.declared), 1);
    // All seats are swept, whichever sweeper was first.
    one.sweep(p, "n1", 1).await.unwrap();
    let received = one.read(&room("R"), &watcher.seat.peer, watcher.id).await.unwrap().unwrap();
    let away = received
        .iter()
        .filter(|entry| matches!(entry.content, LogContent::Event { kind: EventKind::ConnectionChanged, .. }))
        .count();
    assert_eq!((a.seats + b.seats, away), (SEATS, SEATS));
    let snapshot = one.snapshot(&room("R")).await.unwrap().unwrap();
    let connected: Vec<_> = snapshot.seats.iter().filter(|seat| seat.is_connected).map(|seat| &seat.user_id).collect();
    assert_eq!(connected, [&user(999)]);
}

pub(crate) async fn a_node_swept_by_mistake_learns_it_and_its_session_can_resume(bed: TestBed) {
    let (paused, other) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n1").await;
    other.open(&room("R"), &meta(5)).await.unwrap();
    let alice = sit(&paused, "R", 1).await;
    let p = other.partition_of(&room("R"));
    assert_eq!(other.sweep(p, "n1", 1).await.unwrap(), Sweep { declared: true, seats: 1 });
    let dropped = next_envelope(&mut events, |envelope| matches!(envelope, Envelope::Drop { .. })).await;
    assert_eq!(dropped, Envelope::Drop { room: room("R"), handle: alice.seat.handle });
    assert!(matches!(paused.beat(p, 2, false).await.unwrap(), BeatOutcome::Swept));
    assert_eq!(act(&paused, &alice.seat, broadcast("late")).await.unwrap(), OpReply::Stale);
    assert!(matches!(paused.attach(attach("R", 1, 9, alice.id)).await.unwrap(), Attached::Fenced));
    paused.beat(p, 3, true).await.unwrap();
    let back = resumed(paused.attach(attach("R", 1, 9, alice.id)).await.unwrap());
    logged(act(&paused, &back.seat, broadcast("on")).await);
    // The late detach of the old session has no effect.
    assert_eq!(paused.detach(&alice.seat).await.unwrap(), LeaveOutcome::Stale);
    assert_eq!(other.sweep(p, "n1", 1).await.unwrap(), Sweep { declared: false, seats: 0 });
    logged(act(&paused, &back.seat, broadcast("still on")).await);
}

pub(crate) async fn a_node_is_deregistered_only_without_seats(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let p = rooms.partition_of(&room("R"));
    let alice = sit(&rooms, "R", 1).await;
    assert!(!rooms.deregister_node(p).await.unwrap());
    assert!(matches!(rooms.beat(p, 2, false).await.unwrap(), BeatOutcome::Beat(_)));
    rooms.detach(&alice.seat).await.unwrap();
    assert!(rooms.deregister_node(p).await.unwrap());
    assert!(matches!(rooms.beat(p, 3, false).await.unwrap(), BeatOutcome::Swept));
}

pub(crate) async fn seats_lost_with_the_data_are_put_back_as_they_were(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    let p = rooms.partition_of(&room("R"));
    let epoch = async |counter, first| match rooms.beat(p, counter, first).await.unwrap() {
        BeatOutcome::Beat(beat) => beat.epoch,
        BeatOutcome::Swept => panic!("swept"),
    };
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    for n in 0..3 {
        logged(act(&rooms, &alice.seat, broadcast(n)).await);
    }
    let before = epoch(2, false).await;
    bed.everywhere::<Value>(&cmd("FLUSHALL")).await;
    assert_eq!(act(&rooms, &alice.seat, broadcast("lost")).await.unwrap(), OpReply::Stale);
    let copy = |n: usize, seated: &Seated| SeatCopy {
        pid: format!("pid-{n}"),
        state: ConnectionState::Connected,
        away: false,
        role: Role::Participant,
        public: PublicUser::new(user(n), format!("User {n}"), None),
        media: MediaState::default(),
        hand_raised_at: (n == 1).then(|| "2026-01-01T00:00:01.000Z".to_owned()),
        join_id: seated.id,
        from: seated.id,
        address: None,
        joined_at: "2026-01-01T00:00:00.000Z".into(),
    };
    assert_eq!(rooms.reseat(&alice.seat, &copy(1, &alice), &meta(5)).await.unwrap(), ReseatOutcome::Fenced);
    assert_ne!(epoch(1, true).await, before);
    for (n, seated) in [(1, &alice), (2, &bob)] {
        assert_eq!(rooms.reseat(&seated.seat, &copy(n, seated), &meta(5)).await.unwrap(), ReseatOutcome::Done);
        // A second reseat has no effect.
        assert_eq!(rooms.reseat(&seated.seat, &copy(n, seated), &meta(5)).await.unwrap(), ReseatOutcome::Done);
    }
    let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
    assert_eq!(snapshot.seats.iter().map(|seat| &seat.user_id).collect::<Vec<_>>(), [&user(1), &user(2)]);
    assert_eq!((snapshot.seats[0].peer_id.clone(), snapshot.seats[0].is_connected), (peer(1), true));
    assert_eq!(snapshot.seats[0].hand_raised_at.as_deref(), Some("2026-01-01T00:00:01.000Z"));
    logged(act(&rooms, &alice.seat, relay(peer(2), "continues")).await);
    // A seat that was given up is not put back.
    rooms.leave(&bob.seat, "left").await.unwrap();
    assert_eq!(rooms.reseat(&bob.seat, &copy(2, &bob), &meta(5)).await.unwrap(), ReseatOutcome::Gone);
    let carol = sit(&rooms, "R", 3).await;
    assert!(carol.seat.generation > bob.seat.generation);
    // Of two copies of a seat, that of the session that took it over is put back, in either order.
    rooms.detach(&carol.seat).await.unwrap();
    let back = seated(rooms.join(Join { pid: "back".into(), handle: SessionHandle(9), ..join("R", 3) }).await.unwrap());
    assert_eq!(back.seat.peer, carol.seat.peer);
    let older = SeatCopy { away: true, ..copy(3, &carol) };
    let newer = SeatCopy { pid: "back".into(), ..copy(3, &back) };
    for (counter, newer_first) in [(1, false), (2, true)] {
        bed.everywhere::<Value>(&cmd("FLUSHALL")).await;
        epoch(counter, true).await;
        let put_back = async |seat, copy| rooms.reseat(seat, copy, &meta(5)).await.unwrap();
        if newer_first {
            assert_eq!(put_back(&back.seat, &newer).await, ReseatOutcome::Done);
            assert_eq!(put_back(&carol.seat, &older).await, ReseatOutcome::Gone);
        } else {
            assert_eq!(put_back(&carol.seat, &older).await, ReseatOutcome::Done);
            assert_eq!(put_back(&back.seat, &newer).await, ReseatOutcome::Done);
        }
        let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
        assert_eq!((snapshot.seats.len(), snapshot.seats[0].is_connected), (1, true));
        assert!(
            matches!(rooms.attach(attach("R", 3, 7, carol.id)).await.unwrap(), Attached::Fresh),
            "the old private id"
        );
    }
}

pub(crate) async fn the_used_share_of_maxmemory_is_reported(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    assert_eq!(rooms.memory_used_ratio().await.unwrap(), Some(0.0), "there is no maxmemory");
    for server in bed.servers() {
        server.query::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg("1gb")).await.unwrap();
    }
    let ratio = rooms.memory_used_ratio().await.unwrap().unwrap();
    assert!(ratio > 0.0 && ratio < 0.5, "{ratio}");
}
