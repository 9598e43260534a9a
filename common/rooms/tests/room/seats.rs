//! Seats: join, attach, detach, leave.

use std::time::Duration;

use futures_util::future::join_all;
use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::*;

use super::testbed::*;

pub(crate) async fn of_two_hundred_joins_for_ten_seats_exactly_ten_succeed(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    one.open(&room("R"), &meta(10)).await.unwrap();
    let joins = (0..200).map(|n| if n % 2 == 0 { one.join(join("R", n)) } else { two.join(join("R", n)) });
    let joined = join_all(joins).await;
    let mut rooms_seen = Vec::new();
    for joined in joined {
        match joined.unwrap() {
            Joined::Seated { seat, snapshot, .. } => {
                assert!(snapshot.seats.iter().any(|participant| participant.peer_id == seat.peer));
                rooms_seen.push(snapshot.seats.len());
            }
            Joined::Full => {}
            other => panic!("{other:?}"),
        }
    }
    // Each snapshot is the room right after that join.
    rooms_seen.sort_unstable();
    assert_eq!(rooms_seen, (1..=10).collect::<Vec<_>>());
    assert_eq!(one.snapshot(&room("R")).await.unwrap().unwrap().seats.len(), 10);
    assert_eq!(facts(&one).await.iter().filter(|fact| fact.kind == "joined").count(), 10);
}

pub(crate) async fn a_second_device_gets_its_own_peer_id_and_a_reload_replaces_its_old_seat(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(2)).await.unwrap();
    let first = sit(&rooms, "R", 1).await;
    let device = Join { pid: "other".into(), handle: SessionHandle(77), ..join("R", 1) };
    let second = seated(rooms.join(device).await.unwrap());
    assert_eq!(second.seat.peer.as_str(), format!("{}#2", user(1)));
    let peers: Vec<_> = second.snapshot.seats.iter().map(|seat| seat.peer_id.clone()).collect();
    assert_eq!(peers, [first.seat.peer.clone(), second.seat.peer.clone()], "oldest first");
    assert_eq!(second.snapshot.seats[0].user.name, "User 100% 1");
    // The room is full. A reloaded page still gets its seat and peer id.
    let reload = Join { pid: "new".into(), old_pid: Some("pid-1".into()), handle: SessionHandle(78), ..join("R", 1) };
    let reloaded = seated(rooms.join(reload).await.unwrap());
    assert_eq!(reloaded.seat.peer, first.seat.peer);
    assert_eq!(reloaded.snapshot.seats.len(), 2);
    assert_eq!(act(&rooms, &first.seat, broadcast("x")).await.unwrap(), OpReply::Stale);
    // Another user cannot take a seat with its private id.
    let thief = Join { old_pid: Some("new".into()), ..join("R", 2) };
    assert!(matches!(rooms.join(thief).await.unwrap(), Joined::Full));
}

pub(crate) async fn a_resumed_session_gets_exactly_what_it_missed(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n1").await;
    one.open(&room("R"), &meta(5)).await.unwrap();
    let alice = sit(&one, "R", 1).await;
    let bob = sit(&one, "R", 2).await;
    let seen = logged(act(&one, &alice.seat, relay(peer(2), "seen")).await);
    logged(act(&one, &bob.seat, broadcast("its own")).await);
    assert_eq!(one.detach(&bob.seat).await.unwrap(), LeaveOutcome::Done);
    logged(act(&one, &alice.seat, relay(peer(2), "missed 1")).await);
    logged(act(&one, &alice.seat, broadcast("missed 2")).await);
    let carol = sit(&one, "R", 3).await;
    logged(act(&one, &alice.seat, relay(carol.seat.peer.clone(), "for another")).await);
    let bob = resumed(two.attach(attach("R", 2, 9, seen)).await.unwrap());
    let missed: Vec<_> = bob.missed.iter().map(|entry| entry.event().to_owned()).collect();
    assert_eq!(missed.len(), 3, "{missed:?}");
    assert!(missed[0].contains("missed 1") && missed[1].contains("missed 2") && missed[2].contains("room:user-joined"));
    assert!(missed[2].contains("User 100% 3") && missed[2].contains(&format!("\"peerId\":\"{}\"", user(3))));
    assert_eq!(
        (bob.copy.role, &bob.copy.public.id, bob.copy.state),
        (Role::Participant, &user(2), ConnectionState::Connected)
    );
    assert!(bob.last >= bob.missed[2].id);
    let announced = next_envelope(&mut events, |envelope| {
        matches!(envelope, Envelope::Event { kind: EventKind::ConnectionChanged, event, .. }
            if event.starts_with("\"participant:connection-changed\"") && event.contains("\"connected\""))
    });
    announced.await;
    // The new seat works, and a read from its last id brings no event twice.
    logged(act(&two, &bob.seat, relay(peer(1), "back")).await);
    assert_eq!(two.read(&room("R"), &bob.seat.peer, bob.last).await.unwrap().unwrap().len(), 0);
}

pub(crate) async fn a_resume_is_fresh_without_a_complete_log_or_with_another_users_seat(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let alice = sit(&rooms, "R", 1).await;
    let fresh = async |attach| matches!(rooms.attach(attach).await.unwrap(), Attached::Fresh);
    assert!(fresh(Attach { user: user(2), ..attach("R", 1, 9, alice.id) }).await, "another user's");
    assert!(fresh(Attach { pid: "none".into(), ..attach("R", 1, 9, alice.id) }).await, "no such private id");
    assert!(fresh(attach("other", 1, 9, alice.id)).await, "no such room");
    assert!(fresh(attach("R", 1, 9, LogId { ms: alice.id.ms - 1, seq: 0 })).await, "from before it joined");
    assert!(fresh(attach("R", 1, 9, LogId { ms: alice.id.ms + 3_600_000, seq: 0 })).await, "from the future");
    bed.options.window = Duration::from_millis(1);
    let narrow = bed.node("n2").await;
    until("the window has passed", async || {
        matches!(narrow.attach(attach("R", 1, 9, alice.id)).await.unwrap(), Attached::Fresh)
    })
    .await;
}

pub(crate) async fn an_older_generation_cannot_change_a_seat_that_was_taken_over(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n1").await;
    one.open(&room("R"), &meta(5)).await.unwrap();
    let alice = sit(&one, "R", 1).await;
    let bob = sit(&one, "R", 2).await;
    let new = resumed(two.attach(attach("R", 2, 9, bob.id)).await.unwrap());
    assert!(new.seat.generation > bob.seat.generation);
    let dropped = next_envelope(&mut events, |envelope| matches!(envelope, Envelope::Replaced { .. })).await;
    assert_eq!(dropped, Envelope::Replaced { room: room("R"), handle: bob.seat.handle });
    assert_eq!(act(&one, &bob.seat, relay(peer(1), "late")).await.unwrap(), OpReply::Stale);
    assert_eq!(one.detach(&bob.seat).await.unwrap(), LeaveOutcome::Stale);
    assert_eq!(one.leave(&bob.seat, "left").await.unwrap(), LeaveOutcome::Stale);
    assert_eq!(one.end_as_host(&bob.seat, "ended").await.unwrap(), Ended::Stale);
    logged(act(&two, &new.seat, relay(alice.seat.peer.clone(), "now")).await);
    // If the drop message were lost, the session would learn of it when it catches up.
    assert!(matches!(one.catch_up(&bob.seat, bob.id).await.unwrap(), CaughtUp::NotSeated));
    let caught_up = one.catch_up(&alice.seat, bob.id).await.unwrap();
    assert!(matches!(caught_up, CaughtUp::Missed(missed) if missed.len() == 1));
    assert!(!one.deregister_node(one.partition_of(&room("R"))).await.unwrap(), "alice is still there");
    one.leave(&alice.seat, "left").await.unwrap();
    assert!(
        one.deregister_node(one.partition_of(&room("R"))).await.unwrap(),
        "the late requests removed their own members"
    );
}

pub(crate) async fn of_two_sockets_with_one_private_id_the_first_keeps_the_seat(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    one.open(&room("R"), &meta(5)).await.unwrap();
    let alice = sit(&one, "R", 1).await;
    one.detach(&alice.seat).await.unwrap();
    let first = resumed(one.attach(attach("R", 1, 8, alice.id)).await.unwrap());
    assert!(matches!(two.attach(attach("R", 1, 9, alice.id)).await.unwrap(), Attached::Busy));
    logged(act(&one, &first.seat, broadcast("still mine")).await);
    // After the first socket is lost, the second can take the seat immediately.
    one.detach(&first.seat).await.unwrap();
    let second = resumed(two.attach(attach("R", 1, 9, alice.id)).await.unwrap());
    logged(act(&two, &second.seat, broadcast("mine")).await);
}

pub(crate) async fn a_seat_is_freed_after_its_grace_period_unless_it_was_resumed(mut bed: TestBed) {
    bed.options.grace = Duration::from_millis(1);
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    rooms.detach(&alice.seat).await.unwrap();
    rooms.detach(&bob.seat).await.unwrap();
    let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
    assert!(
        snapshot.seats.iter().all(|seat| seat.connection_state == ConnectionState::Reconnecting && !seat.is_connected)
    );
    let alice = resumed(rooms.attach(attach("R", 1, 9, alice.id)).await.unwrap());
    until("bob is gone", async || expire(&rooms).await == 1).await;
    let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
    assert_eq!(snapshot.seats.len(), 1);
    assert_eq!(snapshot.seats[0].peer_id, alice.seat.peer);
    let facts = facts(&rooms).await;
    let left = facts.last().unwrap();
    assert_eq!((left.kind.as_str(), left.about.as_ref().unwrap().join_id), ("left", bob.id));
    assert_eq!(left.details, r#"{"reason":"timeout"}"#);
    assert!(matches!(rooms.attach(attach("R", 2, 8, bob.id)).await.unwrap(), Attached::Fresh));
}

pub(crate) async fn a_join_whose_caller_is_gone_leaves_no_ghost(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(50)).await.unwrap();
    for n in 1..=20 {
        // Polled once, so that the request is queued, then dropped.
        let mut joining = Box::pin(rooms.join(join("R", n)));
        assert!(futures_util::poll!(&mut joining).is_pending());
    }
    until("every seat is given up", async || {
        let facts = facts(&rooms).await;
        let count = |kind: &str| facts.iter().filter(|fact| fact.kind == kind).count();
        count("joined") == 20 && count("left") == 20
    })
    .await;
    assert!(rooms.snapshot(&room("R")).await.unwrap().unwrap().seats.is_empty());
    assert!(rooms.deregister_node(rooms.partition_of(&room("R"))).await.unwrap());
}

pub(crate) async fn a_user_has_a_seat_while_any_device_of_theirs_has_one(bed: TestBed) {
    let rooms = bed.node("n1").await;
    let has = async |n| rooms.has_seat(&room("R"), &user(n)).await.unwrap();
    assert!(!has(1).await, "there is no room");
    rooms.open(&room("R"), &meta(9)).await.unwrap();
    let first = sit(&rooms, "R", 1).await.seat;
    let second = seated(rooms.join(Join { pid: "second".into(), ..join("R", 1) }).await.unwrap()).seat;
    assert!(has(1).await && !has(2).await);
    rooms.leave(&first, "left").await.unwrap();
    assert!(has(1).await, "the second device is left");
    rooms.leave(&second, "left").await.unwrap();
    assert!(!has(1).await);
    assert!(matches!(rooms.join(Join { waits: true, ..join("R", 2) }).await.unwrap(), Joined::Waiting { .. }));
    assert!(has(2).await, "a place in the lobby counts too");
}
