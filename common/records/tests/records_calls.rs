//! Records of calls on a real MongoDB.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use devcluster::mongo::Mongo;
use futures_util::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, deserialize_from_document, doc};
use mongodb::{Client, Database};
use serde_json::json;
use std::sync::LazyLock;

use switchboard_core::domain::{
    AppId, CallEdit, CallId, CallStatus, CallType, RoomId, RoomMeta, SettingsChange, Timestamp, UserId,
};
use switchboard_records::{
    CallFilter, CallOrder, CallRecord, CallsOf, HostedCall, PageStart, Records, RecordsTimeouts,
};

const HOUR: i64 = 3_600_000;

/// Database of one test, through `Records` and through the driver.
struct Bed {
    _mongo: Mongo,
    records: Records,
    database: Database,
}

impl Bed {
    async fn start() -> Self {
        let mongo = Mongo::start().await.unwrap();
        let uri = mongo.uri("calls");
        let records = Records::connect(&uri, RecordsTimeouts::default()).await.unwrap();
        records.ensure_indexes().await.unwrap();
        let database = Client::with_uri_str(&uri).await.unwrap().database("calls");
        Self { _mongo: mongo, records, database }
    }

    async fn put(&self, collection: &str, document: Document) {
        self.database.collection::<Document>(collection).insert_one(document).await.unwrap();
    }

    /// Returns the profile of all commands on `videocalls`.
    async fn profile(&self) -> Vec<Document> {
        let profile = self.database.collection::<Document>("system.profile");
        let ours = doc! { "ns": { "$regex": "\\.(videocalls|callevents|participants|users|chatmessages)$" }, "op": { "$ne": "getmore" } };
        profile.find(ours).sort(doc! { "ts": 1 }).await.unwrap().try_collect().await.unwrap()
    }
}

fn user(number: u32) -> UserId {
    UserId::parse(&format!("{number:024x}")).unwrap()
}

fn call(number: u32, more: Document) -> CallRecord {
    let mut document = doc! {
        "_id": ObjectId::parse_str(format!("{number:024x}")).unwrap(),
        "hostId": ObjectId::parse_str(user(1).as_str()).unwrap(),
        "title": format!("Call {number}"), "roomId": format!("ROOM{number}"), "status": "waiting",
        "createdAt": DateTime::from_millis(i64::from(number)), "revision": 1_i64,
    };
    document.extend(more);
    deserialize_from_document(document).unwrap()
}

#[tokio::test]
async fn pages_of_unchanged_live_calls_have_each_call_once_also_when_many_have_the_same_date() {
    let bed = Bed::start().await;
    // Seven calls with one date between others, and ids that are text, as the old backend stored.
    for number in 0..20_u32 {
        let date = DateTime::from_millis(if (5..12).contains(&number) { 5 } else { number.into() });
        let more = doc! { "status": "live", "updatedAt": date };
        bed.records.insert_call(&call(number, more)).await.unwrap();
    }
    let text = doc! {
        "_id": format!("{:024x}", 99), "hostId": "nobody", "title": "Old", "roomId": "OLD", "status": "live",
        "createdAt": DateTime::from_millis(1), "updatedAt": DateTime::from_millis(5), "revision": 1_i64,
    };
    bed.put("videocalls", text).await;
    for max in [1, 3, 4, 21, 100] {
        let (mut ids, mut position) = (Vec::new(), None);
        loop {
            let page = bed.records.unchanged_live_calls(Timestamp(HOUR), position.as_ref(), max).await.unwrap();
            ids.extend(page.0.into_iter().map(|(call, _)| call));
            position = page.1;
            if position.is_none() {
                break;
            }
        }
        let found = ids.len();
        ids.sort_by_key(|id| id.as_str().to_owned());
        ids.dedup();
        assert_eq!((found, ids.len()), (21, 21), "pages of {max}");
    }
}

#[tokio::test]
async fn a_read_takes_a_fixed_number_of_commands_and_none_scans_a_collection() {
    let bed = Bed::start().await;
    for number in 0..300 {
        let date = DateTime::from_millis(i64::from(number) * HOUR);
        let status = if number % 3 == 0 { "scheduled" } else { "ended" };
        let host = ObjectId::parse_str(user(number % 50).as_str()).unwrap();
        let more = doc! { "hostId": host, "scheduledAt": date, "status": status, "counts": {} };
        bed.records.insert_call(&call(number, more)).await.unwrap();
    }
    for number in 300..310 {
        let more = doc! { "roomId": format!("acme.r{number}"), "hostId": "acme.nobody", "counts": {} };
        bed.records.insert_call(&call(number, more)).await.unwrap();
    }
    bed.database.run_command(doc! { "profile": 2 }).await.unwrap();
    let (records, id, room) =
        (&bed.records, CallId::parse(&format!("{:024x}", 7)).unwrap(), RoomId::parse("ROOM7").unwrap());
    let mut commands = 0;
    let mut spent = async |what: &str, allowed: usize| {
        let all = bed.profile().await;
        assert_eq!(all.len() - commands, allowed, "{what}: {:?}", &all[commands..]);
        for command in &all[commands..] {
            let plan = command.get_str("planSummary").unwrap_or_default();
            assert!(!plan.contains("COLLSCAN"), "{what}: {plan}");
            assert!(plan.contains("IXSCAN") || plan.contains("IDHACK") || plan.contains("EXPRESS"), "{what}: {plan}");
            let examined = command.get_i32("docsExamined").unwrap_or_default();
            assert!(examined < 100, "{what} looked at {examined} documents");
        }
        commands = all.len();
    };

    assert!(records.call(&AppId::default(), &id).await.unwrap().is_some());
    spent("call", 1).await;
    let mut call = records.call(&AppId::default(), &id).await.unwrap().unwrap();
    spent("call", 1).await;
    assert!(!records.involves(&call, &user(8)).await.unwrap());
    spent("involves", 1).await;
    records.show_participants(&mut call, 0, 10).await.unwrap();
    spent("show_participants", 2).await;
    assert_eq!(records.account_statistics(&user(7), Timestamp(0)).await.unwrap().calls, 6);
    spent("account_statistics", 2).await;
    assert!(records.call_by_room(&room).await.unwrap().is_some());
    spent("call_by_room", 1).await;
    assert!(records.call_by_room_with_profiles(&room).await.unwrap().is_some());
    spent("call_by_room_with_profiles", 1).await;
    for order in [CallOrder::Created, CallOrder::Scheduled, CallOrder::Started, CallOrder::Title] {
        let filter = CallFilter {
            of: CallsOf::User(AppId::default(), user(7)),
            status: Some(CallStatus::Ended),
            call_type: Some(CallType::Public),
            search: Some("call".into()),
            created: (Some(Timestamp(0)), Some(Timestamp(HOUR))),
            order: (order, true),
            start: PageStart::Skip(1),
            limit: 2,
        };
        let page = records.list_calls(&filter).await.unwrap();
        assert_eq!((page.calls.len(), page.total), (2, 4));
        // The ids of calls that the user hosts and of those that the user joined; then the page. By
        // title, the order of the page comes before its calls.
        spent("list_calls", if order == CallOrder::Title { 4 } else { 3 }).await;
        let of = CallsOf::App(AppId::parse("acme").unwrap());
        let page = records.list_calls(&CallFilter { of, status: None, created: (None, None), ..filter }).await.unwrap();
        assert_eq!((page.calls.len(), page.total), (2, 10));
        assert!(page.calls.iter().all(|call| call.room.as_str().starts_with("acme.") && call.participants.is_empty()));
        spent("list_calls of an app", if order == CallOrder::Title { 3 } else { 2 }).await;
    }
    assert_eq!(records.unopened_calls(Timestamp(10 * HOUR), 100).await.unwrap().len(), 4);
    spent("unopened_calls", 1).await;
    assert!(records.unchanged_live_calls(Timestamp(10 * HOUR), None, 100).await.unwrap().0.is_empty());
    spent("unchanged_live_calls", 1).await;
    records.end_call(&id, Timestamp(1)).await.unwrap();
    spent("end_call", 1).await;
    let edit = CallEdit { title: Some("New".into()), ..CallEdit::default() };
    records
        .edit_call(hosted(&CallId::parse(&format!("{:024x}", 9)).unwrap(), &user(9)), &edit, Timestamp(2))
        .await
        .unwrap();
    spent("edit_call", 1).await;
    records.call_events(&id).await.unwrap();
    spent("call_events", 1).await;
    assert!(records.chat_page((&AppId::default(), &id), &user(7), 0, 10).await.unwrap().is_some());
    spent("chat_page", 1).await;
    assert_eq!(records.deleted_calls(Timestamp(10), 100).await.unwrap(), []);
    spent("deleted_calls", 1).await;
}

#[tokio::test]
async fn a_call_of_the_old_backend_is_read_listed_edited_and_ended_with_ids_of_every_form() {
    let bed = Bed::start().await;
    let (host, guest, id) = (ObjectId::new(), ObjectId::new(), ObjectId::new());
    for (person, name) in [(host, "Ada"), (guest, "Grace")] {
        bed.put("users", doc! { "_id": person, "name": name, "email": format!("{name}@x.y"), "__v": 0 }).await;
    }
    bed.put(
        "videocalls",
        doc! {
            "_id": id.to_hex(), "title": "Old times", "hostId": host.to_hex(), "roomId": "OLDTIMES1234",
            "participants": [
                { "userId": host.to_hex(), "role": "host", "joinedAt": DateTime::from_millis(5), "isConnected": true },
                { "userId": guest, "role": "participant", "isConnected": false, "leftAt": null, "_id": ObjectId::new() },
            ],
            "status": "live", "type": "private", "settings": { "chatEnabled": false }, "startedAt": DateTime::from_millis(5),
            "maxParticipants": 12.0, "passcode": null, "joinLink": "http://old/OLDTIMES1234", "__v": 2,
        },
    )
    .await;
    let (id, host) = (CallId::parse(&id.to_hex()).unwrap(), UserId::parse(&host.to_hex()).unwrap());
    let read = bed.records.call(&AppId::default(), &id).await.unwrap().unwrap();
    assert_eq!((read.title.as_str(), read.max_participants, read.settings.chat_enabled), ("Old times", 12, false));
    let names: Vec<_> = read.participants.iter().map(|entry| read.profile(&entry.user).name).collect();
    assert_eq!(names, ["Ada", "Grace"]);

    let filter = CallFilter {
        of: CallsOf::User(AppId::default(), host.clone()),
        status: None,
        call_type: None,
        search: None,
        created: (None, None),
        order: (CallOrder::Created, true),
        start: PageStart::Skip(0),
        limit: 10,
    };
    assert_eq!(bed.records.list_calls(&filter).await.unwrap().calls[0].id, id);
    let edit = CallEdit { title: Some("$title".into()), passcode: Some(None), ..CallEdit::default() };
    let edited = bed.records.edit_call(hosted(&id, &host), &edit, Timestamp(9)).await.unwrap().unwrap();
    assert_eq!((edited.title.as_str(), edited.revision), ("$title", 1));
    bed.records.end_call(&id, Timestamp(3 * 60_000)).await.unwrap();
    let ended = bed.records.call(&AppId::default(), &id).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.duration), (CallStatus::Ended, Some(3)));
    assert!(!ended.participants[0].is_connected);
}

#[tokio::test]
async fn the_fields_of_two_concurrent_edits_are_all_written() {
    let bed = Bed::start().await;
    bed.records.insert_call(&call(1, doc! {})).await.unwrap();
    let (id, host) = (CallId::parse(&format!("{:024x}", 1)).unwrap(), user(1));
    let edits = (0..20).map(|number| {
        let change = json!({ if number % 2 == 0 { "chatEnabled" } else { "videoEnabled" }: false });
        let edit = CallEdit {
            title: Some(format!("Title {number}")),
            description: (number == 7).then(|| "Seven".to_owned()),
            max_participants: (number == 8).then_some(8),
            settings: SettingsChange::read(change.as_object().unwrap()).unwrap(),
            ..CallEdit::default()
        };
        let (records, id, host) = (bed.records.clone(), id.clone(), host.clone());
        async move { records.edit_call(hosted(&id, &host), &edit, Timestamp(number)).await.unwrap().unwrap() }
    });
    let answers = futures_util::future::join_all(edits).await;
    let call = bed.records.call(&AppId::default(), &id).await.unwrap().unwrap();
    assert_eq!((call.description.as_str(), call.max_participants, call.revision), ("Seven", 8, 21));
    assert!(!call.settings.chat_enabled && !call.settings.video_enabled && call.settings.audio_enabled);
    let last = answers.iter().find(|answer| answer.revision == 21).unwrap();
    assert_eq!((&call.title, &call.updated_at), (&last.title, &last.updated_at), "the last one's fields are together");
    let mut revisions: Vec<_> = answers.iter().map(|answer| answer.revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..=21).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_record_of_an_open_call_gets_the_room_s_fields_in_any_order_of_writers() {
    let bed = Bed::start().await;
    let id = CallId::parse(&format!("{:024x}", 1)).unwrap();
    let edit = |title: &str| CallEdit { title: Some(title.into()), ..CallEdit::default() };
    bed.records.insert_call(&call(1, doc! {})).await.unwrap();
    // Two changes of the room reach the record in reverse order.
    let mut first = bed.records.call(&AppId::default(), &id).await.unwrap().unwrap().room_meta();
    (first.name, first.locked, first.version) = ("First".into(), true, 2);
    let second = RoomMeta { name: "$second".into(), passcode_hash: Some("$hash".into()), version: 3, ..first.clone() };
    let described = CallEdit { description: Some("$d".into()), ..edit("First") };
    for (edit, room) in [(edit("$second"), &second), (described, &first)] {
        let changed =
            bed.records.edit_open_call(hosted(&id, &user(1)), &edit, room, Timestamp(9)).await.unwrap().unwrap();
        assert_eq!((changed.title.as_str(), changed.revision, changed.locked), ("$second", 3, true));
        assert_eq!(changed.passcode.as_deref(), Some("$hash"));
    }
    assert_eq!(
        bed.records.call(&AppId::default(), &id).await.unwrap().unwrap().description,
        "$d",
        "what no room has is written all the same"
    );
    let mut record = bed.records.call(&AppId::default(), &id).await.unwrap().unwrap();
    assert_eq!(RoomMeta { created_at: second.created_at.clone(), ..record.room_meta() }, second);
    record.apply_room(&first);
    assert_eq!(record.title, "$second", "the room was of an older version");
    record.apply_room(&RoomMeta { version: 4, ..first });
    assert_eq!((record.title.as_str(), record.revision), ("First", 4));
}

#[tokio::test]
async fn only_the_host_edits_a_call_and_only_as_its_status_allows() {
    let bed = Bed::start().await;
    for (number, status) in [(1, "waiting"), (2, "live"), (3, "ended"), (4, "cancelled")] {
        bed.records.insert_call(&call(number, doc! { "status": status })).await.unwrap();
    }
    let edit = async |number: u32, host: u32, edit: &CallEdit| {
        let id = CallId::parse(&format!("{number:024x}")).unwrap();
        bed.records.edit_call(hosted(&id, &user(host)), edit, Timestamp(9)).await.unwrap()
    };
    let title = CallEdit { title: Some("T".into()), ..CallEdit::default() };
    let date = |at| CallEdit { scheduled_at: Some(at), ..CallEdit::default() };
    let status = |call: Option<CallRecord>| call.map(|call| (call.status, call.scheduled_at));
    assert!(edit(1, 2, &title).await.is_none(), "somebody else's call");
    assert_eq!(status(edit(1, 1, &date(Some(Timestamp(8)))).await), Some((CallStatus::Scheduled, Some(Timestamp(8)))));
    assert_eq!(status(edit(1, 1, &date(None)).await), Some((CallStatus::Waiting, None)));
    assert_eq!(status(edit(2, 1, &title).await), Some((CallStatus::Live, None)));
    assert!(edit(2, 1, &date(None)).await.is_none(), "it has begun");
    for over in [3, 4] {
        assert!(edit(over, 1, &title).await.is_none());
    }
}

#[tokio::test]
async fn a_deleted_call_is_not_found_and_frees_its_room() {
    let bed = Bed::start().await;
    bed.records.insert_call(&call(1, doc! {})).await.unwrap();
    let id = CallId::parse(&format!("{:024x}", 1)).unwrap();
    // Another user gave a room a name that looks made up.
    bed.records.insert_call(&call(9, doc! { "roomId": format!("deleted-{id}") })).await.unwrap();
    assert!(!bed.records.delete_call(hosted(&id, &user(2)), Timestamp(5)).await.unwrap(), "somebody else's call");
    assert!(bed.records.delete_call(hosted(&id, &user(1)), Timestamp(5)).await.unwrap());
    assert!(!bed.records.delete_call(hosted(&id, &user(1)), Timestamp(6)).await.unwrap());
    assert!(bed.records.call(&AppId::default(), &id).await.unwrap().is_none());
    assert!(bed.records.call_by_room(&RoomId::parse("ROOM1").unwrap()).await.unwrap().is_none());
    let edit = CallEdit::default();
    assert!(bed.records.edit_call(hosted(&id, &user(1)), &edit, Timestamp(7)).await.unwrap().is_none());
    bed.records.insert_call(&call(2, doc! { "roomId": "ROOM1" })).await.unwrap();
}

/// Returns a call of the default app with its host.
fn hosted<'a>(id: &'a CallId, host: &'a UserId) -> HostedCall<'a> {
    static ROOM: LazyLock<RoomId> = LazyLock::new(|| RoomId::parse("r").unwrap());
    HostedCall { id, room: &ROOM, host }
}
