#![allow(clippy::unwrap_used)]
use std::task::{Context, Poll, Waker};

use super::link::*;
use super::*;
use bytes::Bytes;
use switchboard_core::domain::{
    CallId, CallSettings, CallType, ConnectionState, MediaState, PeerId, PublicUser, Role, RoomMeta, UserId,
};
use switchboard_rooms::{LogEntry, Seat, SeatCopy};
use switchboard_socketio::send_queue::{Frame, Queue, SendQueueLimits};

const P: Partition = Partition(0);

fn id(ms: u64) -> LogId {
    LogId { ms, seq: 0 }
}

/// A session of `R` on its way in, and what its client would get.
fn newcomer(hub: &Hub) -> (Arc<Link>, Arc<Queue>) {
    let (outbox, queue) = SendQueue::detached(SendQueueLimits { bytes: 1 << 20, messages: 100_000 });
    (hub.register(P, RoomId::parse("R").unwrap(), outbox), queue)
}

fn seat(link: &Link, peer: &str) -> Holding {
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
        public: PublicUser::new(user, "Ann".to_owned(), None),
        media: MediaState::default(),
        join_id: id(1),
        from: id(1),
        address: None,
        joined_at: String::new(),
    };
    let seat = Arc::new(Seat::new(link.room.clone(), PeerId::parse(peer).unwrap(), 1, link.handle));
    Holding { seat, copy, meta: Arc::new(meta) }
}

fn publish(hub: &Hub, ms: u64, to: Audience) {
    let event = format!("\"e\",{ms}");
    hub.deliver(P, Envelope::Event { id: (ms, 0), room: RoomId::parse("R").unwrap(), to, event: &event });
}

fn everybody(except: Option<&str>) -> Audience {
    Audience::All { except: except.map(|peer| PeerId::parse(peer).unwrap()) }
}

fn entry(ms: u64) -> LogEntry {
    LogEntry { id: id(ms), event: Bytes::from(format!("\"e\",{ms}")) }
}

/// The numbers of the events that were sent since the last look.
fn got(queue: &Queue) -> Vec<u64> {
    let Poll::Ready(frames) = queue.poll_frames(&mut Context::from_waker(Waker::noop())) else { return Vec::new() };
    let number = |frame: &Frame| match frame {
        Frame::Text(text) => text.split([',', ']']).nth(1).unwrap().parse().unwrap(),
        Frame::Binary(_) => panic!("no event is binary"),
    };
    frames.iter().map(number).collect()
}

#[test]
fn what_arrives_before_the_scripts_answer_waits_and_what_is_older_than_it_is_dropped() {
    let hub = Hub::new(1);
    let (link, queue) = newcomer(&hub);
    for ms in [3, 5, 7] {
        publish(&hub, ms, everybody(None));
    }
    assert_eq!(got(&queue), [0; 0]);
    assert!(hub.go_live(P, &link, seat(&link, "u"), Start::Seen(id(5), None)).is_none());
    publish(&hub, 9, everybody(None));
    assert_eq!(got(&queue), [7, 9]);
}

#[test]
fn an_event_reaches_whom_it_is_for_once_and_not_its_sender() {
    let hub = Hub::new(1);
    let ((a, to_a), (b, to_b)) = (newcomer(&hub), newcomer(&hub));
    assert!(hub.go_live(P, &a, seat(&a, "a"), Start::Seen(id(1), None)).is_none());
    assert!(hub.go_live(P, &b, seat(&b, "b"), Start::Seen(id(1), None)).is_none());
    publish(&hub, 2, everybody(Some("a")));
    publish(&hub, 3, Audience::One(a.handle));
    publish(&hub, 3, Audience::One(a.handle));
    assert_eq!((got(&to_a), got(&to_b)), (vec![3], vec![2]));
    hub.unregister(P, &a);
    publish(&hub, 4, everybody(None));
    assert_eq!((got(&to_a), got(&to_b)), (vec![], vec![4]));
}

#[test]
fn after_a_gap_the_log_comes_first_and_then_what_arrived_meanwhile() {
    let hub = Hub::new(1);
    let (link, queue) = newcomer(&hub);
    assert!(hub.go_live(P, &link, seat(&link, "u"), Start::Seen(id(1), None)).is_none());
    publish(&hub, 2, everybody(None));
    let missed = hub.gap(P).pop().unwrap();
    assert_eq!(missed.from, id(2));
    publish(&hub, 5, everybody(None));
    assert_eq!(got(&queue), [2], "nothing overtakes the log");
    link.caught_up(missed.epoch, None, &[entry(3), entry(4), entry(5)]);
    publish(&hub, 6, everybody(None));
    assert_eq!(got(&queue), [3, 4, 5, 6]);
}

#[test]
fn a_gap_within_a_gap_is_mended_by_its_own_reading() {
    let hub = Hub::new(1);
    let (link, queue) = newcomer(&hub);
    assert!(hub.go_live(P, &link, seat(&link, "u"), Start::Seen(id(1), None)).is_none());
    let first = hub.gap(P).pop().unwrap();
    let second = hub.gap(P).pop().unwrap();
    publish(&hub, 4, everybody(None));
    // The first reading ended before 3 was logged; 4 must not be sent before it.
    link.caught_up(first.epoch, None, &[entry(2)]);
    assert_eq!(got(&queue), [2]);
    link.caught_up(second.epoch, None, &[entry(2), entry(3), entry(4)]);
    assert_eq!(got(&queue), [3, 4]);
}

#[test]
fn what_arrives_when_the_subscription_is_back_but_not_yet_known_to_be_moves_no_position_past_the_hole() {
    let hub = Hub::new(1);
    let (link, queue) = newcomer(&hub);
    assert!(hub.go_live(P, &link, seat(&link, "u"), Start::Seen(id(1), None)).is_none());
    publish(&hub, 2, everybody(None));
    hub.interrupted(P);
    // 3 was published while nobody listened; 4 and a canary by the first channel that is subscribed again.
    publish(&hub, 4, everybody(None));
    hub.deliver(P, Envelope::Canary { ms: 9 });
    assert_eq!(got(&queue), [2], "nothing overtakes the log");
    assert_eq!(hub.tick(P, &link), None, "something is missing");
    let missed = hub.gap(P).pop().unwrap();
    assert_eq!(missed.from, id(2));
    link.caught_up(missed.epoch, None, &[entry(3), entry(4)]);
    publish(&hub, 10, everybody(None));
    assert_eq!(got(&queue), [3, 4, 10]);
}

#[test]
fn a_session_that_joins_while_the_subscription_is_lost_is_live_once_its_log_was_read() {
    let hub = Hub::new(1);
    let (early, to_early) = newcomer(&hub);
    hub.interrupted(P);
    let (late, to_late) = newcomer(&hub);
    for (link, peer) in [(&early, "a"), (&late, "b")] {
        assert!(
            hub.go_live(P, link, seat(link, peer), Start::Seen(id(5), None)).is_none(),
            "reading now would be too early"
        );
    }
    publish(&hub, 7, everybody(None));
    let missed = hub.gap(P);
    assert_eq!(missed.len(), 2);
    for missed in missed {
        assert_eq!(missed.from, id(5));
        missed.link.caught_up(missed.epoch, None, &[entry(6), entry(7)]);
    }
    assert_eq!((got(&to_early), got(&to_late)), (vec![6, 7], vec![6, 7]));
}

#[test]
fn a_session_that_joined_across_a_gap_reads_the_log_too() {
    let hub = Hub::new(1);
    let (link, queue) = newcomer(&hub);
    assert!(hub.gap(P).is_empty(), "its script is still on the way");
    hub.deliver(P, Envelope::Canary { ms: 90 });
    let missed = hub.go_live(P, &link, seat(&link, "u"), Start::Seen(id(5), None)).unwrap();
    assert_eq!(missed.from, id(5), "the canary came after the gap, the answer perhaps before it");
    publish(&hub, 7, everybody(None));
    link.caught_up(missed.epoch, None, &[entry(6)]);
    assert_eq!(got(&queue), [6, 7]);
}

#[test]
fn a_quiet_clients_offset_follows_the_canary_but_never_during_a_gap() {
    let hub = Hub::new(1);
    let (link, _queue) = newcomer(&hub);
    hub.deliver(P, Envelope::Canary { ms: 50 });
    assert_eq!(hub.tick(P, &link), None, "not seated yet");
    assert!(hub.go_live(P, &link, seat(&link, "u"), Start::Seen(id(10), None)).is_none());
    assert_eq!(hub.tick(P, &link).unwrap().to_string(), "49-0.R");
    publish(&hub, 60, everybody(None));
    assert_eq!(hub.tick(P, &link), None, "it has a later offset already");
    hub.deliver(P, Envelope::Canary { ms: 100 });
    let missed = hub.gap(P).pop().unwrap();
    assert_eq!(missed.from, id(99), "what is older than the canary was delivered");
    assert_eq!(hub.tick(P, &link), None, "something may be missing");
    link.caught_up(missed.epoch, None, &[]);
    assert_eq!(hub.tick(P, &link).unwrap().id.ms, 99);
}

#[test]
fn a_room_that_is_gone_is_left_by_its_sessions() {
    let hub = Hub::new(1);
    let (link, _queue) = newcomer(&hub);
    assert!(!link.is_gone());
    hub.deliver(P, Envelope::RoomGone { room: RoomId::parse("R").unwrap(), handle: None });
    assert!(link.is_gone());
}

#[test]
fn whoever_is_sent_away_is_in_no_room_once_it_knows_and_gets_nothing_of_it_any_more() {
    for farewell in ["room:kicked", "room:denied", "room:call-ended"] {
        let hub = Hub::new(1);
        let (link, queue) = newcomer(&hub);
        assert!(hub.go_live(P, &link, seat(&link, "u"), Start::Seen(id(1), None)).is_none());
        publish(&hub, 2, everybody(None));
        let _missed = hub.gap(P);
        // What arrives in a gap is told after it, and nothing is lost of what came before the farewell.
        let room = RoomId::parse("R").unwrap();
        let event = format!(r#""{farewell}",{{"roomId":"R"}}"#);
        publish(&hub, 3, everybody(None));
        let to = Audience::One(link.handle);
        hub.deliver(P, Envelope::Event { id: (4, 0), room: room.clone(), to, event: &event });
        publish(&hub, 5, everybody(None));
        assert!(!link.is_gone(), "it cannot know yet");
        assert!(link.caught_up(1, None, &[]).is_none());
        // A client that answers the farewell in that very instant is in no room.
        assert!(link.is_gone() && link.held().is_none());
        publish(&hub, 6, everybody(None));
        let from = PeerId::parse("guest-1").unwrap();
        hub.deliver(P, Envelope::Hint { room, from, event: "\"h\",1" });
        let told = texts(&queue).concat();
        assert!(told.contains("\"e\",2") && told.contains("\"e\",3") && told.contains(farewell), "{told}");
        for secret in ["\"e\",5", "\"e\",6", "\"h\""] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}

/// The texts of what was sent since the last look.
fn texts(queue: &Queue) -> Vec<String> {
    let Poll::Ready(frames) = queue.poll_frames(&mut Context::from_waker(Waker::noop())) else { return Vec::new() };
    frames.iter().map(|frame| String::from_utf8_lossy(frame.bytes()).into_owned()).collect()
}

#[test]
fn a_slow_client_gets_the_last_media_state_of_each_peer_with_offsets_that_only_grow() {
    let hub = Hub::new(1);
    let (link, queue) = newcomer(&hub);
    assert!(hub.go_live(P, &link, seat(&link, "u"), Start::Seen(id(1), None)).is_none());
    let room = RoomId::parse("R").unwrap();
    let state = |ms: u64, peer: &str, on: bool| {
        let event =
            format!(r#""participant:media-state-changed",{{"userId":"x","peerId":"{peer}","mediaState":{on}}}"#);
        let envelope = Envelope::Event { id: (ms, 0), room: room.clone(), to: everybody(Some(peer)), event: &event };
        hub.deliver(P, envelope);
    };
    // A room of 500 where everybody toggles the camera again and again, while the client reads nothing.
    for ms in 2..5_002 {
        state(ms, &format!("p{}", ms % 500), ms > 4_000);
        if ms % 1_000 == 0 {
            publish(&hub, ms, Audience::One(SessionHandle(0)));
        }
    }
    publish(&hub, 6_000, everybody(None));
    let sent = texts(&queue);
    assert_eq!(sent.len(), 501, "one for each peer, and what is no state");
    assert!(sent[..500].iter().all(|text| text.contains("\"mediaState\":true")), "the last one");
    let offset = |text: &String| text.rsplit('"').nth(1).unwrap().split('-').next().unwrap().parse::<u64>().unwrap();
    assert!(sent.iter().map(offset).is_sorted() && offset(sent.last().unwrap()) == 6_000);
}

#[test]
fn a_hint_reaches_who_is_live_without_an_offset_and_leaves_no_trace() {
    let hub = Hub::new(1);
    let ((a, to_a), (b, to_b), (_on_its_way, to_c)) = (newcomer(&hub), newcomer(&hub), newcomer(&hub));
    assert!(hub.go_live(P, &a, seat(&a, "a"), Start::Seen(id(1), None)).is_none());
    assert!(hub.go_live(P, &b, seat(&b, "b"), Start::Seen(id(1), None)).is_none());
    let typing = |on: bool| {
        let event = format!(r#""chat:typing",{{"from":"a","isTyping":{on}}}"#);
        let from = PeerId::parse("a").unwrap();
        hub.deliver(P, Envelope::Hint { room: RoomId::parse("R").unwrap(), from, event: &event });
    };
    typing(true);
    typing(false);
    assert_eq!(texts(&to_b), [r#"42["chat:typing",{"from":"a","isTyping":false}]"#], "the last is enough");
    assert!(texts(&to_a).is_empty() && texts(&to_c).is_empty());
    publish(&hub, 2, everybody(None));
    assert_eq!(got(&to_b), [2]);
}
