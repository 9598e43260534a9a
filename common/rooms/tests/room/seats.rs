//! Seats: join, attach, detach, leave. The file has more than 400 lines, because most tests follow
//! one seat through several of them.

use std::task::Poll;
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
    // Without user 0, the call's owner, who gets one seat more.
    let joins = (1..=200).map(|n| if n % 2 == 0 { one.join(join("R", n)) } else { two.join(join("R", n)) });
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

pub(crate) async fn a_second_device_gets_its_own_peer_id_and_a_reload_takes_its_old_seat_over(bed: TestBed) {
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
    rooms.detach(&first.seat).await.unwrap();
    let reload = Join { pid: "new".into(), old_pid: Some("pid-1".into()), handle: SessionHandle(78), ..join("R", 1) };
    let reloaded = seated(rooms.join(reload).await.unwrap());
    assert_eq!(reloaded.seat.peer, first.seat.peer);
    assert_eq!(reloaded.snapshot.seats.len(), 2);
    let kinds: Vec<_> = facts(&rooms).await.into_iter().map(|fact| fact.kind).collect();
    assert_eq!(kinds, ["joined", "joined"], "a reload is no leave");
    assert_eq!(act(&rooms, &first.seat, broadcast("x")).await.unwrap(), OpReply::Stale);
    // Another user cannot take a seat with its private id.
    let thief = Join { old_pid: Some("new".into()), ..join("R", 2) };
    assert!(matches!(rooms.join(thief).await.unwrap(), Joined::Full));
}

pub(crate) async fn a_client_that_kept_nothing_takes_its_own_seat_over_in_a_full_room(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n1").await;
    one.open(&room("R"), &meta(4)).await.unwrap();
    let phone = sit(&one, "R", 1).await;
    let device = |pid: &str, handle| Join { pid: pid.into(), handle: SessionHandle(handle), ..join("R", 1) };
    let laptop = seated(one.join(device("laptop", 71)).await.unwrap());
    let tablet = seated(one.join(device("tablet", 72)).await.unwrap());
    let other = sit(&one, "R", 2).await;
    act(&one, &phone.seat, switch(Role::Participant, [Some(false), None, None])).await.unwrap();
    assert!(matches!(one.join(device("watch", 73)).await.unwrap(), Joined::Full), "each seat has a socket");
    one.detach(&phone.seat).await.unwrap();
    one.detach(&tablet.seat).await.unwrap();
    assert!(matches!(one.join(join("R", 3)).await.unwrap(), Joined::Full), "the seats are still taken for others");
    // The seat that has been without a socket for the longest time comes first.
    let back = seated(two.join(device("app", 74)).await.unwrap());
    assert_eq!((&back.seat.peer, back.snapshot.seats.len()), (&phone.seat.peer, 4));
    let own = back.snapshot.seats.iter().find(|seat| seat.peer_id == back.seat.peer).unwrap();
    assert_eq!((own.connection_state, own.node.as_deref()), (ConnectionState::Connected, Some("n2")));
    assert!(!own.media_state.video_enabled, "the camera is off as before");
    let before = phone.snapshot.seats.iter().find(|seat| seat.peer_id == phone.seat.peer).unwrap();
    assert_eq!(own.joined_at, before.joined_at);
    assert_ne!(own.socket_id, before.socket_id);
    let announced = next_envelope(&mut events, |envelope| {
        matches!(envelope, Envelope::Event { kind: EventKind::ConnectionChanged, event, .. }
            if event.contains("\"connected\""))
    });
    let Envelope::Event { event, .. } = announced.await else { panic!("an event") };
    assert_eq!(said(event)["socketId"].as_str(), own.socket_id.as_deref());
    assert_eq!(said(event)["peerId"].as_str(), Some(back.seat.peer.as_str()));
    // The old session and the old private id have nothing any more, and the other devices all.
    assert_eq!(one.leave(&phone.seat, "left").await.unwrap(), LeaveOutcome::Stale);
    assert!(matches!(one.attach(attach("R", 1, 9, phone.id)).await.unwrap(), Attached::Fresh));
    logged(act(&one, &laptop.seat, relay(back.seat.peer.clone(), "from the laptop")).await);
    logged(act(&two, &back.seat, relay(other.seat.peer.clone(), "from the app")).await);
    let again = seated(two.join(device("app-again", 75)).await.unwrap());
    assert_eq!(again.seat.peer, tablet.seat.peer);
    let facts = facts(&one).await;
    assert!(facts.iter().all(|fact| fact.kind == "joined") && facts.len() == 4, "{facts:?}");
    assert_eq!(expire(&one).await, 0, "no deadline of a former socket is left");
}

pub(crate) async fn a_host_whose_page_reloads_stays_host_and_keeps_the_seat_if_the_answer_is_lost(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(2)).await.unwrap();
    let host = sit(&rooms, "R", 0).await;
    let guest = sit(&rooms, "R", 1).await;
    rooms.detach(&host.seat).await.unwrap();
    // The reply of this join reaches nobody, so its seat is kept for the grace period.
    for attempt in 0.. {
        let mut abandoned = Box::pin(rooms.join(Join { pid: format!("lost-{attempt}"), ..join("R", 0) }));
        match futures_util::poll!(&mut abandoned) {
            Poll::Pending => break,
            // Redis was faster than this test.
            Poll::Ready(joined) => rooms.detach(&seated(joined.unwrap()).seat).await.unwrap(),
        };
    }
    until("the seat has no socket", async || {
        let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
        snapshot.seats.iter().any(|seat| {
            seat.peer_id == host.seat.peer
                && seat.connection_state == ConnectionState::Reconnecting
                && seat.socket_id != host.snapshot.seats[0].socket_id
        })
    })
    .await;
    let reloaded = Join { pid: "new".into(), old_pid: Some("pid-0".into()), ..join("R", 0) };
    let back = seated(rooms.join(reloaded.clone()).await.unwrap());
    let repeated = seated(rooms.join(reloaded).await.unwrap());
    assert_eq!((&repeated.seat.peer, repeated.seat.generation), (&back.seat.peer, back.seat.generation));
    assert_eq!(repeated.id, back.id, "a join whose reply was lost can be sent again");
    assert_eq!((back.snapshot.host.clone(), &back.seat.peer), (user(0), &host.seat.peer));
    let seen = rooms.read(&room("R"), &guest.seat.peer, guest.id).await.unwrap().unwrap();
    let seen: Vec<_> = seen.iter().map(|entry| entry.event()).collect();
    assert!(seen.len() >= 4 && seen.iter().all(|event| event.contains("connection-changed")), "{seen:?}");
}

pub(crate) async fn a_participant_in_the_lobby_who_comes_back_keeps_the_place_in_the_line(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(9)).await.unwrap();
    let host = sit(&rooms, "R", 0).await;
    let waiting = |joined| match joined {
        Joined::Waiting { seat, .. } => seat,
        other => panic!("not waiting: {other:?}"),
    };
    let first = waiting(rooms.join(Join { waits: true, ..join("R", 1) }).await.unwrap());
    waiting(rooms.join(Join { waits: true, ..join("R", 2) }).await.unwrap());
    rooms.detach(&first).await.unwrap();
    let back = Join { waits: true, pid: "new".into(), handle: SessionHandle(9), ..join("R", 1) };
    let back = waiting(rooms.join(back).await.unwrap());
    assert_eq!(back.peer, first.peer);
    let seen = rooms.read(&room("R"), &host.seat.peer, host.id).await.unwrap().unwrap();
    let requests: Vec<_> = seen.iter().map(|entry| entry.event().split('"').nth(1).unwrap()).collect();
    assert_eq!(requests, ["room:join-request"; 2], "the host sees neither a cancellation nor a second request");
    let admitted = rooms.moderate(&room("R"), Caller::Operator, &ModerationCommand::Admit(None)).await.unwrap();
    assert_eq!(admitted, ModerationOutcome::Done(vec![peer(1), peer(2)]));
}

pub(crate) async fn a_ban_keeps_out_the_guests_of_its_address_except_who_is_in_the_call(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let banned = seated(rooms.join(guest("R", 1, Some("a"))).await.unwrap()).seat;
    let neighbour = seated(rooms.join(guest("R", 2, Some("a"))).await.unwrap()).seat;
    let waits = Join { waits: true, ..guest("R", 4, Some("a")) };
    assert!(matches!(rooms.join(waits).await.unwrap(), Joined::Waiting { .. }));
    let kick = ModerationCommand::Kick { peer: banned.peer.clone(), ban: true, reason: None };
    rooms.moderate(&room("R"), Caller::Operator, &kick).await.unwrap();
    for n in [1, 3] {
        assert!(matches!(rooms.join(guest("R", n, Some("a"))).await.unwrap(), Joined::Banned), "guest {n}");
    }
    // Admission says the same before the join; a place in the lobby counts as a seat.
    for (n, is_banned) in [(1, true), (2, false), (3, true), (4, false)] {
        let Join { user, proof, .. } = guest("R", n, Some("a"));
        let (_, standing) = rooms.peek_for(&room("R"), &user, &proof).await.unwrap();
        assert_eq!(standing.banned, is_banned, "guest {n}");
    }
    rooms.detach(&neighbour).await.unwrap();
    let reload = Join { pid: "reload".into(), ..guest("R", 2, Some("a")) };
    assert_eq!(seated(rooms.join(reload.clone()).await.unwrap()).seat.peer, neighbour.peer);
    // Who has left is kept out like all others.
    rooms.leave(&seated(rooms.join(reload).await.unwrap()).seat, "left").await.unwrap();
    assert!(matches!(rooms.join(guest("R", 2, Some("a"))).await.unwrap(), Joined::Banned));
}

pub(crate) async fn a_long_replay_is_read_in_pages_and_is_complete(mut bed: TestBed) {
    const MISSED: usize = 1_200;
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    rooms.detach(&bob.seat).await.unwrap();
    for n in 0..MISSED {
        let message = if n % 2 == 0 { relay(peer(2), n) } else { broadcast(n) };
        logged(act(&rooms, &alice.seat, message).await);
    }
    let before = bed.calls_of("xrange").await;
    let bob = resumed(rooms.attach(attach("R", 2, 9, bob.id)).await.unwrap());
    let missed: Vec<_> = bob.missed.iter().map(|entry| entry.event().to_owned()).collect();
    assert_eq!(missed, (0..MISSED).map(|n| String::from_utf8(event(n).to_vec()).unwrap()).collect::<Vec<_>>());
    let reads = bed.calls_of("xrange").await - before;
    assert!((3..10).contains(&reads), "{reads} reads");
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
    let sessions = [(bob.seat.clone(), bob.id), (alice.seat.clone(), bob.id)];
    let caught_up = one.catch_up(&room("R"), &sessions).await.unwrap();
    assert!(matches!(&caught_up[..], [CaughtUp::NotSeated, CaughtUp::Missed(missed)] if missed.len() == 1));
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

pub(crate) async fn a_join_whose_caller_is_gone_leaves_no_ghost(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(50)).await.unwrap();
    // No answer may come before the caller is dropped.
    for server in bed.servers() {
        server.process().pause().unwrap();
    }
    for n in 1..=20 {
        // Polled once, so that the request is queued, then dropped.
        let mut joining = Box::pin(rooms.join(join("R", n)));
        assert!(futures_util::poll!(&mut joining).is_pending());
    }
    for server in bed.servers() {
        server.process().resume().unwrap();
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

pub(crate) async fn a_silent_socket_of_the_same_user_loses_its_seat_and_a_living_one_does_not(mut bed: TestBed) {
    bed.options.probe = Duration::from_millis(400);
    let rooms = bed.node("n1").await;
    let (_bus, mut events) = bed.listen("n1").await;
    rooms.open(&room("R"), &meta(2)).await.unwrap();
    let (first, other) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    let device = |pid: &str, handle| Join { pid: pid.into(), handle: SessionHandle(handle), ..join("R", 1) };
    let asked = |handle| move |envelope: &Envelope<'_>| *envelope == Envelope::Probe { room: room("R"), handle };
    // Nobody answers for the first socket: its device is gone, and the node has not noticed.
    let joining = tokio::spawn({
        let (rooms, join) = (rooms.clone(), device("app", 9));
        async move { rooms.join(join).await.unwrap() }
    });
    next_envelope(&mut events, asked(first.seat.handle)).await;
    let back = seated(joining.await.unwrap());
    assert_eq!((&back.seat.peer, back.snapshot.seats.len()), (&first.seat.peer, 2));
    let dropped = Envelope::Drop { room: room("R"), handle: first.seat.handle };
    next_envelope(&mut events, |envelope| *envelope == dropped).await;
    assert_eq!(rooms.detach(&first.seat).await.unwrap(), LeaveOutcome::Stale);
    // A living socket keeps its seat, and the question gets the same answer as the join.
    for only_asks in [true, false] {
        let joining = tokio::spawn({
            let (rooms, join) = (rooms.clone(), device("tablet", 10));
            async move { if only_asks { rooms.may_join(&join).await } else { rooms.join(join).await }.unwrap() }
        });
        next_envelope(&mut events, asked(back.seat.handle)).await;
        rooms.confirm_alive(&back.seat).await.unwrap();
        assert!(matches!(joining.await.unwrap(), Joined::Full));
    }
    logged(act(&rooms, &back.seat, relay(other.seat.peer.clone(), "still here")).await);
    // A client with its private id comes back before the node notices, and waits for the answer.
    let reload = Join { old_pid: Some("app".into()), ..device("reloaded", 11) };
    assert!(matches!(rooms.may_join(&reload).await.unwrap(), Joined::Possible));
    assert_eq!(seated(rooms.join(reload).await.unwrap()).seat.peer, first.seat.peer);
}

pub(crate) async fn two_devices_that_join_beside_a_silent_socket_do_not_take_one_seat_from_each_other(
    mut bed: TestBed,
) {
    bed.options.probe = Duration::from_millis(400);
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let silent = sit(&rooms, "R", 1).await;
    let device = |pid: &str, handle| Join { pid: pid.into(), handle: SessionHandle(handle), ..join("R", 1) };
    let (phone, tablet) = tokio::join!(rooms.join(device("phone", 8)), rooms.join(device("tablet", 9)));
    let (phone, tablet) = (seated(phone.unwrap()).seat, seated(tablet.unwrap()).seat);
    assert_ne!(phone.peer, tablet.peer);
    assert!([&phone.peer, &tablet.peer].contains(&&silent.seat.peer), "one of them has the seat of the silent socket");
    for seat in [&phone, &tablet] {
        assert_eq!(rooms.detach(seat).await.unwrap(), LeaveOutcome::Done, "each still has its seat");
    }
}

pub(crate) async fn a_question_is_answered_as_a_join_at_that_moment_and_changes_nothing(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    let ask = async |join: Join| format!("{:?}", api.may_join(&join).await.unwrap());
    let try_it = async |join: Join| format!("{:?}", rooms.join(join).await.unwrap());
    assert_eq!(ask(join("R", 1)).await, try_it(join("R", 1)).await);
    api.open(&room("R"), &meta(2)).await.unwrap();
    let stale = Join { meta_version: 7, ..join("R", 1) };
    assert_eq!(ask(stale.clone()).await, try_it(stale).await);
    assert_eq!(ask(join("R", 1)).await, "Possible");
    let (host, first) = (sit(&rooms, "R", 0).await, sit(&rooms, "R", 1).await);
    let before = api.snapshot(&room("R")).await.unwrap().unwrap();
    // The room is full, also for a further device of a participant; the lobby is not.
    for n in [1, 2] {
        let newcomer = Join { pid: "new".into(), ..join("R", n) };
        assert_eq!(ask(newcomer.clone()).await, "Full");
        assert_eq!(try_it(newcomer).await, "Full");
    }
    assert_eq!(ask(Join { waits: true, ..join("R", 2) }).await, "Possible");
    rooms.detach(&first.seat).await.unwrap();
    assert_eq!(ask(Join { pid: "new".into(), ..join("R", 1) }).await, "Possible", "its own seat is without a socket");
    assert_eq!(ask(join("R", 2)).await, "Full");
    rooms.leave(&host.seat, "left").await.unwrap();
    let kick = ModerationCommand::Kick { peer: peer(1), ban: true, reason: None };
    api.moderate(&room("R"), Caller::Operator, &kick).await.unwrap();
    let banned = Join { pid: "new".into(), ..join("R", 1) };
    assert_eq!(ask(banned.clone()).await, try_it(banned).await);
    let lock = |meta: &mut RoomMeta| meta.locked = true;
    api.update(&room("R"), Caller::Operator, None, lock).await.unwrap();
    let late = Join { meta_version: 2, ..join("R", 3) };
    assert_eq!(ask(late.clone()).await, "Locked");
    assert_eq!(try_it(late).await, "Locked");
    let after = api.snapshot(&room("R")).await.unwrap().unwrap();
    assert_eq!((before.seats.len(), after.seats.len()), (2, 0), "no question took a seat");
}

pub(crate) async fn a_changed_profile_is_announced_for_each_seat_and_later_snapshots_have_it(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    rooms.open(&room("R"), &meta(9)).await.unwrap();
    let host = sit(&rooms, "R", 0).await;
    let first = sit(&rooms, "R", 1).await;
    let device = Join { pid: "second".into(), handle: SessionHandle(8), ..join("R", 1) };
    let second = seated(rooms.join(device).await.unwrap());
    rooms.detach(&second.seat).await.unwrap();
    let waits = rooms.join(Join { waits: true, ..join("R", 2) }).await.unwrap();
    assert!(matches!(waits, Joined::Waiting { .. }));
    let avatar = Some("https://example.org/a/b.png".to_owned());
    let named = |n, name: &str| PublicUser::new(user(n), name.to_owned(), avatar.clone());
    // A list that is empty stays a list, and a field of the app is not taken for one of the seat.
    let metadata = serde_json::json!({ "tags": [], "connectionState": "waiting", "role": "host" });
    let named = |n, name: &str| PublicUser { metadata: Some(metadata.clone()), ..named(n, name) };
    let update = |n, name: &str| {
        let PublicUser { name, avatar, metadata, .. } = named(n, name);
        ProfileUpdate { name: Some(name), avatar: Some(avatar), metadata: Some(metadata), stored_at: None }
    };
    for (n, name, at) in [
        (1, "New \"%1\" name", 2_000),
        (1, "An older name", 1_000),
        (2, "Waiting name", 2_000),
        (3, "Nobody here", 2_000),
    ] {
        let update = ProfileUpdate { stored_at: Some(Timestamp(at)), ..update(n, name) };
        api.change_profile(&room("R"), &user(n), &update).await.unwrap();
    }
    let seen = async |after| rooms.read(&room("R"), &host.seat.peer, after).await.unwrap().unwrap();
    let of_kind = |entries: &[LogEntry], kind: &str| -> Vec<serde_json::Value> {
        entries.iter().map(LogEntry::event).filter(|event| event.contains(kind)).map(said).collect()
    };
    let entries = seen(host.id).await;
    let announced: Vec<_> = of_kind(&entries, "participant:profile-changed")
        .iter()
        .map(|change| (change["peerId"].as_str().unwrap().to_owned(), change["user"]["name"].clone()))
        .collect();
    let wanted = [
        (first.seat.peer.as_str().to_owned(), "New \"%1\" name".into()),
        (second.seat.peer.as_str().to_owned(), "New \"%1\" name".into()),
        (user(2).as_str().to_owned(), "Waiting name".into()),
    ];
    assert_eq!(announced, wanted);
    let snapshot = api.snapshot(&room("R")).await.unwrap().unwrap();
    let names: Vec<_> = snapshot.seats.iter().map(|seat| seat.user.name.as_str()).collect();
    assert_eq!(names, ["User 100% 0", "New \"%1\" name", "New \"%1\" name", "Waiting name"]);
    assert_eq!((&snapshot.seats[1].user.avatar, &snapshot.seats[1].user.metadata), (&avatar, &Some(metadata.clone())));
    // The admission from the lobby announces the new name, and so does a return with another one.
    api.moderate(&room("R"), Caller::Operator, &ModerationCommand::Admit(None)).await.unwrap();
    let entries = seen(entries.last().unwrap().id).await;
    let joined = &of_kind(&entries, "room:user-joined")[0];
    assert_eq!(
        (&joined["user"]["name"], &joined["participant"]["user"]["name"]),
        (&"Waiting name".into(), &"Waiting name".into())
    );
    assert_eq!(joined["participant"]["connectionState"], "connected", "the field of the seat is changed");
    assert_eq!(joined["participant"]["user"]["metadata"], metadata);
    let details: serde_json::Value = serde_json::from_str(&facts(&rooms).await.pop().unwrap().details).unwrap();
    assert_eq!(details["user"]["name"], "Waiting name");
    let public = named(1, "Third name");
    let back = Join { public, pid: "third".into(), handle: SessionHandle(9), ..join("R", 1) };
    assert_eq!(seated(rooms.join(back).await.unwrap()).seat.peer, second.seat.peer);
    let entries = seen(entries.last().unwrap().id).await;
    let events: Vec<_> = entries.iter().map(|entry| entry.event().split('"').nth(1).unwrap()).collect();
    assert_eq!(events, ["participant:profile-changed", "participant:connection-changed"]);
    assert_eq!(said(entries[0].event())["user"]["name"], "Third name");
}

pub(crate) async fn the_owner_of_a_full_call_gets_one_seat_more_and_no_one_else_does(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    rooms.open(&room("R"), &meta(2)).await.unwrap();
    let owner = sit(&rooms, "R", 0).await.seat;
    sit(&rooms, "R", 1).await;
    rooms.leave(&owner, "left").await.unwrap();
    sit(&rooms, "R", 2).await;
    // The participant who stands in as host gets no further seat for it.
    let stand_in = Join { pid: "second".into(), role: Role::Host, given: Some(Role::Host), ..join("R", 1) };
    assert!(matches!(rooms.join(stand_in).await.unwrap(), Joined::Full));
    assert!(matches!(rooms.join(join("R", 3)).await.unwrap(), Joined::Full));
    let owner = Join { given: None, ..join("R", 0) };
    assert!(matches!(api.may_join(&owner).await.unwrap(), Joined::Possible), "both doors agree");
    let owner = seated(rooms.join(owner).await.unwrap());
    assert_eq!((owner.snapshot.host, owner.snapshot.seats.len()), (user(0), 3));
    let device = Join { pid: "device".into(), ..join("R", 0) };
    assert!(matches!(rooms.join(device).await.unwrap(), Joined::Full), "a second device needs a free seat");
    // The room is still full for all others after a seat became free.
    rooms.leave(&owner.seat, "left").await.unwrap();
    assert!(matches!(rooms.join(join("R", 3)).await.unwrap(), Joined::Full));
}
