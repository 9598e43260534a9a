use api::limits::RatesConfig;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use switchboard_auth::{IdentityKind, Tokens};
use switchboard_core::ClusterKey;
use switchboard_core::client_address::{ClientNetwork, TrustedProxies};
use switchboard_core::domain::{Role, RoomId, UserId};
use switchboard_rooms::{Caller, LeaveOutcome, ModerationCommand, ModerationOutcome, Proof, RoomPeek};
use switchboard_runtime::config::{Env, passcode_rates};

use super::support::{ACCESS_SECRET, REFRESH_SECRET, Reply, Service};

fn tokens() -> Tokens {
    Tokens::new(ACCESS_SECRET, REFRESH_SECRET)
}

#[tokio::test]
async fn an_admitted_user_gets_the_tokens_for_the_socket_and_the_room_is_open() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({})).await;
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    assert!(matches!(service.rooms.peek(&room).await.unwrap(), RoomPeek::Absent));
    for (user, role) in [(&ann, Role::Host), (&bob, Role::Participant)] {
        let joined = service.join(&call, Some(&user.token), json!({})).await;
        assert_eq!(joined.status, 200, "{joined:?}");
        let data = joined.data();
        assert_eq!((&data["isGuest"], &data["user"]["id"]), (&json!(false), &json!(user.id)));
        assert!(data.get("token").is_none());
        assert_eq!(data["call"]["_id"], call["_id"]);
        assert_eq!(data["iceServers"], json!([{ "urls": ["stun:127.0.0.1:3478"] }]));
        let id = UserId::parse(&user.id).unwrap();
        assert_eq!(tokens().verify_join(&joined.text("joinToken"), &room, &id).unwrap().role, role);
    }
    let RoomPeek::Open { meta, .. } = service.rooms.peek(&room).await.unwrap() else { panic!("the room is not open") };
    assert_eq!((meta.call_id.as_str(), meta.host.as_str()), (call["_id"].as_str().unwrap(), ann.id.as_str()));
}

#[tokio::test]
async fn a_guest_gets_an_identity_for_one_room_and_keeps_it_there() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let (call, other) = (service.call(&ann, json!({})).await, service.call(&ann, json!({})).await);
    let first = service.join(&call, None, json!({ "guestName": " Gil " })).await;
    assert_eq!((&first.data()["isGuest"], &first.data()["user"]["name"]), (&json!(true), &json!("Gil")));
    let token = first.text("token");
    let identity = tokens().verify_access(&token).unwrap();
    assert_eq!(identity.kind, IdentityKind::Guest);
    assert_eq!(identity.room.unwrap().as_str(), call["roomId"].as_str().unwrap());
    let again = service.join(&call, Some(&token), json!({ "guestName": "Gilbert" })).await;
    assert_eq!(again.data()["user"]["id"], first.data()["user"]["id"]);
    assert_eq!(again.data()["user"]["name"], "Gilbert");
    let elsewhere = service.join(&other, Some(&token), json!({})).await;
    assert_ne!(elsewhere.data()["user"]["id"], first.data()["user"]["id"]);
    assert_eq!(elsewhere.data()["user"]["name"], "Gil");
    assert_eq!(service.get("/api/auth/profile", Some(&token)).await.refusal(), (401, "UNAUTHORIZED"));
    let nameless = service.join(&call, None, json!({})).await;
    assert_eq!((nameless.refusal(), nameless.fields()), ((400, "VALIDATION_ERROR"), vec!["guestName"]));
    let empty = service.join(&call, None, json!({ "guestName": "" })).await;
    assert_eq!((empty.refusal(), empty.fields()), ((400, "VALIDATION_ERROR"), vec!["guestName"]));
    let named_already = service.join(&call, Some(&token), json!({ "guestName": "", "passcode": "" })).await;
    assert_eq!(named_already.data()["user"]["name"], "Gil");
    let short = service.join(&call, None, json!({ "guestName": "G" })).await;
    assert_eq!(short.fields(), ["guestName"]);
}

#[tokio::test]
async fn a_code_is_found_as_people_type_it_and_a_room_with_that_very_id_comes_first() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({})).await;
    let code = call["roomId"].as_str().unwrap();
    assert!(code.len() == 12 && !code.contains(['0', 'O', '1', 'I']), "{code}");
    let lower = code.to_lowercase();
    let spaced = format!("\u{a0}{} {} {} ", &lower[..4], &lower[4..8], &code[8..]);
    for typed in [code, &lower, &spaced] {
        let joined = service.join(&json!({ "roomId": typed }), None, json!({ "guestName": "Gil" })).await;
        assert_eq!(joined.data()["call"]["roomId"], code, "{typed}");
        let again = service.join(&json!({ "roomId": typed }), Some(&joined.text("token")), json!({})).await;
        assert_eq!(again.data()["user"]["id"], joined.data()["user"]["id"], "the guest of the same room");
        let path = format!("/api/video-calls/room/{}", typed.replace(' ', "%20").replace('\u{a0}', "%C2%A0"));
        assert_eq!(service.get(&path, None).await.data()["id"], call["id"], "{typed}");
    }
    // A client may have chosen the same letters in lower case for a room of its own.
    let other = service.call(&ann, json!({ "title": "Other" })).await;
    let calls = service.database().await.collection::<mongodb::bson::Document>("videocalls");
    let set = mongodb::bson::doc! { "$set": { "roomId": &lower } };
    let id = mongodb::bson::oid::ObjectId::parse_str(other["_id"].as_str().unwrap()).unwrap();
    calls.update_one(mongodb::bson::doc! { "_id": id }, set).await.unwrap();
    let joined = service.join(&json!({ "roomId": lower }), None, json!({ "guestName": "Gil" })).await;
    assert_eq!(joined.data()["call"]["title"], "Other");
    assert_eq!(
        service.join(&json!({ "roomId": code }), None, json!({ "guestName": "Gil" })).await.data()["call"]["id"],
        call["id"]
    );
}

#[tokio::test]
async fn every_user_except_the_host_needs_the_passcode() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({ "passcode": "s3cret" })).await;
    assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200);
    for wrong in [json!({}), json!({ "passcode": "" }), json!({ "passcode": "S3cret" })] {
        assert_eq!(service.join(&call, Some(&bob.token), wrong).await.refusal(), (401, "INVALID_PASSCODE"));
    }
    let right = service.join(&call, Some(&bob.token), json!({ "passcode": "s3cret" })).await;
    assert_eq!(right.status, 200);
    assert!(!right.body.to_string().contains("argon2"));
    let guest = json!({ "guestName": "Gil", "passcode": "s3cret" });
    assert_eq!(service.join(&call, None, guest).await.status, 200);
    let mistyped = service.join(&call, Some(&bob.token), json!({ "passcode": { "$ne": "" } })).await;
    assert_eq!((mistyped.refusal(), mistyped.fields()), ((400, "VALIDATION_ERROR"), vec!["passcode"]));
}

#[tokio::test]
async fn private_calls_admit_users_and_invited_only_calls_admit_invited_users() {
    let service = Service::start().await;
    let (ann, bob, eve) = (service.user("Ann").await, service.user("Bob").await, service.user("Eve").await);
    let private = service.call(&ann, json!({ "type": "private" })).await;
    let invited = service.call(&ann, json!({ "type": "invited_only", "invitedUserIds": [bob.id] })).await;
    for call in [&private, &invited] {
        assert_eq!(service.join(call, None, json!({ "guestName": "Gil" })).await.refusal(), (401, "UNAUTHORIZED"));
        assert_eq!(service.join(call, Some(&bob.token), json!({})).await.status, 200);
        assert_eq!(service.join(call, Some(&ann.token), json!({})).await.status, 200);
    }
    assert_eq!(service.join(&private, Some(&eve.token), json!({})).await.status, 200);
    assert_eq!(service.join(&invited, Some(&eve.token), json!({})).await.refusal(), (403, "FORBIDDEN"));
}

#[tokio::test]
async fn a_list_of_invited_users_counts_with_every_type_that_it_can_be_set_for() {
    let service = Service::start().await;
    let (ann, bob, eve) = (service.user("Ann").await, service.user("Bob").await, service.user("Eve").await);
    for (kind, eve_joins) in [("public", true), ("private", false), ("invited_only", false)] {
        let fields = json!({ "type": kind, "invitedUserIds": [bob.id], "passcode": "s3cret" });
        let call = service.call(&ann, fields).await;
        assert_eq!(call["requiresInvitation"], !eve_joins, "{kind}");
        let passcode = json!({ "passcode": "s3cret" });
        let uninvited = service.join(&call, Some(&eve.token), passcode.clone()).await;
        assert_eq!(uninvited.status.as_u16(), if eve_joins { 200 } else { 403 }, "{kind}");
        // An invited user sees the call, and needs the passcode as others do.
        let id = call["_id"].as_str().unwrap();
        let path = format!("/api/video-calls/{id}");
        assert_eq!(service.get(&path, Some(&bob.token)).await.data()["hostId"], ann.id.as_str(), "{kind}");
        let listed = service.get("/api/video-calls", Some(&bob.token)).await;
        assert!(listed.data().as_array().unwrap().iter().any(|one| one["_id"] == id), "{kind}");
        assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (401, "INVALID_PASSCODE"));
        assert_eq!(service.join(&call, Some(&bob.token), passcode).await.status, 200, "{kind}");
        let summary = service.get(&format!("/api/video-calls/room/{}", call["roomId"].as_str().unwrap()), None).await;
        assert_eq!(
            (&summary.data()["requiresInvitation"], &summary.data()["type"]),
            (&json!(!eve_joins), &json!(kind))
        );
    }
    assert_eq!(service.get("/api/video-calls", Some(&eve.token)).await.body["pagination"]["total"], 0);
}

#[tokio::test]
async fn an_unknown_room_cannot_be_joined() {
    let service = Service::start().await;
    let join = async |room: &str| {
        service.post("/api/video-calls/join", None, json!({ "roomId": room, "guestName": "Gil" })).await
    };
    assert_eq!(join("NOSUCHROOM12").await.refusal(), (404, "CALL_NOT_FOUND"));
    for malformed in ["", "a:b", "{x}", &"x".repeat(65)] {
        let reply = join(malformed).await;
        assert_eq!(reply.refusal(), (400, "VALIDATION_ERROR"), "{malformed}");
        assert_eq!(reply.fields()[0], "roomId");
    }
}

#[tokio::test]
async fn a_full_call_refuses_whom_its_room_would_refuse_and_not_a_participant_who_lost_the_socket() {
    let service = Service::start().await;
    let (ann, bob, eve) = (service.user("Ann").await, service.user("Bob").await, service.user("Eve").await);
    let call = service.call(&ann, json!({ "maxParticipants": 2 })).await;
    let mut seats = Vec::new();
    for user in [&ann, &bob] {
        assert_eq!(service.join(&call, Some(&user.token), json!({})).await.status, 200);
        seats.push(service.seat(&call, &user.id, 1).await);
    }
    let door = service.get(&format!("/api/video-calls/room/{}", call["roomId"].as_str().unwrap()), None).await;
    assert_eq!(door.data()["currentParticipants"], 2);
    assert_eq!(service.join(&call, Some(&eve.token), json!({})).await.refusal(), (403, "CALL_FULL"));
    // A further device takes a further seat.
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "CALL_FULL"));
    service.rooms.detach(&seats[1]).await.unwrap();
    assert_eq!(service.join(&call, Some(&eve.token), json!({})).await.refusal(), (403, "CALL_FULL"));
    let back = service.join(&call, Some(&bob.token), json!({})).await;
    assert_eq!((back.status.as_u16(), &back.data()["call"]["currentParticipants"]), (200, &json!(2)));
    // A user who waits in the lobby takes no seat; the socket tells later whether one is free.
    let lobby = json!({ "settings": { "waitingRoomEnabled": true } });
    let path = format!("/api/video-calls/{}", call["_id"].as_str().unwrap());
    let changed =
        service.send(service.request(reqwest::Method::PATCH, &path).bearer_auth(&ann.token).json(&lobby)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let waits = service.join(&call, Some(&eve.token), json!({})).await;
    assert_eq!((waits.status.as_u16(), &waits.data()["waits"]), (200, &json!(true)));
}

/// Service with the default bounds of passcodes, behind one proxy.
async fn service_with_default_passcode_rates() -> Service {
    let passcode = passcode_rates(&mut Env::new([("X", "")]), true);
    Service::limited(RatesConfig { passcode, proxies: TrustedProxies::hops(1), ..RatesConfig::default() }).await
}

/// Joins as a guest from an address.
async fn join_from(service: &Service, call: &serde_json::Value, passcode: &str, address: &str) -> Reply {
    let body = json!({ "roomId": call["roomId"], "guestName": "Gil", "passcode": passcode });
    let request = service.request(Method::POST, "/api/video-calls/join").header("x-forwarded-for", address);
    service.send(request.json(&body)).await
}

#[tokio::test]
async fn wrong_passcodes_of_some_addresses_refuse_no_right_one_of_another() {
    let service = service_with_default_passcode_rates().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({ "passcode": "s3cret" })).await;
    for n in 0..70 {
        let address = format!("192.0.2.{}", n / 10);
        let reply = join_from(&service, &call, &format!("{n:04}"), &address).await;
        assert!(matches!(reply.refusal(), (401, "INVALID_PASSCODE") | (429, "RATE_LIMIT_EXCEEDED")), "{n}");
    }
    let blocked = join_from(&service, &call, "s3cret", "192.0.2.1").await;
    assert_eq!(blocked.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
    assert!(blocked.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 100, "{blocked:?}");
    for n in 0..20 {
        let right = join_from(&service, &call, "s3cret", &format!("198.51.100.{n}")).await;
        assert_eq!(right.status, 200, "the first right one of each address: {right:?}");
        let again = join_from(&service, &call, "s3cret", &format!("198.51.100.{n}")).await;
        assert_eq!(again.status, 200, "{again:?}");
    }
    assert_eq!(service.join(&call, Some(&ann.token), json!({})).await.status, 200, "the host needs none");
}

#[tokio::test]
async fn an_office_of_200_with_the_right_passcode_joins_at_once() {
    let service = service_with_default_passcode_rates().await;
    let ann = service.user("Ann").await;
    let call = service.call(&ann, json!({ "passcode": "s3cret", "maxParticipants": 100 })).await;
    let joins = join_all((0..200).map(|_| join_from(&service, &call, "s3cret", "192.0.2.1"))).await;
    assert!(joins.iter().all(|join| join.status == 200), "{:?}", joins.iter().find(|join| join.status != 200));
    let wrong: Vec<String> = (0..20).map(|n| format!("s3cre{n}")).collect();
    let mistyped = join_all(wrong.iter().map(|passcode| join_from(&service, &call, passcode, "192.0.2.1"))).await;
    for reply in mistyped {
        assert_eq!(reply.refusal(), (401, "INVALID_PASSCODE"));
    }
    assert_eq!(join_from(&service, &call, "s3cret", "192.0.2.1").await.status, 200);
}

#[tokio::test]
async fn removed_and_banned_users_are_refused_with_every_earlier_token_as_on_a_socket() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({})).await;
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    let guest = service.join(&call, None, json!({ "guestName": "Gil" })).await;
    let (gil, guest) = (guest.text("token"), guest.data()["user"]["id"].as_str().unwrap().to_owned());
    let remove = async |id: &str, visit: u64, ban: bool| {
        let peer = service.seat(&call, id, visit).await.peer.clone();
        let kick = ModerationCommand::Kick { peer, ban, reason: None };
        assert_eq!(
            service.rooms.moderate(&room, Caller::Operator, &kick).await.unwrap(),
            ModerationOutcome::Done(Vec::new())
        );
    };
    remove(&bob.id, 1, false).await;
    assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "REMOVED"));
    remove(&guest, 2, false).await;
    assert_eq!(service.join(&call, Some(&gil), json!({})).await.refusal(), (403, "REMOVED"));
    assert_eq!(
        service.join(&call, None, json!({ "guestName": "Gil" })).await.status,
        200,
        "a guest can take a new identity"
    );

    // A token that is refreshed at once ends a removal, but not a ban.
    let refreshed = service.post("/api/auth/refresh", None, json!({ "refreshToken": bob.refresh })).await;
    let newer = refreshed.text("token");
    assert_eq!(service.join(&call, Some(&newer), json!({})).await.status, 200);
    remove(&bob.id, 3, true).await;
    assert_eq!(service.join(&call, Some(&newer), json!({})).await.refusal(), (403, "BANNED"));
}

#[tokio::test]
async fn the_address_of_a_banned_guest_or_account_is_refused_for_guests_alone() {
    let service = Service::start().await;
    let (ann, bob, eve) = (service.user("Ann").await, service.user("Bob").await, service.user("Eve").await);
    let address = ClusterKey::derive(ACCESS_SECRET).hash_address(ClientNetwork::of([127, 0, 0, 1].into()));
    for banned in [None, Some(&bob)] {
        let call = service.call(&ann, json!({})).await;
        let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
        let guest = service.join(&call, None, json!({ "guestName": "Gil" })).await;
        let user = banned.map_or_else(|| guest.data()["user"]["id"].as_str().unwrap(), |user| &user.id);
        let proof = Proof { issued_ms: 0, address: address.clone() };
        let seat = service.seat_with(&call, user, 1, proof).await;
        let ban = ModerationCommand::Kick { peer: seat.peer.clone(), ban: true, reason: None };
        assert_eq!(
            service.rooms.moderate(&room, Caller::Operator, &ban).await.unwrap(),
            ModerationOutcome::Done(Vec::new())
        );
        assert_eq!(service.join(&call, None, json!({ "guestName": "Other" })).await.refusal(), (403, "BANNED"));
        assert_eq!(service.join(&call, Some(&eve.token), json!({})).await.status, 200, "another account");
        if banned.is_some() {
            assert_eq!(service.join(&call, Some(&bob.token), json!({})).await.refusal(), (403, "BANNED"));
        }
    }
}

#[tokio::test]
async fn a_ban_refuses_one_guest_and_not_every_guest_behind_the_same_balancer() {
    // Each balancer has a form of its own: two guests behind it, one of whom is banned.
    let forms = [
        ("192.0.2.1:4711", "192.0.2.2:4711", true),
        ("\"[2001:db8:1::7]:4711\"", "\"[2001:db8:2::7]:4711\"", true),
        ("6.6.6.6, [2001:db8:3::7],", "6.6.6.6, [2001:db8:4::7],", true),
        // It does not tell the guests apart, so the ban concerns the identity alone.
        ("unknown", "unknown", false),
    ];
    let service = Service::limited(RatesConfig { proxies: TrustedProxies::hops(1), ..RatesConfig::default() }).await;
    let ann = service.user("Ann").await;
    for (banned, other, told) in forms {
        let call = service.call(&ann, json!({})).await;
        let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
        let join = async |forwarded: &str, token: Option<&str>| {
            let body = json!({ "roomId": call["roomId"], "guestName": "Gil" });
            let request = service.request(Method::POST, "/api/video-calls/join").header("x-forwarded-for", forwarded);
            service.send(token.into_iter().fold(request.json(&body), reqwest::RequestBuilder::bearer_auth)).await
        };
        let joined = join(banned, None).await;
        let network = TrustedProxies::hops(1).client_address([banned.as_bytes()].into_iter(), [127, 0, 0, 1].into());
        let network = network.map_or_else(|_| ClientNetwork::of_proxy([127, 0, 0, 1].into()), ClientNetwork::of);
        let proof = Proof { issued_ms: 0, address: ClusterKey::derive(ACCESS_SECRET).hash_address(network) };
        let seat = service.seat_with(&call, joined.data()["user"]["id"].as_str().unwrap(), 1, proof).await;
        let ban = ModerationCommand::Kick { peer: seat.peer.clone(), ban: true, reason: None };
        let done = ModerationOutcome::Done(Vec::new());
        assert_eq!(service.rooms.moderate(&room, Caller::Operator, &ban).await.unwrap(), done);
        let back = join(banned, Some(&joined.text("token"))).await;
        assert_eq!(back.refusal(), (403, "BANNED"), "the guest behind {banned}");
        assert_eq!(join(other, None).await.status, 200, "another guest behind {other}");
        assert_eq!(join(banned, None).await.status.as_u16(), if told { 403 } else { 200 }, "{banned}, as a stranger");
    }
}

#[tokio::test]
async fn an_admitted_user_has_the_role_that_the_room_assigned() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let call = service.call(&ann, json!({ "settings": { "waitingRoomEnabled": true } })).await;
    let room = RoomId::parse(call["roomId"].as_str().unwrap()).unwrap();
    let role = async |token: &str| {
        let joined = service.join(&call, Some(token), json!({})).await;
        (joined.text("role"), joined.data()["waits"].as_bool().unwrap())
    };
    assert_eq!(role(&ann.token).await, ("host".into(), false));
    assert_eq!(role(&bob.token).await, ("participant".into(), true));
    let host = service.seat(&call, &ann.id, 1).await;
    let seat = service.seat(&call, &bob.id, 2).await;
    let promotion = ModerationCommand::Role { peer: seat.peer.clone(), role: Role::Moderator };
    assert_eq!(
        service.rooms.moderate(&room, Caller::Operator, &promotion).await.unwrap(),
        ModerationOutcome::Done(Vec::new())
    );
    assert_eq!(role(&bob.token).await, ("moderator".into(), false));
    assert_eq!(service.rooms.leave(&host, "left").await.unwrap(), LeaveOutcome::Done);
    assert_eq!(role(&bob.token).await, ("host".into(), false), "it stands in for the host");
    assert_eq!(role(&ann.token).await, ("host".into(), false), "whose call it is");
}
