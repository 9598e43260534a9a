//! The lobby after the waiting room is switched off.

use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::scripts::{KickScript, ModerationScope, RoomScope, SeatScope, log_bounds};
use switchboard_rooms::*;

use super::testbed::*;

pub(crate) async fn users_who_wait_only_for_a_place_are_admitted_in_order_of_arrival(bed: TestBed) {
    let rooms = bed.node("n1").await;
    let mut call = meta(2);
    call.settings.waiting_room_enabled = true;
    rooms.open(&room("R"), &call).await.unwrap();
    let (host, first) = (sit(&rooms, "R", 0).await.seat, sit(&rooms, "R", 1).await.seat);
    for n in 2..6 {
        let waits = Join { waits: true, ..join("R", n) };
        assert!(matches!(rooms.join(waits).await.unwrap(), Joined::Waiting { .. }));
    }
    // Participants and waiting users, in the order of their arrival.
    let people = async || {
        let seats = rooms.snapshot(&room("R")).await.unwrap().unwrap().seats;
        let (waiting, inside): (Vec<_>, Vec<_>) =
            seats.into_iter().partition(|seat| seat.connection_state == ConnectionState::Waiting);
        let numbers = |seats: Vec<Participant>| {
            let mut numbers: Vec<_> =
                seats.iter().map(|seat| (0..9).find(|n| peer(*n) == seat.peer_id).unwrap()).collect();
            numbers.sort_unstable();
            numbers
        };
        (numbers(inside), numbers(waiting))
    };
    assert_eq!(rooms.leave(&first, "left").await.unwrap(), LeaveOutcome::Done);
    assert_eq!(expire(&rooms).await, 0, "the waiting room is on");
    let second = sit(&rooms, "R", 1).await.seat;
    assert_eq!(people().await, (vec![0, 1], vec![2, 3, 4, 5]));

    let amend = async |change: &dyn Fn(&mut RoomMeta)| {
        assert!(matches!(
            rooms.update(&room("R"), Caller::Operator, None, change).await.unwrap(),
            UpdateOutcome::Done(_)
        ));
    };
    amend(&|call| call.settings.waiting_room_enabled = false).await;
    assert_eq!(people().await, (vec![0, 1], vec![2, 3, 4, 5]), "every place is taken");
    amend(&|call| call.max_participants = 3).await;
    assert_eq!(people().await, (vec![0, 1, 2], vec![3, 4, 5]), "one more place");
    assert_eq!(rooms.leave(&second, "left").await.unwrap(), LeaveOutcome::Done);
    assert_eq!(expire(&rooms).await, 1);
    assert_eq!(people().await, (vec![0, 2, 3], vec![4, 5]));
    // A removed participant frees a place, and a removed waiting user does not.
    for (n, kicked) in [(4, 0), (2, 1)] {
        let kick = ModerationCommand::Kick { peer: peer(n), ban: false, reason: None };
        assert_eq!(
            rooms.moderate(&room("R"), Caller::Operator, &kick).await.unwrap(),
            ModerationOutcome::Done(Vec::new())
        );
        assert_eq!(expire(&rooms).await, kicked, "{n}");
    }
    assert_eq!(people().await, (vec![0, 3, 5], vec![]));
    let joined = facts(&rooms).await.into_iter().filter(|fact| fact.kind == "joined").count();
    assert_eq!(joined, 6, "each admission has a fact");
    let RoomPeek::Open { meta, .. } = rooms.peek(&room("R")).await.unwrap() else { panic!("not open") };
    let waits = Join { waits: true, meta_version: meta.version, ..join("R", 6) };
    assert!(matches!(rooms.join(waits).await.unwrap(), Joined::Waiting { .. }));
    let deny = ModerationCommand::Deny { peer: peer(6), reason: None };
    let denied = rooms.moderate(&room("R"), Caller::Operator, &deny).await.unwrap();
    assert_eq!(denied, ModerationOutcome::Done(Vec::new()));
    let denied: Vec<_> = facts(&rooms).await.into_iter().filter(|fact| fact.kind == "denied").collect();
    let about = denied.iter().map(|fact| (fact.about.as_ref().unwrap().peer.clone(), fact.count)).collect::<Vec<_>>();
    assert_eq!(about, [(peer(6), 3)], "a refusal has a fact, and other removals from the lobby have none");
    assert_eq!(rooms.leave(&host, "left").await.unwrap(), LeaveOutcome::Done);
    assert_eq!(expire(&rooms).await, 0, "the lobby is empty");
}

/// Changes a call from its room, or brings the room a newer version of the record.
async fn change(rooms: &Rooms, by_open: bool, change: &dyn Fn(&mut RoomMeta)) {
    if !by_open {
        let done = rooms.update(&room("R"), Caller::Operator, None, change).await.unwrap();
        assert!(matches!(done, UpdateOutcome::Done(_)));
        return;
    }
    let RoomPeek::Open { mut meta, .. } = rooms.peek(&room("R")).await.unwrap() else { panic!("not open") };
    change(&mut meta);
    meta.version += 1;
    assert_eq!(rooms.open(&room("R"), &meta).await.unwrap(), Opened::Open);
    let RoomPeek::Open { meta: after, .. } = rooms.peek(&room("R")).await.unwrap() else { panic!("not open") };
    assert_eq!(after, meta);
}

pub(crate) async fn a_call_that_asks_more_of_newcomers_sends_its_lobby_away(bed: TestBed) {
    let rooms = bed.node("n1").await;
    let mut call = meta(9);
    call.settings.waiting_room_enabled = true;
    rooms.open(&room("R"), &call).await.unwrap();
    let _host = sit(&rooms, "R", 0).await;
    let waiting = async || rooms.snapshot(&room("R")).await.unwrap().unwrap().seats.len() - 1;
    let hash = |text: &str| Some(text.to_owned());
    let stricter: [&dyn Fn(&mut RoomMeta); 4] = [
        &|call| call.passcode_hash = hash("one"),
        &|call| call.passcode_hash = hash("two"),
        &|call| call.call_type = CallType::Private,
        // The waiting room is switched off in the same change. That admits no earlier participant.
        &|call| (call.call_type, call.settings.waiting_room_enabled) = (CallType::InvitedOnly, false),
    ];
    for ((n, changes), stricter) in (1..).zip(0..).zip(stricter) {
        // Each change raises the version that admission rests on.
        let waits = Join { waits: true, meta_version: call.version + changes, ..join("R", n) };
        assert!(matches!(rooms.join(waits).await.unwrap(), Joined::Waiting { .. }));
        assert_eq!(waiting().await, 1);
        change(&rooms, n % 2 == 0, stricter).await;
        assert_eq!(waiting().await, 0, "change {n}");
    }
}

pub(crate) async fn a_newer_version_of_a_record_asks_the_lobby_as_any_other_change_does(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    let (_bus, mut events) = bed.listen("n1").await;
    let mut call = meta(9);
    call.settings.waiting_room_enabled = true;
    api.open(&room("R"), &call).await.unwrap();
    let _host = sit(&rooms, "R", 0).await;
    let wait = async |version: u64| {
        let waits = Join { waits: true, meta_version: version, ..join("R", 1) };
        assert!(matches!(rooms.join(waits).await.unwrap(), Joined::Waiting { .. }));
    };
    let seats = async || api.snapshot(&room("R")).await.unwrap().unwrap().seats;
    wait(1).await;
    change(&api, true, &|call| call.passcode_hash = Some("new".into())).await;
    assert_eq!(seats().await.len(), 1, "sent away");
    next_envelope(&mut events, |envelope| matches!(envelope, Envelope::Event { kind: EventKind::RoomUpdated, .. }))
        .await;
    wait(2).await;
    change(&api, true, &|call| call.settings.waiting_room_enabled = false).await;
    let states: Vec<_> = seats().await.iter().map(|seat| seat.connection_state).collect();
    assert_eq!(states, [ConnectionState::Connected; 2], "admitted");
}

pub(crate) async fn a_locked_room_admits_no_participant_of_the_lobby_by_itself(bed: TestBed) {
    let rooms = bed.node("n1").await;
    let mut call = meta(2);
    call.settings.waiting_room_enabled = true;
    rooms.open(&room("R"), &call).await.unwrap();
    let (_host, first) = (sit(&rooms, "R", 0).await, sit(&rooms, "R", 1).await.seat);
    assert!(matches!(rooms.join(Join { waits: true, ..join("R", 2) }).await.unwrap(), Joined::Waiting { .. }));
    let lock = |call: &mut RoomMeta| (call.locked, call.settings.waiting_room_enabled) = (true, false);
    assert!(matches!(rooms.update(&room("R"), Caller::Operator, None, lock).await.unwrap(), UpdateOutcome::Done(_)));
    assert_eq!(rooms.leave(&first, "left").await.unwrap(), LeaveOutcome::Done);
    assert_eq!(expire(&rooms).await, 0, "a place is free, but the room is locked");
    let admit = ModerationCommand::Admit(None);
    assert_eq!(
        rooms.moderate(&room("R"), Caller::Operator, &admit).await.unwrap(),
        ModerationOutcome::Done(vec![peer(2)]),
        "a person still may admit"
    );
}

pub(crate) async fn an_unlocked_room_admits_those_who_would_not_have_to_wait(bed: TestBed) {
    let rooms = bed.node("n1").await;
    let mut call = meta(3);
    call.settings.waiting_room_enabled = true;
    rooms.open(&room("R"), &call).await.unwrap();
    sit(&rooms, "R", 0).await;
    assert!(matches!(rooms.join(Join { waits: true, ..join("R", 1) }).await.unwrap(), Joined::Waiting { .. }));
    let waiting = async || {
        let snapshot = rooms.snapshot(&room("R")).await.unwrap().unwrap();
        snapshot.seats.iter().filter(|seat| seat.connection_state == ConnectionState::Waiting).count()
    };
    let changes: [fn(&mut RoomMeta); 3] =
        [|call| call.locked = true, |call| call.settings.waiting_room_enabled = false, |call| call.locked = false];
    for (change, expected) in changes.into_iter().zip([1, 1, 0]) {
        let updated = rooms.update(&room("R"), Caller::Operator, None, change).await.unwrap();
        assert!(matches!(updated, UpdateOutcome::Done(_)));
        assert_eq!(waiting().await, expected);
    }
}

pub(crate) async fn guests_of_one_address_take_a_quarter_of_the_lobby_and_leave_the_rest(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(200)).await.unwrap();
    let guest = |n: usize, address: Option<&str>| Join { waits: true, ..guest("R", n, address) };
    let mut seats = Vec::new();
    for n in 0..25 {
        let Joined::Waiting { seat, .. } = rooms.join(guest(n, Some("a"))).await.unwrap() else { panic!("guest {n}") };
        seats.push(seat);
    }
    assert!(matches!(rooms.join(guest(25, Some("a"))).await.unwrap(), Joined::Full));
    assert!(matches!(rooms.may_join(&guest(25, Some("a"))).await.unwrap(), Joined::Full));
    // Other addresses, an unknown one, and users of the same address have places.
    let proof = Proof { address: Some("a".into()), ..Proof::default() };
    for other in [guest(26, Some("b")), guest(27, None), Join { waits: true, proof, ..join("R", 28) }] {
        assert!(matches!(rooms.join(other).await.unwrap(), Joined::Waiting { .. }));
    }
    rooms.leave(&seats[7], "left").await.unwrap();
    assert!(matches!(rooms.join(guest(25, Some("a"))).await.unwrap(), Joined::Waiting { .. }));
    assert!(matches!(rooms.join(guest(29, Some("a"))).await.unwrap(), Joined::Full));
}

pub(crate) async fn a_repeated_command_of_an_operator_has_the_reply_of_the_first(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    sit(&rooms, "R", 0).await;
    sit(&rooms, "R", 1).await;
    let (keys, bounds, name) = (bed.keys(), log_bounds(10_000, 16 << 20), room("R"));
    let mut kick = async |command: &str| {
        let seats = SeatScope {
            room: RoomScope {
                keys: &keys,
                partition: rooms.partition_of(&name),
                room: &name,
                window_ms: 60_000,
                log_bounds: &bounds,
            },
            empty_after_ms: 60_000,
            departure_events: std::array::from_fn(|_| r#""left",{}"#.to_owned()),
            left_details: r#"{"reason":"kicked"}"#.to_owned(),
        };
        let scope = ModerationScope { seats, caller: Caller::Operator, command_id: command.to_owned() };
        let kicked_event = r#""room:kicked",{}"#.to_owned();
        let reply: Vec<String> = bed.run(&KickScript { scope, target: &peer(1), ban: false, kicked_event }).await;
        reply
    };
    let first = kick("one").await;
    assert_eq!(first[0], "OK");
    assert_eq!(kick("one").await, first, "its reply was lost");
    assert_eq!(kick("two").await, ["NOPEER"]);
    assert_eq!(kick("two").await, ["NOPEER"]);
}
