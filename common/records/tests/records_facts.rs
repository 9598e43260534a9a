//! Facts about calls on a real MongoDB. The file has more than 400 lines, because all tests share
//! the makers of facts.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use devcluster::mongo::Mongo;
use mongodb::Client;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use std::sync::LazyLock;

use switchboard_core::domain::{
    AppId, CallId, CallSettings, CallStatus, CallType, PeerId, Role, RoomId, Timestamp, UserId,
};
use switchboard_records::{
    CallAccess, CallChange, CallFact, CallRecord, CallUpdate, ChatMessage, ChatPage, HostedCall, LineBudget,
    LineBudgets, NewCall, Period, RecordedLines, Records, RecordsTimeouts, Stay,
};

const MINUTE: i64 = 60_000;
const BEGIN: i64 = 1_800_000_000_000;
const HOST: &str = "0123456789abcdef01234567";
const HEIR: &str = "89abcdef0123456789abcdef";
const GUEST: &str = "guest-0123456789abcdef";

/// Call with facts at given minutes after its start.
struct TestCall {
    call: CallId,
    room: RoomId,
}

impl TestCall {
    fn new(number: u32) -> Self {
        let call = CallId::parse(&format!("{number:024x}")).unwrap();
        Self { call, room: RoomId::parse(&format!("room-{number}")).unwrap() }
    }

    fn fact(&self, minute: i64, change: CallChange) -> CallFact {
        let at = BEGIN + minute * MINUTE;
        CallFact {
            event_id: format!("{}:{at}", self.call),
            order: format!("{at:015}-{:020}", 0),
            at: Timestamp(at),
            call: self.call.clone(),
            room: self.room.clone(),
            change,
        }
    }

    fn created(&self) -> CallFact {
        let call = NewCall {
            title: "Standup".to_owned(),
            host: UserId::parse(HOST).unwrap(),
            call_type: CallType::Private,
            settings: CallSettings::default(),
            max_participants: 7,
        };
        self.fact(0, CallChange::Created(Box::new(call)))
    }

    fn joined(&self, minute: i64, user: &str, join: &str, count: u32) -> CallFact {
        // MongoDB would read this name as the path of a field if it were not a literal.
        let name = "$name".to_owned();
        let role = if user == HOST { Role::Host } else { Role::Guest };
        self.fact(minute, CallChange::Joined { who: who(user, join), name, role, count, first: false })
    }

    fn left(&self, minute: i64, user: &str, join: &str) -> CallFact {
        self.fact(minute, CallChange::Left { who: who(user, join), reason: "left".to_owned(), count: 0 })
    }

    fn ended(&self, minute: i64) -> CallFact {
        self.fact(minute, CallChange::Ended { reason: "empty".to_owned() })
    }

    /// Returns the facts of a call: two overlapping devices of the host, a guest who joins twice,
    /// the end while the guest is in the call.
    fn whole(&self) -> Vec<CallFact> {
        vec![
            self.created(),
            self.joined(1, HOST, "1-0", 1),
            self.joined(2, HOST, "2-0", 2),
            self.joined(3, GUEST, "3-0", 3),
            self.left(4, HOST, "1-0"),
            self.left(5, GUEST, "3-0"),
            self.left(7, HOST, "2-0"),
            self.joined(9, GUEST, "9-0", 1),
            self.ended(11),
        ]
    }

    async fn record(&self, records: &Records) -> CallRecord {
        records.call(&AppId::default(), &self.call).await.unwrap().unwrap()
    }
}

fn who(user: &str, join: &str) -> Stay {
    Stay { user: UserId::parse(user).unwrap(), peer: PeerId::parse(user).unwrap(), join: join.to_owned() }
}

fn at(minute: i64) -> Option<Timestamp> {
    Some(Timestamp(BEGIN + minute * MINUTE))
}

async fn records(mongo: &Mongo) -> Records {
    let records = Records::connect(&mongo.uri("facts"), RecordsTimeouts::default()).await.unwrap();
    records.ensure_indexes().await.unwrap();
    records
}

fn assert_whole(call: &CallRecord) {
    assert_eq!((call.title.as_str(), call.call_type, call.max_participants), ("Standup", CallType::Private, 7));
    assert_eq!((call.status, call.started_at, call.ended_at), (CallStatus::Ended, at(1), at(11)));
    assert_eq!((call.duration, call.peak), (Some(10), 3));
    let [host, guest] = &call.participants[..] else { panic!("{:?}", call.participants) };
    assert_eq!((host.user.as_str(), host.role, host.joined_at, host.left_at), (HOST, Role::Host, at(1), at(7)));
    assert_eq!((guest.user.as_str(), guest.role, guest.joined_at, guest.left_at), (GUEST, Role::Guest, at(3), at(11)));
    assert_eq!(guest.name.as_deref(), Some("$name"));
    assert_eq!(guest.connection_id.as_deref(), Some("9-0"));
    assert!(!host.is_connected && !guest.is_connected);
}

#[tokio::test]
async fn a_call_that_empties_early_waits_again_and_a_reopened_one_keeps_each_period() {
    let mongo = Mongo::start().await.unwrap();
    let records = records(&mongo).await;
    let client = Client::with_uri_str(mongo.uri("facts")).await.unwrap();
    let calls = client.database("facts").collection::<Document>("videocalls");
    let date = |minute: i64| mongodb::bson::DateTime::from_millis(BEGIN + minute * MINUTE);
    for (number, scheduled) in [(1, true), (2, false)] {
        let story = TestCall::new(number);
        let write = async |facts: &[CallFact]| assert_eq!(records.write_facts(facts).await.unwrap(), []);
        write(&[story.created()]).await;
        if scheduled {
            let set = doc! { "$set": { "status": "scheduled", "scheduledAt": date(60) } };
            calls.update_one(doc! { "roomId": story.room.as_str() }, set).await.unwrap();
        }
        let waits = if scheduled { CallStatus::Scheduled } else { CallStatus::Waiting };
        let emptied = |minute: i64| story.fact(minute, CallChange::Emptied);
        let reopened = |minute: i64| story.fact(minute, CallChange::Reopened);
        write(&[story.joined(1, GUEST, "1-0", 1)]).await;
        assert_eq!(story.record(&records).await.status, CallStatus::Live);
        write(&[story.left(2, GUEST, "1-0"), emptied(7), emptied(7)]).await;
        let call = story.record(&records).await;
        assert_eq!((call.status, call.started_at, call.ended_at, call.present), (waits, None, None, 0));
        assert!(call.periods.is_empty(), "it did not take place");
        assert_eq!(call.participants.len(), 1, "but the participant was there");

        write(&[story.joined(60, HOST, "60-0", 1), story.left(70, HOST, "60-0"), story.ended(75)]).await;
        let first = Period { started_at: at(60).unwrap(), ended_at: at(75).unwrap() };
        let call = story.record(&records).await;
        assert_eq!((call.status, call.duration, &call.periods[..]), (CallStatus::Ended, Some(15), &[first][..]));

        // Its date is over, so that it must not be a missed call.
        write(&[reopened(80), story.joined(81, GUEST, "81-0", 1), story.left(82, GUEST, "81-0"), emptied(87)]).await;
        let call = story.record(&records).await;
        assert_eq!((call.status, call.started_at, call.ended_at), (CallStatus::Waiting, None, None));
        write(&[story.joined(90, HOST, "90-0", 1), story.ended(95)]).await;
        let call = story.record(&records).await;
        let second = Period { started_at: at(90).unwrap(), ended_at: at(95).unwrap() };
        assert_eq!(
            (call.status, call.duration, &call.periods[..]),
            (CallStatus::Ended, Some(20), &[first, second][..])
        );

        // The request and the recorder write the same, in any order.
        let host = UserId::parse(HOST).unwrap();
        let call = records.reopen_call(hosted(&story.call, &host), at(100).unwrap()).await.unwrap().unwrap();
        assert_eq!((call.status, call.periods.len()), (CallStatus::Waiting, 2));
        assert!(records.reopen_call(hosted(&story.call, &host), at(100).unwrap()).await.unwrap().is_none());
        write(&[reopened(100)]).await;
        records.end_call(&story.call, at(101).unwrap()).await.unwrap();
        write(&[story.ended(101)]).await;
        let call = story.record(&records).await;
        assert_eq!((call.status, call.duration, call.periods.len()), (CallStatus::Ended, Some(20), 2));
    }
}

#[tokio::test]
async fn repeated_and_late_facts_make_the_same_record() {
    let mongo = Mongo::start().await.unwrap();
    let records = records(&mongo).await;

    let once = TestCall::new(1);
    assert_eq!(records.write_facts(&once.whole()).await.unwrap(), []);
    assert_whole(&once.record(&records).await);

    // Write every prefix before the whole, and parts again later, as a recorder that died and one
    // that lost its lease do.
    let again = TestCall::new(2);
    for length in 0..=again.whole().len() {
        assert_eq!(records.write_facts(&again.whole()[..length]).await.unwrap(), []);
        assert_eq!(records.write_facts(&again.whole()[length / 2..length]).await.unwrap(), []);
    }
    assert_whole(&again.record(&records).await);
    let kinds: Vec<_> = records.call_events(&again.call).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["created", "joined", "joined", "joined", "left", "left", "left", "joined", "ended"]);

    // The record shows the user as connected while they are in the call.
    let live = TestCall::new(3);
    records.write_facts(&live.whole()[..5]).await.unwrap();
    let call = live.record(&records).await;
    assert_eq!((call.status, call.ended_at), (CallStatus::Live, None));
    assert!(call.participants.iter().all(|entry| entry.is_connected && entry.left_at.is_none()), "one device remains");

    // The request that ends a call can write the end before the recorder does.
    let early = TestCall::new(4);
    records.write_facts(&early.whole()[..3]).await.unwrap();
    records.end_call(&early.call, at(11).unwrap()).await.unwrap();
    records.write_facts(&early.whole()).await.unwrap();
    assert_whole(&early.record(&records).await);
}

#[tokio::test]
async fn facts_that_mongodb_never_accepts_are_named_and_do_not_block_the_others() {
    let mongo = Mongo::start().await.unwrap();
    let records = records(&mongo).await;
    let (first, mut second, third) = (TestCall::new(1), TestCall::new(2), TestCall::new(3));
    second.room = first.room.clone();
    let facts = [first.created(), second.created(), third.created(), third.joined(1, HOST, "1-0", 1)];
    let refused = records.write_facts(&facts).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == 1 && refused[0].1.starts_with("11000"), "{refused:?}");
    assert_eq!(third.record(&records).await.status, CallStatus::Live);
}

#[tokio::test]
async fn recorders_count_each_other_by_their_announcements() {
    let mongo = Mongo::start().await.unwrap();
    let records = records(&mongo).await;
    let alive = Duration::from_secs(60);
    assert_eq!(records.announce_recorder("a", alive).await.unwrap(), 1);
    assert_eq!(records.announce_recorder("b", alive).await.unwrap(), 2);
    assert_eq!(records.announce_recorder("a", alive).await.unwrap(), 2);
    records.retire_recorder("b").await.unwrap();
    assert_eq!(records.announce_recorder("a", alive).await.unwrap(), 1);
}

#[tokio::test]
async fn recorded_chat_is_stored_once_and_read_only_by_its_recipients() {
    let mongo = Mongo::start().await.unwrap();
    let records = records(&mongo).await;
    let story = TestCall::new(7);
    let said = |minute, id: &str, to: Option<&str>| {
        let to = to.map(|to| UserId::parse(to).unwrap());
        let from = UserId::parse(HOST).unwrap();
        let message =
            ChatMessage { id: id.to_owned(), from, name: "$name".to_owned(), to, message: "$text".to_owned() };
        story.fact(minute, CallChange::Chat(Box::new(message)))
    };
    let mut facts = story.whole();
    facts.insert(4, said(3, "m1", None));
    facts[4].event_id.push('x');
    facts.push(said(10, "m2", Some(GUEST)));
    for _ in 0..2 {
        assert_eq!(records.write_facts(&facts).await.unwrap(), []);
    }
    assert_whole(&story.record(&records).await);
    assert_eq!(records.call_events(&story.call).await.unwrap().len(), 9, "chat is no line of the log");
    let page = async |reader: &str, skip, limit| {
        records
            .chat_page((&AppId::default(), &story.call), &UserId::parse(reader).unwrap(), skip, limit)
            .await
            .unwrap()
            .unwrap()
    };
    let ids = |page: &ChatPage| page.messages.iter().map(|message| message.message.id.clone()).collect::<Vec<_>>();
    for (reader, expected) in [(HOST, &["m1", "m2"][..]), (GUEST, &["m1", "m2"])] {
        let all = page(reader, 0, 10).await;
        assert_eq!(
            (all.involved, all.total, ids(&all)),
            (true, 2, expected.iter().map(|id| (*id).to_owned()).collect())
        );
        assert_eq!((all.messages[0].message.message.as_str(), all.messages[0].at), ("$text", facts[4].at));
        assert_eq!(ids(&page(reader, 1, 1).await), expected[1..]);
        assert_eq!((page(reader, 2, 10).await.total, page(reader, 0, 1).await.messages.len()), (2, 1));
    }
    let stranger = page("guest-ffffffffffffffff", 0, 10).await;
    assert_eq!((stranger.involved, stranger.total, stranger.messages), (false, 0, Vec::new()));
    let nowhere = CallId::parse("ffffffffffffffffffffffff").unwrap();
    assert!(
        records.chat_page((&AppId::default(), &nowhere), &UserId::parse(HOST).unwrap(), 0, 10).await.unwrap().is_none()
    );
}

#[tokio::test]
async fn chat_log_and_participants_of_a_deleted_call_are_erased_including_late_facts() {
    let mongo = Mongo::start().await.unwrap();
    let records = records(&mongo).await;
    let (story, other) = (TestCall::new(7), TestCall::new(8));
    let host = UserId::parse(HOST).unwrap();
    let said = |story: &TestCall, minute, id: &str| {
        let (from, message) = (host.clone(), "a secret".to_owned());
        let said = ChatMessage { id: id.to_owned(), from, name: "Ann".to_owned(), to: None, message };
        story.fact(minute, CallChange::Chat(Box::new(said)))
    };
    for told in [&story, &other] {
        let mut facts = told.whole();
        facts.push(said(told, 12, "m1"));
        assert_eq!(records.write_facts(&facts).await.unwrap(), []);
    }
    let database = Client::with_uri_str(mongo.uri("facts")).await.unwrap().database("facts");
    let count = async |of: &TestCall| {
        let theirs = doc! { "callId": ObjectId::parse_str(of.call.as_str()).unwrap() };
        let messages = database.collection::<Document>("chatmessages").count_documents(theirs).await.unwrap();
        (records.call_events(&of.call).await.unwrap().len(), messages)
    };
    let participants = async |of: &TestCall| {
        let theirs = doc! { "callId": ObjectId::parse_str(of.call.as_str()).unwrap() };
        database.collection::<Document>("participants").count_documents(theirs).await.unwrap()
    };
    assert_eq!((participants(&story).await, participants(&other).await), (2, 2));
    assert_eq!((count(&story).await, count(&other).await), ((9, 1), (9, 1)));
    records.erase_call_data(&story.call).await.unwrap();
    assert_eq!((count(&story).await, count(&other).await), ((0, 0), (9, 1)));
    assert_eq!((participants(&story).await, participants(&other).await), (0, 2));

    assert!(records.delete_call(hosted(&story.call, &host), Timestamp(1_000)).await.unwrap());
    assert_eq!(records.write_facts(&[said(&story, 13, "late"), story.joined(14, HOST, "9-0", 1)]).await.unwrap(), []);
    assert_eq!(count(&story).await, (1, 1), "facts are never refused");
    assert_eq!(records.deleted_calls(Timestamp(1_000), 10).await.unwrap(), [], "it may not be settled yet");
    assert_eq!(records.deleted_calls(Timestamp(1_001), 10).await.unwrap(), std::slice::from_ref(&story.call));
    records.erase_call(&story.call, Timestamp(2_000)).await.unwrap();
    assert_eq!((count(&story).await, count(&other).await), ((0, 0), (9, 1)));
    assert_eq!((participants(&story).await, participants(&other).await), (0, 2));
    assert_eq!(records.deleted_calls(Timestamp(9_000), 10).await.unwrap(), [], "once is enough");
}

#[tokio::test]
async fn a_change_from_the_room_is_written_unless_the_record_is_newer() {
    let mongo = Mongo::start().await.unwrap();
    let records = records(&mongo).await;
    let story = TestCall::new(1);
    let update = |minute: i64, title: &str, revision: u64, access: Option<CallAccess>| {
        let settings = CallSettings { chat_enabled: false, ..CallSettings::default() };
        let update = CallUpdate {
            title: title.to_owned(),
            host: Some(UserId::parse(HEIR).unwrap()),
            settings,
            max_participants: 3,
            locked: true,
            revision,
            access,
        };
        story.fact(minute, CallChange::Updated(Box::new(update)))
    };
    let invited = vec![UserId::parse(HOST).unwrap()];
    let access = CallAccess { call_type: CallType::InvitedOnly, passcode: Some("$hash".into()), invited };
    let role = story.fact(3, CallChange::Role { who: who(HOST, "1-0"), role: Role::Moderator });
    let facts = [story.created(), story.joined(1, HOST, "1-0", 1), update(2, "$title", 4, Some(access)), role];
    assert_eq!(records.write_facts(&facts).await.unwrap(), []);
    let call = story.record(&records).await;
    assert_eq!((call.title.as_str(), call.max_participants, call.revision), ("$title", 3, 4));
    assert_eq!(call.host.as_str(), HEIR);
    assert_eq!((call.call_type, call.invited.len(), call.settings.chat_enabled), (CallType::InvitedOnly, 1, false));
    assert_eq!((call.passcode.as_deref(), call.participants[0].role), (Some("$hash"), Role::Moderator));
    assert_eq!(records.write_facts(&[update(4, "Old", 3, None), update(5, "New", 5, None)]).await.unwrap(), []);
    let call = story.record(&records).await;
    assert_eq!((call.title.as_str(), call.revision, call.passcode.as_deref()), ("New", 5, Some("$hash")));
    assert_eq!(records.write_facts(&[update(6, "Late", 4, None)]).await.unwrap(), []);
    assert_eq!(story.record(&records).await.title, "New");
}

#[tokio::test]
async fn a_call_has_a_budget_of_lines_and_what_is_beyond_is_counted_once_and_no_participant_is_lost() {
    let mongo = Mongo::start().await.unwrap();
    let budget = |lines| LineBudget { lines, bytes: 8 << 20 };
    let budgets = LineBudgets { chat: budget(3), events: budget(4) };
    let (plain, records) = (records(&mongo).await, records(&mongo).await.with_line_budgets(budgets));
    let said = |story: &TestCall, message: &str, minute| {
        let (from, message) = (UserId::parse(HOST).unwrap(), message.to_owned());
        let said = ChatMessage { id: format!("m{minute}"), from, name: "Ann".to_owned(), to: None, message };
        story.fact(minute, CallChange::Chat(Box::new(said)))
    };
    let story = TestCall::new(71);
    let facts: Vec<_> = std::iter::once(story.created())
        .chain((1..=20).map(|minute| match minute % 2 {
            0 => said(&story, "hello", minute),
            _ => story.joined(minute, &format!("guest-{minute:016x}"), &format!("{minute}-0"), 1),
        }))
        .collect();
    // Batches as the recorder may write them: each again, with more facts at the end.
    for length in [1, 5, 5, 9, 14, 21, 21] {
        assert_eq!(records.write_facts(&facts[..length]).await.unwrap(), []);
    }
    let call = story.record(&plain).await;
    let RecordedLines { chat_lines, chat_dropped, event_lines, event_dropped, .. } = call.recorded;
    assert_eq!((chat_lines, chat_dropped, event_lines, event_dropped), (3, 7, 4, 7));
    assert_eq!(call.counts.unwrap().guests, 10, "each guest is in the statistics");
    assert_eq!(plain.call_events(&story.call).await.unwrap().len(), 4);
    let page = plain
        .chat_page((&AppId::default(), &story.call), &UserId::parse(HOST).unwrap(), 0, 100)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((page.messages.len(), page.total), (3, 3));

    let small = LineBudgets { chat: LineBudget { lines: 100, bytes: 2_000 }, ..budgets };
    let long = TestCall::new(72);
    let facts: Vec<_> =
        std::iter::once(long.created()).chain((1..=9).map(|minute| said(&long, &"x".repeat(500), minute))).collect();
    plain.clone().with_line_budgets(small).write_facts(&facts).await.unwrap();
    let RecordedLines { chat_lines, chat_bytes, chat_dropped, .. } = long.record(&plain).await.recorded;
    assert!(chat_bytes <= 2_000 && chat_lines == 2 && chat_dropped == 7, "{chat_lines} {chat_bytes} {chat_dropped}");
}

/// Returns a call of the default app with its host.
fn hosted<'a>(id: &'a CallId, host: &'a UserId) -> HostedCall<'a> {
    static ROOM: LazyLock<RoomId> = LazyLock::new(|| RoomId::parse("r").unwrap());
    HostedCall { id, room: &ROOM, host }
}
