use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::RoomId;
use switchboard_rooms::RoomPeek;

use super::support::{Reply, Service, User, came, said, went};

fn path(call: &Value) -> String {
    format!("/api/video-calls/{}", call["_id"].as_str().unwrap())
}

fn by_room(call: &Value) -> String {
    format!("/api/video-calls/room/{}", call["roomId"].as_str().unwrap())
}

#[tokio::test]
async fn a_new_call_waits_for_its_host_with_every_default() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call =
        service.call(&ann, json!({ "title": "  Stand-up ", "settings": { "chatEnabled": false }, "unknown": 1 })).await;
    let room = call["roomId"].as_str().unwrap();
    assert!(room.len() == 12 && room.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{room}");
    assert_eq!(call["joinLink"], format!("http://page.test/r/{room}"));
    for (field, value) in [
        ("title", json!("Stand-up")),
        ("description", json!("")),
        ("status", json!("waiting")),
        ("type", json!("public")),
        ("maxParticipants", json!(100)),
        ("hasPasscode", json!(false)),
        ("hostId", json!(ann.id)),
        ("currentParticipants", json!(0)),
        ("scheduledAt", Value::Null),
    ] {
        assert_eq!(call[field], value, "{field}");
    }
    assert_eq!((&call["settings"]["chatEnabled"], &call["settings"]["videoEnabled"]), (&json!(false), &json!(true)));
    assert_eq!(call["participants"][0]["userId"], json!(ann.id));
    assert_eq!((&call["participants"][0]["role"], &call["host"]["name"]), (&json!("host"), &json!("Ann")));
    let read = service.get(&path(&call), Some(&ann.token)).await;
    assert_eq!(read.data(), &call);
    assert_eq!(service.get(&by_room(&call), None).await.data(), &call);
}

#[tokio::test]
async fn a_refused_call_names_every_invalid_field() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    for (field, value) in [
        ("title", json!("")),
        ("title", json!("x".repeat(201))),
        ("title", json!({ "$gt": "" })),
        ("description", json!("x".repeat(1001))),
        ("description", json!("a\u{7}")),
        ("type", json!("secret")),
        ("type", json!(1)),
        ("scheduledAt", json!("tomorrow")),
        ("scheduledAt", json!("2001-01-01T00:00:00Z")),
        ("maxParticipants", json!(1)),
        ("maxParticipants", json!(501)),
        ("maxParticipants", json!("10")),
        ("maxParticipants", json!(2.5)),
        ("passcode", json!("123")),
        ("passcode", json!(1234)),
        ("settings", json!([])),
        ("settings", json!({ "chatEnabled": "yes" })),
        ("invitedUserIds", json!("me")),
        ("invitedUserIds", json!(["guest-0123456789abcdef"])),
        ("invitedUserIds", json!(["bob"])),
        ("invitedUserIds", json!(["0123456789ABCDEF01234567"])),
    ] {
        let mut form = json!({ "title": "T" });
        form[field] = value.clone();
        let reply = service.post("/api/video-calls", Some(&ann.token), form).await;
        assert_eq!(reply.refusal(), (400, "VALIDATION_ERROR"), "{field} = {value}");
        assert_eq!(reply.fields(), [field], "{value}");
    }
    assert_eq!(service.post("/api/video-calls", None, json!({ "title": "T" })).await.refusal(), (401, "UNAUTHORIZED"));
}

#[tokio::test]
async fn a_scheduled_call_keeps_its_date_in_utc() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({ "scheduledAt": "2099-01-01T02:00:00+02:00" })).await;
    assert_eq!((&call["status"], &call["scheduledAt"]), (&json!("scheduled"), &json!("2099-01-01T00:00:00.000Z")));
}

#[tokio::test]
async fn a_whole_number_may_be_written_as_a_double() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let body = r#"{ "title": "T", "maxParticipants": 10.0 }"#;
    let request = service.request(Method::POST, "/api/video-calls").bearer_auth(&ann.token);
    let created = service.send(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(created.data()["maxParticipants"], 10, "{created:?}");
    let list = service.get("/api/video-calls?page=1.0&limit=5.0", Some(&ann.token)).await;
    assert_eq!(list.body["pagination"]["limit"], 5, "{list:?}");
    assert_eq!(service.get("/api/video-calls?limit=5.5", Some(&ann.token)).await.fields(), ["limit"]);
}

/// Sets fields of a call's record.
async fn set(service: &Service, call: &Value, fields: Document) {
    let calls = service.database().await.collection::<Document>("videocalls");
    let id = ObjectId::parse_str(call["_id"].as_str().unwrap()).unwrap();
    let update = calls.update_one(doc! { "_id": id }, doc! { "$set": fields }).await.unwrap();
    assert_eq!(update.matched_count, 1);
}

#[tokio::test]
async fn a_period_includes_the_day_that_ends_it_and_its_offsets_count() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    for (title, created) in
        [("first", "2026-01-30T00:00:00Z"), ("night", "2026-01-31T23:59:59.999Z"), ("next", "2026-02-01T00:00:00Z")]
    {
        let call = service.call(&ann, json!({ "title": title })).await;
        set(&service, &call, doc! { "createdAt": DateTime::parse_rfc3339_str(created).unwrap() }).await;
    }
    for (period, expected) in [
        ("startDate=2026-01-30&endDate=2026-01-31", &["first", "night"][..]),
        ("startDate=2026-01-31&endDate=2026-01-31", &["night"]),
        ("endDate=2026-01-31T23:59:59.998Z", &["first"]),
        ("startDate=2026-02-01", &["next"]),
        ("startDate=2026-02-01T02:00:00%2B02:00", &["next"]),
        // An unencoded plus reaches the service as a blank.
        ("startDate=2026-02-01T02:00:00+02:00", &["next"]),
        ("startDate=2026-01-31T19:00:00-05:00", &["next"]),
        ("startDate=2026-02-01T02:00:00.001%2B0200", &[]),
    ] {
        let list = service.get(&format!("/api/video-calls?order=asc&{period}"), Some(&ann.token)).await;
        let titles: Vec<_> =
            list.data().as_array().unwrap().iter().map(|call| call["title"].as_str().unwrap()).collect();
        assert_eq!(titles, expected, "{period}");
    }
    let unzoned = service.get("/api/video-calls?startDate=2026-01-31T12:00:00", Some(&ann.token)).await;
    assert_eq!(unzoned.fields(), ["startDate"], "the zone of a time without an offset is unknown");
}

#[tokio::test]
async fn titles_are_sorted_as_people_sort_them() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    for title in ["Zebra", "call 10", "apple", "Call 2", "\u{c4}pfel", "$title", "zebra"] {
        service.call(&ann, json!({ "title": title })).await;
    }
    let sorted = ["$title", "\u{c4}pfel", "apple", "Call 2", "call 10", "zebra", "Zebra"];
    for (order, expected) in [("asc", sorted.to_vec()), ("desc", sorted.iter().rev().copied().collect())] {
        let list = service.get(&format!("/api/video-calls?sort=title&order={order}"), Some(&ann.token)).await;
        let titles: Vec<_> =
            list.data().as_array().unwrap().iter().map(|call| call["title"].as_str().unwrap()).collect();
        assert_eq!(titles, expected);
        assert_eq!((&list.body["pagination"]["total"], &list.data()[0]["host"]["name"]), (&json!(7), &json!("Ann")));
    }
}

#[tokio::test]
async fn pages_by_position_show_each_call_once_while_calls_are_added() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    for number in 0..7 {
        let call = service.call(&ann, json!({ "title": format!("Call {}", number % 3) })).await;
        if number % 2 == 0 {
            // Equal dates: the ids decide.
            let date = DateTime::from_millis(1_900_000_000_000 + i64::from(number / 4));
            set(&service, &call, doc! { "scheduledAt": date, "startedAt": date }).await;
        }
    }
    let mut added = 7;
    for sort in ["createdAt", "scheduledAt", "startedAt", "title"] {
        for order in ["asc", "desc"] {
            let first = format!("/api/video-calls?sort={sort}&order={order}&limit=2");
            let whole = service.get(&format!("{first}0"), Some(&ann.token)).await;
            let ids = |reply: &Reply| -> Vec<Value> {
                reply.data().as_array().unwrap().iter().map(|call| call["id"].clone()).collect()
            };
            let (expected, mut found, mut next) = (ids(&whole), Vec::new(), String::new());
            assert_eq!(expected.len(), added);
            loop {
                let page = service.get(&format!("{first}{next}"), Some(&ann.token)).await;
                found.extend(ids(&page));
                // A new call comes to every beginning of the list while the client pages.
                if next.is_empty() {
                    service.call(&ann, json!({ "title": "Call 1" })).await;
                    added += 1;
                }
                match page.body["pagination"]["next"].as_str() {
                    Some(position) => next = format!("&after={position}"),
                    None => break,
                }
            }
            let known: Vec<_> = found.iter().filter(|id| expected.contains(id)).cloned().collect();
            assert_eq!(known, expected, "{sort} {order}: each call once, in order");
            let both = service.get(&format!("{first}{next}&page=2"), Some(&ann.token)).await;
            assert_eq!(both.fields(), ["page"]);
            let other = if order == "asc" { "desc" } else { "asc" };
            let wrong =
                service.get(&format!("/api/video-calls?sort={sort}&order={other}{next}"), Some(&ann.token)).await;
            assert_eq!(wrong.fields(), ["after"], "a position of another order");
        }
    }
}

#[tokio::test]
async fn other_callers_see_only_the_short_form_of_a_private_call() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({ "type": "private", "passcode": "s3cret" })).await;
    assert_eq!(call["hasPasscode"], true);
    assert!(!call.to_string().contains("s3cret") && !call.to_string().contains("argon2"));
    for token in [None, Some(bob.token.as_str())] {
        assert_eq!(service.get(&path(&call), token).await.refusal(), (403, "FORBIDDEN"));
        let door = service.get(&by_room(&call), token).await;
        let expected = json!({
            "_id": call["_id"], "id": call["_id"], "title": "A call", "type": "private", "requiresAuth": true,
            "requiresPasscode": true, "requiresInvitation": false, "maxParticipants": 100, "currentParticipants": 0,
        });
        assert_eq!(door.data(), &expected);
    }
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.data()["hostId"], json!(ann.id));
}

#[tokio::test]
async fn an_unknown_call_is_a_coded_404() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let missing = "/api/video-calls/0123456789abcdef01234567";
    assert_eq!(service.get(missing, None).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(service.get("/api/video-calls/room/NOSUCHROOM", None).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(
        service.post(&format!("{missing}/end"), Some(&ann.token), json!({})).await.refusal(),
        (404, "CALL_NOT_FOUND")
    );
    for malformed in ["/api/video-calls/xyz", "/api/video-calls/room/a%7Bb"] {
        assert_eq!(service.get(malformed, None).await.refusal(), (400, "VALIDATION_ERROR"), "{malformed}");
    }
}

#[tokio::test]
async fn a_list_has_the_callers_calls_in_pages_and_filtered() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    for number in 0..5 {
        let kind = if number % 2 == 0 { "public" } else { "private" };
        service.call(&ann, json!({ "title": format!("Call {number} (a.b)"), "type": kind })).await;
    }
    service.call(&bob, json!({ "title": "Call of Bob" })).await;
    let list = async |query: &str| service.get(&format!("/api/video-calls?{query}"), Some(&ann.token)).await;
    let titles = |reply: &super::support::Reply| -> Vec<String> {
        let calls = reply.data().as_array().unwrap();
        calls.iter().map(|call| call["title"].as_str().unwrap()[..6].to_owned()).collect()
    };
    let first = list("page=1&limit=2&sort=title&order=asc").await;
    assert_eq!(titles(&first), ["Call 0", "Call 1"]);
    let mut pagination = first.body["pagination"].clone();
    assert!(pagination.as_object_mut().unwrap().remove("next").is_some_and(|next| next.is_string()));
    assert_eq!(pagination, json!({ "page": 1, "limit": 2, "total": 5, "pages": 3 }));
    assert_eq!(first.data()[0]["host"]["name"], "Ann");
    assert_eq!(titles(&list("page=3&limit=2&sort=title&order=asc").await), ["Call 4"]);
    let beyond = list("page=9&limit=2").await;
    assert_eq!((beyond.data().as_array().unwrap().len(), &beyond.body["pagination"]["total"]), (0, &json!(5)));
    assert_eq!(titles(&list("type=private&sort=title&order=asc").await), ["Call 1", "Call 3"]);
    assert_eq!(list("status=ended").await.body["pagination"]["total"], 0);
    assert_eq!(list("search=CALL%203%20(a.b").await.body["pagination"]["total"], 1);
    assert_eq!(list("search=.*").await.body["pagination"]["total"], 0);
    assert_eq!(list("startDate=2099-01-01").await.body["pagination"]["total"], 0);
    assert_eq!(list("endDate=2099-01-01").await.body["pagination"]["total"], 5);
    let empty = list("page=&limit=&status=&type=&search=&sort=&order=&startDate=&endDate=").await;
    assert_eq!(empty.body["pagination"], json!({ "page": 1, "limit": 10, "total": 5, "pages": 1 }));
    let twice = list("page=1&status=live&status=ended&page=1&other=1&other=2").await;
    assert_eq!((twice.refusal(), twice.fields()), ((400, "VALIDATION_ERROR"), vec!["page", "status"]));
    let wrong = list("page=0&limit=101&status=x&type=y&sort=z&order=up&startDate=soon").await;
    assert_eq!((wrong.refusal(), wrong.fields().len()), ((400, "VALIDATION_ERROR"), 7));
    assert_eq!(service.get("/api/video-calls", None).await.refusal(), (401, "UNAUTHORIZED"));
}

#[tokio::test]
async fn only_the_host_ends_a_call_and_the_end_is_final() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({})).await;
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.status, 200);
    let end = format!("{}/end", path(&call));
    assert_eq!(service.post(&end, Some(&bob.token), json!({})).await.refusal(), (403, "HOST_REQUIRED"));
    assert_eq!(service.post(&end, None, json!({})).await.refusal(), (401, "UNAUTHORIZED"));
    let ended = service.post(&end, Some(&ann.token), json!({})).await;
    assert_eq!(ended.data()["duration"], 0);
    assert!(matches!(service.rooms.peek(&room).await.unwrap(), RoomPeek::Ended));
    let read = service.get(&path(&call), Some(&ann.token)).await;
    assert_eq!((read.text("status"), read.text("endedAt")), ("ended".into(), ended.text("endedAt")));
    let again = service.post(&end, Some(&ann.token), json!({})).await;
    assert_eq!(again.data(), ended.data());
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "CALL_ENDED"));
}

#[tokio::test]
async fn participants_read_recorded_chat_in_pages_and_private_messages_only_as_sender_or_recipient() {
    let service = Service::start().await;
    let (ann, bob, cid) = (service.user("Ann").await, service.user("Bob").await, service.user("Cid").await);
    let eve = service.user("Eve").await;
    let call = service.call(&ann, json!({})).await;
    let chat = [
        said(&ann.id, None, "one"),
        said(&bob.id, Some(&ann.id), "two"),
        said(&bob.id, None, "three"),
        said(&ann.id, Some(&cid.id), "four"),
        said("guest-0123456789abcdef", None, "five"),
    ];
    service.record(&call, [came(&bob.id), came(&cid.id)].into_iter().chain(chat)).await;
    let path = format!("/api/video-calls/{}/messages", call["_id"].as_str().unwrap());
    let read = async |user: &User, query: &str| {
        let reply = service.get(&format!("{path}{query}"), Some(&user.token)).await;
        let texts: Vec<_> =
            reply.data().as_array().unwrap().iter().map(|one| one["message"].as_str().unwrap().to_owned()).collect();
        (texts.join(" "), reply.body["pagination"].clone())
    };
    let pages = |page: u32, limit: u32, total: u32, pages: u32| json!({ "page": page, "limit": limit, "total": total, "pages": pages });
    assert_eq!(read(&ann, "").await, ("one two three four five".into(), pages(1, 50, 5, 1)));
    assert_eq!(read(&bob, "?limit=2").await, ("one two".into(), pages(1, 2, 4, 2)));
    assert_eq!(read(&cid, "?limit=2&page=2").await, ("four five".into(), pages(2, 2, 4, 2)));
    assert_eq!(service.get(&path, Some(&eve.token)).await.refusal(), (403, "FORBIDDEN"), "she was not there yet");
    let first = service.get(&path, Some(&bob.token)).await.data()[1].clone();
    assert_eq!(
        (&first["from"], &first["to"], &first["fromUser"]["name"], &first["type"]),
        (&json!(bob.id), &json!(ann.id), &json!("Somebody"), &json!("text"))
    );
    // A user who was removed or left reads no later messages; the host reads all.
    service.record(&call, [went(&bob.id), said(&ann.id, None, "six")]).await;
    assert_eq!(read(&bob, "").await.0, "one two three five");
    assert_eq!(
        (read(&cid, "?page=2&limit=4").await.0, read(&ann, "?page=2&limit=5").await.0),
        ("six".into(), "six".into())
    );
    // A late participant reads earlier messages only if the chat history is on.
    let settings = json!({ "settings": { "chatHistoryEnabled": false } });
    let patch = service.request(reqwest::Method::PATCH, path.trim_end_matches("/messages")).bearer_auth(&ann.token);
    assert_eq!(service.send(patch.json(&settings)).await.status, 200);
    service.record(&call, [came(&eve.id), said(&cid.id, None, "seven")]).await;
    assert_eq!(
        (read(&eve, "").await.0, read(&ann, "").await.0),
        ("seven".into(), "one two three four five six seven".into())
    );
    let other = service.user("Other").await;
    assert_eq!(service.get(&path, Some(&other.token)).await.refusal(), (403, "FORBIDDEN"));
    assert_eq!(service.get(&path, None).await.refusal(), (401, "UNAUTHORIZED"));
    let wrong = service.get(&format!("{path}?page=0&limit=101"), Some(&ann.token)).await;
    assert_eq!((wrong.refusal(), wrong.fields()), ((400, "VALIDATION_ERROR"), vec!["page", "limit"]));
}
