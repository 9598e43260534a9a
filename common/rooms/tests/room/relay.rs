//! Events: receivers, order, repetitions, the log, subscriptions.

use std::collections::HashMap;

use bytes::Bytes;
use redis::cmd;
use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::{Audience, Envelope};
use switchboard_rooms::*;

use super::testbed::*;

pub(crate) async fn a_relay_reaches_only_its_receiver_and_a_broadcast_reaches_everyone_else(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n2").await;
    one.open(&room("R"), &meta(5)).await.unwrap();
    let alice = sit(&one, "R", 1).await;
    let bob = sit(&two, "R", 2).await;
    let id = logged(act(&one, &alice.seat, relay(peer(2), "for bob")).await);
    let is_event = |envelope: &Envelope<'_>| matches!(envelope, Envelope::Event { .. });
    let envelope = next_envelope(&mut events, is_event).await;
    let text = event("for bob");
    let expected = Envelope::Event {
        id: (id.ms, id.seq),
        room: room("R"),
        to: Audience::One(bob.seat.handle),
        kind: EventKind::ChatMessage,
        event: std::str::from_utf8(&text).unwrap(),
    };
    assert_eq!(envelope, expected);
    let media = MediaState { video_enabled: false, ..MediaState::default() };
    logged(act(&one, &alice.seat, switch(Role::Participant, [Some(false), None, None])).await);
    let Envelope::Event { to, event: text, .. } = next_envelope(&mut events, is_event).await else { panic!() };
    assert_eq!(to, Audience::All { except: Some(peer(1)) });
    assert_eq!(said(text)["mediaState"], serde_json::json!(media));
    let snapshot = two.snapshot(&room("R")).await.unwrap().unwrap();
    assert_eq!(snapshot.seats[0].media_state, media);
    assert_eq!(act(&one, &alice.seat, relay(peer(9), "no receiver")).await.unwrap(), OpReply::NoPeer);
    // An operation without a receiver leaves no gap.
    logged(act(&one, &alice.seat, relay(peer(2), "on")).await);
    // Each seat reads its own events.
    assert_eq!(two.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap().len(), 3);
    assert_eq!(one.read(&room("R"), &alice.seat.peer, bob.id).await.unwrap().unwrap().len(), 0);
}

pub(crate) async fn a_bare_user_id_reaches_the_first_device_of_that_user(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let alice = sit(&rooms, "R", 1).await;
    let mut devices = Vec::new();
    for device in 0..12 {
        let join = Join { pid: format!("device-{device}"), handle: SessionHandle(100 + device), ..join("R", 2) };
        devices.push(seated(rooms.join(join).await.unwrap()));
    }
    // The devices leave one by one, the first one first. The bare id then reaches the next device.
    for device in &devices {
        let text = Bytes::from("\"webrtc:offer\",{\"from\":\"x\",\"to\":\"".to_owned() + user(2).as_str() + "\"}");
        let kind = OpKind::Relay { to: peer(2) };
        let op = Op { kind, event_kind: EventKind::Offer, event: text, dedupe: None };
        logged(act(&rooms, &alice.seat, op).await);
        let got = rooms.read(&room("R"), &device.seat.peer, device.id).await.unwrap().unwrap();
        assert_eq!(
            said(got.last().unwrap().event())["to"],
            device.seat.peer.as_str(),
            "the field `to` names the device"
        );
        rooms.leave(&device.seat, "left").await.unwrap();
    }
    assert_eq!(act(&rooms, &alice.seat, relay(peer(2), "no receiver")).await.unwrap(), OpReply::NoPeer);
    // An address with a device number reaches only that device.
    let first = seated(rooms.join(join("R", 2)).await.unwrap());
    let second = PeerId::parse(&format!("{}#2", user(2))).unwrap();
    assert_eq!(act(&rooms, &alice.seat, relay(second, "no receiver")).await.unwrap(), OpReply::NoPeer);
    assert_eq!(first.seat.peer, peer(2));
}

pub(crate) async fn an_event_with_the_clients_own_id_is_relayed_once(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let alice = sit(&rooms, "R", 1).await;
    let bob = sit(&rooms, "R", 2).await;
    let with_id = |id: &str| Op { dedupe: Some(id.into()), ..relay(peer(2), id) };
    let id = logged(act(&rooms, &alice.seat, with_id("a")).await);
    let again = OpReply::Logged { id, duplicate: true };
    assert_eq!(act(&rooms, &alice.seat, with_id("a")).await.unwrap(), again);
    logged(act(&rooms, &alice.seat, with_id("b")).await);
    // The same holds after a resume.
    let alice = resumed(rooms.attach(attach("R", 1, 9, alice.id)).await.unwrap());
    assert_eq!(act(&rooms, &alice.seat, with_id("a")).await.unwrap(), again);
    assert_eq!(rooms.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap().len(), 2);
}

pub(crate) async fn operations_of_many_seats_keep_their_order_in_the_pipeline(bed: TestBed) {
    const SENDERS: usize = 20;
    const EACH: usize = 500;
    let rooms = bed.node("n1").await;
    for name in ["A", "B", "C"] {
        rooms.open(&room(name), &meta(100)).await.unwrap();
    }
    let mut senders = Vec::new();
    for n in 1..=SENDERS {
        let name = ["A", "B", "C"][n % 3];
        senders.push((name, n, sit(&rooms, name, n).await.seat));
    }
    let receivers: HashMap<&str, Seated> = {
        let mut receivers = HashMap::new();
        for (name, n) in [("A", 100), ("B", 101), ("C", 102)] {
            receivers.insert(name, sit(&rooms, name, n).await);
        }
        receivers
    };
    let tally = Tally::default();
    for number in 0..EACH {
        for (name, n, seat) in &senders {
            tally.submit(&rooms, seat, receivers[name].seat.peer.clone(), format!("{n}:{number}"));
        }
    }
    tally.wait_for(SENDERS * EACH).await;
    assert!(tally.answers().iter().all(|(_, reply)| matches!(reply, Ok(OpReply::Logged { duplicate: false, .. }))));
    for (name, n, _) in &senders {
        let receiver = &receivers[name];
        let got = rooms.read(&room(name), &receiver.seat.peer, receiver.id).await.unwrap().unwrap();
        let mine =
            got.iter().filter(|entry| entry.event().starts_with(&format!("\"chat:message\",{{\"message\":\"{n}:")));
        let expected: Vec<_> = (0..EACH).map(|number| event(format!("{n}:{number}"))).collect();
        assert_eq!(mine.map(|entry| entry.event().to_owned()).collect::<Vec<_>>(), expected);
    }
    // The replies came in the order of each seat's operations.
    let mut next: HashMap<String, usize> = HashMap::new();
    for (text, _) in tally.answers() {
        let (sender, number) = text.split_once(':').unwrap();
        let expected = next.entry(sender.to_owned()).or_default();
        assert_eq!(number.parse::<usize>().unwrap(), *expected);
        *expected += 1;
    }
}

pub(crate) async fn a_log_stays_within_its_length_and_its_floor_rises(mut bed: TestBed) {
    bed.options.log_max_len = 1_000;
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    let tally = Tally::default();
    for number in 0..5_000 {
        tally.submit(&rooms, &alice.seat, bob.seat.peer.clone(), number.to_string());
    }
    tally.wait_for(5_000).await;
    let p = rooms.partition_of(&room("R"));
    let mut lengths = Vec::new();
    let log = bed.keys().log(p, &room("R"));
    for server in bed.servers() {
        // On a cluster only one server has the key.
        if let Ok(length) = server.query::<usize>(cmd("XLEN").arg(&log)).await {
            lengths.push(length);
        }
    }
    // Redis trims whole nodes of 100 entries, and the script trims every 32 operations.
    assert!(lengths.len() == 1 && lengths[0] >= 1_000 && lengths[0] < 1_200, "{lengths:?}");
    assert!(
        rooms.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().is_none(),
        "the log does not go back to the join"
    );
    assert!(matches!(rooms.attach(attach("R", 2, 9, bob.id)).await.unwrap(), Attached::Missed { .. }));
    let (_, last) = tally.answers().swap_remove(4_500);
    let Ok(OpReply::Logged { id, .. }) = last else { panic!() };
    assert_eq!(rooms.read(&room("R"), &bob.seat.peer, id).await.unwrap().unwrap().len(), 499);
    let back = resumed(rooms.attach(attach("R", 2, 9, id)).await.unwrap());
    assert_eq!(back.missed.len(), 499);
}

pub(crate) async fn a_resume_tells_the_bytes_that_it_read_for_others(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let (alice, bob, carol) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await, sit(&rooms, "R", 3).await);
    let text = "x".repeat(10_000);
    let mut last = carol.id;
    for _ in 0..150 {
        last = logged(act(&rooms, &alice.seat, relay(bob.seat.peer.clone(), &text)).await);
    }
    let of_carol = resumed(rooms.attach(attach("R", 3, 9, carol.id)).await.unwrap());
    assert_eq!(of_carol.missed.len(), 0, "relays for others are kept from her");
    assert!(of_carol.last >= last);
    assert!((1_500_000..2_000_000).contains(&of_carol.bytes_read), "{}", of_carol.bytes_read);
    // More than a client may get at once. The read ends at the page that exceeds it.
    let Attached::Missed { bytes_read } = rooms.attach(attach("R", 2, 9, bob.id)).await.unwrap() else {
        panic!("1.5 MB for one client")
    };
    assert!((1_048_576..1_400_000).contains(&bytes_read), "{bytes_read}");
}

pub(crate) async fn a_log_stays_within_its_bytes_and_its_floor_rises(mut bed: TestBed) {
    bed.options.log_max_bytes = 1 << 20;
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let bob = sit(&rooms, "R", 2).await;
    let log = bed.keys().log(rooms.partition_of(&room("R")), &room("R"));
    let mut last = bob.id;
    let mut ids = Vec::new();
    // Small and large events take turns, so that no average tells the bytes. An event that is
    // refused is the one that would trim.
    for n in [1, 3, 4] {
        let sender = sit(&rooms, "R", n).await;
        for number in 0..150 {
            let (small, large) = ("x".repeat(100), "x".repeat(30_000));
            let text = if number % 40 < 30 { small } else { large };
            last = logged(act(&rooms, &sender.seat, relay(bob.seat.peer.clone(), &text)).await);
            ids.push((last, text.len()));
            if number % 3 == 0 {
                let nobody = act(&rooms, &sender.seat, relay(peer(9), &text)).await;
                assert_eq!(nobody.unwrap(), OpReply::NoPeer);
            }
        }
        let mut bytes = 0;
        for server in bed.servers() {
            let mut ask = cmd("MEMORY");
            ask.arg("USAGE").arg(&log).arg("SAMPLES").arg(0);
            // On a cluster only one server has the key.
            bytes += server.query::<Option<usize>>(&ask).await.ok().flatten().unwrap_or(0);
        }
        assert!(bytes < 1_400_000, "{bytes} bytes");
    }
    assert!(matches!(rooms.attach(attach("R", 2, 9, bob.id)).await.unwrap(), Attached::Missed { .. }));
    // What the bound leaves is complete: half a bound of events, because refused ones count too.
    let mut bytes = 0;
    let kept = ids.iter().rev().take_while(|(_, length)| {
        bytes += length + 200;
        bytes < 400_000
    });
    let (oldest, _) = *kept.last().unwrap();
    let back = resumed(rooms.attach(attach("R", 2, 10, oldest)).await.unwrap());
    assert_eq!(back.missed.last().map(|entry| entry.id), Some(last));
}

pub(crate) async fn many_seats_together_keep_the_log_within_its_length_and_bytes(mut bed: TestBed) {
    bed.options.log_max_len = 1_000;
    let rooms = bed.node("n1").await;
    let log = bed.keys().log(rooms.partition_of(&room("R")), &room("R"));
    rooms.open(&room("R"), &meta(100)).await.unwrap();
    let mut seats = Vec::new();
    for n in 0..40 {
        seats.push(sit(&rooms, "R", n).await.seat);
    }
    let mut size = async |command: &str, more: &str| {
        let mut size = 0;
        for server in bed.servers() {
            let mut ask = cmd(command);
            for word in more.split_whitespace() {
                ask.arg(word);
            }
            // On a cluster only one server has the key.
            size += server.query::<usize>(ask.arg(&log)).await.unwrap_or(0);
        }
        size
    };
    let text = "x".repeat(1_000);
    let mut sent = 0;
    let answers = Tally::default();
    // Each seat alone sends too few operations for a trim; together they must still trim.
    for _ in 0..150 {
        for (n, seat) in seats.iter().enumerate() {
            answers.submit(&rooms, seat, peer((n + 1) % seats.len()), text.clone());
        }
        sent += seats.len();
        answers.wait_for(sent).await;
        let (entries, bytes) = (size("XLEN", "").await, size("MEMORY", "USAGE").await);
        // Redis trims whole nodes of 100 entries or 4 KiB, and about every 32nd operation trims.
        assert!(entries < 1_200, "{entries} entries");
        assert!(bytes < 1_200 * 1_500, "{bytes} bytes");
    }
    assert!(size("XLEN", "").await >= 1_000, "entries within the maximum length are kept");
    assert!(answers.answers().iter().all(|(_, answer)| matches!(answer, Ok(OpReply::Logged { .. }))));
    assert!(
        rooms.read(&room("R"), &seats[0].peer, LogId::default()).await.unwrap().is_none(),
        "the floor is above the start"
    );
}

pub(crate) async fn a_log_lives_for_the_window_after_its_last_entry_although_its_expiry_is_seldom_set(
    mut bed: TestBed,
) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let (alice, _bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    let window = i64::try_from(bed.options.window.as_millis()).unwrap();
    let (keys, p) = (bed.keys(), rooms.partition_of(&room("R")));
    let (hash, log) = (keys.room(p, &room("R")), keys.log(p, &room("R")));
    let mut ask = async |words: &[&str]| {
        let mut answer = -2;
        for server in bed.servers() {
            // On a cluster only one server has the key.
            answer = answer.max(server.query::<i64>(cmd(words[0]).arg(&words[1..])).await.unwrap_or(-2));
        }
        answer
    };
    let say = async || logged(act(&rooms, &alice.seat, relay(peer(2), "more")).await);
    say().await;
    assert!((window + 1..=window * 5 / 4).contains(&ask(&["PTTL", &log]).await));
    // The expiry is not set again while it is far enough away...
    let shorter = window + window / 8;
    ask(&["PEXPIRE", &log, &shorter.to_string()]).await;
    say().await;
    assert!((window..=shorter).contains(&ask(&["PTTL", &log]).await));
    // ... and is set again after that.
    ask(&["HSET", &hash, "kept", "1000000000000"]).await;
    say().await;
    assert!(ask(&["PTTL", &log]).await > shorter);
}

pub(crate) async fn a_lost_subscription_is_restored_on_every_channel(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    let (bus, mut events) = bed.listen("n1").await;
    let checks = async || {
        let mut receivers = Vec::new();
        for p in 0..rooms.partitions() {
            match rooms.check_node(Partition(p), "r", false).await.unwrap() {
                CheckOutcome::Registered(check) => receivers.push(check.receivers),
                CheckOutcome::Swept => panic!("swept"),
            }
        }
        receivers
    };
    let all_one = vec![1; usize::from(rooms.partitions())];
    assert_eq!(checks().await, all_one);
    let mut kill = cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub");
    let killed: i64 = bed.everywhere::<i64>(&kill).await.into_iter().sum();
    assert!(killed >= 1);
    // Messages from before the cut have arrived. Later ones come after the events of the gap.
    let gap_events = async {
        let mut gap_events = Vec::new();
        let restored = |gap_events: &[BusEvent<'_>]| {
            gap_events.iter().filter(|it| matches!(it, BusEvent::Restored { .. })).count()
        };
        while restored(&gap_events) < all_one.len() {
            gap_events.extend(events.recv().await.filter(|event| !matches!(event, BusEvent::Message { .. })));
        }
        gap_events
    };
    let gap_events = tokio::time::timeout(LONG, gap_events).await.expect("no event of a reconnect");
    for p in 0..rooms.partitions() {
        let partition = Partition(p);
        let restored = BusEvent::Restored { partition, cause: Cause::Reconnected };
        let of_it: Vec<_> =
            gap_events.iter().filter(|it| **it == BusEvent::Interrupted { partition } || **it == restored).collect();
        assert_eq!(of_it, [&BusEvent::Interrupted { partition }, &restored], "interrupted, then restored");
    }
    until("every channel is subscribed again", async || checks().await == all_one).await;
    // A resubscribed channel does not deliver its messages twice.
    bus.resubscribe(Partition(0)).await.unwrap();
    assert_eq!(checks().await, all_one);
    let restored_silent = BusEvent::Restored { partition: Partition(0), cause: Cause::Silent };
    let restored = async { while events.recv().await.expect("the bus runs") != restored_silent {} };
    tokio::time::timeout(LONG, restored).await.expect("no event of the resubscription");
    let canary = next_envelope(&mut events, |envelope| matches!(envelope, Envelope::Canary { .. })).await;
    assert!(matches!(canary, Envelope::Canary { ms } if ms > 0));
}
