use std::time::Duration;

use devcluster::mongo::Mongo;
use devcluster::redis::RedisServer;
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::RoomId;
use switchboard_core::failure_log::REASONS_MAX;
use switchboard_rooms::RoomPeek;

use super::support::{Log, PASSWORD, Reply, Service};

#[tokio::test]
async fn without_mongodb_answers_are_503_but_an_open_room_can_be_joined() {
    let mut mongo = Mongo::start().await.unwrap();
    let redis = RedisServer::start().await.unwrap();
    let service = Service::on_servers(&mongo, &redis.url()).await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let (open, unopened) =
        (service.call(&ann, json!({ "passcode": "s3cret" })).await, service.call(&ann, json!({})).await);
    assert_eq!(service.join(&open, Some(&ann.token), json!({})).await.status, 200);

    let (log, _collecting) = Log::collect();
    mongo.process().kill().unwrap();
    mongo.process().wait_exit(Duration::from_secs(20)).await.unwrap();

    let login = json!({ "email": ann.email, "password": PASSWORD });
    let newcomer = json!({ "name": "Cid", "email": "cid@example.org", "password": PASSWORD });
    let path = format!("/api/video-calls/{}", open["_id"].as_str().unwrap());
    let edit = |method| service.request(method, &path).bearer_auth(&ann.token).json(&json!({ "title": "Half" }));
    for reply in [
        service.post("/api/auth/register", None, newcomer.clone()).await,
        service.post("/api/video-calls", Some(&ann.token), json!({ "title": "Half" })).await,
        service.send(edit(Method::PATCH)).await,
        service.send(edit(Method::DELETE)).await,
        service.post(&format!("{path}/end"), Some(&ann.token), json!({})).await,
        service.get(&format!("{path}/messages"), Some(&ann.token)).await,
        service.get(&format!("{path}/stats"), Some(&ann.token)).await,
        service.get("/api/auth/profile", Some(&ann.token)).await,
        service.post("/api/auth/login", None, login.clone()).await,
        service.get("/api/video-calls", Some(&ann.token)).await,
        service.join(&unopened, Some(&ann.token), json!({})).await,
    ] {
        assert_eq!(reply.refusal(), (503, "SERVICE_UNAVAILABLE"));
        assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
    }
    let health = service.get("/api/health", None).await;
    assert_eq!(health.status, 503);
    assert_eq!(health.body["data"]["dependencies"], json!({ "mongodb": "down", "redis": "up" }));

    assert_eq!(service.join(&open, Some(&bob.token), json!({})).await.refusal(), (401, "INVALID_PASSCODE"));
    let joined = service.join(&open, Some(&bob.token), json!({ "passcode": "s3cret" })).await;
    assert_eq!(joined.status, 200, "{joined:?}");
    assert_eq!((&joined.data()["call"]["_id"], &joined.data()["call"]["title"]), (&open["_id"], &json!("A call")));
    assert!(!joined.body.to_string().contains("argon2"));

    let refresh = json!({ "refreshToken": ann.refresh });
    assert_eq!(service.post("/api/auth/refresh", None, refresh.clone()).await.refusal(), (503, "SERVICE_UNAVAILABLE"));

    let lines = log.lines("api::http");
    assert!((1..=REASONS_MAX).contains(&lines.len()), "{lines:?}");
    assert!(lines.iter().all(|line| line["store"] == "MongoDB"), "{lines:?}");
    assert_eq!(log.lines("switchboard_records::error"), [Value::Null; 0], "none for each request");

    mongo.restart().await.unwrap();
    assert_eq!(service.post("/api/auth/login", None, login).await.status, 200);
    assert_eq!(service.post("/api/auth/register", None, newcomer).await.status, 201, "nothing of her was there");
    let list = service.get("/api/video-calls?sort=createdAt&order=asc", Some(&ann.token)).await;
    let calls: Vec<_> = list.data().as_array().unwrap().iter().map(|call| (&call["title"], &call["status"])).collect();
    assert_eq!(calls, [(&json!("A call"), &json!("waiting")); 2], "nothing is half done");
    let door = service.rooms.peek(&RoomId::parse(open["roomId"].as_str().unwrap()).unwrap()).await.unwrap();
    assert!(matches!(&door, RoomPeek::Open { meta, .. } if meta.name == "A call"), "{door:?}");
    assert_eq!(
        service.post("/api/auth/refresh", None, refresh).await.status,
        200,
        "the try that failed used nothing up"
    );
}

#[tokio::test]
async fn a_creation_that_redis_reserved_too_late_goes_on_under_its_key() {
    let mongo = Mongo::start().await.unwrap();
    let mut redis = RedisServer::start().await.unwrap();
    let service = Service::on_servers(&mongo, &redis.url()).await;
    let backend = service.backend().await;
    let create = async || {
        let request = service.request(Method::POST, "/api/server/calls").header("idempotency-key", "paused");
        let body = json!({ "title": "Named", "roomId": "named" });
        service.send(request.basic_auth(&backend.key, Some(&backend.secret)).json(&body)).await
    };
    redis.process().pause().unwrap();
    assert_eq!(create().await.refusal(), (503, "SERVICE_UNAVAILABLE"));
    redis.process().resume().unwrap();
    // The reservation of the first request lasts for 30 s, and is that of the same call.
    let mut replies = Vec::new();
    while replies.last().is_none_or(|reply: &Reply| reply.status != 201) {
        assert!(replies.len() < 20, "{replies:?}");
        replies.push(create().await);
    }
    assert_eq!(create().await.text("id"), replies.last().unwrap().text("id"));
}

#[tokio::test]
async fn without_redis_calls_can_be_read_and_joining_is_503() {
    let mongo = Mongo::start().await.unwrap();
    let mut redis = RedisServer::start().await.unwrap();
    let service = Service::on_servers(&mongo, &redis.url()).await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    let backend = service.backend().await;
    let (log, _collecting) = Log::collect();

    redis.process().kill().unwrap();
    redis.process().wait_exit(Duration::from_secs(20)).await.unwrap();

    // A backend's call with a room id of its own is not created at all. Nobody knows whether Redis
    // has reserved the room id, so the key stays with this request.
    let create = async |body| {
        let request = service.request(Method::POST, "/api/server/calls").header("idempotency-key", "outage");
        service.send(request.basic_auth(&backend.key, Some(&backend.secret)).json(&body)).await
    };
    let refused = create(json!({ "title": "Named", "roomId": "named" })).await;
    assert_eq!(refused.refusal(), (503, "SERVICE_UNAVAILABLE"));
    let named = RoomId::parse(&format!("{}.named", backend.app)).unwrap();
    assert!(service.records.call_by_room(&named).await.unwrap().is_none());
    assert_eq!(create(json!({ "title": "Another" })).await.refusal(), (409, "IDEMPOTENCY_KEY_REUSED"));

    let path = format!("/api/video-calls/{}", call["_id"].as_str().unwrap());
    assert_eq!(service.get(&path, Some(&ann.token)).await.text("title"), "A call");
    let edit = |method| service.request(method, &path).bearer_auth(&ann.token).json(&json!({ "title": "Half" }));
    for reply in [
        service.join(&call, Some(&ann.token), json!({})).await,
        service.post(&format!("{path}/end"), Some(&ann.token), json!({})).await,
        service.send(edit(Method::PATCH)).await,
        service.send(edit(Method::DELETE)).await,
    ] {
        assert_eq!(reply.refusal(), (503, "SERVICE_UNAVAILABLE"));
        assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
    }
    assert_eq!(service.get(&path, Some(&ann.token)).await.data(), &call, "nothing is half done");
    assert_eq!(service.get("/api/health", None).await.body["data"]["dependencies"]["redis"], "down");

    // The password stays unchanged, because the sign-ins cannot be revoked. Signing in needs no
    // Redis.
    let login = json!({ "email": ann.email, "password": PASSWORD });
    assert_eq!(service.post("/api/auth/login", None, login.clone()).await.status, 200);
    let new = "battery staple correct";
    let change = json!({ "currentPassword": PASSWORD, "newPassword": new, "confirmPassword": new });
    let reply = service.post("/api/auth/change-password", Some(&ann.token), change).await;
    assert_eq!(reply.refusal(), (503, "SERVICE_UNAVAILABLE"));
    assert_eq!(service.post("/api/auth/login", None, login).await.status, 200);
    let [line] = &log.lines("api::http")[..] else { panic!("{:?}", log.lines("")) };
    let fields = (&line["level"], &line["message"], &line["store"]);
    assert_eq!(fields, (&json!("WARN"), &json!("store is unavailable to requests"), &json!("Redis")));
    assert!(line["span"]["request_id"].is_string(), "{line}");
}
