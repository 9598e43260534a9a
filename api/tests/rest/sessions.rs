use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::{Timestamp, UserId};
use switchboard_records::{NewSession, SESSIONS_MAX};
use switchboard_rooms::RevocationReason;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::support::{PASSWORD, Reply, Service, User};

const NEW: &str = "battery staple correct";

async fn login(service: &Service, user: &User, password: &str) -> Reply {
    service.post("/api/auth/login", None, json!({ "email": user.email, "password": password })).await
}

async fn refresh(service: &Service, token: &str) -> Reply {
    service.post("/api/auth/refresh", None, json!({ "refreshToken": token })).await
}

async fn change(service: &Service, token: &str, current: &str) -> Reply {
    let body = json!({ "currentPassword": current, "newPassword": NEW, "confirmPassword": NEW });
    service.post("/api/auth/change-password", Some(token), body).await
}

async fn delete(service: &Service, token: &str, path: &str) -> Reply {
    service.send(service.request(Method::DELETE, path).bearer_auth(token)).await
}

/// Waits until another pod knows that the token's sign-in is over.
async fn over(service: &Service, token: &str) {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = service.get("/api/auth/validate", Some(token)).await;
        if reply.status != 200 {
            assert_eq!(reply.refusal(), (401, "TOKEN_INVALID"));
            return;
        }
        assert!(Instant::now() < limit, "the token is still good");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn concurrent_refreshes_of_one_token_get_the_same_successor() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let ann = service.user("Ann").await;
    let attempts = (0..20).map(|n| refresh(if n % 2 == 0 { &service } else { &other }, &ann.refresh));
    let replies = join_all(attempts).await;
    for reply in &replies {
        assert_eq!(service.get("/api/auth/profile", Some(&reply.text("token"))).await.status, 200);
    }
    // All answers hold the latest token.
    assert_eq!(refresh(&other, &replies[7].text("refreshToken")).await.status, 200);
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_can_be_repeated_for_a_day_while_its_successor_is_unused() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let ann = service.user("Ann").await;
    let sessions = service.database().await.collection::<Document>("sessions");
    let age = async |ms: i64| {
        let earlier = |field: &str| doc! { "$subtract": [field, ms] };
        let set = doc! { "usedAt": earlier("$usedAt"), "rotatedAt": earlier("$rotatedAt") };
        sessions.update_one(doc! {}, vec![doc! { "$set": set }]).await.unwrap();
    };
    let lost = refresh(&service, &ann.refresh).await;
    age(11_000).await;
    let repeated = refresh(&other, &ann.refresh).await;
    assert_eq!(service.get("/api/auth/profile", Some(&ann.token)).await.status, 200, "nothing has ended");
    assert_eq!(service.get("/api/auth/profile", Some(&repeated.text("token"))).await.status, 200);
    age(3_600_000).await;
    let latest = refresh(&service, &ann.refresh).await;
    // Two attempts at the same time get the same token, as the first time.
    let both = refresh(&other, &ann.refresh).await;
    let next = refresh(&service, &latest.text("refreshToken")).await;
    assert_eq!(refresh(&other, &both.text("refreshToken")).await.status, 200);
    // Whoever has the unused successor shows it too late.
    assert_eq!(refresh(&other, &lost.text("refreshToken")).await.refusal(), (401, "TOKEN_INVALID"));
    over(&other, &next.text("token")).await;
}

#[tokio::test]
async fn a_replay_ends_the_tokens_and_the_owner_can_still_sign_out() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let ann = service.user("Ann").await;
    let elsewhere = login(&service, &ann, PASSWORD).await;
    let second = refresh(&service, &ann.refresh).await;
    let third = refresh(&service, &second.text("refreshToken")).await;
    assert_eq!(refresh(&service, &ann.refresh).await.refusal(), (401, "TOKEN_INVALID"));
    over(&other, &third.text("token")).await;
    // It is listed while it may have a seat in a call, so that another sign-in can end it.
    let listed = service.get("/api/auth/sessions", Some(&elsewhere.text("token"))).await;
    assert_eq!(listed.data().as_array().unwrap().len(), 2);
    let goodbye = service.post("/api/auth/logout", Some(&third.text("token")), json!({})).await;
    assert_eq!(goodbye.status, 200, "{goodbye:?}");
    let again = service.post("/api/auth/logout", Some(&third.text("token")), json!({})).await;
    assert_eq!(again.refusal(), (401, "TOKEN_INVALID"));
    let left = service.get("/api/auth/sessions", Some(&elsewhere.text("token"))).await;
    assert_eq!(left.data().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_replayed_refresh_token_ends_the_sign_in_on_every_pod_and_no_other() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let ann = service.user("Ann").await;
    let elsewhere = login(&service, &ann, PASSWORD).await;
    let second = refresh(&service, &ann.refresh).await;
    let third = refresh(&service, &second.text("refreshToken")).await;
    assert_eq!(refresh(&service, &ann.refresh).await.refusal(), (401, "TOKEN_INVALID"));
    over(&other, &third.text("token")).await;
    assert_eq!(refresh(&other, &third.text("refreshToken")).await.refusal(), (401, "TOKEN_INVALID"));
    assert_eq!(refresh(&other, &elsewhere.text("refreshToken")).await.status, 200);
}

#[tokio::test]
async fn a_revoked_sign_in_cannot_be_refreshed_even_if_its_record_is_still_open() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let sign_ins = service.get("/api/auth/sessions", Some(&ann.token)).await;
    let id = sign_ins.data()[0]["id"].as_str().unwrap().to_owned();
    service.rooms.revoke(&id, RevocationReason::SignedOut, Duration::from_secs(600)).await.unwrap();
    over(&service, &ann.token).await;
    assert_eq!(refresh(&service, &ann.refresh).await.refusal(), (401, "TOKEN_INVALID"));
    // The refused refresh has ended the sign-in in MongoDB too.
    assert_eq!(refresh(&service.another_pod().await, &ann.refresh).await.refusal(), (401, "TOKEN_INVALID"));
}

#[tokio::test]
async fn a_password_change_ends_the_other_sign_ins_on_every_pod_and_keeps_its_own() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let ann = service.user("Ann").await;
    let elsewhere = login(&other, &ann, PASSWORD).await;
    assert_eq!(change(&service, &ann.token, "a wrong guess").await.refusal(), (401, "INVALID_CREDENTIALS"));
    assert_eq!(change(&service, &ann.token, PASSWORD).await.status, 200);
    over(&other, &elsewhere.text("token")).await;
    assert_eq!(refresh(&other, &elsewhere.text("refreshToken")).await.refusal(), (401, "TOKEN_INVALID"));
    assert_eq!(service.get("/api/auth/profile", Some(&ann.token)).await.status, 200);
    assert_eq!(refresh(&other, &ann.refresh).await.status, 200);
    assert_eq!(login(&other, &ann, PASSWORD).await.refusal(), (401, "INVALID_CREDENTIALS"));
    assert_eq!(login(&other, &ann, NEW).await.status, 200);
}

#[tokio::test]
async fn a_concurrent_sign_in_with_the_old_password_does_not_survive_its_change() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let ann = service.user("Ann").await;
    let logins = join_all((0..12).map(|_| login(&other, &ann, PASSWORD)));
    let (changed, logins) = tokio::join!(change(&service, &ann.token, PASSWORD), logins);
    assert_eq!(changed.status, 200, "{changed:?}");
    for reply in logins {
        if reply.status == 200 {
            over(&other, &reply.text("token")).await;
            assert_eq!(refresh(&other, &reply.text("refreshToken")).await.refusal(), (401, "TOKEN_INVALID"));
        } else {
            assert_eq!(reply.refusal(), (401, "INVALID_CREDENTIALS"));
        }
    }
    let left = service.get("/api/auth/sessions", Some(&ann.token)).await;
    assert_eq!(left.data().as_array().unwrap().len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_refused_password_change_names_every_invalid_field() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let cases: [(Value, &[&str]); 4] = [
        (json!({}), &["currentPassword", "newPassword", "confirmPassword"]),
        (
            json!({ "currentPassword": PASSWORD, "newPassword": "short", "confirmPassword": "short" }),
            &["newPassword", "confirmPassword"],
        ),
        (
            json!({ "currentPassword": PASSWORD, "newPassword": NEW, "confirmPassword": "another one" }),
            &["confirmPassword"],
        ),
        (
            json!({ "currentPassword": { "$ne": "" }, "newPassword": PASSWORD, "confirmPassword": PASSWORD }),
            &["currentPassword"],
        ),
    ];
    for (body, fields) in cases {
        let reply = service.post("/api/auth/change-password", Some(&ann.token), body).await;
        assert_eq!((reply.refusal(), reply.fields()), ((400, "VALIDATION_ERROR"), fields.to_vec()));
    }
    let same = json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD, "confirmPassword": PASSWORD });
    let reply = service.post("/api/auth/change-password", Some(&ann.token), same).await;
    assert_eq!(reply.fields(), ["newPassword"]);
    assert_eq!(login(&service, &ann, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_user_sees_and_ends_only_their_own_sign_ins() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let form = json!({ "email": ann.email, "password": PASSWORD });
    let phone = service.request(Method::POST, "/api/auth/login").header("user-agent", "Phone").json(&form);
    let (phone, tablet) = (service.send(phone).await, login(&service, &ann, PASSWORD).await);
    let listed = service.get("/api/auth/sessions", Some(&ann.token)).await;
    let sessions = listed.data().as_array().unwrap();
    assert_eq!(sessions.len(), 3);
    assert_eq!(sessions.iter().filter(|session| session["current"] == true).count(), 1);
    let of_phone = sessions.iter().find(|session| session["userAgent"] == "Phone").unwrap();
    assert!(listed.body.to_string().len() < 3 * 400, "a listed sign-in has no other fields: {listed:?}");

    let path = format!("/api/auth/sessions/{}", of_phone["id"].as_str().unwrap());
    assert_eq!(delete(&service, &bob.token, &path).await.refusal(), (404, "SESSION_NOT_FOUND"));
    assert_eq!(delete(&service, &bob.token, "/api/auth/sessions/$ne").await.refusal(), (400, "VALIDATION_ERROR"));
    assert_eq!(service.get("/api/auth/profile", Some(&phone.text("token"))).await.status, 200);
    assert_eq!(delete(&service, &ann.token, &path).await.status, 200);
    over(&other, &phone.text("token")).await;
    assert_eq!(refresh(&other, &phone.text("refreshToken")).await.refusal(), (401, "TOKEN_INVALID"));
    assert_eq!(delete(&service, &ann.token, &path).await.refusal(), (404, "SESSION_NOT_FOUND"));

    assert_eq!(delete(&service, &ann.token, "/api/auth/sessions").await.status, 200);
    over(&other, &tablet.text("token")).await;
    let left = service.get("/api/auth/sessions", Some(&ann.token)).await;
    assert_eq!(left.data().as_array().unwrap().len(), 1);
    assert_eq!(service.get("/api/auth/profile", Some(&bob.token)).await.status, 200);
}

#[tokio::test]
async fn sign_ins_of_an_address_beyond_its_bound_are_refused_and_all_others_are_served() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let stop = CancellationToken::new();
    let here = ClientNetwork::of([127, 0, 0, 1].into());
    // More sign-ins of this address than may run and wait; each refused one is repeated.
    let flood = (0..200).map(|_| {
        let (hasher, stop) = (service.hasher.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                if hasher.hash(Some(here), "flood".into()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        })
    });
    let flood: Vec<_> = flood.collect();
    let limit = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        let reply = login(&service, &ann, PASSWORD).await;
        if reply.status == 503 || Instant::now() > limit {
            break reply;
        }
    };
    assert_eq!(refused.refusal(), (503, "SERVICE_UNAVAILABLE"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(service.get("/api/auth/profile", Some(&ann.token)).await.status, 200);
    assert!(service.hasher.hash(None, "of another address".into()).await.is_ok());
    stop.cancel();
    join_all(flood).await;
    assert_eq!(login(&service, &ann, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn account_statistics_count_the_user_s_calls() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    service.call(&ann, json!({})).await;
    service.call(&ann, json!({ "scheduledAt": "2099-01-01T00:00:00Z" })).await;
    let statistics = async |user: &User| service.get("/api/auth/stats", Some(&user.token)).await.data().clone();
    let hosted = json!({
        "totalHosted": 2, "totalParticipated": 0, "totalCalls": 2, "activeCalls": 0, "thisMonthCalls": 2,
    });
    let none = json!({
        "totalHosted": 0, "totalParticipated": 0, "totalCalls": 0, "activeCalls": 0, "thisMonthCalls": 0,
    });
    assert_eq!((statistics(&ann).await, statistics(&bob).await), (hosted, none));
}

#[tokio::test]
async fn another_e_mail_address_needs_the_password_and_ends_other_sign_ins() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let ann = service.user("Ann").await;
    let elsewhere = login(&other, &ann, PASSWORD).await;
    let patch = async |body: Value| {
        service.send(service.request(Method::PATCH, "/api/auth/profile").bearer_auth(&ann.token).json(&body)).await
    };
    let email = "anna@example.org";
    let without = patch(json!({ "email": email })).await;
    assert_eq!((without.refusal(), without.fields()), ((400, "VALIDATION_ERROR"), vec!["currentPassword"]));
    let wrong = patch(json!({ "email": email, "currentPassword": "a wrong guess" })).await;
    assert_eq!(wrong.refusal(), (401, "INVALID_CREDENTIALS"));
    assert_eq!(patch(json!({ "email": ann.email, "name": "Anna" })).await.status, 200, "the same address needs none");
    assert_eq!(other.get("/api/auth/profile", Some(&elsewhere.text("token"))).await.status, 200);

    assert_eq!(patch(json!({ "email": email, "currentPassword": PASSWORD })).await.text("email"), email);
    over(&other, &elsewhere.text("token")).await;
    assert_eq!(refresh(&other, &elsewhere.text("refreshToken")).await.refusal(), (401, "TOKEN_INVALID"));
    assert_eq!(service.get("/api/auth/profile", Some(&ann.token)).await.status, 200);
    assert_eq!(refresh(&other, &ann.refresh).await.status, 200);
    assert_eq!(login(&other, &ann, PASSWORD).await.refusal(), (401, "INVALID_CREDENTIALS"), "the old address");
}

#[tokio::test]
async fn many_sign_ins_of_one_user_end_the_oldest_and_can_all_be_ended() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let id = UserId::parse(&ann.id).unwrap();
    let now = api::clock::now();
    // As many as an account without a bound can have.
    let sessions = service.database().await.collection("sessions");
    let old = (0..2_000).map(|n| {
        mongodb::bson::doc! {
            "_id": format!("{n:032x}"), "userId": mongodb::bson::oid::ObjectId::parse_str(&ann.id).unwrap(),
            "refresh": "r", "previous": null, "createdAt": mongodb::bson::DateTime::from_millis(n),
            "usedAt": mongodb::bson::DateTime::from_millis(n),
            "expiresAt": mongodb::bson::DateTime::from_millis(now.0 + 3_600_000), "passwordAt": null,
        }
    });
    sessions.insert_many(old).await.unwrap();
    let latest = login(&service, &ann, PASSWORD).await;
    assert_eq!(latest.status, 200);
    assert_eq!(service.records.sessions_of(&id, now).await.unwrap().len(), SESSIONS_MAX);
    assert_eq!(delete(&service, &ann.token, "/api/auth/sessions").await.status, 200);
    assert_eq!(sessions.count_documents(mongodb::bson::doc! {}).await.unwrap(), 1);
    over(&service, &latest.text("token")).await;
    assert_eq!(refresh(&service, &latest.text("refreshToken")).await.refusal(), (401, "TOKEN_INVALID"));
    assert_eq!(refresh(&service, &ann.refresh).await.status, 200);
    for _ in 0..SESSIONS_MAX + 5 {
        service.records.open_session(&new_session(&id, now)).await.unwrap();
    }
    let signed_in = login(&service, &ann, PASSWORD).await;
    assert_eq!(service.records.sessions_of(&id, now).await.unwrap().len(), SESSIONS_MAX);
    assert_eq!(service.get("/api/auth/profile", Some(&signed_in.text("token"))).await.status, 200);
}

fn new_session(user: &UserId, now: Timestamp) -> NewSession {
    NewSession {
        id: switchboard_auth::random_id(),
        user: user.clone(),
        token: switchboard_auth::random_id(),
        user_agent: None,
        opened: now,
        expires: Timestamp(now.0 + 3_600_000),
        password_at: None,
    }
}
