use std::time::Duration;

use api::limits::{Rates, RatesConfig};
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::{AppId, AppKeyId, Code, RoomId};
use switchboard_rooms::{AppReport, Rate, RoomPeek};

use super::support::{READ_KEY, Reply, Service, WRITE_KEY, until, user_token};

/// Sends a request of an operator with write scope.
async fn ask(service: &Service, method: Method, path: &str, body: Value) -> Reply {
    let request = service.request(method, &format!("/api/admin/apps{path}")).header("x-api-key", WRITE_KEY);
    service.send(if body.is_null() { request } else { request.json(&body) }).await
}

#[tokio::test]
async fn an_operator_creates_an_app_and_two_keys_and_revokes_the_older_one() {
    let service = Service::start().await;
    let created = ask(&service, Method::POST, "", json!({ "name": "Acme" })).await;
    assert_eq!(created.status, 201, "{created:?}");
    let app = created.text("id");
    let old = ask(&service, Method::POST, &format!("/{app}/keys"), json!({})).await;
    let new = ask(&service, Method::POST, &format!("/{app}/keys"), json!({ "scopes": ["tokens:mint"] })).await;
    assert_eq!((old.status.as_u16(), new.status.as_u16()), (201, 201), "{old:?} {new:?}");
    assert_eq!(old.data()["scopes"], json!(["calls:read", "calls:write", "participants:write", "tokens:mint"]));
    assert_eq!(new.data()["scopes"], json!(["tokens:mint"]));
    assert!(old.text("secret").len() == 47 && old.text("secret") != new.text("secret"));

    // The secret is shown once, and MongoDB holds none.
    let shown = ask(&service, Method::GET, &format!("/{app}"), Value::Null).await;
    assert!(!shown.body.to_string().contains("sbs_"), "{shown:?}");
    let stored: mongodb::bson::Document = service
        .database()
        .await
        .collection("apps")
        .find_one(mongodb::bson::doc! { "_id": &app })
        .await
        .unwrap()
        .unwrap();
    assert!(!stored.to_string().contains("sbs_"), "{stored}");

    let id = AppKeyId::read(&old.text("keyId")).unwrap();
    assert_eq!(service.apps.key(&id).await.unwrap().secret.expose(), old.text("secret"));
    let revoked = ask(&service, Method::DELETE, &format!("/{app}/keys/{id}"), Value::Null).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(service.apps.key(&id).await.unwrap_err().code, Code::KeyRevoked, "at once on the pod that revoked it");
    let again = ask(&service, Method::DELETE, &format!("/{app}/keys/{id}"), Value::Null).await;
    assert_eq!(again.status, 200, "a repetition succeeds");
    assert!(service.apps.key(&AppKeyId::read(&new.text("keyId")).unwrap()).await.is_ok(), "the other key stays");
    let shown = ask(&service, Method::GET, &format!("/{app}"), Value::Null).await;
    let keys = shown.data()["keys"].as_array().unwrap();
    assert_eq!((keys.len(), keys[0]["revokedAt"].is_string(), keys[1]["revokedAt"].is_null()), (2, true, true));
}

#[tokio::test]
async fn a_revoked_key_and_a_disabled_app_are_refused_on_every_pod_within_10_seconds() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let (app, key) = service.app_key().await;
    let id = AppKeyId::read(&key).unwrap();
    // The other pod has never heard of the key: the first use reads it.
    assert!(other.apps.key(&id).await.is_ok());
    let state = async |code: Option<Code>| {
        let began = std::time::Instant::now();
        until("the other pod to know", async || other.apps.key(&id).await.err().map(|error| error.code) == code).await;
        assert!(began.elapsed() < std::time::Duration::from_secs(10));
    };
    ask(&service, Method::PATCH, &format!("/{app}"), json!({ "disabled": true })).await.data();
    state(Some(Code::KeyRevoked)).await;
    ask(&service, Method::PATCH, &format!("/{app}"), json!({ "disabled": false })).await.data();
    state(None).await;
    ask(&service, Method::DELETE, &format!("/{app}/keys/{id}"), Value::Null).await.data();
    state(Some(Code::KeyRevoked)).await;
}

#[tokio::test]
async fn strangers_who_make_key_ids_up_cause_one_read_a_second_after_the_first_ten() {
    let service = Service::start().await;
    let reads = || service.apps.reads();
    let (before, began) = (reads(), std::time::Instant::now());
    for number in 0..500_u32 {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        assert_eq!(service.apps.key(&AppKeyId::from_random(bytes)).await.unwrap_err().code, Code::TokenInvalid);
    }
    // Ten at once, one a second, one at each refresh, and those at the two ends.
    let seconds = began.elapsed().as_secs();
    assert!(reads() - before <= 10 + 2 * seconds + 3, "{} reads in {seconds} s", reads() - before);
}

#[tokio::test]
async fn operators_manage_apps_by_their_scope_and_a_service_without_master_key_has_none() {
    let service = Service::start().await;
    let read = service.request(Method::POST, "/api/admin/apps").header("x-api-key", READ_KEY);
    assert_eq!(service.send(read.json(&json!({ "name": "Acme" }))).await.refusal(), (403, "FORBIDDEN"));
    let bad = ask(&service, Method::POST, "", json!({ "name": "" })).await;
    assert_eq!((bad.refusal(), bad.fields()), ((400, "VALIDATION_ERROR"), vec!["name"]));
    let (app, _) = service.app_key().await;
    for scopes in [json!(["all"]), json!([]), json!("calls:read")] {
        let bad = ask(&service, Method::POST, &format!("/{app}/keys"), json!({ "scopes": scopes })).await;
        assert_eq!((bad.refusal(), bad.fields()), ((400, "VALIDATION_ERROR"), vec!["scopes"]));
        let message = bad.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.ends_with("calls:read, calls:write, participants:write, tokens:mint"), "{message}");
    }
    for (method, path) in [
        (Method::GET, "/nosuchapp".to_owned()),
        (Method::DELETE, "/nosuchapp".to_owned()),
        (Method::POST, "/nosuchapp/keys".to_owned()),
    ] {
        let body = if method == Method::POST { json!({}) } else { Value::Null };
        assert_eq!(ask(&service, method, &path, body).await.refusal(), (404, "APP_NOT_FOUND"), "{path}");
    }
    let missing = format!("/{app}/keys/{}", AppKeyId::from_random([9; 20]));
    assert_eq!(ask(&service, Method::DELETE, &missing, Value::Null).await.refusal(), (404, "KEY_NOT_FOUND"));
    for _ in 1..20 {
        assert_eq!(ask(&service, Method::POST, &format!("/{app}/keys"), json!({})).await.status, 201);
    }
    let full = ask(&service, Method::POST, &format!("/{app}/keys"), json!({})).await;
    assert_eq!(full.refusal(), (409, "LIMIT_REACHED"));
    let page = ask(&service, Method::GET, "", Value::Null).await;
    assert_eq!(page.data()[0]["id"], app.as_str());
    let next = ask(&service, Method::GET, &format!("?after={app}"), Value::Null).await;
    assert_eq!(next.data(), &json!([]));
    ask(&service, Method::DELETE, &format!("/{app}"), Value::Null).await.data();
    assert_eq!(ask(&service, Method::GET, &format!("/{app}"), Value::Null).await.refusal(), (404, "APP_NOT_FOUND"));

    let without = service.pod_without_master_key().await;
    let refused = ask(&without, Method::POST, "", json!({ "name": "Acme" })).await;
    assert_eq!(refused.refusal(), (501, "APPS_NOT_CONFIGURED"));
    assert!(without.user("Ann").await.token.len() > 10, "accounts work as before");
}

#[tokio::test]
async fn known_keys_stay_valid_while_mongodb_is_away_and_unknown_ones_may_be_tried_again() {
    let mut mongo = devcluster::mongo::Mongo::start().await.unwrap();
    let redis = devcluster::redis::RedisServer::start().await.unwrap();
    let service = Service::on_servers(&mongo, &redis.url()).await;
    let backend = service.backend().await;
    let id = AppKeyId::read(&backend.key).unwrap();
    assert!(service.apps.key(&id).await.is_ok());
    mongo.process().kill().unwrap();
    until("an unknown key to be refused with the code of an outage", async || {
        service.apps.key(&AppKeyId::from_random([9; 20])).await.unwrap_err().code == Code::ServiceUnavailable
    })
    .await;
    assert!(service.apps.key(&id).await.is_ok());
    assert_eq!(service.ask(&backend, Method::GET, "/limits", Value::Null).await.status, 200, "read from memory");
    assert!(service.apps.note_key_uses().await.is_err(), "its use waits");
}

/// Joins a room with a user token, by REST.
async fn join(service: &Service, room: &str, token: &str) -> Reply {
    service.post("/api/video-calls/join", Some(token), json!({ "roomId": room })).await
}

#[tokio::test]
async fn an_operator_sets_and_removes_each_limit_by_itself_and_wrong_ones_are_refused() {
    let service = Service::start().await;
    let (app, _) = service.app_key().await;
    let path = format!("/{app}");
    let limits = async |body: Value| {
        ask(&service, Method::PATCH, &path, json!({ "limits": body })).await.data()["limits"].clone()
    };
    let none = ask(&service, Method::GET, &path, Value::Null).await.data()["limits"].clone();
    let names = [
        "maxConcurrentCalls",
        "maxConcurrentParticipants",
        "maxEventsPerSecond",
        "maxParticipantsPerCall",
        "maxRequestsPerSecond",
    ];
    assert_eq!(none.as_object().unwrap().keys().collect::<Vec<_>>(), names);
    assert!(none.as_object().unwrap().values().all(Value::is_null));
    for (number, name) in (1..).zip(names) {
        assert_eq!(limits(json!({ name: number })).await[name], number);
    }
    let all = limits(json!({ "maxConcurrentCalls": null, "maxEventsPerSecond": 1_000_000 })).await;
    assert_eq!(
        all,
        json!({
            "maxConcurrentCalls": null, "maxConcurrentParticipants": 2, "maxEventsPerSecond": 1_000_000,
            "maxParticipantsPerCall": 4, "maxRequestsPerSecond": 5,
        })
    );
    assert_eq!(limits(all.clone()).await, all, "a client may send back all that it has read");
    let id = AppId::parse(&app).unwrap();
    assert_eq!(service.apps.limits(&id).max_participants_per_call, Some(4), "at once on this pod");
    assert_eq!(service.apps.check_seats(&id, Some(5)).unwrap_err().code, Code::AppLimitReached);
    for (bad, field) in [
        (json!({ "maxConcurrentCalls": 0 }), "limits.maxConcurrentCalls"),
        (json!({ "maxConcurrentCalls": 1_000_001 }), "limits.maxConcurrentCalls"),
        (json!({ "maxConcurrentCalls": "5" }), "limits.maxConcurrentCalls"),
        (json!({ "maxCalls": 5 }), "limits"),
        (json!(5), "limits"),
    ] {
        let refused = ask(&service, Method::PATCH, &path, json!({ "limits": bad })).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec![field]), "{bad}");
    }
    let backend = service.backend_of(&app, &["calls:write"]).await;
    let call = service.ask(&backend, Method::POST, "/calls", json!({ "title": "A", "maxParticipants": 9 })).await;
    assert_eq!(call.data()["maxParticipants"], 4, "a call has no more seats than its app allows");
    let more = json!({ "maxParticipants": 5 });
    let refused = service.ask(&backend, Method::PATCH, &format!("/calls/{}", call.text("id")), more).await;
    assert_eq!(refused.refusal(), (403, "APP_LIMIT_REACHED"));
    let renamed = ask(&service, Method::PATCH, &path, json!({ "name": "Renamed" })).await;
    assert_eq!(renamed.data()["limits"], all);
}

#[tokio::test]
async fn the_requests_of_an_app_are_limited_on_all_pods_together_and_those_of_others_are_not() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let (app, noisy) = service.app_user("ann", "standup").await;
    let (_, quiet) = service.app_user("ann", "standup").await;
    ask(&service, Method::PATCH, &format!("/{app}"), json!({ "limits": { "maxRequestsPerSecond": 2 } })).await.data();
    other.apps.refresh().await.unwrap();
    // The bucket holds five seconds of the rate, and fills by two a second.
    let (began, mut passed) = (std::time::Instant::now(), 0);
    for number in 0..60 {
        let pod = if number % 2 == 0 { &service } else { &other };
        let reply = pod.get("/api/video-calls/room/standup", Some(&noisy)).await;
        match reply.status.as_u16() {
            404 => passed += 1,
            _ => {
                assert_eq!(reply.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
                assert!(reply.headers.contains_key("retry-after") && reply.body["message"].to_string().contains("app"));
            }
        }
        assert_eq!(pod.get("/api/video-calls/room/standup", Some(&quiet)).await.refusal(), (404, "CALL_NOT_FOUND"));
    }
    let refilled = 2 * (began.elapsed().as_secs() + 1);
    assert!((10..=10 + refilled).contains(&passed) && passed < 60, "{passed} passed");
}

#[tokio::test]
async fn a_user_over_its_own_rate_spends_nothing_of_the_requests_of_its_app() {
    let few = Some(Rate { requests: 3, period: Duration::from_secs(36_000) });
    let read = Rates { address: None, account: few };
    let service = Service::limited(RatesConfig { read, ..RatesConfig::default() }).await;
    let (app, key, secret) = service.app_secret().await;
    let limits = json!({ "limits": { "maxRequestsPerSecond": 2 } });
    ask(&service, Method::PATCH, &format!("/{app}"), limits).await.data();
    // The bucket of the app holds ten requests, and gets two a second.
    let read = async |user: &str| {
        let token = user_token((&key, &secret), user, "standup");
        service.get("/api/video-calls/room/standup", Some(&token)).await.status.as_u16()
    };
    for number in 0..40 {
        assert_eq!(read("noisy").await, if number < 3 { 404 } else { 429 }, "request {number}");
    }
    for _ in 0..3 {
        assert_eq!(read("quiet").await, 404, "the call does not exist");
    }
}

#[tokio::test]
async fn a_noisy_app_at_its_limit_of_participants_or_calls_is_refused_while_another_joins_on() {
    let service = Service::start().await;
    let (app, noisy) = service.app_user("ann", "standup").await;
    let (_, quiet) = service.app_user("ann", "standup").await;
    let id = AppId::parse(&app).unwrap();
    let limited = json!({ "maxConcurrentParticipants": 3, "maxConcurrentCalls": 1, "maxParticipantsPerCall": 2 });
    let changed = ask(&service, Method::PATCH, &format!("/{app}"), json!({ "limits": limited })).await;
    assert_eq!(changed.data()["limits"]["maxConcurrentCalls"], 1);
    let limits = service.apps.limits(&id);
    // Reports of a node.
    let report = async |participants: u32, rooms: &[&str]| {
        let rooms: Vec<_> = rooms.iter().map(|room| RoomId::parse(&format!("{app}.{room}")).unwrap()).collect();
        service.rooms.report_app(&id, AppReport { participants, rooms: &rooms, limits }).await.unwrap()
    };
    report(2, &[]).await;
    assert_eq!(join(&service, "standup", &noisy).await.status, 200);
    let RoomPeek::Open { meta, .. } =
        service.rooms.peek(&RoomId::parse(&format!("{app}.standup")).unwrap()).await.unwrap()
    else {
        panic!("the room is not open")
    };
    assert_eq!(meta.max_participants, 2, "a call has no more seats than its app allows");
    report(3, &[]).await;
    let refused = join(&service, "standup", &noisy).await;
    assert_eq!(refused.refusal(), (403, "APP_LIMIT_REACHED"));
    assert_eq!(join(&service, "standup", &quiet).await.status, 200, "another app");
    report(2, &["other"]).await;
    assert_eq!(join(&service, "standup", &noisy).await.refusal(), (403, "APP_LIMIT_REACHED"));
    ask(&service, Method::PATCH, &format!("/{app}"), json!({ "limits": { "maxConcurrentCalls": null } })).await.data();
    assert_eq!(join(&service, "standup", &noisy).await.status, 200);
    let open = service.call(&service.user("Ann").await, json!({ "type": "public" })).await;
    assert_eq!(service.join(&open, None, json!({ "guestName": "Gil" })).await.status, 200, "accounts and guests");
}

#[tokio::test]
async fn a_limit_of_calls_keeps_a_refused_join_from_creating_a_call() {
    let service = Service::start().await;
    let (app, key, secret) = service.app_secret().await;
    ask(&service, Method::PATCH, &format!("/{app}"), json!({ "limits": { "maxConcurrentCalls": 1 } })).await.data();
    let (id, limits) = (AppId::parse(&app).unwrap(), service.apps.limits(&AppId::parse(&app).unwrap()));
    let room = RoomId::parse(&format!("{app}.one")).unwrap();
    service.rooms.report_app(&id, AppReport { participants: 1, rooms: &[room], limits }).await.unwrap();
    let token = user_token((&key, &secret), "ann", "two");
    assert_eq!(join(&service, "two", &token).await.refusal(), (403, "APP_LIMIT_REACHED"));
    let two = service.rooms.peek(&RoomId::parse(&format!("{app}.two")).unwrap()).await.unwrap();
    assert!(matches!(two, RoomPeek::Absent));
}

#[tokio::test]
async fn the_origins_of_an_app_may_call_on_every_pod_and_its_tokens_are_refused_on_other_pages() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let (app, token) = service.app_user("ann", "standup").await;
    let (_, open) = service.app_user("bob", "standup").await;
    let path = format!("/{app}");
    let set = async |origins: Value| ask(&service, Method::PATCH, &path, json!({ "origins": origins })).await;
    // What a browser asks before a page of this origin sends a request.
    let may_call = async |pod: &Service, origin: &str| {
        let request = pod.request(Method::OPTIONS, "/api/video-calls/join").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        let answer = request.send().await.unwrap();
        answer.headers().get("access-control-allow-origin").is_some_and(|allowed| allowed == origin)
    };
    let read = async |pod: &Service, token: &str, origin: Option<&str>| {
        let request = pod.request(Method::GET, "/api/video-calls/room/standup").bearer_auth(token);
        let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
        pod.send(request).await.refusal().1.to_owned()
    };
    let (page, team) = ("https://app.example", "https://team.app.example:8443");
    assert!(!may_call(&service, page).await);
    assert_eq!(read(&service, &token, Some(page)).await, "CALL_NOT_FOUND", "an app without origins is good everywhere");
    let changed = set(json!([page, "https://*.app.example:8443"])).await;
    assert_eq!(changed.data()["origins"], json!([page, "https://*.app.example:8443"]));
    assert_eq!(ask(&service, Method::PATCH, &path, changed.data().clone()).await.data()["origins"][0], page);
    // Each pod reads changes every 4 s; this test does not wait for it.
    other.apps.refresh().await.unwrap();
    for pod in [&service, &other] {
        for origin in [page, team] {
            assert!(may_call(pod, origin).await, "{origin}");
            assert_eq!(read(pod, &token, Some(origin)).await, "CALL_NOT_FOUND", "{origin}");
        }
        assert!(!may_call(pod, "https://evil.example").await);
        for foreign in ["https://evil.example", "https://app.example:8443", "null"] {
            assert_eq!(read(pod, &token, Some(foreign)).await, "ORIGIN_NOT_ALLOWED", "{foreign}");
            assert_eq!(read(pod, &open, Some(foreign)).await, "CALL_NOT_FOUND", "another app has no origins");
        }
        let own = pod.request(Method::GET, "/").build().unwrap().url().origin().ascii_serialization();
        assert_eq!(read(pod, &token, Some(&own)).await, "CALL_NOT_FOUND", "the service's own page");
        assert_eq!(read(pod, &token, None).await, "CALL_NOT_FOUND", "not a browser");
    }
    let many: Vec<_> = (0..21).map(|number| format!("https://a{number}.example")).collect();
    for bad in [json!(["app.example"]), json!(["*"]), json!("https://app.example"), json!(many), json!([7])] {
        let refused = set(bad.clone()).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["origins"]), "{bad}");
    }
    // What was refused changed nothing. Without origins, the app is good everywhere again.
    assert_eq!(ask(&service, Method::GET, &path, Value::Null).await.data()["origins"][0], page);
    assert_eq!(set(json!([])).await.data()["origins"], json!([]));
    assert_eq!(read(&service, &token, Some("https://evil.example")).await, "CALL_NOT_FOUND");
    assert!(!may_call(&service, page).await);
    set(json!([page])).await.data();
    ask(&service, Method::DELETE, &path, Value::Null).await.data();
    service.apps.refresh().await.unwrap();
    assert!(!may_call(&service, page).await, "the pages of a deleted app");
}
