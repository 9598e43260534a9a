use std::time::Duration;

use api::recorder::{RecorderOptions, run};
use api::webhooks::EndpointDirectory;
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::{AppId, CallId, CallSettings, CallType, RoomId, RoomMeta, Timestamp, UserId};
use switchboard_rooms::{Caller, Created, RoomPeek, UpdateOutcome};
use tokio_util::sync::CancellationToken;

use super::support::{Reply, Service, User, came, said, until};

fn path(call: &Value) -> String {
    format!("/api/video-calls/{}", call["_id"].as_str().unwrap())
}

async fn change(service: &Service, call: &Value, who: &User, fields: Value) -> Reply {
    service.send(service.request(Method::PATCH, &path(call)).bearer_auth(&who.token).json(&fields)).await
}

async fn delete(service: &Service, call: &Value, who: &User) -> Reply {
    service.send(service.request(Method::DELETE, &path(call)).bearer_auth(&who.token)).await
}

#[tokio::test]
async fn an_edit_changes_the_named_fields_and_leaves_the_others() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({ "description": "Long", "settings": { "chatEnabled": false } })).await;
    let changed = change(
        &service,
        &call,
        &ann,
        json!({
            "title": "  New ", "settings": { "waitingRoomEnabled": true, "joinMuted": true },
            "maxParticipants": 3, "passcode": "s3cret", "invitedUserIds": [bob.id], "type": "invited_only",
            "scheduledAt": "2099-01-01T00:00:00Z", "hostId": bob.id,
        }),
    )
    .await;
    let now = changed.data();
    for (field, value) in [
        ("title", json!("New")),
        ("description", json!("Long")),
        ("type", json!("invited_only")),
        ("status", json!("scheduled")),
        ("scheduledAt", json!("2099-01-01T00:00:00.000Z")),
        ("maxParticipants", json!(3)),
        ("hasPasscode", json!(true)),
        ("hostId", json!(ann.id)),
    ] {
        assert_eq!(now[field], value, "{field}");
    }
    assert_eq!(now["host"]["name"], "Ann");
    assert_eq!(
        ["chatEnabled", "waitingRoomEnabled", "joinMuted", "videoEnabled"].map(|setting| &now["settings"][setting]),
        [&json!(false), &json!(true), &json!(true), &json!(true)]
    );
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.data(), now);
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (401, "INVALID_PASSCODE"));

    let request = service.request(Method::PUT, &path(&call)).bearer_auth(&ann.token);
    let put = service.send(request.json(&json!({ "passcode": null, "scheduledAt": null, "description": null }))).await;
    assert_eq!((&put.data()["status"], &put.data()["scheduledAt"]), (&json!("waiting"), &Value::Null));
    assert_eq!((&put.data()["hasPasscode"], &put.data()["description"]), (&json!(false), &json!("")));
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.status, 200);
}

#[tokio::test]
async fn a_client_may_send_back_all_that_it_has_read_with_one_field_changed() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let calls = database_calls(&service).await;
    let put = async |call: &Value, fields: &Value| {
        service.send(service.request(Method::PUT, &path(call)).bearer_auth(&ann.token).json(fields)).await
    };
    // A call whose date has passed, one that has begun, and one with values of the old backend.
    let past = service.call(&ann, json!({ "scheduledAt": "2099-01-01T00:00:00Z" })).await;
    let yesterday = DateTime::from_millis(DateTime::now().timestamp_millis() - 86_400_000);
    set(&calls, &past, doc! { "scheduledAt": yesterday }).await;
    let live = service.call(&ann, json!({ "scheduledAt": "2099-01-01T00:00:00Z" })).await;
    service.record(&live, [came(&ann.id)]).await;
    let old = service.call(&ann, json!({})).await;
    set(&calls, &old, doc! { "description": "x".repeat(2000) }).await;
    for call in [&past, &live, &old] {
        let mut read = service.get(&path(call), Some(&ann.token)).await.data().clone();
        read["title"] = json!("New title");
        let reply = put(call, &read).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let (was, now) = (read.as_object().unwrap(), reply.data());
        for (field, value) in was.iter().filter(|(field, _)| *field != "updatedAt") {
            assert_eq!(&now[field], value, "{field}");
        }
    }
    // The same moment in another form is no change; another moment is one.
    let same = DateTime::from_millis(yesterday.timestamp_millis() + 7_200_000).try_to_rfc3339_string().unwrap();
    let same = format!("{}+02:00", same.trim_end_matches('Z'));
    assert_eq!(put(&past, &json!({ "scheduledAt": same, "title": "Another" })).await.status, 200);
    let earlier = put(&past, &json!({ "scheduledAt": "2001-01-01T00:00:00Z" })).await;
    assert_eq!((earlier.refusal(), earlier.fields()), ((400, "VALIDATION_ERROR"), vec!["scheduledAt"]));
    let later = put(&live, &json!({ "scheduledAt": "2098-01-01T00:00:00Z" })).await;
    assert_eq!((later.refusal(), later.fields()), ((400, "VALIDATION_ERROR"), vec!["scheduledAt"]));
}

async fn database_calls(service: &Service) -> mongodb::Collection<Document> {
    service.database().await.collection("videocalls")
}

async fn set(calls: &mongodb::Collection<Document>, call: &Value, fields: Document) {
    let id = ObjectId::parse_str(call["_id"].as_str().unwrap()).unwrap();
    let update = calls.update_one(doc! { "_id": id }, doc! { "$set": fields }).await.unwrap();
    assert_eq!(update.matched_count, 1);
}

#[tokio::test]
async fn a_refused_edit_names_every_invalid_field_and_changes_nothing() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    for (field, value) in [
        ("title", json!("")),
        ("title", json!({ "$set": "x" })),
        ("description", json!("x".repeat(1001))),
        ("type", json!("secret")),
        ("scheduledAt", json!("2001-01-01T00:00:00Z")),
        ("scheduledAt", json!(7)),
        ("maxParticipants", json!(1)),
        ("passcode", json!("1")),
        ("locked", json!("true")),
        ("settings", json!([])),
        ("settings", json!({ "chatEnabled": "no" })),
        ("invitedUserIds", json!("me")),
    ] {
        let mut fields = json!({ "description": "half" });
        fields[field] = value.clone();
        let reply = change(&service, &call, &ann, fields).await;
        assert_eq!((reply.refusal(), reply.fields()), ((400, "VALIDATION_ERROR"), vec![field]), "{value}");
    }
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.data(), &call);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_concurrent_edits_of_an_open_call_room_and_record_are_equal_and_later_edits_arrive() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
    let (stop, options) = (CancellationToken::new(), RecorderOptions::default());
    let options = RecorderOptions { flush_interval: Duration::from_micros(100), ..options };
    let (rooms, records) = (service.rooms.clone(), service.records.clone());
    let webhooks = EndpointDirectory::new(records.clone(), None, Vec::new());
    let recorder = tokio::spawn(run(rooms, records, webhooks, options, stop.clone()));
    let id = CallId::parse(call["_id"].as_str().unwrap()).unwrap();
    // The record has all fields of the changed room, at the room's version.
    let agree = async |at_least: u64| {
        let agreed = async || {
            let RoomPeek::Open { meta, locked, .. } = service.rooms.peek(&room).await.unwrap() else { return false };
            let record = service.records.call(&AppId::default(), &id).await.unwrap().unwrap();
            let same = RoomMeta { created_at: meta.created_at.clone(), ..record.room_meta() } == *meta;
            same && locked == record.locked && meta.version >= at_least
        };
        until("room and record to agree", agreed).await;
    };
    for round in 0..10_u64 {
        let edits = (0..16).map(|number| {
            let fields = match number {
                0 => json!({ "settings": { "chatEnabled": round % 2 == 0 } }),
                1 => json!({ "maxParticipants": 10 + round }),
                2 => json!({ "locked": round % 2 == 0 }),
                3 => json!({ "description": format!("Round {round}") }),
                _ => json!({ "title": format!("Title {round}-{number}") }),
            };
            change(&service, &call, &ann, fields)
        });
        for reply in futures_util::future::join_all(edits).await {
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let record = service.records.call(&AppId::default(), &id).await.unwrap().unwrap();
        assert_eq!(
            (record.max_participants, record.description),
            (10 + u32::try_from(round).unwrap(), format!("Round {round}"))
        );
        assert_eq!((record.settings.chat_enabled, record.locked), (round % 2 == 0, round % 2 == 0));
        // If the record's version were ahead of the room's, it would ignore this change as old.
        let name = format!("From the room {round}");
        let amended =
            service.rooms.update(&room, Caller::Operator, None, |meta| meta.name.clone_from(&name)).await.unwrap();
        assert!(matches!(amended, UpdateOutcome::Done(_)), "{amended:?}");
        agree((round + 1) * 17).await;
        assert_eq!(service.records.call(&AppId::default(), &id).await.unwrap().unwrap().title, name);
    }
    stop.cancel();
    recorder.await.unwrap();
}

#[tokio::test]
async fn a_transferred_call_belongs_to_its_new_host_before_the_record_is_updated() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({})).await;
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
    // No recorder runs, so the record is not updated at all.
    let heir = UserId::parse(&bob.id).unwrap();
    let handed = service.rooms.update(&room, Caller::Operator, None, |meta| meta.host = heir.clone()).await.unwrap();
    assert!(matches!(handed, UpdateOutcome::Done(_)), "{handed:?}");
    let end = async |who: &User| service.post(&format!("{}/end", path(&call)), Some(&who.token), json!({})).await;
    assert_eq!(change(&service, &call, &ann, json!({ "title": "Mine" })).await.refusal(), (403, "HOST_REQUIRED"));
    assert_eq!(
        (end(&ann).await.refusal(), delete(&service, &call, &ann).await.refusal()),
        ((403, "HOST_REQUIRED"), (403, "HOST_REQUIRED"))
    );
    let changed = change(&service, &call, &bob, json!({ "title": "His", "description": "Now" })).await;
    assert_eq!((changed.text("title"), changed.text("hostId")), ("His".into(), bob.id.clone()));
    assert_eq!(end(&bob).await.status, 200);
    assert_eq!(delete(&service, &call, &bob).await.status, 200);
}

#[tokio::test]
async fn a_call_is_locked_whether_or_not_its_room_is_open() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({})).await;
    let lock = async |locked: bool| {
        let changed = change(&service, &call, &ann, json!({ "locked": locked })).await;
        assert_eq!(changed.data()["locked"], locked, "{changed:?}");
    };
    lock(true).await;
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "ROOM_LOCKED"));
    assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200, "the host has the key");
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "ROOM_LOCKED"));
    lock(false).await;
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    assert!(matches!(service.rooms.peek(&room).await.unwrap(), RoomPeek::Open { locked: false, .. }));
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.status, 200);
}

#[tokio::test]
async fn deleting_a_call_erases_its_chat() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    service.record(&call, [came(&ann.id), said(&ann.id, None, "a secret")]).await;
    let id = CallId::parse(call["_id"].as_str().unwrap()).unwrap();
    let lines = async || service.records.call_events(&id).await.unwrap().len();
    let path = format!("{}/messages", path(&call));
    assert_eq!(
        (service.get(&path, Some(&ann.token)).await.body["pagination"]["total"].as_u64(), lines().await),
        (Some(1), 1)
    );
    assert_eq!(delete(&service, &call, &ann).await.status, 200);
    assert_eq!(service.get(&path, Some(&ann.token)).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(lines().await, 0);
    // Facts that were on their way are still written, and erased a day later.
    service.record(&call, [came(&ann.id)]).await;
    let deleted = api::clock::now();
    api::erasure::sweep(&service.records, deleted).await;
    assert_eq!(lines().await, 1);
    api::erasure::sweep(&service.records, Timestamp(deleted.0 + 25 * 3_600_000)).await;
    assert_eq!(lines().await, 0);
}

#[tokio::test]
async fn one_sweep_erases_the_remains_of_all_deleted_calls() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    for _ in 0..210 {
        let call = service.call(&ann, json!({})).await;
        assert_eq!(delete(&service, &call, &ann).await.status, 200);
    }
    let late = Timestamp(api::clock::now().0 + 25 * 3_600_000);
    let waiting = async || service.records.deleted_calls(late, 1_000).await.unwrap().len();
    assert!(waiting().await >= 210);
    api::erasure::sweep(&service.records, late).await;
    assert_eq!(waiting().await, 0);
}

#[tokio::test]
async fn calls_of_other_hosts_are_neither_changed_nor_deleted() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({})).await;
    assert_eq!(change(&service, &call, &bob, json!({ "title": "Mine" })).await.refusal(), (403, "HOST_REQUIRED"));
    assert_eq!(delete(&service, &call, &bob).await.refusal(), (403, "HOST_REQUIRED"));
    for method in [Method::PATCH, Method::DELETE] {
        let nobody = service.send(service.request(method.clone(), &path(&call)).json(&json!({}))).await;
        assert_eq!(nobody.refusal(), (401, "UNAUTHORIZED"));
        let missing = service.request(method, "/api/video-calls/0123456789abcdef01234567").bearer_auth(&ann.token);
        assert_eq!(service.send(missing.json(&json!({}))).await.refusal(), (404, "CALL_NOT_FOUND"));
    }
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.data(), &call);
}

#[tokio::test]
async fn a_deleted_call_ends_and_is_not_found_any_more() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({})).await;
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.status, 200);
    assert_eq!(delete(&service, &call, &ann).await.status, 200);
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    assert!(matches!(service.rooms.peek(&room).await.unwrap(), RoomPeek::Ended));
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(delete(&service, &call, &ann).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(service.get("/api/video-calls", Some(&ann.token)).await.body["pagination"]["total"], 0);
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "CALL_ENDED"));
}

#[tokio::test]
async fn a_call_that_is_over_cannot_be_changed() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    let ended = service.post(&format!("{}/end", path(&call)), Some(&ann.token), json!({})).await;
    assert_eq!(ended.status, 200);
    assert_eq!(change(&service, &call, &ann, json!({ "title": "Late" })).await.refusal(), (403, "CALL_ENDED"));
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.text("title"), "A call");
}

#[tokio::test]
async fn the_room_id_of_a_deleted_call_is_refused_until_its_tombstone_is_gone() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let (joined, untouched) = (service.call(&ann, json!({})).await, service.call(&ann, json!({})).await);
    assert_eq!(service.join(&joined, Some(&ann.token), json!({})).await.status, 200);
    for call in [&joined, &untouched] {
        let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
        assert_eq!(delete(&service, call, &ann).await.status, 200);
        // No call has this room id in MongoDB, so that only the tombstone refuses it.
        assert!(service.records.call_by_room(&room).await.unwrap().is_none());
        let meta = RoomMeta {
            call_id: switchboard_records::Records::new_call_id(),
            name: "Mine".into(),
            host: UserId::parse(&ann.id).unwrap(),
            call_type: CallType::Public,
            settings: CallSettings::default(),
            max_participants: 2,
            locked: false,
            passcode_hash: None,
            invited: Vec::new(),
            created_at: "2026-01-01T00:00:00.000Z".into(),
            version: 0,
        };
        let created = service.rooms.create(&room, &meta, "{}").await.unwrap();
        assert!(matches!(created, Created::Ended), "{created:?}");
    }
}

#[tokio::test]
async fn a_put_of_all_that_was_read_makes_guests_wait_when_it_switches_the_waiting_room_on() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let both = |settings: &Value| (settings["waitingRoomEnabled"].clone(), settings["autoAdmitGuests"].clone());
    let call = service.call(&ann, json!({})).await;
    let put = async |fields: &Value| {
        let request = service.request(Method::PUT, &path(&call)).bearer_auth(&ann.token).json(fields);
        let reply = service.send(request).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        both(&reply.data()["settings"])
    };
    let mut echoed = json!({ "title": call["title"], "settings": call["settings"] });
    assert_eq!(echoed["settings"]["autoAdmitGuests"], true);
    echoed["settings"]["waitingRoomEnabled"] = true.into();
    assert_eq!(put(&echoed).await, (json!(true), json!(false)));
    // Now it is a change.
    assert_eq!(put(&echoed).await, (json!(true), json!(true)));
    let named = json!({ "settings": { "waitingRoomEnabled": true, "autoAdmitGuests": true } });
    assert_eq!(
        both(&service.call(&ann, named).await["settings"]),
        (json!(true), json!(true)),
        "a new call has no value"
    );
}
