//! Chat, media, ephemeral events and figures: settings and role are checked as they are now.

use redis::cmd;
use switchboard_core::domain::*;
use switchboard_core::wire::envelope::Envelope;
use switchboard_core::wire::{EventKind, server_event};
use switchboard_rooms::scripts::{ChatScript, OperationScope, RoomScope, log_bounds};
use switchboard_rooms::*;

use super::testbed::*;

/// Returns the call's metadata with other settings and a newer version.
fn changed(version: u64, change: impl FnOnce(&mut CallSettings)) -> RoomMeta {
    let mut meta = RoomMeta { version, ..meta(20) };
    change(&mut meta.settings);
    meta
}

/// Returns the ids of the messages that a seat may read, oldest first, and whether there are older
/// ones.
async fn read(rooms: &Rooms, seat: &Seat, before: Option<&str>, limit: usize) -> (Vec<String>, bool) {
    let history = rooms.history(seat, before, limit).await.unwrap().unwrap();
    let id = |message: &String| {
        serde_json::from_str::<serde_json::Value>(message).unwrap()["id"].as_str().unwrap().to_owned()
    };
    (history.messages.iter().map(id).collect(), history.next.is_some())
}

pub(crate) async fn chat_history_holds_public_and_own_private_messages_and_is_read_in_pages(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    one.open(&room("R"), &meta(20)).await.unwrap();
    let (alice, bob) = (sit(&one, "R", 1).await, sit(&two, "R", 2).await);
    for n in 0..250 {
        // Every tenth message is for Bob alone.
        logged(act(&one, &alice.seat, chat((n % 10 == 0).then(|| peer(2)), &format!("m{n}"))).await);
    }
    let carol = sit(&two, "R", 3).await;
    assert_eq!(read(&one, &alice.seat, None, 2).await, (vec!["m248".into(), "m249".into()], true));
    let (all, more) = read(&two, &bob.seat, None, 1_000).await;
    assert!(all.len() == 250 && !more && all[0] == "m0");
    let (public, more) = read(&two, &carol.seat, None, 1_000).await;
    assert!(public.len() == 225 && !more && !public.iter().any(|id| id.ends_with('0')), "{public:?}");
    // Reading page by page gives the same messages.
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let (mut page, more) = read(&two, &carol.seat, before.as_deref(), 60).await;
        before = page.first().cloned();
        page.append(&mut pages);
        pages = page;
        if !more {
            break;
        }
    }
    assert_eq!(pages, public);
    assert_eq!(read(&two, &carol.seat, Some("never said"), 10).await, (vec![], false));
    // A user who returns as another peer still has the private messages.
    two.leave(&bob.seat, "left").await.unwrap();
    two.leave(&carol.seat, "left").await.unwrap();
    let first = sit(&two, "R", 2).await;
    let second = seated(two.join(Join { pid: "second".into(), ..join("R", 2) }).await.unwrap());
    assert_ne!(first.seat.peer, second.seat.peer);
    assert_eq!(read(&two, &second.seat, None, 1_000).await.0.len(), 250);
    assert!(two.history(&bob.seat, None, 1).await.unwrap().is_none(), "a seat that was given up cannot read");
}

pub(crate) async fn a_page_of_the_history_costs_by_its_limit_and_not_by_the_history(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    let carol = sit(&rooms, "R", 3).await;
    logged(act(&rooms, &alice.seat, chat(None, "first")).await);
    for n in 0..300 {
        logged(act(&rooms, &alice.seat, chat(Some(peer(2)), &format!("m{n}"))).await);
    }
    let before = bed.calls_of("xrevrange").await;
    assert_eq!(read(&rooms, &bob.seat, Some("unknown"), 1).await, (vec![], false));
    assert_eq!(bed.calls_of("xrevrange").await, before, "an unknown message is looked up and not searched");
    assert_eq!(read(&rooms, &bob.seat, Some("m1"), 1).await, (vec!["m0".into()], true));
    assert_eq!(bed.calls_of("xrevrange").await, before + 1);
    // The private messages of others end a page, which then names the next one.
    let page = rooms.history(&carol.seat, None, 10).await.unwrap().unwrap();
    assert!(page.messages.is_empty() && page.next.is_some());
    let (mut next, mut pages) = (page.next, 1);
    while let Some(position) = next {
        let page = rooms.history(&carol.seat, Some(&position), 10).await.unwrap().unwrap();
        pages += 1;
        next = page.next;
        assert!(pages < 10 && page.messages.len() == usize::from(next.is_none()));
    }
    assert!(pages > 3);
}

pub(crate) async fn a_page_and_the_history_are_bounded_in_bytes(mut bed: TestBed) {
    bed.options.chat_history_bytes = 1 << 20;
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let alice = sit(&rooms, "R", 1).await;
    for n in 0..200 {
        let mut op = chat(None, &format!("m{n}"));
        let text = "x".repeat(16_000);
        op.event = format!("\"chat:message\",{{\"id\":\"m{n}\",\"message\":\"{text}\"}}").into();
        logged(act(&rooms, &alice.seat, op).await);
    }
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let page = rooms.history(&alice.seat, before.as_deref(), 100).await.unwrap().unwrap();
        assert!(page.messages.iter().map(String::len).sum::<usize>() <= 256 * 1024);
        seen.extend(page.messages.iter().rev().map(|message| said(&format!(",{message}"))["id"].clone()));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let newest: Vec<_> = (0..200).rev().take(seen.len()).map(|n| format!("m{n}")).collect();
    assert_eq!(seen, newest);
    assert!((40..80).contains(&seen.len()), "{} messages of 16 KB in 1 MiB", seen.len());
}

pub(crate) async fn a_repeated_message_is_answered_with_the_first_ones_stamp(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    let mine = |id: &str| Op { dedupe: Some("mine".into()), ..chat(None, id) };
    let id = logged(act(&rooms, &alice.seat, mine("m1")).await);
    let known = OpReply::Known { id, note: "m1 now".into() };
    assert_eq!(act(&rooms, &alice.seat, mine("m2")).await.unwrap(), known);
    let alice = resumed(rooms.attach(attach("R", 1, 9, alice.id)).await.unwrap());
    assert_eq!(act(&rooms, &alice.seat, mine("m3")).await.unwrap(), known);
    assert_eq!(read(&rooms, &bob.seat, None, 10).await.0, ["m1"]);
}

pub(crate) async fn a_repeated_message_that_was_refused_is_not_taken_for_one_to_nobody(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &changed(1, |settings| settings.chat_enabled = false)).await.unwrap();
    let alice = sit(&rooms, "R", 1).await.seat;
    let (keys, bounds, name) = (bed.keys(), log_bounds(10_000, 16 << 20), room("R"));
    let mut say = async || {
        let scope = OperationScope {
            room: RoomScope {
                keys: &keys,
                partition: rooms.partition_of(&name),
                room: &name,
                window_ms: 60_000,
                log_bounds: &bounds,
            },
            sender: &alice.peer,
            generation: alice.generation,
            number: 1,
            dedupe: None,
            kind: EventKind::ChatMessage,
            bytes_to_trim: None,
        };
        let script = ChatScript {
            scope,
            to: None,
            event: br#""chat:message",{"message":"m"}"#,
            stamp: "m1 now",
            history_length: 10,
            history_bytes: 1 << 20,
            history_ms: 60_000,
            outbox_max: 10,
        };
        bed.run::<_, Vec<String>>(&script).await
    };
    assert_eq!(say().await[0], "OFF");
    // The reply was lost, and the lane sends the same operation again.
    assert_eq!(say().await[0], "FULL");
}

pub(crate) async fn a_recorded_message_enters_the_outbox_and_is_refused_when_the_outbox_is_full(mut bed: TestBed) {
    bed.options.outbox_max = 5;
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &changed(1, |settings| settings.chat_recording_enabled = true)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    logged(act(&rooms, &alice.seat, chat(None, "m1")).await);
    logged(act(&rooms, &alice.seat, chat(Some(peer(2)), "m2")).await);
    let recorded = facts(&rooms).await;
    let chats: Vec<&Fact> = recorded.iter().filter(|fact| fact.kind == "chat").collect();
    assert_eq!(chats.len(), 2);
    assert_eq!(chats[0].details, r#"{"id":"m1","message":"m"}"#);
    let about = chats[1].about.clone().unwrap();
    assert_eq!((about.user, about.peer, about.join_id), (user(1), peer(1), alice.id));
    // Two joins and two messages: one more fact fits.
    logged(act(&rooms, &alice.seat, chat(None, "m3")).await);
    assert_eq!(act(&rooms, &alice.seat, chat(None, "m4")).await.unwrap(), OpReply::Full);
    assert_eq!(
        rooms.leave(&bob.seat, "left").await.unwrap(),
        LeaveOutcome::Done,
        "leave is accepted with a full outbox"
    );
    let partition = rooms.partition_of(&room("R"));
    let last = facts(&rooms).await.pop().unwrap();
    assert!(
        rooms.acquire_lease(partition, "me", LONG).await.unwrap()
            && rooms.trim_outbox(partition, "me", last.id).await.unwrap()
    );
    logged(act(&rooms, &alice.seat, chat(None, "m5")).await);
    assert_eq!(read(&rooms, &alice.seat, None, 10).await.0, ["m1", "m2", "m3", "m5"]);
}

pub(crate) async fn chat_follows_the_present_settings_and_its_history_ends_with_the_call(mut bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let alice = sit(&rooms, "R", 1).await;
    logged(act(&rooms, &alice.seat, chat(None, "m1")).await);
    assert!(facts(&rooms).await.iter().all(|fact| fact.kind != "chat"), "recording is off");
    rooms.open(&room("R"), &changed(2, |settings| settings.chat_enabled = false)).await.unwrap();
    let off = OpReply::Off("chatEnabled".into());
    assert_eq!(act(&rooms, &alice.seat, chat(None, "m2")).await.unwrap(), off);
    let outcome =
        rooms.send_ephemeral(&alice.seat, EventKind::ChatTyping, "\"chat:typing\",{}", "chatEnabled").await.unwrap();
    assert_eq!(outcome, EphemeralOutcome::Off("chatEnabled".into()));
    rooms.open(&room("R"), &changed(3, |settings| settings.chat_history_enabled = false)).await.unwrap();
    logged(act(&rooms, &alice.seat, chat(None, "m3")).await);
    assert_eq!(read(&rooms, &alice.seat, None, 10).await.0, ["m1"]);
    let key = bed.keys().chat(rooms.partition_of(&room("R")), &room("R"));
    assert!(bed.all_keys().await.contains(&key));
    rooms.end(&room("R"), &meta(20).call_id, "ended").await.unwrap();
    assert!(!bed.all_keys().await.contains(&key), "another call in the same room must not read it");
}

pub(crate) async fn an_ephemeral_event_reaches_everyone_elses_nodes_and_no_log(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    let (_bus, mut events) = bed.listen("n2").await;
    one.open(&room("R"), &meta(20)).await.unwrap();
    let (alice, bob) = (sit(&one, "R", 1).await, sit(&two, "R", 2).await);
    assert_eq!(
        one.send_ephemeral(&alice.seat, EventKind::ChatTyping, "\"chat:typing\",{}", "chatEnabled").await.unwrap(),
        EphemeralOutcome::Done
    );
    let ephemeral = next_envelope(&mut events, |envelope| matches!(envelope, Envelope::Ephemeral { .. })).await;
    let (from, kind) = (peer(1), EventKind::ChatTyping);
    assert_eq!(ephemeral, Envelope::Ephemeral { room: room("R"), from, kind, event: "\"chat:typing\",{}" });
    assert!(two.read(&room("R"), &bob.seat.peer, bob.id).await.unwrap().unwrap().is_empty());
    one.leave(&alice.seat, "left").await.unwrap();
    assert_eq!(
        one.send_ephemeral(&alice.seat, EventKind::ChatTyping, "\"chat:typing\",{}", "chatEnabled").await.unwrap(),
        EphemeralOutcome::Stale
    );
}

pub(crate) async fn media_go_on_only_with_the_present_role_and_settings_and_off_at_any_time(mut bed: TestBed) {
    const ON: Option<bool> = Some(true);
    const OFF: Option<bool> = Some(false);
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &changed(1, |settings| settings.allow_participant_screen_share = false)).await.unwrap();
    let alice = sit(&rooms, "R", 1).await;
    let media = async || rooms.snapshot(&room("R")).await.unwrap().unwrap().seats[0].media_state;
    let ask = async |wish| act(&rooms, &alice.seat, switch(Role::Participant, wish)).await.unwrap();
    let off = |setting: &str| OpReply::Off(setting.into());
    assert_eq!(ask([None, None, ON]).await, off("allowParticipantScreenShare"));
    assert_eq!(ask([OFF, OFF, ON]).await, off("allowParticipantScreenShare"));
    assert_eq!(media().await, MediaState::default(), "a refused change has no effect");
    // Two changes of different kinds at the same time do not undo each other.
    let (first, second) = tokio::join!(ask([OFF, None, None]), ask([None, OFF, None]));
    assert!(matches!((first, second), (OpReply::Logged { .. }, OpReply::Logged { .. })));
    let silent = MediaState { video_enabled: false, audio_enabled: false, screen_share_enabled: false };
    assert_eq!(media().await, silent);

    let strict = changed(2, |settings| (settings.video_enabled, settings.audio_enabled) = (false, false));
    rooms.open(&room("R"), &strict).await.unwrap();
    assert_eq!(ask([ON, None, None]).await, off("videoEnabled"));
    assert_eq!(ask([None, ON, None]).await, off("audioEnabled"));
    assert!(matches!(ask([OFF, OFF, ON]).await, OpReply::Logged { .. }), "shared screens are allowed again");
    assert!(matches!(ask([OFF, OFF, ON]).await, OpReply::Logged { .. }), "a medium that is on may stay on");
    assert_eq!(act(&rooms, &alice.seat, switch(Role::Host, [ON, None, None])).await.unwrap(), OpReply::Denied);

    // The state after a moderator muted the participant.
    let held = r#"{"videoEnabled":true,"audioEnabled":false,"screenShareEnabled":false,"held":{"audioEnabled":true}}"#;
    let key = bed.keys().room(rooms.partition_of(&room("R")), &room("R"));
    let mut mute = cmd("HSET");
    mute.arg(&key).arg(format!("v:{}", peer(1))).arg(held);
    let mut servers = 0;
    for server in bed.servers() {
        // On a cluster only one server has the key.
        servers += u32::from(server.query::<i64>(&mute).await.is_ok());
    }
    assert_eq!(servers, 1);
    rooms.open(&room("R"), &changed(3, |settings| settings.allow_participant_unmute = false)).await.unwrap();
    assert_eq!(ask([None, ON, None]).await, off("allowParticipantUnmute"));
    assert!(matches!(ask([OFF, OFF, None]).await, OpReply::Logged { .. }));
    assert!(matches!(ask([ON, None, None]).await, OpReply::Logged { .. }), "only the muted kind is held");
    rooms.open(&room("R"), &changed(4, |_| {})).await.unwrap();
    assert!(matches!(ask([None, ON, None]).await, OpReply::Logged { .. }));
    rooms.open(&room("R"), &changed(5, |settings| settings.allow_participant_unmute = false)).await.unwrap();
    assert!(matches!(ask([None, OFF, None]).await, OpReply::Logged { .. }));
    assert!(
        matches!(ask([None, ON, None]).await, OpReply::Logged { .. }),
        "a participant who muted themselves may unmute"
    );
}

pub(crate) async fn figures_count_participants_messages_and_the_peak(bed: TestBed) {
    let (rooms, api) = (bed.node("n1").await, bed.guest("api").await);
    assert!(api.stats(&room("R")).await.unwrap().is_none());
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let (alice, bob) = (sit(&rooms, "R", 1).await, sit(&rooms, "R", 2).await);
    let carol = sit(&rooms, "R", 3).await;
    logged(act(&rooms, &alice.seat, chat(None, "m1")).await);
    rooms.leave(&carol.seat, "left").await.unwrap();
    rooms.detach(&bob.seat).await.unwrap();
    let stats = api.stats(&room("R")).await.unwrap().unwrap();
    assert_eq!((stats.peak, stats.messages, &stats.call), (3, 1, &meta(20).call_id));
    let states: Vec<_> =
        stats.seats.iter().map(|stay| (stay.participant.peer_id.clone(), stay.participant.connection_state)).collect();
    assert_eq!(states, [(peer(1), ConnectionState::Connected), (peer(2), ConnectionState::Reconnecting)]);
    assert!(stats.opened_at <= stats.seats[0].since && stats.seats[1].since <= stats.taken_at);
}

pub(crate) async fn a_hand_keeps_its_time_until_it_is_lowered_and_goes_with_its_seat(bed: TestBed) {
    let (one, two) = (bed.node("n1").await, bed.node("n2").await);
    one.open(&room("R"), &meta(20)).await.unwrap();
    let (alice, bob) = (sit(&one, "R", 1).await, sit(&two, "R", 2).await);
    let hands = async || {
        let snapshot = one.snapshot(&room("R")).await.unwrap().unwrap();
        snapshot.seats.into_iter().map(|seat| seat.hand_raised_at).collect::<Vec<_>>()
    };
    let (early, late) = ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:09.000Z");
    logged(act(&one, &alice.seat, hand(1, Some(early))).await);
    logged(act(&one, &alice.seat, hand(1, Some(late))).await);
    assert_eq!(hands().await, [Some(early.to_owned()), None], "a hand that is up keeps its place");
    // Both are told, the sender too, with the time in effect.
    for seat in [&alice, &bob] {
        let read = two.read(&room("R"), &seat.seat.peer, bob.id).await.unwrap().unwrap();
        let times: Vec<_> = read.iter().map(|entry| said(entry.event())["handRaisedAt"].clone()).collect();
        assert_eq!(times, [early, early]);
    }
    // A resumed session and a takeover have the hand, and so has a seat that is put back.
    one.detach(&alice.seat).await.unwrap();
    let back = resumed(two.attach(attach("R", 1, 7, alice.id)).await.unwrap());
    assert_eq!(back.copy.hand_raised_at.as_deref(), Some(early));
    logged(act(&two, &back.seat, hand(1, None)).await);
    assert_eq!(hands().await, [None, None]);
    logged(act(&two, &back.seat, hand(1, Some(late))).await);
    two.leave(&back.seat, "left").await.unwrap();
    let again = sit(&one, "R", 1).await;
    assert_eq!((again.seat.peer.clone(), hands().await), (peer(1), vec![None, None]), "a hand ends with its seat");
    assert_eq!(act(&two, &back.seat, hand(1, None)).await.unwrap(), OpReply::Stale);
}

pub(crate) async fn a_moderator_lowers_a_hand_of_a_lower_role_and_everyone_is_told_once(bed: TestBed) {
    let rooms = bed.node("n1").await;
    rooms.open(&room("R"), &meta(20)).await.unwrap();
    let host = seated(rooms.join(Join { role: Role::Host, ..join("R", 1) }).await.unwrap());
    let (bob, carol) = (sit(&rooms, "R", 2).await, sit(&rooms, "R", 3).await);
    logged(act(&rooms, &bob.seat, hand(2, Some("2026-01-01T00:00:00.000Z"))).await);
    let lower = async |by: &Seated, n: usize| {
        let caller = Caller::Seat { seat: &by.seat, action: Action::LowerHand };
        rooms.moderate(&room("R"), caller, &ModerationCommand::LowerHand { peer: peer(n) }).await.unwrap()
    };
    assert_eq!(lower(&carol, 2).await, ModerationOutcome::Denied);
    assert_eq!(lower(&host, 9).await, ModerationOutcome::NoPeer);
    // The second one finds the hand down, and tells no one.
    for _ in 0..2 {
        assert_eq!(lower(&host, 2).await, ModerationOutcome::Done(vec![]));
    }
    assert_eq!(rooms.snapshot(&room("R")).await.unwrap().unwrap().seats[1].hand_raised_at, None);
    for seat in [&host, &bob, &carol] {
        let read = rooms.read(&room("R"), &seat.seat.peer, carol.id).await.unwrap().unwrap();
        let changes: Vec<_> = read.iter().map(|entry| said(entry.event())).collect();
        assert_eq!(changes.len(), 2, "{changes:?}");
        let lowered = serde_json::json!({ "userId": user(2), "peerId": peer(2), "raised": false, "by": peer(1) });
        assert_eq!(changes[1], lowered);
    }
}

pub(crate) async fn an_event_of_a_backend_reaches_its_receivers_once_and_stays_in_the_log(bed: TestBed) {
    let (one, two, api) = (bed.node("n1").await, bed.node("n2").await, bed.guest("api").await);
    let send_as = async |id: &str, to: Option<PeerId>, digest: &str, at: i64| {
        let event = server_event::of_server(id, "quiz", Some(&serde_json::json!([])), "2026-01-01T00:00:00.000Z");
        let event = ServerEvent { id, to: to.as_ref(), event: &event, digest, at: Timestamp(at) };
        api.send_server_event(&room("R"), event).await.unwrap()
    };
    let send = async |id: &str, to: Option<PeerId>| send_as(id, to, "digest", 1_000).await;
    assert_eq!(send("early", None).await, ServerEventOutcome::Absent);
    one.open(&room("R"), &meta(20)).await.unwrap();
    let (_bus, mut events) = bed.listen("n2").await;
    let (alice, bob) = (sit(&one, "R", 1).await, sit(&two, "R", 2).await);
    let waits = one.join(Join { waits: true, ..join("R", 3) }).await.unwrap();
    assert!(matches!(waits, Joined::Waiting { .. }));
    for (id, to) in [("all", None), ("own", Some(peer(2))), ("lobby", Some(peer(3)))] {
        assert_eq!(send(id, to.clone()).await, ServerEventOutcome::Sent, "{id}");
        // A repetition gets the time of the event, and another event under the id is none.
        assert_eq!(send_as(id, to, "digest", 2_000).await, ServerEventOutcome::Known(Timestamp(1_000)), "{id}");
        assert_eq!(send_as(id, None, "another", 2_000).await, ServerEventOutcome::Reused, "{id}");
    }
    assert_eq!(send("gone", Some(peer(9))).await, ServerEventOutcome::NoPeer);
    let heard = async |rooms: &Rooms, n, after| {
        let read = rooms.read(&room("R"), &peer(n), after).await.unwrap().unwrap();
        let read = read.into_iter().filter(|entry| entry.event().starts_with("\"server:event\""));
        read.map(|entry| said(entry.event())["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(heard(&one, 1, alice.id).await, ["all"]);
    assert_eq!(heard(&two, 2, bob.id).await, ["all", "own"]);
    assert_eq!(heard(&one, 3, bob.id).await, ["lobby"], "the lobby gets nothing that is for the call");
    let is_own = |envelope: &Envelope<'_>| matches!(envelope, Envelope::Event { kind: EventKind::ServerEvent, event, .. } if event.contains("own"));
    next_envelope(&mut events, is_own).await;
}
