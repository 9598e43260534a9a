//! Null in fields that may be missing.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::support::{Service, WRITE_KEY};

/// Returns whether a schema accepts null.
fn accepts_null(schema: &Value) -> bool {
    let listed =
        |list: &Value| list.as_array().is_some_and(|all| all.contains(&Value::Null) || all.contains(&"null".into()));
    let is_open = schema["type"].is_null() && schema["enum"].is_null() && schema["anyOf"].is_null();
    is_open || listed(&schema["type"]) || listed(&schema["enum"])
}

#[tokio::test]
async fn every_field_of_a_body_that_may_be_missing_accepts_null_in_the_document() {
    let service = Service::start().await;
    let document = service.get("/api/openapi.json", None).await.body;
    let mut fields = 0;
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    for operation in operations {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (field, said) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.contains(&field.as_str().into());
            assert_eq!(accepts_null(said), !is_required, "{} {field}: {said}", operation["operationId"]);
            if ["settings", "permissions"].contains(&field.as_str()) {
                assert!(said["properties"].as_object().unwrap().values().all(accepts_null), "{field}");
            }
            fields += 1;
        }
    }
    assert!(fields > 50, "{fields}");
}

/// Returns a body with null in these fields.
fn nulls(fields: &[&str]) -> Map<String, Value> {
    fields.iter().map(|field| ((*field).to_owned(), Value::Null)).collect()
}

/// Returns an object with null in these fields besides its own.
fn with_nulls(body: &Value, fields: &[&str]) -> Value {
    let own = body.as_object().unwrap().clone();
    Value::Object(nulls(fields).into_iter().chain(own).collect())
}

const CALL: [&str; 6] = ["description", "scheduledAt", "type", "settings", "maxParticipants", "invitedUserIds"];

#[tokio::test]
async fn null_in_a_field_of_something_new_means_that_the_field_is_missing() {
    let service = Service::start().await;
    let (ann, backend) = (service.user("Ann").await, service.backend().await);
    let volatile = ["_id", "id", "roomId", "joinLink", "createdAt", "updatedAt", "hostId", "host", "participants"];
    let comparable = |mut call: Value| {
        volatile.iter().for_each(|field| drop(call.as_object_mut().unwrap().remove(*field)));
        call
    };
    let plain = comparable(service.call(&ann, json!({})).await);
    let own = with_nulls(&json!({}), &[&CALL[..], &["passcode"]].concat());
    assert_eq!(comparable(service.call(&ann, own).await), plain);
    assert_eq!(comparable(service.call(&ann, json!({ "settings": { "chatEnabled": null } })).await), plain);
    let body = with_nulls(&json!({ "title": "A call" }), &[&CALL[..], &["roomId", "hostId"]].concat());
    let created = service.ask(&backend, Method::POST, "/calls", body).await.data().clone();
    assert_eq!(comparable(created), plain);
    let claims = ["name", "avatar", "metadata", "room", "role", "permissions", "expiresIn"];
    let minted = service.ask(&backend, Method::POST, "/tokens", with_nulls(&json!({ "sub": "ann" }), &claims)).await;
    assert_eq!(minted.status, 201, "{minted:?}");
    let some = json!({ "sub": "ann", "permissions": { "canChat": null, "canPublish": false } });
    assert_eq!(service.ask(&backend, Method::POST, "/tokens", some).await.status, 201);
    let refused = service.ask(&backend, Method::POST, "/tokens", json!({ "sub": null })).await;
    assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["sub"]));
}

#[tokio::test]
async fn null_in_a_field_of_a_change_changes_nothing_unless_it_removes() {
    let service = Service::start().await;
    let (ann, backend) = (service.user("Ann").await, service.backend().await);
    let call = service.call(&ann, json!({ "description": "Weekly", "passcode": "1234" })).await;
    let path = format!("/api/video-calls/{}", call["_id"].as_str().unwrap());
    let change = async |path: &str, body: Value| {
        let request = service.request(Method::PATCH, path).bearer_auth(&ann.token).header("x-api-key", WRITE_KEY);
        service.send(request.json(&body)).await.data().clone()
    };
    let mut same =
        with_nulls(&json!({}), &["title", "type", "maxParticipants", "locked", "invitedUserIds", "settings"]);
    let shown = ["title", "type", "maxParticipants", "locked", "settings", "description", "hasPasscode"];
    for settings in [Value::Null, json!({ "chatEnabled": null })] {
        same["settings"] = settings;
        let changed = change(&path, same.clone()).await;
        shown.iter().for_each(|field| assert_eq!(changed[field], call[field], "{field}"));
    }
    let removed = change(&path, with_nulls(&json!({}), &["description", "passcode", "scheduledAt"])).await;
    assert_eq!((&removed["description"], &removed["hasPasscode"]), (&json!(""), &json!(false)));
    let profile =
        change("/api/auth/profile", with_nulls(&json!({}), &["name", "email", "avatar", "currentPassword"])).await;
    assert_eq!((&profile["name"], &profile["email"]), (&json!("Ann"), &json!(ann.email)));

    let app = format!("/api/admin/apps/{}", backend.app);
    let before = change(&app, json!({ "origins": ["https://a.example"], "limits": { "maxConcurrentCalls": 3 } })).await;
    let unchanged = change(&app, with_nulls(&json!({}), &["name", "disabled", "limits"])).await;
    assert_eq!(unchanged, before);
    let removed = change(&app, json!({ "origins": null, "limits": { "maxConcurrentCalls": null } })).await;
    assert_eq!((&removed["origins"], &removed["limits"]["maxConcurrentCalls"]), (&json!([]), &Value::Null));
    let hook = service.request(Method::POST, &format!("{app}/webhooks")).header("x-api-key", WRITE_KEY);
    let hook = service.send(hook.json(&json!({ "url": "https://a.test/", "events": null }))).await;
    let path = format!("{app}/webhooks/{}", hook.text("webhookId"));
    let changed = change(&path, with_nulls(&json!({}), &["url", "events"])).await;
    assert_eq!((&changed["url"], &changed["events"]), (&hook.data()["url"], &hook.data()["events"]));

    let fields = json!({ "title": "A call", "roomId": "r", "hostId": "ann" });
    service.ask(&backend, Method::POST, "/calls", fields).await.data();
    service.seat(&backend.place("r"), "bob", 2).await;
    let edit = async |body: Value| {
        let path = "/rooms/r/participants/bob";
        service.ask(&backend, Method::PATCH, path, body).await.data().clone()
    };
    let before = edit(json!({ "permissions": { "canPublish": false }, "metadata": { "team": 7 } })).await;
    for permissions in [Value::Null, json!({ "canPublish": null, "canChat": null })] {
        assert_eq!(edit(json!({ "role": null, "name": null, "permissions": permissions })).await, before);
    }
    assert_eq!(edit(json!({ "avatar": null, "metadata": null })).await["user"]["metadata"], Value::Null);
}
