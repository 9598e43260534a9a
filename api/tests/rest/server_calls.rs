//! The server API: authentication, calls, tokens.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api::limits::{Rates, RatesConfig};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::{AppKeyId, RoomId};
use switchboard_rooms::{Rate, RoomPeek};

use super::support::{Backend, Reply, Service, WRITE_KEY, until};

const SCOPES: [&str; 4] = ["calls:read", "calls:write", "participants:write", "tokens:mint"];

/// Returns method, path and scope of every route of the server API, for an id that nothing has.
async fn routes(service: &Service) -> Vec<(Method, String, String)> {
    let document = service.get("/api/openapi.json", None).await.body;
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, said) in item.as_object().unwrap().iter().filter(|(_, said)| said["tags"] == json!(["server"])) {
            let scope = said["description"].as_str().unwrap().split('`').nth(1).unwrap().to_owned();
            assert_eq!(said["security"], json!([{ "appKey": [] }]));
            let path = path.strip_prefix("/api/server").unwrap().replace("{id}", "65a1b2c3d4e5f60718293a4b");
            let path = path.replace("{roomId}", "nowhere").replace("{peerId}", "ann");
            found.push((method.to_uppercase().parse().unwrap(), path, scope));
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

pub(crate) async fn create(service: &Service, backend: &Backend, mut fields: Value) -> Value {
    fields.as_object_mut().unwrap().entry("title").or_insert("A call".into());
    let reply = service.ask(backend, Method::POST, "/calls", fields).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.data().clone()
}

pub(crate) async fn mint(service: &Service, backend: &Backend, claims: Value) -> String {
    let reply = service.ask(backend, Method::POST, "/tokens", claims).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.text("token")
}

#[tokio::test]
async fn every_route_of_backends_needs_a_key_its_secret_and_its_scope() {
    let service = Service::start().await;
    let all = service.backend().await;
    let mut lacking = Vec::new();
    for scope in SCOPES {
        let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        lacking.push(service.backend_of(&all.app, &others).await);
    }
    let user = service.user("Ann").await;
    let stranger = Backend { secret: service.backend().await.secret, ..all.clone() };
    let unknown = Backend { key: AppKeyId::from_random([9; 20]).to_string(), ..all.clone() };
    let malformed = Backend { key: "sbk".to_owned(), ..all.clone() };
    let mut scopes = BTreeSet::new();
    for (method, path, scope) in routes(&service).await {
        let what = format!("{method} {path}");
        let full = format!("/api/server{path}");
        let request = || service.request(method.clone(), &full);
        assert_eq!(service.send(request()).await.refusal(), (401, "UNAUTHORIZED"), "{what}");
        assert_eq!(service.send(request().bearer_auth(&user.token)).await.refusal(), (401, "UNAUTHORIZED"), "{what}");
        assert_eq!(service.send(request().header("x-api-key", WRITE_KEY)).await.refusal().0, 401, "{what}");
        for wrong in [&stranger, &unknown, &malformed] {
            let refused = service.ask(wrong, method.clone(), &path, Value::Null).await;
            assert_eq!(refused.refusal(), (401, "INVALID_CREDENTIALS"), "{what}");
        }
        let index = SCOPES.iter().position(|known| *known == scope).unwrap();
        let refused = service.ask(&lacking[index], method.clone(), &path, Value::Null).await;
        assert_eq!(refused.refusal(), (403, "FORBIDDEN"), "{what}");
        assert!(refused.body["message"].as_str().unwrap().contains(&scope), "{refused:?}");
        // Another missing scope does not matter: the request gets to its body or its target.
        let allowed = service.ask(&lacking[(index + 1) % SCOPES.len()], method, &path, Value::Null).await;
        assert!([200, 400, 404, 415].contains(&allowed.status.as_u16()), "{what}: {allowed:?}");
        scopes.insert(scope);
    }
    assert_eq!(scopes, SCOPES.map(str::to_owned).into());
    let bearer = service.get("/api/auth/profile", Some(&all.secret)).await;
    assert_eq!(bearer.refusal(), (401, "TOKEN_INVALID"), "the secret opens no route of users");
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_10_seconds_and_made_up_ones_cost_few_reads() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let backend = service.backend().await;
    assert_eq!(other.ask(&backend, Method::GET, "/calls", Value::Null).await.status, 200);
    let path = format!("/api/admin/apps/{}/keys/{}", backend.app, backend.key);
    service.send(service.request(Method::DELETE, &path).header("x-api-key", WRITE_KEY)).await.data();
    assert_eq!(service.ask(&backend, Method::GET, "/calls", Value::Null).await.refusal(), (401, "KEY_REVOKED"));
    let (revoked, reads) = (Instant::now(), other.apps.reads());
    let mut made_up = 0;
    until("the other pod to refuse the key", async || {
        let refused = other.ask(&backend, Method::GET, "/calls", Value::Null).await;
        refused.status == 401 && refused.refusal().1 == "KEY_REVOKED"
    })
    .await;
    while made_up < 60 {
        made_up += 1;
        let key = AppKeyId::from_random([made_up; 20]).to_string();
        let reply = other.ask(&Backend { key, ..backend.clone() }, Method::GET, "/calls", Value::Null).await;
        assert_eq!(reply.refusal(), (401, "INVALID_CREDENTIALS"));
    }
    let seconds = revoked.elapsed().as_secs();
    assert!(seconds < 10, "{seconds} s");
    let reads = other.apps.reads() - reads;
    assert!(reads <= 10 + 2 * seconds + 3, "{reads} reads in {seconds} s");
}

#[tokio::test]
async fn a_key_over_its_rate_is_refused_with_the_headers_and_another_key_of_the_app_is_not() {
    let rate = |requests| Some(Rate { requests, period: Duration::from_secs(3600 * u64::from(requests)) });
    let of_key = |requests| Rates { address: None, account: rate(requests) };
    let rates = RatesConfig { server: of_key(2), server_event: of_key(1), ..RatesConfig::default() };
    let service = Service::limited(rates).await;
    let backend = service.backend().await;
    let wrong = Backend { secret: "sbs_wrong".to_owned(), ..backend.clone() };
    for _ in 0..3 {
        assert_eq!(service.ask(&wrong, Method::GET, "/calls", Value::Null).await.refusal().0, 401);
    }
    for left in ["1", "0"] {
        let reply = service.ask(&backend, Method::GET, "/calls", Value::Null).await;
        assert_eq!((reply.status.as_u16(), reply.headers["ratelimit-remaining"].to_str().unwrap()), (200, left));
    }
    let refused = service.ask(&backend, Method::GET, "/calls", Value::Null).await;
    assert_eq!(refused.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
    assert!(refused.headers.contains_key("retry-after") && refused.headers["ratelimit-limit"] == "2");
    let event = json!({ "name": "tick" });
    let sent = service.ask(&backend, Method::POST, "/rooms/none/events", event.clone()).await;
    assert_eq!(sent.refusal(), (404, "ROOM_NOT_FOUND"), "events have a rate of their own");
    let refused = service.ask(&backend, Method::POST, "/rooms/none/events", event).await;
    assert_eq!(refused.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
    let second = service.backend_of(&backend.app, &SCOPES).await;
    assert_eq!(service.ask(&second, Method::GET, "/calls", Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_backend_creates_reads_lists_changes_ends_and_deletes_a_call() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let fields = json!({
        "title": "Stand-up", "description": "Daily", "roomId": "standup", "type": "invited_only",
        "invitedUserIds": ["bob"], "maxParticipants": 5, "settings": { "waitingRoomEnabled": true },
    });
    let call = create(&service, &backend, fields).await;
    assert_eq!(
        (&call["roomId"], &call["hostId"], &call["status"]),
        (&"standup".into(), &"nobody".into(), &"waiting".into())
    );
    assert_eq!((&call["participants"], &call["requiresInvitation"]), (&json!([]), &json!(true)));
    assert!(call.get("joinLink").is_none(), "users of apps cannot sign in on the page behind it: {call}");
    let path = format!("/calls/{}", call["id"].as_str().unwrap());
    let ask = async |method: Method, path: &str, body: Value| service.ask(&backend, method, path, body).await;
    for same in [path.as_str(), "/calls/room/standup"] {
        assert_eq!(ask(Method::GET, same, Value::Null).await.data()["id"], call["id"], "{same}");
    }
    let listed = ask(Method::GET, "/calls?status=waiting&search=stand&limit=1", Value::Null).await;
    assert_eq!((&listed.data()[0]["id"], &listed.body["pagination"]["total"]), (&call["id"], &1.into()));
    assert_eq!(ask(Method::GET, "/calls?status=live", Value::Null).await.data(), &json!([]));

    let changed = ask(Method::PATCH, &path, json!({ "title": "Sync", "type": "public", "invitedUserIds": [] })).await;
    assert_eq!((changed.text("title"), changed.text("type")), ("Sync".into(), "public".into()));
    // Users find the call and its settings by their tokens.
    let token = mint(&service, &backend, json!({ "sub": "ann", "room": "standup", "role": "moderator" })).await;
    let joined = service.join(&call, Some(&token), json!({})).await;
    assert_eq!((&joined.data()["call"]["id"], &joined.data()["role"]), (&call["id"], &"moderator".into()));
    // The room is open: the change reaches it.
    ask(Method::PATCH, &path, json!({ "locked": true, "maxParticipants": 3 })).await.data();
    let room = RoomId::parse(&format!("{}.standup", backend.app)).unwrap();
    let RoomPeek::Open { locked: true, meta, .. } = service.rooms.peek(&room).await.unwrap() else {
        panic!("not locked")
    };
    assert_eq!((meta.max_participants, meta.call_id.as_str()), (3, call["id"].as_str().unwrap()));

    let ended = ask(Method::POST, &format!("{path}/end"), Value::Null).await;
    assert!(ended.data()["endedAt"].is_string());
    assert!(matches!(service.rooms.peek(&room).await.unwrap(), RoomPeek::Ended));
    assert_eq!(ask(Method::PATCH, &path, json!({ "title": "Late" })).await.refusal(), (403, "CALL_ENDED"));
    ask(Method::DELETE, &path, Value::Null).await.data();
    assert_eq!(ask(Method::GET, &path, Value::Null).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(ask(Method::GET, "/calls", Value::Null).await.data(), &json!([]));

    let owned = create(&service, &backend, json!({ "hostId": "ann" })).await;
    assert_eq!((&owned["hostId"], owned["roomId"].as_str().unwrap().len()), (&"ann".into(), 12));
    let bad =
        json!({ "title": "", "roomId": "a b", "hostId": "guest-1", "invitedUserIds": ["a b"], "passcode": "1234" });
    let refused = ask(Method::POST, "/calls", bad).await;
    assert_eq!(
        (refused.refusal(), refused.fields()),
        ((400, "VALIDATION_ERROR"), vec!["title", "invitedUserIds", "roomId", "hostId", "passcode"])
    );
}

#[tokio::test]
async fn a_call_that_nobody_could_join_is_not_made() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let ask = async |method: Method, path: &str, body: Value| service.ask(&backend, method, path, body).await;
    let closed = || json!({ "title": "A call", "type": "invited_only" });
    let open = create(&service, &backend, json!({})).await;
    let named = create(&service, &backend, json!({ "type": "invited_only", "invitedUserIds": ["ann"] })).await;
    let path = |call: &Value| format!("/calls/{}", call["id"].as_str().unwrap());
    for refused in [
        ask(Method::POST, "/calls", closed()).await,
        ask(Method::PATCH, &path(&open), closed()).await,
        ask(Method::PATCH, &path(&named), json!({ "invitedUserIds": [] })).await,
    ] {
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["invitedUserIds"]));
    }
    create(&service, &backend, json!({ "type": "invited_only", "hostId": "ann" })).await;
}

#[tokio::test]
async fn a_repeated_creation_gives_the_same_call_and_another_body_under_its_key_is_refused() {
    let service = Service::start().await;
    let (one, two) = (service.backend().await, service.backend().await);
    let send = async |backend: &Backend, key: &str, body: Value| -> Reply {
        let request =
            service.request(Method::POST, "/api/server/calls").basic_auth(&backend.key, Some(&backend.secret));
        service.send(request.header("idempotency-key", key).json(&body)).await
    };
    let body = json!({ "title": "Once", "settings": { "chatEnabled": false } });
    let replies = join_all((0..6).map(|_| send(&one, "order-7", body.clone()))).await;
    let ids: BTreeSet<_> = replies.iter().map(|reply| reply.text("id")).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(replies.iter().all(|reply| reply.status == 201));
    let other = send(&one, "order-7", json!({ "title": "Twice" })).await;
    assert_eq!(other.refusal(), (409, "IDEMPOTENCY_KEY_REUSED"));
    assert_ne!(send(&one, "order-8", body.clone()).await.text("id"), *ids.first().unwrap());
    let second_key = service.backend_of(&one.app, &["calls:write"]).await;
    assert_eq!(send(&second_key, "order-7", body.clone()).await.text("id"), *ids.first().unwrap(), "of the same app");
    let foreign = send(&two, "order-7", json!({ "title": "Mine" })).await;
    assert_eq!((foreign.status.as_u16(), foreign.text("title")), (201, "Mine".into()));
    let room = json!({ "title": "Named", "roomId": "named" });
    let first = send(&one, "named", room.clone()).await.text("id");
    assert_eq!(send(&one, "named", room.clone()).await.text("id"), first);
    let deleted = service.ask(&one, Method::DELETE, &format!("/calls/{first}"), Value::Null).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(send(&one, "named", room).await.refusal(), (404, "CALL_NOT_FOUND"), "no second call for one key");
    // A refusal before anything was done uses no key up, and a success does.
    let taken = json!({ "title": "Taken", "roomId": "taken" });
    send(&one, "first", taken.clone()).await.data();
    for (wrong, status) in [
        (json!({ "title": "" }), 400),
        (json!({ "title": "Late", "scheduledAt": "2020-01-01T00:00:00Z" }), 400),
        (json!({ "title": "Odd", "settings": { "noSuchSetting": true } }), 400),
        (taken.clone(), 409),
    ] {
        let replies = join_all((0..3).map(|_| send(&one, "corrected", wrong.clone()))).await;
        assert!(replies.iter().all(|reply| reply.status == status), "{replies:?}");
    }
    let corrected = json!({ "title": "Free", "roomId": "free" });
    let created = send(&one, "corrected", corrected.clone()).await.text("id");
    assert_eq!(send(&one, "corrected", corrected).await.text("id"), created);
    assert_eq!(send(&one, "corrected", taken).await.refusal(), (409, "IDEMPOTENCY_KEY_REUSED"));
    for wrong in ["", "has blank", &"x".repeat(129)] {
        let refused = send(&one, wrong, body.clone()).await;
        assert_eq!(
            (refused.refusal(), refused.fields()),
            ((400, "VALIDATION_ERROR"), vec!["Idempotency-Key"]),
            "{wrong}"
        );
    }
    let expiring = service.database().await.collection::<mongodb::bson::Document>("requests");
    let indexes = expiring.list_index_names().await.unwrap();
    assert!(indexes.contains(&"createdAt_1".to_owned()), "{indexes:?}");
}

#[tokio::test]
async fn repeated_creations_at_once_in_the_room_of_a_call_that_is_over_give_one_call() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let send = async |key: &str, body: &Value| -> Reply {
        let request =
            service.request(Method::POST, "/api/server/calls").basic_auth(&backend.key, Some(&backend.secret));
        service.send(request.header("idempotency-key", key).json(body)).await
    };
    let body = json!({ "title": "Weekly", "roomId": "weekly" });
    for round in 0..20 {
        let key = format!("week-{round}");
        let replies = join_all((0..4).map(|_| send(&key, &body))).await;
        let ids: BTreeSet<_> = replies.iter().map(|reply| reply.text("id")).collect();
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
        let id = ids.first().unwrap();
        assert_eq!(send(&key, &body).await.text("id"), *id, "round {round}");
        assert_eq!(send(&key, &json!({ "title": "Other" })).await.refusal(), (409, "IDEMPOTENCY_KEY_REUSED"));
        assert_eq!(send("another", &body).await.refusal(), (409, "ROOM_EXISTS"));
        service.ask(&backend, Method::POST, &format!("/calls/{id}/end"), Value::Null).await.data();
    }
}

#[tokio::test]
async fn a_minted_token_is_the_one_that_a_backend_could_sign() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let claims = json!({
        "sub": "ann", "name": "Ann Lee", "avatar": "https://a.example/ann.png", "metadata": { "tags": [] },
        "room": "lesson", "role": "host", "permissions": { "canChat": false }, "expiresIn": 600,
    });
    let reply = service.ask(&backend, Method::POST, "/tokens", claims).await;
    let token = reply.text("token");
    assert!(reply.text("expiresAt").ends_with(".000Z"), "{reply:?}");
    let joined = service.join(&json!({ "roomId": "lesson" }), Some(&token), json!({})).await;
    assert_eq!((&joined.data()["role"], &joined.data()["user"]["name"]), (&"host".into(), &"Ann Lee".into()));
    assert_eq!(joined.data()["user"]["metadata"], json!({ "tags": [] }));
    for (wrong, fields) in [
        (json!({}), vec!["sub"]),
        (json!({ "sub": "guest-0123456789abcdef" }), vec!["sub"]),
        (json!({ "sub": "nobody" }), vec!["sub"]),
        (json!({ "sub": "ann", "role": "guest", "expiresIn": 86_401 }), vec!["role", "expiresIn"]),
        (json!({ "sub": "ann", "metadata": "x".repeat(1_100) }), vec!["metadata"]),
        (json!({ "sub": "ann", "metadata": { "\u{3}": 1 } }), vec!["metadata"]),
        (json!({ "sub": "ann", "permissions": { "canFly": true } }), vec!["permissions"]),
        (json!({ "sub": "ann", "room": "a.b" }), vec!["room"]),
    ] {
        let refused = service.ask(&backend, Method::POST, "/tokens", wrong.clone()).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), fields), "{wrong}");
    }
}

#[tokio::test]
async fn two_apps_with_the_same_ids_and_the_app_of_accounts_see_and_change_nothing_of_each_other() {
    let service = Service::start().await;
    let (one, two) = (service.backend().await, service.backend().await);
    let host = service.user("Ann").await;
    let own = service.call(&host, json!({})).await;
    let room = own["roomId"].as_str().unwrap();
    let fields = json!({ "roomId": room, "hostId": "ann", "invitedUserIds": ["bob"] });
    let mut calls = Vec::new();
    for backend in [&one, &two] {
        let call = create(&service, backend, fields.clone()).await;
        assert_eq!(call["roomId"], room);
        service.seat(&backend.place(room), "ann", 1).await;
        service.seat(&backend.place(room), "bob", 2).await;
        calls.push(call);
    }
    let participants = format!("/rooms/{room}/participants");
    let names = async |backend: &Backend| -> Vec<Value> {
        let listed = service.ask(backend, Method::GET, &participants, Value::Null).await;
        listed
            .data()
            .as_array()
            .unwrap()
            .iter()
            .map(|one| json!([one["peerId"], one["role"], one["user"]["name"]]))
            .collect()
    };
    let before = names(&two).await;
    for (index, backend) in [&one, &two].into_iter().enumerate() {
        let other = &calls[1 - index]["id"].as_str().unwrap().to_owned();
        for (method, path) in [
            (Method::GET, format!("/calls/{other}")),
            (Method::PATCH, format!("/calls/{other}")),
            (Method::POST, format!("/calls/{other}/end")),
            (Method::DELETE, format!("/calls/{other}")),
            (Method::GET, format!("/calls/{}", own["id"].as_str().unwrap())),
            (Method::DELETE, format!("/calls/{}", own["id"].as_str().unwrap())),
        ] {
            let body = if method == Method::PATCH { json!({ "title": "Taken" }) } else { Value::Null };
            let refused = service.ask(backend, method.clone(), &path, body).await;
            assert_eq!(refused.refusal(), (404, "CALL_NOT_FOUND"), "{method} {path}");
        }
        let listed = service.ask(backend, Method::GET, "/calls", Value::Null).await;
        assert_eq!((listed.data().as_array().unwrap().len(), &listed.data()[0]["id"]), (1, &calls[index]["id"]));
        let by_room = service.ask(backend, Method::GET, &format!("/calls/room/{room}"), Value::Null).await;
        assert_eq!(by_room.data()["id"], calls[index]["id"]);
    }
    // Whatever one app does to its room, its namesake is as before.
    let seat = format!("{participants}/bob");
    for (method, path, body) in [
        (Method::PATCH, seat.clone(), json!({ "role": "moderator", "name": "Robert" })),
        (Method::POST, format!("{seat}/mute"), json!({ "kind": "audio" })),
        (Method::POST, format!("/rooms/{room}/events"), json!({ "name": "quiz" })),
        (Method::POST, format!("/rooms/{room}/admit"), Value::Null),
        (Method::DELETE, format!("{seat}?ban=true"), Value::Null),
        (Method::POST, format!("/calls/{}/end", calls[0]["id"].as_str().unwrap()), Value::Null),
        (Method::DELETE, format!("/calls/{}", calls[0]["id"].as_str().unwrap()), Value::Null),
    ] {
        let reply = service.ask(&one, method, &path, body).await;
        assert!(reply.status.is_success(), "{path}: {reply:?}");
    }
    assert_eq!(names(&two).await, before);
    for event in ["server:event", "participant:profile-changed", "participant:muted", "room:kicked", "room:call-ended"]
    {
        assert_eq!(service.heard(&two.place(room), "bob", event).await, Vec::<Value>::new(), "{event}");
    }
    let kept =
        service.ask(&two, Method::GET, &format!("/calls/{}", calls[1]["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!((kept.text("title"), kept.data()["currentParticipants"].as_u64()), ("A call".into(), Some(2)));
    let path = format!("/api/video-calls/{}", own["id"].as_str().unwrap());
    assert_eq!(service.get(&path, Some(&host.token)).await.text("status"), "waiting");
    let mine = service.get("/api/video-calls", Some(&host.token)).await;
    assert_eq!(mine.data().as_array().unwrap().len(), 1, "lists of accounts have no calls of apps");
}
