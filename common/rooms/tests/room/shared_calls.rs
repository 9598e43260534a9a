//! Relays that wait together and share script calls.

use std::collections::HashMap;

use redis::cmd;
use switchboard_core::domain::*;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::{Audience, Envelope};
use switchboard_rooms::scripts::{
    Hashes, OperationScope, RelayScript, RelaysScript, RoomScope, Script, log_bounds, write_command,
};
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
    let (keys, hashes, bounds) = (bed.keys(), Hashes::compute(), log_bounds(10_000, 16 << 20));
    let (this_room, nobody, texts) = (room("R"), peer(9), (1..=11).map(event).collect::<Vec<_>>());
    let write = |numbers: std::ops::RangeInclusive<u64>| {
        let relays: Vec<_> = numbers
            .map(|number| RelayScript {
                scope: OperationScope {
                    room: RoomScope {
                        keys: &keys,
                        partition: rooms.partition_of(&this_room),
                        room: &this_room,
                        window_ms: 60_000,
                        log_bounds: &bounds,
                    },
                    sender: &sender.seat.peer,
                    generation: sender.seat.generation,
                    number,
                    dedupe: None,
                    kind: EventKind::ChatMessage,
                    bytes_to_trim: None,
                },
                to: if number == 3 { &nobody } else { &receiver.seat.peer },
                event: &texts[usize::try_from(number - 1).unwrap()],
            })
            .collect();
        let mut command = Vec::new();
        write_command(&mut command, hashes.of(Script::Relay), &RelaysScript { relays: &relays });
        command
    };
    let words = |command: &[u8]| {
        // Every line of a length is followed by the word, and no word here has a line feed.
        let text = String::from_utf8(command.to_vec()).unwrap();
        let mut built = redis::Cmd::new();
        text.split("\r\n").skip(2).step_by(2).for_each(|word| {
            built.arg(word);
        });
        built
    };
    let mut run = async |numbers| {
        let command = words(&write(numbers));
        for server in bed.servers() {
            if let Ok(replies) = server.query::<Vec<Vec<String>>>(&command).await {
                return replies;
            }
        }
        panic!("no server has the room");
    };
    let first = run(1..=5).await;
    let statuses = |replies: &[Vec<String>]| replies.iter().map(|reply| reply[0].clone()).collect::<Vec<_>>();
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
