use reqwest::Method;
use serde_json::{Value, json};
use switchboard_common::domain::RoomId;
use switchboard_common::room::Door;

use super::support::{Reply, Service, User};

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
async fn the_host_changes_what_it_names_and_the_rest_stays() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({ "description": "Long", "settings": { "chatEnabled": false } })).await;
    let changed = change(
        &service,
        &call,
        &ann,
        json!({
            "title": "  New ", "settings": { "waitingRoomEnabled": true }, "maxParticipants": 3, "passcode": "s3cret",
            "invitedUserIds": [bob.id], "type": "invited_only", "scheduledAt": "2099-01-01T00:00:00Z", "hostId": bob.id,
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
        (&now["settings"]["chatEnabled"], &now["settings"]["waitingRoomEnabled"]),
        (&json!(false), &json!(true))
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
async fn a_change_names_every_field_that_is_wrong_and_then_changes_nothing() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    for (field, value) in [
        ("title", json!("")),
        ("title", Value::Null),
        ("title", json!({ "$set": "x" })),
        ("description", json!("x".repeat(1001))),
        ("type", json!("secret")),
        ("type", Value::Null),
        ("scheduledAt", json!("2001-01-01T00:00:00Z")),
        ("scheduledAt", json!(7)),
        ("maxParticipants", json!(1)),
        ("passcode", json!("1")),
        ("settings", json!([])),
        ("settings", json!({ "chatEnabled": null })),
        ("invitedUserIds", json!("me")),
    ] {
        let mut fields = json!({ "description": "half" });
        fields[field] = value.clone();
        let reply = change(&service, &call, &ann, fields).await;
        assert_eq!((reply.refusal(), reply.fields()), ((400, "VALIDATION_ERROR"), vec![field]), "{value}");
    }
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.data(), &call);
}

#[tokio::test]
async fn other_peoples_calls_are_neither_changed_nor_deleted() {
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
async fn a_deleted_call_ends_and_is_found_no_more() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({})).await;
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.status, 200);
    assert_eq!(delete(&service, &call, &ann).await.status, 200);
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    assert!(matches!(service.rooms.door(&room).await.unwrap(), Door::Ended));
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(delete(&service, &call, &ann).await.refusal(), (404, "CALL_NOT_FOUND"));
    assert_eq!(service.get("/api/video-calls", Some(&ann.token)).await.body["pagination"]["total"], 0);
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "CALL_ENDED"));
}

#[tokio::test]
async fn a_call_that_is_over_stays_as_it_is() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    let ended = service.post(&format!("{}/end", path(&call)), Some(&ann.token), json!({})).await;
    assert_eq!(ended.status, 200);
    assert_eq!(change(&service, &call, &ann, json!({ "title": "Late" })).await.refusal(), (403, "CALL_ENDED"));
    assert_eq!(service.get(&path(&call), Some(&ann.token)).await.text("title"), "A call");
}
