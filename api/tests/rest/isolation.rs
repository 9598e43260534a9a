//! Isolation of apps: two apps with the same ids of rooms and users, on every route of backends and
//! on every route of operators that names an app. A new route needs a case here.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::RoomId;

use super::support::{Backend, Service, WRITE_KEY};

/// Events that a route of the server API causes in a room.
const EVENTS: [&str; 8] = [
    "room:user-joined",
    "room:user-left",
    "room:updated",
    "room:kicked",
    "room:denied",
    "room:call-ended",
    "participant:muted",
    "server:event",
];

/// Returns `METHOD path` of every route of the document that `wanted` selects.
async fn routes(service: &Service, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let document = service.get("/api/openapi.json", None).await.body;
    let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| wanted(path));
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter().filter(|(_, said)| said.get("responses").is_some());
            methods.map(move |(method, _)| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
        })
        .collect()
}

/// Two apps, each with a call in a room of the same id, `ann` and `bob` in it, `cid` in the lobby.
struct Namesakes {
    service: Service,
    apps: [Backend; 2],
}

impl Namesakes {
    /// Makes the room in both apps. Returns the ids of the two calls.
    async fn open(&self, room: &str) -> [String; 2] {
        let mut calls = Vec::new();
        for app in &self.apps {
            let fields = json!({ "title": "A call", "roomId": room, "hostId": "ann" });
            calls.push(self.service.ask(app, Method::POST, "/calls", fields).await.text("id"));
            let place = app.place(room);
            self.service.seat(&place, "ann", 1).await;
            self.service.seat(&place, "bob", 2).await;
            self.service.wait_in_lobby(&place, "cid", 3).await;
        }
        calls.try_into().unwrap()
    }

    /// Returns everything that an app and its participants see of a room.
    async fn seen(&self, app: &Backend, room: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        for path in [format!("/rooms/{room}/participants"), format!("/calls/room/{room}")] {
            seen.push(self.service.ask(app, Method::GET, &path, Value::Null).await.data().clone());
        }
        for peer in ["ann", "bob", "cid"] {
            for event in EVENTS {
                seen.push(json!(self.service.heard(&app.place(room), peer, event).await));
            }
        }
        seen
    }
}

#[tokio::test]
async fn no_route_of_a_backend_reaches_the_namesakes_of_another_app() {
    let service = Service::start().await;
    let apps = [service.backend().await, service.backend().await];
    let namesakes = Namesakes { service, apps };
    let (service, [one, two]) = (&namesakes.service, &namesakes.apps);
    // Each with the status for one's own. `ID` is the id of the call.
    let cases = [
        ("GET /calls", 200, Value::Null),
        ("POST /calls", 201, json!({ "title": "Another" })),
        ("GET /calls/room/{roomId}", 200, Value::Null),
        ("GET /calls/{id}", 200, Value::Null),
        ("PATCH /calls/{id}", 200, json!({ "title": "Taken", "locked": true, "maxParticipants": 3 })),
        ("POST /calls/{id}/end", 200, Value::Null),
        ("DELETE /calls/{id}", 200, Value::Null),
        ("POST /tokens", 201, json!({ "sub": "bob", "room": "ROOM", "role": "host" })),
        ("GET /limits", 200, Value::Null),
        ("GET /usage", 200, Value::Null),
        ("GET /rooms/{roomId}/participants", 200, Value::Null),
        (
            "PATCH /rooms/{roomId}/participants/{peerId}",
            200,
            json!({
                "role": "host", "name": "Robert", "metadata": 1, "permissions": { "canChat": false, "canPublish": false },
            }),
        ),
        ("POST /rooms/{roomId}/participants/{peerId}/mute", 200, json!({ "kind": "video" })),
        ("DELETE /rooms/{roomId}/participants/{peerId}", 200, Value::Null),
        ("POST /rooms/{roomId}/participants/{peerId}/admit", 200, Value::Null),
        ("POST /rooms/{roomId}/participants/{peerId}/deny", 200, json!({ "reason": "Full" })),
        ("POST /rooms/{roomId}/admit", 200, Value::Null),
        ("POST /rooms/{roomId}/events", 201, json!({ "id": "e1", "name": "quiz" })),
    ];
    let covered: BTreeSet<_> = cases.iter().map(|(route, ..)| route.replacen(" /", " /api/server/", 1)).collect();
    assert_eq!(covered, routes(service, |path| path.starts_with("/api/server/")).await, "a case for each route");
    for (number, (route, status, body)) in cases.into_iter().enumerate() {
        let room = format!("room-{number}");
        let [own, foreign] = namesakes.open(&room).await;
        let before = namesakes.seen(two, &room).await;
        let (method, path) = route.split_once(' ').unwrap();
        let peer = if path.ends_with("/admit") || path.ends_with("/deny") { "cid" } else { "bob" };
        let ban = if method == "DELETE" && path.ends_with("{peerId}") { "?ban=true" } else { "" };
        let path = path.replace("{roomId}", &room).replace("{peerId}", peer) + ban;
        let body: Value = serde_json::from_str(&body.to_string().replace("ROOM", &room)).unwrap();
        let send = async |id: &str, body: &Value| {
            let method = method.parse().unwrap();
            service.ask(one, method, &path.replace("{id}", id), body.clone()).await
        };
        if path.contains("{id}") {
            assert_eq!(send(&foreign, &body).await.refusal(), (404, "CALL_NOT_FOUND"), "{route}");
        }
        let reply = send(&own, &body).await;
        assert_eq!(reply.status, status, "{route}: {reply:?}");
        assert!(!reply.body.to_string().contains(&foreign), "{route} shows another app's call");
        if path == "/tokens" {
            let joined = service.join(&json!({ "roomId": room }), Some(&reply.text("token")), json!({})).await;
            assert_eq!(joined.data()["call"]["id"], own.as_str(), "the token is good in its own app");
        }
        assert_eq!(namesakes.seen(two, &room).await, before, "{route}");
    }
}

#[tokio::test]
async fn a_call_of_a_backend_has_no_passcode_and_its_tokens_need_none() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let fields =
        json!({ "title": "A call", "roomId": "r", "passcode": "open sesame", "settings": { "waitingRoom": true } });
    let refused = service.ask(&backend, Method::POST, "/calls", fields).await;
    assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["settings", "passcode"]));
    let fields = json!({ "title": "A call", "roomId": "r" });
    let call = service.ask(&backend, Method::POST, "/calls", fields).await.data().clone();
    assert_eq!(call["hasPasscode"], false, "{call}");
    let path = format!("/calls/{}", call["id"].as_str().unwrap());
    let changed = service.ask(&backend, Method::PATCH, &path, json!({ "passcode": "x1234", "title": "New" })).await;
    assert_eq!((changed.refusal(), changed.fields()), ((400, "VALIDATION_ERROR"), vec!["passcode"]));
    let stored = service.records.call_by_room(&RoomId::parse(&format!("{}.r", backend.app)).unwrap()).await;
    assert_eq!(stored.unwrap().unwrap().room_meta().passcode_hash, None);
    let token =
        service.ask(&backend, Method::POST, "/tokens", json!({ "sub": "ann", "room": "r" })).await.text("token");
    for fields in [json!({}), json!({ "passcode": "wrong" })] {
        assert_eq!(service.join(&call, Some(&token), fields).await.status, 200);
    }
}

#[tokio::test]
async fn no_route_of_operators_that_names_an_app_reaches_another_one() {
    let service = Service::start().await;
    let apps = [service.backend().await, service.backend().await];
    let namesakes = Namesakes { service, apps };
    let (service, [one, two]) = (&namesakes.service, &namesakes.apps);
    let ask = async |method: Method, path: &str, body: Value| {
        let request = service.request(method, &format!("/api/admin{path}")).header("x-api-key", WRITE_KEY);
        service.send(if body.is_null() { request } else { request.json(&body) }).await
    };
    let [_, foreign] = namesakes.open("r").await;
    let hook = async |app: &str| {
        let path = format!("/apps/{app}/webhooks");
        ask(Method::POST, &path, json!({ "url": "https://a.test/hook" })).await.text("webhookId")
    };
    let [own_hook, foreign_hook] = [hook(&one.app).await, hook(&two.app).await];
    let state = async || {
        let mut seen = namesakes.seen(two, "r").await;
        for path in [format!("/apps/{}", two.app), format!("/apps/{}/webhooks", two.app)] {
            let mut shown = ask(Method::GET, &path, Value::Null).await.data().clone();
            // It becomes later with each use that the test itself makes.
            for key in shown.get_mut("keys").and_then(Value::as_array_mut).into_iter().flatten() {
                key.as_object_mut().unwrap().remove("lastUsedAt");
            }
            seen.push(shown);
        }
        seen
    };
    let before = state().await;
    let limits = json!({ "maxParticipantsPerCall": 2 });
    // In this order: the last one deletes the app.
    let cases = [
        ("GET /apps/{appId}", 200, Value::Null),
        ("GET /apps/{appId}/usage", 200, Value::Null),
        ("PATCH /apps/{appId}", 200, json!({ "name": "Other", "limits": limits, "origins": ["https://a.example"] })),
        ("GET /apps/{appId}/keys", 200, Value::Null),
        ("POST /apps/{appId}/keys", 201, json!({ "scopes": ["calls:read"] })),
        ("DELETE /apps/{appId}/keys/{keyId}", 200, Value::Null),
        ("GET /apps/{appId}/webhooks", 200, Value::Null),
        ("POST /apps/{appId}/webhooks", 201, json!({ "url": "https://b.test/" })),
        ("PATCH /apps/{appId}/webhooks/{webhookId}", 200, json!({ "url": "https://c.test/" })),
        ("POST /apps/{appId}/webhooks/{webhookId}/secret", 201, json!({ "previousSeconds": 60 })),
        ("DELETE /apps/{appId}/webhooks/{webhookId}", 200, Value::Null),
        ("GET /rooms/{roomId}/participants", 200, Value::Null),
        ("DELETE /rooms/{roomId}/participants/{peerId}", 200, Value::Null),
        ("POST /rooms/{roomId}/end", 200, Value::Null),
        ("DELETE /apps/{appId}", 200, Value::Null),
    ];
    let names_app =
        |path: &str| path.starts_with("/api/admin/") && (path.contains("{appId}") || path.contains("{roomId}"));
    let covered: BTreeSet<_> = cases.iter().map(|(route, ..)| route.replacen(" /", " /api/admin/", 1)).collect();
    assert_eq!(covered, routes(service, names_app).await, "a case for each route");
    for (route, status, body) in cases {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{appId}", &one.app).replace("{roomId}", &format!("{}.r", one.app));
        let path = path.replace("{peerId}", "bob");
        let send = async |key: &str, hook: &str| {
            let path = path.replace("{keyId}", key).replace("{webhookId}", hook);
            ask(method.parse().unwrap(), &path, body.clone()).await
        };
        for (part, refusal) in [("{keyId}", "KEY_NOT_FOUND"), ("{webhookId}", "WEBHOOK_NOT_FOUND")] {
            if path.contains(part) {
                let refused = send(&two.key, &foreign_hook).await;
                assert_eq!(refused.refusal(), (404, refusal), "{route}: the one of another app");
            }
        }
        let reply = send(&one.key, &own_hook).await;
        assert_eq!(reply.status, status, "{route}: {reply:?}");
        let text = reply.body.to_string();
        for hidden in [&two.app, &two.key, &foreign, &foreign_hook] {
            assert!(!text.contains(hidden.as_str()), "{route} shows another app");
        }
        assert_eq!(state().await, before, "{route}");
    }
}
