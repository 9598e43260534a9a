//! Rooms as a whole, and the outbox.

use std::time::Duration;

use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::*;

use super::testbed::*;

pub(crate) async fn newer_metadata_replaces_older_and_an_ended_room_is_not_opened_again(bed: TestBed) {
    let rooms = bed.guest("api").await;
    let name = room("R");
    assert!(matches!(rooms.peek(&name).await.unwrap(), RoomPeek::Absent));
    assert_eq!(rooms.open(&name, &meta(5)).await.unwrap(), Opened::Open);
    rooms.open(&name, &RoomMeta { name: "Newer".into(), version: 3, ..meta(5) }).await.unwrap();
    rooms.open(&name, &RoomMeta { name: "Older".into(), version: 2, ..meta(5) }).await.unwrap();
    match rooms.peek(&name).await.unwrap() {
        RoomPeek::Open { meta, locked: false, host, participants: 0 } => {
            assert_eq!((meta.name.as_str(), meta.version, host), ("Newer", 3, user(0)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rooms.end(&name, &meta(5).call_id, "ended").await.unwrap(), Ended::Done);
    assert!(matches!(rooms.peek(&name).await.unwrap(), RoomPeek::Ended));
    assert_eq!(rooms.open(&name, &meta(5)).await.unwrap(), Opened::Ended);
    assert_eq!(rooms.end(&name, &meta(5).call_id, "ended").await.unwrap(), Ended::Already);
    assert!(rooms.snapshot(&name).await.unwrap().is_none());
}

pub(crate) async fn a_room_is_created_once_with_one_fact(bed: TestBed) {
    let rooms = bed.guest("n1").await;
    let other = RoomMeta { call_id: CallId::parse("65a000000000000000000002").unwrap(), ..meta(5) };
    assert_eq!(rooms.create(&room("R"), &meta(5), r#"{"title":"A"}"#).await.unwrap(), Created::Done);
    // A create of the same call repeats one whose reply was lost; another call is refused.
    assert_eq!(rooms.create(&room("R"), &meta(5), r#"{"title":"A"}"#).await.unwrap(), Created::Done);
    assert_eq!(rooms.create(&room("R"), &other, "{}").await.unwrap(), Created::Exists);
    let facts = facts(&rooms).await;
    assert_eq!(facts.len(), 1);
    // While a room id is kept for a call, no other call is created there, and nobody can join.
    let name = room("Reserved");
    assert_eq!(rooms.reserve(&room("R"), &other.call_id).await.unwrap(), Reserved::Exists);
    for _ in 0..2 {
        assert_eq!(rooms.reserve(&name, &other.call_id).await.unwrap(), Reserved::Done);
        assert_eq!(rooms.reserve(&name, &meta(5).call_id).await.unwrap(), Reserved::Pending);
        assert_eq!(rooms.create(&name, &meta(5), "{}").await.unwrap(), Created::Pending);
        assert!(matches!(rooms.peek(&name).await.unwrap(), RoomPeek::Absent));
        rooms.release(&name, &meta(5).call_id).await.unwrap();
    }
    assert_eq!(rooms.open(&name, &other).await.unwrap(), Opened::Open);
    assert_eq!(rooms.open(&name, &meta(5)).await.unwrap(), Opened::Taken);
    assert_eq!(rooms.create(&name, &meta(5), "{}").await.unwrap(), Created::Exists);
    // The reservation is over with the opening, so that the room id is free at the call's end.
    rooms.end(&name, &other.call_id, "ended").await.unwrap();
    assert_eq!(rooms.reserve(&name, &meta(5).call_id).await.unwrap(), Reserved::Done);
    rooms.release(&name, &meta(5).call_id).await.unwrap();
    assert_eq!(rooms.reserve(&name, &other.call_id).await.unwrap(), Reserved::Done);
    assert_eq!((facts[0].kind.as_str(), &facts[0].call, &facts[0].room), ("created", &meta(5).call_id, &room("R")));
    assert_eq!(facts[0].details, r#"{"title":"A"}"#);
}

pub(crate) async fn only_the_host_ends_a_call_from_a_seat_and_every_session_gets_call_ended(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n2").await;
    one.open(&room("R"), &meta(5)).await.unwrap();
    let host = sit(&one, "R", 0).await;
    let guest = sit(&two, "R", 1).await;
    assert_eq!(two.end_as_host(&guest.seat, "ended").await.unwrap(), Ended::Denied);
    assert_eq!(one.end_as_host(&host.seat, "ended").await.unwrap(), Ended::Done);
    let ended_event = next_envelope(&mut events, |envelope| {
        matches!(envelope, Envelope::Event { kind: EventKind::CallEnded, event, .. }
            if event.starts_with("\"room:call-ended\""))
    });
    assert!(matches!(ended_event.await, Envelope::Event { .. }));
    next_envelope(&mut events, |envelope| matches!(envelope, Envelope::RoomGone { .. })).await;
    let kinds: Vec<String> =
        facts(&one).await.into_iter().map(|fact| format!("{} {}", fact.kind, fact.count)).collect();
    assert_eq!(kinds, ["joined 1", "joined 2", "left 1", "left 0", "ended 0"]);
    // Sessions that learn of the end give up their seats, which do not exist any more.
    assert_eq!(two.leave(&guest.seat, "ended").await.unwrap(), LeaveOutcome::Stale);
    assert_eq!(act(&two, &guest.seat, broadcast("x")).await.unwrap(), OpReply::Stale);
    assert!(two.read(&room("R"), &guest.seat.peer, guest.id).await.unwrap().is_none());
}

pub(crate) async fn ending_a_call_whose_room_is_absent_leaves_a_tombstone_and_a_fact(bed: TestBed) {
    let rooms = bed.guest("api").await;
    assert_eq!(rooms.end(&room("R"), &meta(5).call_id, "deleted").await.unwrap(), Ended::Done);
    assert_eq!(rooms.open(&room("R"), &meta(5)).await.unwrap(), Opened::Ended);
    let facts = facts(&rooms).await;
    assert_eq!(
        (facts.len(), facts[0].kind.as_str(), facts[0].details.as_str()),
        (1, "ended", r#"{"reason":"deleted"}"#)
    );
    assert!(facts[0].about.is_none());
}

pub(crate) async fn an_unused_room_is_deleted_and_a_call_that_has_taken_place_ends_when_it_is_empty(mut bed: TestBed) {
    bed.options.empty_after = Duration::from_millis(1);
    let (rooms, other) = (bed.node("n1").await, bed.node("n2").await);
    rooms.open(&room("unused"), &meta(5)).await.unwrap();
    rooms.open(&room("used"), &meta(5)).await.unwrap();
    let seat = sit(&rooms, "used", 0).await.seat;
    until("the unused room is gone", async || {
        expire(&rooms).await;
        matches!(rooms.peek(&room("unused")).await.unwrap(), RoomPeek::Absent)
    })
    .await;
    assert!(matches!(rooms.peek(&room("used")).await.unwrap(), RoomPeek::Open { participants: 1, .. }));
    rooms.leave(&seat, "left").await.unwrap();
    until("the empty room has ended", async || {
        // Every node handles deadlines, and one of them ends the call.
        tokio::join!(expire(&rooms), expire(&other), expire(&rooms), expire(&other));
        matches!(rooms.peek(&room("used")).await.unwrap(), RoomPeek::Ended)
    })
    .await;
    let kinds: Vec<String> =
        facts(&rooms).await.into_iter().map(|fact| format!("{} {}", fact.kind, fact.details)).collect();
    assert_eq!(kinds[1..], [r#"left {"reason":"left"}"#, r#"ended {"reason":"empty"}"#]);
}

pub(crate) async fn a_call_takes_place_from_its_host_or_from_two_users_at_the_same_time(mut bed: TestBed) {
    bed.options.empty_after = Duration::from_millis(1);
    let rooms = bed.node("n1").await;
    let second_device = |name: &str| Join { pid: "tablet".into(), handle: SessionHandle(99), ..join(name, 1) };
    let empties = async |name: &str| {
        until("the empty room is closed", async || {
            expire(&rooms).await;
            !matches!(rooms.peek(&room(name)).await.unwrap(), RoomPeek::Open { .. })
        })
        .await;
        let kinds: Vec<_> = facts(&rooms).await.into_iter().filter(|fact| fact.room == room(name)).collect();
        let first = kinds.iter().filter(|fact| fact.details.contains(r#""first":true"#)).count();
        assert_eq!(first, 1, "one join began the period");
        (kinds.last().unwrap().kind.clone(), rooms.peek(&room(name)).await.unwrap())
    };
    for name in ["alone", "devices", "turns", "host", "together"] {
        rooms.open(&room(name), &meta(5)).await.unwrap();
        let first = sit(&rooms, name, usize::from(name != "host")).await.seat;
        match name {
            "devices" => {
                let second = seated(rooms.join(second_device(name)).await.unwrap()).seat;
                rooms.leave(&second, "left").await.unwrap();
            }
            "together" => {
                let second = sit(&rooms, name, 2).await.seat;
                rooms.leave(&second, "left").await.unwrap();
            }
            _ => {}
        }
        rooms.leave(&first, "left").await.unwrap();
        if name == "turns" {
            rooms.open(&room(name), &meta(5)).await.unwrap();
            let second = sit(&rooms, name, 2).await.seat;
            rooms.leave(&second, "left").await.unwrap();
        }
        let (kind, peek) = empties(name).await;
        let has_ended = ["host", "together"].contains(&name);
        assert_eq!(kind, if has_ended { "ended" } else { "emptied" }, "{name}");
        assert_eq!(matches!(peek, RoomPeek::Ended), has_ended, "{name}");
        let opened = rooms.open(&room(name), &meta(5)).await.unwrap();
        assert_eq!(opened, if has_ended { Opened::Ended } else { Opened::Open }, "{name}");
    }
}

pub(crate) async fn a_call_does_not_close_while_a_participant_waits_for_the_host(mut bed: TestBed) {
    bed.options.empty_after = Duration::from_millis(1);
    let rooms = bed.node("n1").await;
    let mut call = meta(5);
    call.settings.waiting_room_enabled = true;
    rooms.open(&room("R"), &call).await.unwrap();
    let early = sit(&rooms, "R", 1).await.seat;
    let Joined::Waiting { seat: waits, .. } = rooms.join(Join { waits: true, ..join("R", 2) }).await.unwrap() else {
        panic!("not waiting")
    };
    rooms.leave(&early, "left").await.unwrap();
    for _ in 0..3 {
        until("the deadline was handled", async || expire(&rooms).await > 0).await;
        assert!(matches!(rooms.peek(&room("R")).await.unwrap(), RoomPeek::Open { .. }));
    }
    rooms.leave(&waits, "left").await.unwrap();
    until("the room is closed", async || {
        expire(&rooms).await;
        matches!(rooms.peek(&room("R")).await.unwrap(), RoomPeek::Absent)
    })
    .await;
}

pub(crate) async fn an_ended_call_can_be_reopened_and_an_open_one_stays_as_it_is(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    api.open(&room("R"), &meta(5)).await.unwrap();
    let host = sit(&rooms, "R", 0).await;
    assert_eq!(rooms.end_as_host(&host.seat, "ended_by_host").await.unwrap(), Ended::Done);
    assert_eq!(api.open(&room("R"), &meta(5)).await.unwrap(), Opened::Ended);
    let other = RoomMeta { call_id: CallId::parse("65a000000000000000000002").unwrap(), ..meta(5) };
    assert_eq!(api.reopen(&room("R"), &other.call_id).await.unwrap(), Reopened::Taken);
    assert_eq!(api.reopen(&room("R"), &meta(5).call_id).await.unwrap(), Reopened::Done);
    assert!(matches!(api.peek(&room("R")).await.unwrap(), RoomPeek::Absent));
    assert_eq!(api.open(&room("R"), &meta(5)).await.unwrap(), Opened::Open);
    let again = sit(&rooms, "R", 0).await;
    api.reopen(&room("R"), &meta(5).call_id).await.unwrap();
    assert!(matches!(api.peek(&room("R")).await.unwrap(), RoomPeek::Open { participants: 1, .. }));
    assert_eq!(rooms.leave(&again.seat, "left").await.unwrap(), LeaveOutcome::Done);
    let kinds: Vec<_> = facts(&api).await.into_iter().map(|fact| fact.kind).collect();
    assert_eq!(kinds, ["joined", "left", "ended", "reopened", "joined", "left"]);
}

pub(crate) async fn opening_an_empty_open_room_again_does_not_extend_its_deadline(mut bed: TestBed) {
    bed.options.empty_after = Duration::from_secs(1);
    let rooms = bed.node("n1").await;
    for name in ["unused", "used"] {
        rooms.open(&room(name), &meta(5)).await.unwrap();
    }
    let seat = sit(&rooms, "used", 1).await.seat;
    rooms.leave(&seat, "left").await.unwrap();
    // If opening extended the deadline, the rooms would stay open until the time limit of `until`.
    until("the empty rooms are gone although they are opened all the time", async || {
        let open = async |name: &str| match rooms.peek(&room(name)).await.unwrap() {
            RoomPeek::Open { .. } => rooms.open(&room(name), &meta(5)).await.is_ok(),
            RoomPeek::Absent | RoomPeek::Ended => false,
        };
        let are_open = (open("unused").await, open("used").await);
        expire(&rooms).await;
        are_open == (false, false)
    })
    .await;
}

pub(crate) async fn an_outbox_has_one_owner_and_only_the_owner_trims_it(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    let p = rooms.partition_of(&room("R"));
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let first = sit(&rooms, "R", 1).await;
    sit(&rooms, "R", 2).await;
    let lease = Duration::from_secs(60);
    assert!(api.acquire_lease(p, "a", lease).await.unwrap());
    assert!(!api.acquire_lease(p, "b", lease).await.unwrap());
    assert!(api.acquire_lease(p, "a", lease).await.unwrap(), "renewed");
    let facts = facts_after(&api, p, None).await;
    assert_eq!(facts.len(), 2);
    assert_eq!(facts[0].event_id, format!("{}:{}", p.0, facts[0].id));
    let about = facts[0].about.as_ref().unwrap();
    assert_eq!((&about.user, &about.peer, about.join_id), (&user(1), &peer(1), first.id));
    assert!(!api.trim_outbox(p, "b", facts[0].id).await.unwrap());
    assert_eq!(api.outbox_len(p).await.unwrap(), 2);
    assert!(api.trim_outbox(p, "a", facts[0].id).await.unwrap());
    assert_eq!(facts_after(&api, p, None).await, facts[1..]);
    assert_eq!(facts_after(&api, p, Some(facts[0].id)).await, facts[1..]);
    assert!(!api.release_lease(p, "b").await.unwrap(), "only the owner can release the lease");
    assert!(!api.acquire_lease(p, "b", lease).await.unwrap());
    assert!(api.release_lease(p, "a").await.unwrap());
    assert!(!api.trim_outbox(p, "a", facts[1].id).await.unwrap() && !api.release_lease(p, "a").await.unwrap());
    assert!(api.acquire_lease(p, "b", Duration::from_millis(1)).await.unwrap(), "a released lease is free immediately");
    until("the lease has run out", async || api.acquire_lease(p, "c", lease).await.unwrap()).await;
    assert!(!api.trim_outbox(p, "b", facts[1].id).await.unwrap());
}

pub(crate) async fn ten_thousand_joins_and_leaves_leave_no_data_in_redis(mut bed: TestBed) {
    bed.options.window = Duration::from_millis(1);
    let rooms = bed.node("n1").await;
    let names: Vec<String> = (0..20).map(|n| format!("R{n}")).collect();
    for name in &names {
        rooms.open(&room(name), &meta(500)).await.unwrap();
    }
    // One hundred users join and leave at the same time. The facts are then trimmed from the
    // outboxes.
    let crowd = async |first: usize| {
        let visit = async |n: usize| {
            let seat = sit(&rooms, &names[n % names.len()], n).await.seat;
            assert_eq!(rooms.leave(&seat, "left").await.unwrap(), LeaveOutcome::Done);
        };
        futures_util::future::join_all((first..first + 100).map(visit)).await;
        for p in (0..rooms.partitions()).map(Partition) {
            rooms.acquire_lease(p, "me", Duration::from_secs(600)).await.unwrap();
            if let Some(last) = facts_after(&rooms, p, None).await.last() {
                assert!(rooms.trim_outbox(p, "me", last.id).await.unwrap());
            }
        }
    };
    for n in 0..5 {
        crowd(n * 100).await;
    }
    let logs: Vec<String> =
        names.iter().map(|name| bed.keys().log(rooms.partition_of(&room(name)), &room(name))).collect();
    let (keys, bytes) = remains(&mut bed, &logs).await;
    assert!(keys.len() > names.len() && bytes > 10_000, "{bytes} bytes, {keys:?}");
    for n in 5..105 {
        crowd(n * 100).await;
    }
    let (keys_after, bytes_after) = remains(&mut bed, &logs).await;
    assert_eq!(keys_after, keys);
    // The tolerance covers counters with more digits. One field left behind by each visit would
    // take ten times as much.
    assert!(bytes_after < bytes + 50_000, "{bytes} bytes before, {bytes_after} after");
    let snapshot = rooms.snapshot(&room("R0")).await.unwrap().unwrap();
    assert!(snapshot.seats.is_empty());
}

/// Returns every key except the logs, which expire, and the bytes that Redis takes for the keys.
async fn remains(bed: &mut TestBed, logs: &[String]) -> (Vec<String>, usize) {
    let mut keys = bed.all_keys().await;
    keys.retain(|key| !logs.contains(key));
    let mut bytes = 0;
    for server in bed.servers() {
        for key in &keys {
            let mut ask = redis::cmd("MEMORY");
            ask.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
            // On a cluster only one server has the key.
            bytes += server.query::<Option<usize>>(&ask).await.ok().flatten().unwrap_or(0);
        }
    }
    (keys, bytes)
}
