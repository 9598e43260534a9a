//! The server API: participants of an open room, and events.

use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::{CallPermissions, Role, RoomId, UserId};
use switchboard_rooms::Proof;

use super::support::{Backend, Log, Reply, Service};

/// A call in the room `r`, with `ann` and `bob` in it and `cid` and `dan` in the lobby.
struct Room {
    service: Service,
    backend: Backend,
}

impl Room {
    async fn start() -> Self {
        let service = Service::start().await;
        let backend = service.backend().await;
        let fields = json!({ "title": "A call", "roomId": "r", "hostId": "ann" });
        service.ask(&backend, Method::POST, "/calls", fields).await.data();
        let place = backend.place("r");
        service.seat(&place, "ann", 1).await;
        service.seat(&place, "bob", 2).await;
        service.wait_in_lobby(&place, "cid", 3).await;
        service.wait_in_lobby(&place, "dan", 4).await;
        Self { service, backend }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Reply {
        self.service.ask(&self.backend, method, &format!("/rooms/r{path}"), body).await
    }

    /// Returns the participants, each with its role and state.
    async fn participants(&self) -> Vec<String> {
        let listed = self.ask(Method::GET, "/participants", Value::Null).await;
        let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
        let all = listed.data().as_array().unwrap().iter();
        all.map(|one| format!("{} {} {}", text(one, "peerId"), text(one, "role"), text(one, "connectionState")))
            .collect()
    }

    async fn heard(&self, peer: &str, name: &str) -> Vec<Value> {
        self.service.heard(&self.backend.place("r"), peer, name).await
    }
}

#[tokio::test]
async fn a_backend_lists_mutes_removes_bans_admits_and_denies_participants() {
    let (log, _collecting) = Log::collect();
    let room = Room::start().await;
    let at_first =
        ["ann host connected", "bob participant connected", "cid participant waiting", "dan participant waiting"];
    assert_eq!(room.participants().await, at_first);
    let ask = async |method: Method, path: &str, body: Value| room.ask(method, path, body).await;
    // Also a host, because a backend is above every role.
    for peer in ["ann", "bob"] {
        ask(Method::POST, &format!("/participants/{peer}/mute"), json!({ "kind": "video" })).await.data();
        let muted = &room.heard(peer, "participant:muted").await[0];
        assert_eq!((&muted["kind"], &muted["mediaState"]["videoEnabled"]), (&"video".into(), &false.into()));
    }
    let bad = ask(Method::POST, "/participants/bob/mute", json!({ "kind": "smell" })).await;
    assert_eq!((bad.refusal(), bad.fields()), ((400, "VALIDATION_ERROR"), vec!["kind"]));
    let bad = ask(Method::POST, "/participants/bob/mute", json!({})).await;
    assert_eq!((bad.refusal(), bad.fields()), ((400, "VALIDATION_ERROR"), vec!["kind"]));

    let admitted = ask(Method::POST, "/participants/cid/admit", Value::Null).await;
    assert_eq!(admitted.data()["admitted"], json!(["cid"]));
    assert_eq!(ask(Method::POST, "/participants/cid/admit", Value::Null).await.refusal(), (404, "PEER_NOT_FOUND"));
    ask(Method::POST, "/participants/dan/deny", json!({ "reason": "Full" })).await.data();
    assert_eq!(ask(Method::POST, "/participants/dan/deny", json!({})).await.refusal(), (404, "PEER_NOT_FOUND"));
    assert_eq!(ask(Method::POST, "/admit", Value::Null).await.data()["admitted"], json!([]));
    room.service.wait_in_lobby(&room.backend.place("r"), "eve", 5).await;
    assert_eq!(ask(Method::POST, "/admit", Value::Null).await.data()["admitted"], json!(["eve"]));

    ask(Method::DELETE, "/participants/eve?reason=enough", Value::Null).await.data();
    ask(Method::DELETE, "/participants/bob?ban", Value::Null).await.data();
    assert_eq!(room.participants().await, ["ann host connected", "cid participant connected"]);
    let audit: Vec<_> = log.lines("audit").into_iter().filter(|line| line["action"].is_string()).collect();
    let actions: Vec<_> = audit.iter().map(|line| [&line["action"], &line["peer_id"]]).collect();
    let action = |action: &str, peer: Value| [json!(action), peer];
    let expected = [
        action("mute", json!("ann")),
        action("mute", json!("bob")),
        action("admit", json!("cid")),
        action("deny", json!("dan")),
        action("admit_all", Value::Null),
        action("admit_all", Value::Null),
        action("remove", json!("eve")),
        action("ban", json!("bob")),
    ];
    assert_eq!(actions, expected.each_ref().map(|[action, peer]| [action, peer]));
    assert!(audit.iter().all(|line| line["key_id"] == audit[0]["key_id"] && line["room_id"] == audit[0]["room_id"]));
    for (user, code) in [("eve", "REMOVED"), ("bob", "BANNED")] {
        let earlier = json!({ "sub": user, "room": "r" });
        let token = room.service.ask(&room.backend, Method::POST, "/tokens", earlier).await.text("token");
        let joined = room.service.join(&json!({ "roomId": "r" }), Some(&token), json!({})).await;
        // A token that is minted after the removal admits again; a ban stays.
        let expected = if code == "BANNED" { (403, code) } else { (200, "") };
        assert_eq!((joined.status.as_u16(), joined.body["code"].as_str().unwrap_or_default()), expected, "{user}");
    }
    for (method, path, body) in [
        (Method::DELETE, "/participants/nobody-here", Value::Null),
        (Method::POST, "/participants/nobody-here/mute", json!({ "kind": "audio" })),
        (Method::PATCH, "/participants/nobody-here", json!({ "name": "X" })),
    ] {
        assert_eq!(ask(method, path, body).await.refusal(), (404, "PEER_NOT_FOUND"), "{path}");
    }
    let none = room.service.ask(&room.backend, Method::GET, "/rooms/none/participants", Value::Null).await;
    assert_eq!(none.refusal(), (404, "ROOM_NOT_FOUND"));
}

#[tokio::test]
async fn a_backend_changes_the_role_and_the_profile_of_a_participant() {
    let room = Room::start().await;
    let change = async |peer: &str, body: Value| room.ask(Method::PATCH, &format!("/participants/{peer}"), body).await;
    let changed = change("bob", json!({ "role": "moderator", "metadata": { "tags": [] } })).await;
    assert_eq!(
        (&changed.data()["role"], &changed.data()["user"]["metadata"]),
        (&"moderator".into(), &json!({ "tags": [] }))
    );
    let changed = change("bob", json!({ "name": "Bob Lee", "avatar": "https://a.example/b.png" })).await;
    let user = &changed.data()["user"];
    assert_eq!((&user["name"], &user["metadata"]), (&"Bob Lee".into(), &json!({ "tags": [] })), "the rest stays");
    let changed = change("bob", json!({ "avatar": null, "metadata": null })).await;
    assert!(changed.data()["user"]["metadata"].is_null() && changed.data()["user"]["avatar"].is_null());
    let heard = room.heard("ann", "participant:profile-changed").await;
    let names: Vec<_> = heard.iter().map(|event| event["user"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Gil", "Bob Lee", "Bob Lee"]);
    // Of requests at the same time, each changes what it names and nothing else.
    for number in 0..5 {
        let (name, data) = (format!("Bob {number}"), json!({ "number": number, "tags": [] }));
        let (one, two, three) = tokio::join!(
            change("bob", json!({ "name": name })),
            change("bob", json!({ "metadata": data })),
            change("bob", json!({ "permissions": { "canChat": number % 2 == 0 } })),
        );
        assert!([&one, &two, &three].iter().all(|reply| reply.status == 200), "{one:?} {two:?} {three:?}");
        let listed = room.ask(Method::GET, "/participants", Value::Null).await;
        let bob = listed.data().as_array().unwrap().iter().find(|one| one["peerId"] == "bob").unwrap().clone();
        assert_eq!((&bob["user"]["name"], &bob["user"]["metadata"]), (&json!(name), &data));
        assert_eq!(bob["permissions"]["canChat"], number % 2 == 0);
    }
    // The role that a participant has already is no change.
    change("ann", json!({ "role": "host" })).await.data();
    assert_eq!(room.heard("ann", "participant:role-changed").await.len(), 1);
    assert_eq!(
        change("ann", json!({ "role": "participant" })).await.refusal(),
        (403, "FORBIDDEN"),
        "a host keeps the role"
    );
    assert_eq!(change("bob", json!({ "role": "host" })).await.text("role"), "host");
    for (body, field) in [
        (json!({ "role": "guest" }), "role"),
        (json!({ "name": "" }), "name"),
        (json!({ "avatar": "javascript:alert(1)" }), "avatar"),
        (json!({ "avatar": "http://[::1" }), "avatar"),
        (json!({ "metadata": "x".repeat(1_100) }), "metadata"),
        (json!({ "metadata": ["a\u{3}", "\u{3}"] }), "metadata"),
    ] {
        let refused = change("bob", body.clone()).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec![field]), "{body}");
    }
}

#[tokio::test]
async fn a_backend_changes_the_permissions_of_a_participant_in_the_call_and_in_the_lobby() {
    let room = Room::start().await;
    let change = async |peer: &str, body: Value| room.ask(Method::PATCH, &format!("/participants/{peer}"), body).await;
    let all = |publish: bool, share: bool, chat: bool| json!({ "canPublish": publish, "canShareScreen": share, "canChat": chat });
    let changed = change("bob", json!({ "permissions": { "canPublish": false } })).await;
    assert_eq!(changed.data()["permissions"], all(false, true, true));
    assert_eq!(
        (&changed.data()["mediaState"]["videoEnabled"], &changed.data()["mediaState"]["audioEnabled"]),
        (&false.into(), &false.into())
    );
    let muted = room.heard("bob", "participant:muted").await;
    assert_eq!(muted.iter().map(|event| &event["kind"]).collect::<Vec<_>>(), ["video", "audio"]);
    // The rest stays, and a client may send back all that it has read.
    let changed = change("bob", json!({ "permissions": { "canChat": false }, "role": "moderator" })).await;
    assert_eq!(
        (&changed.data()["permissions"], &changed.data()["role"]),
        (&all(false, true, false), &"moderator".into())
    );
    let same = json!({ "permissions": changed.data()["permissions"], "role": "moderator" });
    assert_eq!(change("bob", same).await.data()["permissions"], all(false, true, false));
    let heard = room.heard("ann", "participant:permissions-changed").await;
    let of_bob: Vec<_> = heard.iter().map(|event| (&event["peerId"], &event["permissions"])).collect();
    let bob = json!("bob");
    assert_eq!(of_bob, [(&bob, &all(false, true, true)), (&bob, &all(false, true, false))]);
    for event in &heard {
        switchboard_core::wire::contract::check_server_event("participant:permissions-changed", event).unwrap();
    }
    // In the lobby too, and for a host, because a backend is above every role.
    for peer in ["cid", "ann"] {
        let changed = change(peer, json!({ "permissions": { "canShareScreen": false } })).await;
        assert_eq!(changed.data()["permissions"], all(true, false, true), "{peer}");
    }
    assert_eq!(room.heard("cid", "participant:permissions-changed").await.len(), 1);
    for bad in [json!({ "canFly": true }), json!({ "canChat": "no" }), json!([]), json!(true)] {
        let refused = change("bob", json!({ "permissions": bad })).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["permissions"]), "{bad}");
    }
    let refused = change("nobody-here", json!({ "permissions": { "canChat": false } })).await;
    assert_eq!(refused.refusal(), (404, "PEER_NOT_FOUND"));
}

#[tokio::test]
async fn an_event_of_a_backend_is_logged_for_its_receivers_and_once_for_its_id() {
    let room = Room::start().await;
    let send = async |body: Value| room.ask(Method::POST, "/events", body).await;
    let data = json!({ "question": 3, "tags": [], "text": "\u{1}\"\\u0001\"" });
    let sent = send(json!({ "id": "q-3", "name": "quiz", "data": data })).await;
    assert_eq!((sent.status.as_u16(), sent.text("id")), (201, "q-3".to_owned()));
    let again = send(json!({ "data": data, "name": "quiz", "id": "q-3" })).await;
    assert_eq!((again.status.as_u16(), again.data()), (201, sent.data()), "a repetition gets the same answer");
    for other in [
        json!({ "name": "quiz" }),
        json!({ "name": "other", "data": data }),
        json!({ "name": "quiz", "data": data, "to": "bob" }),
    ] {
        let mut body = other;
        body["id"] = "q-3".into();
        assert_eq!(send(body.clone()).await.refusal(), (409, "IDEMPOTENCY_KEY_REUSED"), "{body}");
    }
    let direct = send(json!({ "name": "hint", "to": "bob" })).await.text("id");
    send(json!({ "name": "place", "data": 2, "to": "cid" })).await.data();
    let (ann, bob) = (room.heard("ann", "server:event").await, room.heard("bob", "server:event").await);
    assert_eq!(ann.len(), 1);
    assert_eq!((&ann[0]["id"], &ann[0]["name"], &ann[0]["data"]), (&"q-3".into(), &"quiz".into(), &data));
    assert_eq!(bob.iter().map(|event| event["id"].as_str().unwrap()).collect::<Vec<_>>(), ["q-3", direct.as_str()]);
    for event in &bob {
        switchboard_core::wire::contract::check_server_event("server:event", event).unwrap();
    }
    for (body, fields) in [
        (json!({}), vec!["name"]),
        (json!({ "name": "x".repeat(65), "to": "a b", "id": "a:b" }), vec!["to", "id", "name"]),
        (json!({ "name": "big", "data": "x".repeat(8 * 1024) }), vec!["data"]),
    ] {
        let refused = send(body.clone()).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), fields), "{body}");
    }
    assert_eq!(send(json!({ "name": "hint", "to": "eve" })).await.refusal(), (404, "PEER_NOT_FOUND"));
    let largest = send(json!({ "name": "big", "data": "x".repeat(8 * 1024 - 2) })).await;
    assert_eq!(largest.status, 201);
}

#[tokio::test]
async fn a_role_and_permissions_that_a_participant_has_already_are_given_too() {
    let room = Room::start().await;
    let change = async |peer: &str, body: Value| room.ask(Method::PATCH, &format!("/participants/{peer}"), body).await;
    let place = RoomId::parse(&format!("{}.r", room.backend.app)).unwrap();
    let standing = async |user: &str| {
        let user = UserId::parse(user).unwrap();
        room.service.rooms.peek_for(&place, &user, &Proof::default()).await.unwrap().1
    };
    assert_eq!((standing("bob").await.given, standing("bob").await.given_permissions), (None, None));
    let bob = change("bob", json!({})).await.data().clone();
    change("bob", json!({ "role": bob["role"], "permissions": bob["permissions"] })).await.data();
    assert_eq!((standing("bob").await.given, standing("bob").await.given_permissions), (Some(Role::Participant), None));
    let all = json!({ "canPublish": true, "canShareScreen": true, "canChat": true });
    change("bob", json!({ "permissions": all })).await.data();
    assert_eq!(standing("bob").await.given_permissions, Some(CallPermissions::default()));
    // It is nothing new to the others.
    assert_eq!(room.heard("ann", "participant:permissions-changed").await.len(), 1, "the seat had none before");
    change("bob", json!({ "permissions": all })).await.data();
    assert_eq!(room.heard("ann", "participant:permissions-changed").await.len(), 1);
    assert!(room.heard("ann", "participant:role-changed").await.is_empty());
    // A participant in the lobby gets no role, and it can be sent back.
    let cid = change("cid", json!({})).await.data().clone();
    let same = json!({ "role": cid["role"], "permissions": cid["permissions"], "name": "Cid" });
    assert_eq!(change("cid", same).await.data()["user"]["name"], "Cid");
    assert_eq!(standing("cid").await.given, None);
}
