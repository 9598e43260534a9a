//! Nodes: registered, dead, swept by mistake, deregistered; and loss of data.

use redis::{Value, cmd};
use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::keys::Keys;
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
    assert!(matches!(guest.beat(Group(0), 1, false, 3).await.unwrap(), BeatOutcome::Swept));
    assert!(matches!(guest.check_node(Partition(0), "r", false).await.unwrap(), CheckOutcome::Swept));
    assert_eq!(following(&node, 2).await, []);
    let CheckOutcome::Registered(check) = node.check_node(Partition(0), "r", false).await.unwrap() else {
        panic!("swept")
    };
    assert!(!check.epoch.is_empty() && check.time_ms > 0);
}

/// Sends a heartbeat in the only group, and returns the nodes that follow.
async fn following(node: &Rooms, counter: u64) -> Vec<(String, LastBeat)> {
    let BeatOutcome::Beat(beat) = node.beat(Group(0), counter, false, 3).await.unwrap() else { panic!("swept") };
    beat.following
}

pub(crate) async fn each_node_reads_the_heartbeats_of_those_that_follow_it_on_the_ring(bed: TestBed) {
    let names: Vec<String> = (0..6).map(|n| format!("n{n}")).collect();
    let mut nodes = Vec::new();
    for name in &names {
        nodes.push(bed.node(name).await);
    }
    let mut order: Vec<&String> = names.iter().collect();
    order.sort_by_key(|name| (Keys::ring_place(name), (*name).clone()));
    for (node, name) in nodes.iter().zip(&names) {
        let at = order.iter().position(|other| *other == name).unwrap();
        let BeatOutcome::Beat(beat) = node.beat(Group(0), 2, false, 3).await.unwrap() else { panic!("swept") };
        assert_eq!((beat.rank, beat.size), (at as u64, 6));
        let found: Vec<&String> = beat.following.iter().map(|(name, _)| name).collect();
        assert_eq!(found, (1..=3).map(|step| order[(at + step) % 6]).collect::<Vec<_>>());
        // All others, once, however many are asked for.
        let BeatOutcome::Beat(beat) = node.beat(Group(0), 2, false, 1024).await.unwrap() else { panic!("swept") };
        let found: Vec<&String> = beat.following.iter().map(|(name, _)| name).collect();
        assert_eq!(found, (1..6).map(|step| order[(at + step) % 6]).collect::<Vec<_>>());
    }
    assert!(nodes[0].sample_nodes(10).await.unwrap().len() == 6 && nodes[0].sample_nodes(2).await.unwrap().len() == 2);
    nodes[3].leave_ring(Group(0)).await.unwrap();
    assert!(matches!(nodes[3].beat(Group(0), 3, false, 3).await.unwrap(), BeatOutcome::Swept));
    assert_eq!(nodes[0].sample_nodes(10).await.unwrap().len(), 5);
}

pub(crate) async fn a_sweep_that_its_node_left_is_finished_by_another(mut bed: TestBed) {
    let (dead, one, two) = (bed.node("n1").await, bed.node("n2").await, bed.node("n3").await);
    one.open(&room("R"), &meta(5)).await.unwrap();
    sit(&dead, "R", 1).await;
    // The sweeper declared the node dead, and died before it swept a seat.
    let heartbeats = bed.keys().heartbeats(Group(0));
    for server in bed.servers() {
        let _on_another_shard = server.query::<i64>(cmd("HSET").arg(&heartbeats).arg("n1").arg("dead")).await;
    }
    assert!(following(&two, 2).await.contains(&("n1".to_owned(), LastBeat::Dead)));
    assert!(matches!(dead.beat(Group(0), 2, false, 3).await.unwrap(), BeatOutcome::Swept), "it must register again");
    assert_eq!(two.sweep(Group(0), "n1", LastBeat::Dead).await.unwrap(), Sweep { declared: false, seats: 1 });
    assert!(following(&two, 3).await.iter().all(|(name, _)| name != "n1"), "it is off the ring");
    // A node that registers again is not swept for what it was before.
    dead.register_node().await.unwrap();
    assert_eq!(two.sweep(Group(0), "n1", LastBeat::Dead).await.unwrap(), Sweep { declared: false, seats: 0 });
    sit(&dead, "R", 2).await;
}

pub(crate) async fn a_node_that_is_on_no_ring_is_found_and_swept(bed: TestBed) {
    let (node, other) = (bed.node("n1").await, bed.node("n2").await);
    let p = node.partition_of(&room("R"));
    node.open(&room("R"), &meta(5)).await.unwrap();
    sit(&node, "R", 1).await;
    assert_eq!(other.stray_nodes(p).await.unwrap(), []);
    node.leave_ring(Group(0)).await.unwrap();
    let strays = other.stray_nodes(p).await.unwrap();
    assert_eq!(strays.iter().map(|stray| &*stray.node).collect::<Vec<_>>(), ["n1"]);
    // An older observation than the registration sweeps nothing.
    let older = StrayNode { registration: "r0".to_owned(), ..strays[0].clone() };
    assert_eq!(other.sweep_stray(p, &older).await.unwrap(), Sweep { declared: false, seats: 0 });
    assert_eq!(other.sweep_stray(p, &strays[0]).await.unwrap(), Sweep { declared: true, seats: 1 });
    assert_eq!(other.stray_nodes(p).await.unwrap(), []);
}

pub(crate) async fn two_sweepers_sweep_a_dead_node_once(bed: TestBed) {
    const SEATS: usize = 300;
    let (dead, one, two) = (bed.node("n1").await, bed.node("n2").await, bed.node("n3").await);
    one.open(&room("R"), &meta(500)).await.unwrap();
    let watcher = sit(&one, "R", 999).await;
    for n in 1..=SEATS {
        sit(&dead, "R", n).await;
    }
    let (group, beat) = (Group(0), LastBeat::Counted(1));
    assert!(!one.sweep(group, "n1", LastBeat::Counted(7)).await.unwrap().declared, "its counter is 1, not 7");
    let (a, b) = tokio::join!(one.sweep(group, "n1", beat), two.sweep(group, "n1", beat));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(usize::from(a.declared) + usize::from(b.declared), 1);
    // All seats are swept, whichever sweeper was first.
    one.sweep(group, "n1", beat).await.unwrap();
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
    assert_eq!(other.sweep(Group(0), "n1", LastBeat::Counted(1)).await.unwrap(), Sweep { declared: true, seats: 1 });
    let dropped = next_envelope(&mut events, |envelope| matches!(envelope, Envelope::Drop { .. })).await;
    assert_eq!(dropped, Envelope::Drop { room: room("R"), handle: alice.seat.handle });
    assert!(matches!(paused.beat(Group(0), 2, false, 3).await.unwrap(), BeatOutcome::Swept));
    assert!(matches!(paused.check_node(p, "r", false).await.unwrap(), CheckOutcome::Swept));
    assert_eq!(act(&paused, &alice.seat, broadcast("late")).await.unwrap(), OpReply::Stale);
    assert!(matches!(paused.attach(attach("R", 1, 9, alice.id)).await.unwrap(), Attached::Fenced));
    paused.register_node().await.unwrap();
    let back = resumed(paused.attach(attach("R", 1, 9, alice.id)).await.unwrap());
    logged(act(&paused, &back.seat, broadcast("on")).await);
    // The late detach of the old session has no effect.
    assert_eq!(paused.detach(&alice.seat).await.unwrap(), LeaveOutcome::Stale);
    let late = other.sweep(Group(0), "n1", LastBeat::Counted(7)).await.unwrap();
    assert_eq!(late, Sweep { declared: false, seats: 0 });
    logged(act(&paused, &back.seat, broadcast("still on")).await);
}

pub(crate) async fn a_node_is_deregistered_only_without_seats(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let p = rooms.partition_of(&room("R"));
    let alice = sit(&rooms, "R", 1).await;
    assert!(!rooms.deregister_node(p).await.unwrap());
    assert!(matches!(rooms.check_node(p, "r", false).await.unwrap(), CheckOutcome::Registered(_)));
    rooms.detach(&alice.seat).await.unwrap();
    assert!(rooms.deregister_node(p).await.unwrap());
    assert!(matches!(rooms.check_node(p, "r", false).await.unwrap(), CheckOutcome::Swept));
}

pub(crate) async fn seats_lost_with_the_data_are_put_back_as_they_were(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    let p = rooms.partition_of(&room("R"));
    let epoch = async |registers| match rooms.check_node(p, "r", registers).await.unwrap() {
        CheckOutcome::Registered(check) => check.epoch,
        CheckOutcome::Swept => panic!("swept"),
    };
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    for n in 0..3 {
        logged(act(&rooms, &alice.seat, broadcast(n)).await);
    }
    let before = epoch(false).await;
    bed.everywhere::<Value>(&cmd("FLUSHALL")).await;
    assert_eq!(act(&rooms, &alice.seat, broadcast("lost")).await.unwrap(), OpReply::Stale);
    let quiet = CallPermissions { can_chat: false, ..CallPermissions::default() };
    let copy = |n: usize, seated: &Seated| SeatCopy {
        pid: format!("pid-{n}"),
        state: ConnectionState::Connected,
        away: false,
        role: Role::Participant,
        permissions: (n == 1).then_some(quiet),
        permissions_given: n == 1,
        public: PublicUser::new(user(n), format!("User {n}"), None),
        media: MediaState::default(),
        hand_raised_at: (n == 1).then(|| "2026-01-01T00:00:01.000Z".to_owned()),
        join_id: seated.id,
        from: seated.id,
        address: None,
        joined_at: "2026-01-01T00:00:00.000Z".into(),
    };
    assert_eq!(rooms.reseat(&alice.seat, &copy(1, &alice), &meta(5)).await.unwrap(), ReseatOutcome::Fenced);
    assert_ne!(epoch(true).await, before);
    for (n, seated) in [(1, &alice), (2, &bob)] {
        assert_eq!(rooms.reseat(&seated.seat, &copy(n, seated), &meta(5)).await.unwrap(), ReseatOutcome::Done);
        // A second reseat has no effect.
        assert_eq!(rooms.reseat(&seated.seat, &copy(n, seated), &meta(5)).await.unwrap(), ReseatOutcome::Done);
    }
    let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
    assert_eq!(snapshot.seats.iter().map(|seat| &seat.user_id).collect::<Vec<_>>(), [&user(1), &user(2)]);
    assert_eq!((snapshot.seats[0].peer_id.clone(), snapshot.seats[0].is_connected), (peer(1), true));
    assert_eq!(snapshot.seats[0].hand_raised_at.as_deref(), Some("2026-01-01T00:00:01.000Z"));
    assert_eq!(snapshot.seats[0].permissions, Some(quiet));
    assert_eq!(act(&rooms, &alice.seat, chat(None, "m1")).await.unwrap(), OpReply::Off("canChat".into()));
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
    for newer_first in [false, true] {
        bed.everywhere::<Value>(&cmd("FLUSHALL")).await;
        epoch(true).await;
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
    let rooms = bed.guest("n1").await;
    assert_eq!(rooms.memory_used_ratio().await.unwrap(), Some(0.0), "there is no maxmemory");
    for server in bed.servers() {
        server.query::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg("1gb")).await.unwrap();
    }
    let ratio = rooms.memory_used_ratio().await.unwrap().unwrap();
    assert!(ratio > 0.0 && ratio < 0.5, "{ratio}");
}
