//! Relays that wait together and share script calls.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use redis::cmd;
use switchboard_core::domain::*;
use switchboard_core::wire::envelope::{Audience, Envelope};
use switchboard_core::wire::{EventKind, event_batch};
use switchboard_rooms::scripts::{OperationScope, RelayScript, RelaysScript, RoomScope, log_bounds};
use switchboard_rooms::*;

use super::testbed::*;

pub(crate) async fn relays_that_wait_together_share_calls_and_each_has_its_own_outcome(mut bed: TestBed) {
    const EACH: usize = 200;
    const NAMES: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n2").await;
    let mut calls = Vec::new();
    for name in NAMES {
        one.open(&room(name), &meta(20)).await.unwrap();
        let (sender, lost) = (sit(&one, name, 1).await, sit(&one, name, 3).await);
        // A receiver with a socket, and one without.
        let (receiver, away) = (sit(&two, name, 2).await, sit(&two, name, 4).await);
        two.detach(&away.seat).await.unwrap();
        // The generation of this seat is old from now on.
        resumed(one.attach(attach(name, 3, 99, lost.id)).await.unwrap());
        calls.push((name, sender, lost, receiver, away));
    }
    let before = bed.calls_of("evalsha").await;
    let tally = Tally::default();
    for number in 0..EACH {
        for (name, sender, lost, receiver, away) in &calls {
            let text = |what: &str| format!("{name}:{number}:{what}");
            tally.submit(&one, &sender.seat, receiver.seat.peer.clone(), text("seated"));
            if number % 8 == 3 {
                tally.submit(&one, &sender.seat, peer(9), text("nobody"));
                tally.submit(&one, &lost.seat, receiver.seat.peer.clone(), text("stale"));
                tally.submit(&one, &sender.seat, away.seat.peer.clone(), text("away"));
            }
        }
    }
    let count = NAMES.len() * (EACH + EACH / 8 * 3);
    tally.wait_for(count).await;
    let ran = bed.calls_of("evalsha").await - before;
    assert!(ran < count as u64 / 2, "{count} relays in {ran} calls");
    for (text, reply) in tally.answers() {
        let is_right = match text.rsplit(':').next().unwrap() {
            "nobody" => matches!(reply, Ok(OpReply::NoPeer)),
            "stale" => matches!(reply, Ok(OpReply::Stale)),
            _ => matches!(reply, Ok(OpReply::Logged { duplicate: false, .. })),
        };
        assert!(is_right, "{text}: {reply:?}");
    }
    // Each receiver gets its own events from the subscription, once and in order; nobody else's.
    let mut seen: HashMap<RoomId, Vec<String>> = HashMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < NAMES.len() * EACH {
        let to_one = |envelope: &Envelope<'_>| matches!(envelope, Envelope::Event { to: Audience::One(_), .. });
        let Envelope::Event { room, to, event, .. } = next_envelope(&mut events, to_one).await else { panic!() };
        assert_eq!(to, Audience::One(SessionHandle(2)));
        seen.entry(room).or_default().push(said(event)["message"].as_str().unwrap().to_owned());
    }
    for (name, _, _, receiver, away) in &calls {
        let expected: Vec<_> = (0..EACH).map(|number| format!("{name}:{number}:seated")).collect();
        assert_eq!(seen[&room(name)], expected);
        let logged = async |reader: &Seated| {
            let entries = two.read(&room(name), &reader.seat.peer, reader.id).await.unwrap().unwrap();
            let texts = entries.iter().map(|entry| said(entry.event())["message"].as_str().map(str::to_owned));
            texts.flatten().collect::<Vec<_>>()
        };
        assert_eq!(logged(receiver).await, expected);
        let expected: Vec<_> = (0..EACH).skip(3).step_by(8).map(|number| format!("{name}:{number}:away")).collect();
        assert_eq!(logged(away).await, expected);
    }
}

pub(crate) async fn an_error_of_one_relay_is_not_the_error_of_those_in_its_call(mut bed: TestBed) {
    const EACH: usize = 30;
    let rooms = bed.node("n1").await;
    // Rooms of one partition share calls on a cluster too.
    let first = rooms.partition_of(&room("R0"));
    let names: Vec<_> = (0..200).map(|n| format!("R{n}")).filter(|n| rooms.partition_of(&room(n)) == first).collect();
    let names = &names[..4];
    let mut seats = Vec::new();
    for name in names {
        rooms.open(&room(name), &meta(5)).await.unwrap();
        let (sender, receiver) = (sit(&rooms, name, 1).await, sit(&rooms, name, 2).await);
        // The first relay of a room also reads the time for which the log is kept.
        logged(act(&rooms, &sender.seat, relay(peer(2), "first")).await);
        seats.push((name, sender, receiver));
    }
    // A log that is no stream fails its `XADD`.
    let broken = bed.keys().log(first, &room(&names[1]));
    for server in bed.servers() {
        // On a cluster only one server has the key.
        if server.query::<u64>(cmd("DEL").arg(&broken)).await.is_ok() {
            server.query::<()>(cmd("SET").arg(&broken).arg("no stream")).await.unwrap();
        }
    }
    let before = bed.calls_of("evalsha").await;
    let tally = Tally::default();
    for number in 0..EACH {
        for (name, sender, _) in &seats {
            tally.submit(&rooms, &sender.seat, peer(2), format!("{name}:{number}"));
        }
    }
    tally.wait_for(EACH * names.len()).await;
    let ran = bed.calls_of("evalsha").await - before;
    assert!(ran < (EACH * names.len()) as u64 / 2, "the relays ran in {ran} calls");
    for (text, reply) in tally.answers() {
        let is_broken = text.starts_with(&format!("{}:", names[1]));
        assert!(
            if is_broken { matches!(reply, Err(StoreError::Unexpected(_))) } else { reply.is_ok() },
            "{text}: {reply:?}"
        );
    }
    for (name, _, receiver) in seats.iter().filter(|(name, ..)| *name != &names[1]) {
        let entries = rooms.read(&room(name), &receiver.seat.peer, receiver.id).await.unwrap().unwrap();
        assert_eq!(entries.len(), EACH + 1, "{name}");
    }
}

pub(crate) async fn a_repeated_call_of_which_a_part_took_effect_answers_that_part_as_before(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(5)).await.unwrap();
    let (sender, receiver) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    let texts: Vec<_> = (1..=11).map(event).collect();
    let mut run = async |numbers: RangeInclusive<usize>| {
        let relays = numbers.map(|number| {
            let to = if number == 3 { peer(9) } else { receiver.seat.peer.clone() };
            (number as u64, EventKind::ChatMessage, to, &*texts[number - 1])
        });
        call(&mut bed, &rooms, &sender.seat, relays.collect()).await
    };
    let first = run(1..=5).await;
    assert_eq!(statuses(&first), ["OK", "OK", "NOPEER", "OK", "OK"]);
    // The answers are lost, and the call is repeated with others behind it.
    let again = run(1..=8).await;
    assert_eq!(statuses(&again), ["DUP", "DUP", "NOPEER", "DUP", "DUP", "OK", "OK", "OK"]);
    for index in [0, 1, 3, 4] {
        assert_eq!(again[index][1], first[index][1], "relay {index}");
    }
    // A call that is ahead of the seat has no effect.
    let ahead = run(10..=11).await;
    assert_eq!(statuses(&ahead), ["GAP", "GAP"]);
    let entries = rooms.read(&room("R"), &receiver.seat.peer, receiver.id).await.unwrap().unwrap();
    let expected: Vec<_> =
        texts[..8].iter().enumerate().filter(|(index, _)| *index != 2).map(|(_, text)| text).collect();
    assert_eq!(entries.iter().map(|entry| entry.event().as_bytes()).collect::<Vec<_>>(), expected);
}

pub(crate) async fn candidates_that_wait_together_share_an_entry_and_stay_separate_events(mut bed: TestBed) {
    const COUNT: usize = 20;
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n2").await;
    one.open(&room("R"), &meta(5)).await.unwrap();
    let (sender, receiver) = (sit(&one, "R", 1).await, sit(&two, "R", 2).await);
    let away = sit(&two, "R", 4).await;
    two.detach(&away.seat).await.unwrap();
    let log = bed.keys().log(one.partition_of(&room("R")), &room("R"));
    let texts: Vec<_> =
        (1..=3 * COUNT).map(|n| Bytes::from(format!(r#""webrtc:ice-candidate",{{"n":{n}}}"#))).collect();
    let candidates = |numbers: RangeInclusive<usize>, to: &PeerId| {
        let relay = |number: usize| (number as u64, EventKind::IceCandidate, to.clone(), &*texts[number - 1]);
        numbers.map(relay).collect::<Vec<_>>()
    };
    let length = async |bed: &mut TestBed| bed.at_its_keys::<usize>(cmd("XLEN").arg(&log)).await;
    let to = &receiver.seat.peer;

    let before = length(&mut bed).await;
    let first = call(&mut bed, &one, &sender.seat, candidates(1..=COUNT, to)).await;
    assert_eq!(statuses(&first), ["OK"; COUNT]);
    assert_eq!(length(&mut bed).await - before, 2, "16 candidates and 4");
    let ids: Vec<_> = first.iter().map(|reply| LogId::parse(&reply[1]).unwrap()).collect();
    assert!(ids.is_sorted_by(|id, next| id < next), "{ids:?}");
    // One envelope an entry, with an id for each event.
    let mut received = Vec::new();
    let mut envelopes = 0;
    while received.len() < COUNT {
        let to_one = |envelope: &Envelope<'_>| matches!(envelope, Envelope::Event { to: Audience::One(_), .. });
        let Envelope::Event { id: (ms, seq), kind, event, .. } = next_envelope(&mut events, to_one).await else {
            panic!()
        };
        envelopes += 1;
        let of_entry = event_batch::events(LogId { ms, seq }, kind, event);
        received.extend(of_entry.map(|(id, event)| (id, Bytes::copy_from_slice(event.as_bytes()))));
    }
    assert_eq!(envelopes, 2);
    let expected: Vec<_> = ids.iter().copied().zip(texts.iter().cloned()).collect();
    assert_eq!(received, expected);
    // A client that has only some of an entry's events gets the others.
    for (index, id) in ids.iter().enumerate() {
        let entries = two.read(&room("R"), to, *id).await.unwrap().unwrap();
        let rest: Vec<_> = entries.iter().map(|entry| (entry.id, entry.event().as_bytes())).collect();
        let wanted: Vec<_> = expected[index + 1..].iter().map(|(id, text)| (*id, &**text)).collect();
        assert_eq!(rest, wanted, "after {id}");
    }
    let found = resumed(two.attach(attach("R", 2, 77, ids[COUNT - 3])).await.unwrap());
    assert_eq!(found.missed.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids[COUNT - 2..]);
    assert_eq!(found.last, ids[COUNT - 1], "delivery continues behind the entry's last event");

    // The answers are lost. The call is repeated, and its relays are divided in another way.
    let again = call(&mut bed, &one, &sender.seat, candidates(5..=COUNT + 3, to)).await;
    assert_eq!(statuses(&again), [["DUP"; COUNT - 4].as_slice(), &["OK"; 3]].concat());
    for (reply, id) in again.iter().zip(&ids[4..]) {
        assert_eq!(reply[1], id.to_string());
    }
    // The case is not the usual one, so each event has an entry.
    let peer_away = &away.seat.peer;
    let kept = call(&mut bed, &one, &sender.seat, candidates(COUNT + 4..=COUNT + 9, peer_away)).await;
    assert_eq!(statuses(&kept), ["OK"; 6]);
    let nobody = call(&mut bed, &one, &sender.seat, candidates(COUNT + 10..=COUNT + 12, &peer(9))).await;
    assert_eq!(statuses(&nobody), ["NOPEER"; 3]);
    let ahead = call(&mut bed, &one, &sender.seat, candidates(COUNT + 14..=COUNT + 15, to)).await;
    assert_eq!(statuses(&ahead), ["GAP"; 2]);
    // A Redis that lets nobody reserve ids: an entry for each event, and nothing is lost.
    bed.everywhere::<String>(cmd("ACL").arg("SETUSER").arg("default").arg("-xsetid")).await;
    let before = length(&mut bed).await;
    let separate = call(&mut bed, &one, &sender.seat, candidates(COUNT + 13..=COUNT + 18, to)).await;
    assert_eq!(statuses(&separate), ["OK"; 6]);
    assert_eq!(length(&mut bed).await - before, 6);

    let to_receiver = [&texts[..COUNT + 3], &texts[COUNT + 12..COUNT + 18]].concat();
    let to_away = texts[COUNT + 3..COUNT + 9].to_vec();
    for (reader, expected) in [(&receiver, to_receiver), (&away, to_away)] {
        let entries = two.read(&room("R"), &reader.seat.peer, reader.id).await.unwrap().unwrap();
        let events = entries.iter().map(LogEntry::event).filter(|event| event.contains("candidate"));
        assert_eq!(events.collect::<Vec<_>>(), expected);
    }
}

/// Relays in one call: number, kind, receiver, event.
type Relays<'a> = Vec<(u64, EventKind, PeerId, &'a [u8])>;

/// Runs relays of one seat in one call. Returns the replies.
async fn call(bed: &mut TestBed, rooms: &Rooms, seat: &Seat, relays: Relays<'_>) -> Vec<Vec<String>> {
    let (keys, bounds) = (bed.keys(), log_bounds(10_000, 16 << 20));
    let scripts: Vec<_> = relays
        .iter()
        .map(|(number, kind, to, event)| RelayScript {
            scope: OperationScope {
                room: RoomScope {
                    keys: &keys,
                    partition: rooms.partition_of(&seat.room),
                    room: &seat.room,
                    window_ms: 60_000,
                    log_bounds: &bounds,
                },
                sender: &seat.peer,
                generation: seat.generation,
                number: *number,
                dedupe: None,
                kind: *kind,
                bytes_to_trim: None,
            },
            to,
            event,
        })
        .collect();
    bed.run(&RelaysScript { relays: &scripts }).await
}

fn statuses(replies: &[Vec<String>]) -> Vec<&str> {
    replies.iter().map(|reply| &*reply[0]).collect()
}
