//! Delivery of events to sessions: order, subscription gaps, offsets of quiet clients, removed
//! sessions, slow clients and ephemeral events.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use switchboard_core::domain::{
    CallId, CallSettings, CallType, ConnectionState, MediaState, PeerId, PublicUser, Role, RoomId, RoomMeta,
    SessionHandle, UserId,
};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::envelope::{Audience, Envelope};
use switchboard_rooms::{CaughtUp, LogContent, LogEntry, LogId, Partition, Seat, SeatCopy};
use switchboard_socketio::send_queue::{Frame, Message, Queue, SendQueue, SendQueueLimits};

use super::catch_up::{AfterRead, apply};
use super::*;

const PARTITION: Partition = Partition(0);

fn id(ms: u64) -> LogId {
    LogId { ms, seq: 0 }
}

/// Registers a session of the room `R` whose `join` script is in progress. Returns its link and the
/// queue of its messages.
fn register_session(hub: &Hub) -> (Arc<SessionLink>, Arc<Queue>) {
    let (send_queue, queue) = SendQueue::detached(SendQueueLimits { bytes: 1 << 20, messages: 100_000 });
    (hub.register(PARTITION, RoomId::parse("R").unwrap(), send_queue), queue)
}

fn replica(link: &SessionLink, peer: &str) -> SeatReplica {
    let user = UserId::parse("guest-0123456789abcdef").unwrap();
    let meta = RoomMeta {
        call_id: CallId::parse("0123456789abcdef01234567").unwrap(),
        name: "R".to_owned(),
        host: user.clone(),
        call_type: CallType::Public,
        settings: CallSettings::default(),
        max_participants: 2,
        locked: false,
        passcode_hash: None,
        invited: Vec::new(),
        created_at: String::new(),
        version: 0,
    };
    let copy = SeatCopy {
        pid: String::new(),
        state: ConnectionState::Connected,
        away: false,
        role: Role::Guest,
        permissions: None,
        permissions_given: false,
        public: PublicUser::new(user, "Ann".to_owned(), None),
        media: MediaState::default(),
        hand_raised_at: None,
        join_id: id(1),
        from: id(1),
        address: None,
        joined_at: String::new(),
    };
    let seat = Arc::new(Seat::new(link.room.clone(), PeerId::parse(peer).unwrap(), 1, link.handle));
    SeatReplica { seat, copy, meta: Arc::new(meta) }
}

fn publish(hub: &Hub, ms: u64, to: Audience) {
    let event = format!("\"e\",{ms}");
    let (room, kind) = (RoomId::parse("R").unwrap(), EventKind::ChatMessage);
    hub.deliver(PARTITION, Envelope::Event { id: (ms, 0), room, to, kind, event: &event });
}

fn all_except(except: Option<&str>) -> Audience {
    Audience::All { except: except.map(|peer| PeerId::parse(peer).unwrap()) }
}

fn entry(ms: u64) -> LogEntry {
    let event = format!("\"e\",{ms}").into();
    LogEntry { id: id(ms), content: LogContent::Event { kind: EventKind::ChatMessage, event } }
}

/// Returns the numbers of the events that were sent since the last call.
fn sent(queue: &Queue) -> Vec<u64> {
    let Poll::Ready(frames) = queue.poll_frames(&mut Context::from_waker(Waker::noop())) else { return Vec::new() };
    let number = |frame: &Frame| match frame {
        Frame::Text(text) => text.split([',', ']']).nth(1).unwrap().parse().unwrap(),
        Frame::Binary(_) => panic!("no event is binary"),
    };
    frames.iter().map(number).collect()
}

#[test]
fn events_before_the_reply_of_the_join_script_are_buffered_and_those_before_the_join_are_dropped() {
    let hub = Hub::new(1);
    let (link, queue) = register_session(&hub);
    for ms in [3, 5, 7] {
        publish(&hub, ms, all_except(None));
    }
    assert_eq!(sent(&queue), [0; 0]);
    assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(5), None)).is_none());
    publish(&hub, 9, all_except(None));
    assert_eq!(sent(&queue), [7, 9]);
}

#[test]
fn an_event_reaches_each_receiver_once_and_not_its_sender() {
    let hub = Hub::new(1);
    let ((a, to_a), (b, to_b)) = (register_session(&hub), register_session(&hub));
    assert!(hub.go_live(PARTITION, &a, replica(&a, "a"), DeliveryStart::After(id(1), None)).is_none());
    assert!(hub.go_live(PARTITION, &b, replica(&b, "b"), DeliveryStart::After(id(1), None)).is_none());
    publish(&hub, 2, all_except(Some("a")));
    publish(&hub, 3, Audience::One(a.handle));
    publish(&hub, 3, Audience::One(a.handle));
    assert_eq!((sent(&to_a), sent(&to_b)), (vec![3], vec![2]));
}

#[test]
fn a_session_that_is_unregistered_gets_no_event() {
    let hub = Hub::new(1);
    let ((a, to_a), (b, to_b)) = (register_session(&hub), register_session(&hub));
    assert!(hub.go_live(PARTITION, &a, replica(&a, "a"), DeliveryStart::After(id(1), None)).is_none());
    assert!(hub.go_live(PARTITION, &b, replica(&b, "b"), DeliveryStart::After(id(1), None)).is_none());
    hub.unregister(PARTITION, &a);
    publish(&hub, 2, all_except(None));
    assert_eq!((sent(&to_a), sent(&to_b)), (vec![], vec![2]));
}

#[test]
fn an_event_for_moderators_reaches_the_sessions_that_are_moderators_at_its_place_in_the_log() {
    let hub = Hub::new(1);
    let ((moderator, to_moderator), (guest, to_guest)) = (register_session(&hub), register_session(&hub));
    let mut copy = replica(&moderator, "a");
    copy.copy.role = Role::Moderator;
    assert!(hub.go_live(PARTITION, &moderator, copy, DeliveryStart::After(id(1), None)).is_none());
    publish(&hub, 2, Audience::Moderators);
    // The events that arrive while a script is in progress are judged by the role of their place.
    publish(&hub, 3, Audience::Moderators);
    let promotion = r#""participant:role-changed",{"peerId":"b","userId":"u","role":"host","hostId":"u"}"#;
    let (room, kind) = (RoomId::parse("R").unwrap(), EventKind::RoleChanged);
    hub.deliver(
        PARTITION,
        Envelope::Event { id: (4, 0), room, to: Audience::One(guest.handle), kind, event: promotion },
    );
    publish(&hub, 5, Audience::Moderators);
    assert!(hub.go_live(PARTITION, &guest, replica(&guest, "b"), DeliveryStart::After(id(1), None)).is_none());
    assert_eq!(sent(&to_moderator), [2, 3, 5]);
    let promoted = texts(&to_guest);
    assert_eq!(promoted.len(), 2, "{promoted:?}");
    assert!(promoted[0].contains("role-changed") && promoted[1].contains("\"e\",5"));

    let (waiting, to_waiting) = register_session(&hub);
    let mut copy = replica(&waiting, "c");
    (copy.copy.role, copy.copy.state) = (Role::Host, ConnectionState::Waiting);
    assert!(hub.go_live(PARTITION, &waiting, copy, DeliveryStart::After(id(5), None)).is_none());
    publish(&hub, 6, Audience::Moderators);
    assert_eq!(sent(&to_waiting), [0; 0], "the lobby");
}

#[test]
fn after_a_gap_the_log_is_delivered_first_and_then_the_buffered_events() {
    let hub = Hub::new(1);
    let (link, queue) = register_session(&hub);
    assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(1), None)).is_none());
    publish(&hub, 2, all_except(None));
    let missed = hub.subscription_restored(PARTITION).pop().unwrap();
    assert_eq!(missed.from, id(2));
    publish(&hub, 5, all_except(None));
    assert_eq!(sent(&queue), [2], "no event overtakes the log");
    link.apply_log(missed.gap_count, None, &[entry(3), entry(4), entry(5)]);
    publish(&hub, 6, all_except(None));
    assert_eq!(sent(&queue), [3, 4, 5, 6]);
}

#[test]
fn a_second_gap_needs_a_second_read_of_the_log() {
    let hub = Hub::new(1);
    let (link, queue) = register_session(&hub);
    assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(1), None)).is_none());
    let first = hub.subscription_restored(PARTITION).pop().unwrap();
    let second = hub.subscription_restored(PARTITION).pop().unwrap();
    publish(&hub, 4, all_except(None));
    // The first read ended before 3 was logged; 4 must not be sent before 3.
    link.apply_log(first.gap_count, None, &[entry(2)]);
    assert_eq!(sent(&queue), [2]);
    link.apply_log(second.gap_count, None, &[entry(2), entry(3), entry(4)]);
    assert_eq!(sent(&queue), [3, 4]);
}

#[test]
fn events_before_the_report_that_a_gap_has_ended_are_delivered_after_the_missed_ones() {
    let hub = Hub::new(1);
    let (link, queue) = register_session(&hub);
    assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(1), None)).is_none());
    publish(&hub, 2, all_except(None));
    hub.subscription_lost(PARTITION);
    // 3 was published while the subscription was lost. The subscription is back, but that is not
    // reported yet. 4 and a canary arrive. A canary says that all events before it were delivered,
    // which is wrong here.
    publish(&hub, 4, all_except(None));
    hub.deliver(PARTITION, Envelope::Canary { ms: 9 });
    assert_eq!(sent(&queue), [2], "no event overtakes the log");
    assert_eq!(hub.fresh_offset(PARTITION, &link), None, "something is missing");
    let missed = hub.subscription_restored(PARTITION).pop().unwrap();
    assert_eq!(missed.from, id(2));
    link.apply_log(missed.gap_count, None, &[entry(3), entry(4)]);
    publish(&hub, 10, all_except(None));
    assert_eq!(sent(&queue), [3, 4, 10]);
}

#[test]
fn a_session_that_joins_while_the_subscription_is_lost_gets_events_after_its_log_was_read() {
    let hub = Hub::new(1);
    let (early, to_early) = register_session(&hub);
    hub.subscription_lost(PARTITION);
    let (late, to_late) = register_session(&hub);
    for (link, peer) in [(&early, "a"), (&late, "b")] {
        assert!(
            hub.go_live(PARTITION, link, replica(link, peer), DeliveryStart::After(id(5), None)).is_none(),
            "a read now would be too early"
        );
    }
    publish(&hub, 7, all_except(None));
    let missed = hub.subscription_restored(PARTITION);
    assert_eq!(missed.len(), 2);
    for missed in missed {
        assert_eq!(missed.from, id(5));
        missed.link.apply_log(missed.gap_count, None, &[entry(6), entry(7)]);
    }
    assert_eq!((sent(&to_early), sent(&to_late)), (vec![6, 7], vec![6, 7]));
}

#[test]
fn a_session_whose_join_is_in_progress_during_a_gap_reads_the_log() {
    let hub = Hub::new(1);
    let (link, queue) = register_session(&hub);
    assert!(hub.subscription_restored(PARTITION).is_empty(), "its script is still in progress");
    hub.deliver(PARTITION, Envelope::Canary { ms: 90 });
    let missed = hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(5), None)).unwrap();
    assert_eq!(missed.from, id(5), "the canary came after the gap, the reply perhaps before it");
    publish(&hub, 7, all_except(None));
    link.apply_log(missed.gap_count, None, &[entry(6)]);
    assert_eq!(sent(&queue), [6, 7]);
}

#[test]
fn the_offset_of_a_quiet_client_follows_the_canary_but_not_during_a_gap() {
    // Each heartbeat publishes a canary to its own node. Older events have been delivered then, so
    // the client may resume from the millisecond before it.
    let hub = Hub::new(1);
    let (link, _queue) = register_session(&hub);
    hub.deliver(PARTITION, Envelope::Canary { ms: 50 });
    assert_eq!(hub.fresh_offset(PARTITION, &link), None, "not seated yet");
    assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(10), None)).is_none());
    assert_eq!(hub.fresh_offset(PARTITION, &link).unwrap().to_string(), "49-0.R");
    publish(&hub, 60, all_except(None));
    assert_eq!(hub.fresh_offset(PARTITION, &link), None, "the client has a later offset already");
    hub.deliver(PARTITION, Envelope::Canary { ms: 100 });
    let missed = hub.subscription_restored(PARTITION).pop().unwrap();
    assert_eq!(missed.from, id(99), "events older than the canary were delivered");
    assert_eq!(hub.fresh_offset(PARTITION, &link), None, "something may be missing");
    link.apply_log(missed.gap_count, None, &[]);
    assert_eq!(hub.fresh_offset(PARTITION, &link).unwrap().id.ms, 99);
}

#[test]
fn a_session_that_is_removed_while_its_log_is_read_gets_its_farewell() {
    for is_gone in [false, true] {
        let hub = Hub::new(1);
        let (link, queue) = register_session(&hub);
        let request = hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::Admission(id(1))).unwrap();
        publish(&hub, 2, all_except(None));
        let (room, to) = (RoomId::parse("R").unwrap(), Audience::One(link.handle));
        let event = r#""room:kicked",{"roomId":"R"}"#;
        let kicked = Envelope::Event { id: (3, 0), room: room.clone(), to, kind: EventKind::Kicked, event };
        hub.deliver(PARTITION, kicked);
        hub.deliver(PARTITION, Envelope::RoomGone { room, handle: Some(link.handle) });
        if is_gone {
            hub.unregister(PARTITION, &link);
        }
        let after = apply(&hub, PARTITION, request, None, CaughtUp::NotSeated);
        assert!(matches!(after, AfterRead::Done) && !hub.has_suspects(PARTITION));
        let client_got = texts(&queue).concat();
        assert!(client_got.contains("room:kicked") && !client_got.contains("\"e\",2"), "{client_got}");
    }
}

#[test]
fn sessions_of_a_room_that_ended_are_removed() {
    let hub = Hub::new(1);
    let (link, _queue) = register_session(&hub);
    assert!(!link.is_removed());
    hub.deliver(PARTITION, Envelope::RoomGone { room: RoomId::parse("R").unwrap(), handle: None });
    assert!(link.is_removed());
}

#[test]
fn a_removed_session_is_out_of_the_room_when_its_farewell_is_sent_and_gets_no_event_after_it() {
    for kind in [EventKind::Kicked, EventKind::Denied, EventKind::CallEnded] {
        let farewell = kind.name();
        let hub = Hub::new(1);
        let (link, queue) = register_session(&hub);
        assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(1), None)).is_none());
        publish(&hub, 2, all_except(None));
        let _missed = hub.subscription_restored(PARTITION);
        // Events of the gap are delivered after it. No event before the farewell is lost.
        let room = RoomId::parse("R").unwrap();
        let event = format!(r#""{farewell}",{{"roomId":"R"}}"#);
        publish(&hub, 3, all_except(None));
        let to = Audience::One(link.handle);
        hub.deliver(PARTITION, Envelope::Event { id: (4, 0), room: room.clone(), to, kind, event: &event });
        publish(&hub, 5, all_except(None));
        assert!(!link.is_removed(), "the farewell is still buffered");
        assert!(link.apply_log(1, None, &[]).is_none());
        // A client that reacts to the farewell immediately is out of the room already.
        assert!(link.is_removed() && link.restorable_replica().is_none());
        publish(&hub, 6, all_except(None));
        let from = PeerId::parse("guest-1").unwrap();
        hub.deliver(PARTITION, Envelope::Ephemeral { room, from, kind: EventKind::ChatTyping, event: "\"h\",1" });
        let client_got = texts(&queue).concat();
        assert!(
            client_got.contains("\"e\",2") && client_got.contains("\"e\",3") && client_got.contains(farewell),
            "{client_got}"
        );
        for forbidden in ["\"e\",5", "\"e\",6", "\"h\""] {
            assert!(!client_got.contains(forbidden), "{client_got}");
        }
    }
}

/// Returns the texts of the frames that were sent since the last call.
fn texts(queue: &Queue) -> Vec<String> {
    let Poll::Ready(frames) = queue.poll_frames(&mut Context::from_waker(Waker::noop())) else { return Vec::new() };
    frames.iter().map(|frame| String::from_utf8_lossy(frame.bytes()).into_owned()).collect()
}

#[test]
fn events_that_share_an_envelope_are_packets_with_offsets_of_their_own() {
    let hub = Hub::new(1);
    let (link, queue) = register_session(&hub);
    // The client has the first of them.
    let start = DeliveryStart::After(LogId { ms: 5, seq: 2 }, None);
    assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), start).is_none());
    let (room, kind, to) = (RoomId::parse("R").unwrap(), EventKind::IceCandidate, Audience::One(link.handle));
    let event = "\"c\",1\u{1e}\"c\",2\u{1e}\"c\",3";
    hub.deliver(PARTITION, Envelope::Event { id: (5, 2), room, to, kind, event });
    assert_eq!(texts(&queue), [r#"42["c",2,"5-3.R"]"#, r#"42["c",3,"5-4.R"]"#]);
}

#[test]
fn a_slow_client_gets_the_last_media_state_of_each_peer_with_growing_offsets() {
    let hub = Hub::new(1);
    let (link, queue) = register_session(&hub);
    assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(1), None)).is_none());
    let room = RoomId::parse("R").unwrap();
    let state = |ms: u64, peer: &str, on: bool| {
        let event =
            format!(r#""participant:media-state-changed",{{"userId":"x","peerId":"{peer}","mediaState":{on}}}"#);
        let (room, to, kind) = (room.clone(), all_except(Some(peer)), EventKind::MediaChanged);
        hub.deliver(PARTITION, Envelope::Event { id: (ms, 0), room, to, kind, event: &event });
    };
    // In a room of 500, all toggle their cameras again and again, while the client reads nothing.
    for ms in 2..5_002 {
        state(ms, &format!("p{}", ms % 500), ms > 4_000);
        // No session has the handle 0: an event for another session does not reach this one.
        if ms % 1_000 == 0 {
            publish(&hub, ms, Audience::One(SessionHandle(0)));
        }
    }
    publish(&hub, 6_000, all_except(None));
    let frames = texts(&queue);
    assert_eq!(frames.len(), 501, "one for each peer, and the event that states no value");
    assert!(frames[..500].iter().all(|text| text.contains("\"mediaState\":true")), "the last state of each peer");
    let offset = |text: &String| text.rsplit('"').nth(1).unwrap().split('-').next().unwrap().parse::<u64>().unwrap();
    assert!(frames.iter().map(offset).is_sorted() && offset(frames.last().unwrap()) == 6_000);
}

#[test]
fn an_ephemeral_event_reaches_live_sessions_without_an_offset_and_moves_no_position() {
    let hub = Hub::new(1);
    let ((a, to_a), (b, to_b), (_joining, to_c)) =
        (register_session(&hub), register_session(&hub), register_session(&hub));
    assert!(hub.go_live(PARTITION, &a, replica(&a, "a"), DeliveryStart::After(id(1), None)).is_none());
    assert!(hub.go_live(PARTITION, &b, replica(&b, "b"), DeliveryStart::After(id(1), None)).is_none());
    let typing = |on: bool| {
        let event = format!(r#""chat:typing",{{"from":"a","isTyping":{on}}}"#);
        let (room, from, kind) = (RoomId::parse("R").unwrap(), PeerId::parse("a").unwrap(), EventKind::ChatTyping);
        hub.deliver(PARTITION, Envelope::Ephemeral { room, from, kind, event: &event });
    };
    typing(true);
    typing(false);
    assert_eq!(texts(&to_b), [r#"42["chat:typing",{"from":"a","isTyping":false}]"#], "only the last one is queued");
    assert!(texts(&to_a).is_empty() && texts(&to_c).is_empty());
    publish(&hub, 2, all_except(None));
    assert_eq!(sent(&to_b), [2]);
}

#[test]
fn a_session_that_joins_again_gets_room_joined_once_more_and_then_the_events_since() {
    let hub = Hub::new(1);
    let (link, queue) = register_session(&hub);
    assert!(hub.go_live(PARTITION, &link, replica(&link, "u"), DeliveryStart::After(id(1), None)).is_none());
    publish(&hub, 2, all_except(None));
    let request = hub.join_again(PARTITION, &link).expect("the room must be read");
    assert_eq!((request.from, link.admitted()), (id(2), Some(id(2))));
    publish(&hub, 4, all_except(None));
    assert_eq!(sent(&queue), [2], "later events wait for the room");
    let SeatReplica { copy, meta, .. } = replica(&link, "u");
    let message = Message::packet(r#"42["room:joined",100]"#.to_owned());
    let joined = JoinedSnapshot { message, fields: String::new(), copy, meta };
    assert!(link.apply_log(request.gap_count, Some(joined), &[entry(3), entry(4)]).is_none());
    publish(&hub, 5, all_except(None));
    assert_eq!(sent(&queue), [100, 3, 4, 5]);
    // The room is quiet for longer than the log goes back.
    hub.deliver(PARTITION, Envelope::Canary { ms: 500_000 });
    let request = hub.join_again(PARTITION, &link).expect("the room must be read");
    assert_eq!(request.from, id(499_999), "events older than the canary were delivered");
    hub.subscription_lost(PARTITION);
    assert!(hub.join_again(PARTITION, &link).is_none(), "no session may become live while events are missing");
}

#[test]
fn the_participants_of_a_room_are_those_of_the_last_snapshot_and_the_joins_and_leaves_since() {
    let hub = Hub::new(1);
    let room = RoomId::parse("R").unwrap();
    assert_eq!(hub.participants(PARTITION, &room), 0);
    let (link, _queue) = register_session(&hub);
    let change = |ms: u64, kind: EventKind| {
        let (room, to) = (RoomId::parse("R").unwrap(), all_except(None));
        hub.deliver(PARTITION, Envelope::Event { id: (ms, 0), room, to, kind, event: "\"e\"" });
    };
    // The own join may arrive before the snapshot that includes it, or after.
    change(5, EventKind::UserJoined);
    hub.set_participants(PARTITION, &room, id(5), 40);
    change(5, EventKind::UserJoined);
    assert_eq!(hub.participants(PARTITION, &room), 40);
    change(6, EventKind::UserJoined);
    change(7, EventKind::UserJoined);
    change(8, EventKind::ChatMessage);
    change(9, EventKind::UserLeft);
    assert_eq!(hub.participants(PARTITION, &room), 41);
    hub.set_participants(PARTITION, &room, id(7), 42);
    assert_eq!(hub.participants(PARTITION, &room), 41, "an older snapshot is ignored");
    hub.unregister(PARTITION, &link);
    assert_eq!(hub.participants(PARTITION, &room), 0);
}
