use reqwest::Method;
use serde_json::json;
use switchboard_auth::Tokens;
use switchboard_core::domain::{EmailAddress, Timestamp};
use switchboard_records::{Records, UserRecord};

use super::support::{ACCESS_SECRET, PASSWORD, REFRESH_SECRET, Service};

#[tokio::test]
async fn a_registered_user_can_sign_in_and_read_their_profile() {
    let service = Service::start().await;
    let form = json!({ "name": "  Ann  ", "email": " Ann@Example.ORG ", "password": PASSWORD });
    let registered = service.post("/api/auth/register", None, form).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let user = &registered.data()["user"];
    assert_eq!((&user["name"], &user["email"]), (&json!("Ann"), &json!("ann@example.org")));
    assert_eq!(user["_id"], user["id"]);
    assert!(user.get("password").is_none());
    assert_eq!(registered.data()["expiresIn"], "15m");

    let form = json!({ "email": "ANN@example.org", "password": PASSWORD });
    let signed_in = service.post("/api/auth/login", None, form).await;
    assert_eq!(signed_in.status, 200);
    let profile = service.get("/api/auth/profile", Some(&signed_in.text("token"))).await;
    assert_eq!(profile.data(), &registered.data()["user"]);
    let created = profile.text("createdAt");
    assert!(Timestamp::parse(&created).is_some_and(|at| at.to_string() == created), "{created}");
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_get_the_same_answer() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let mut answers = Vec::new();
    for (email, password) in [(ann.email.as_str(), "wrong password"), ("nobody@example.org", PASSWORD)] {
        let mut reply = service.post("/api/auth/login", None, json!({ "email": email, "password": password })).await;
        assert_eq!(reply.refusal(), (401, "INVALID_CREDENTIALS"));
        reply.body["requestId"] = json!(null);
        answers.push(reply.body);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn of_fifty_concurrent_registrations_of_one_address_exactly_one_succeeds() {
    let service = Service::start().await;
    let form = json!({ "name": "Ann", "email": "ann@example.org", "password": PASSWORD });
    let attempts = (0..50).map(|_| service.post("/api/auth/register", None, form.clone()));
    let replies = futures_util::future::join_all(attempts).await;
    let won = replies.iter().filter(|reply| reply.status == 201).count();
    let taken = replies.iter().filter(|reply| reply.status == 409 && reply.refusal().1 == "USER_EXISTS").count();
    assert_eq!((won, taken), (1, 49));
}

#[tokio::test]
async fn a_refused_registration_names_every_invalid_field() {
    let service = Service::start().await;
    let good = json!({ "name": "Ann", "email": "ann@example.org", "password": PASSWORD });
    for (field, value) in [
        ("name", json!("A")),
        ("name", json!("x".repeat(101))),
        ("name", json!("a\u{0}b")),
        ("name", json!(null)),
        ("name", json!(["Ann"])),
        ("email", json!("ann")),
        ("email", json!("ann@example")),
        ("email", json!({ "$gt": "" })),
        ("password", json!("short12")),
        ("password", json!("x".repeat(129))),
        ("password", json!(12_345_678)),
    ] {
        let mut form = good.clone();
        form[field] = value.clone();
        let reply = service.post("/api/auth/register", None, form).await;
        assert_eq!(reply.refusal(), (400, "VALIDATION_ERROR"), "{field} = {value}");
        assert_eq!(reply.fields(), [field], "{value}");
    }
    let reply = service.post("/api/auth/register", None, json!({})).await;
    assert_eq!(reply.fields(), ["name", "email", "password"]);
}

#[tokio::test]
async fn a_sign_in_accepts_text_fields_only() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    let form = json!({ "email": { "$gt": "" }, "password": { "$ne": "" } });
    let reply = service.post("/api/auth/login", None, form).await;
    assert_eq!((reply.refusal(), reply.fields()), ((400, "VALIDATION_ERROR"), vec!["email", "password"]));
    assert!(service.get("/api/auth/profile", Some(&ann.token)).await.status.is_success());
}

#[tokio::test]
async fn a_user_of_the_old_backend_signs_in_and_gets_an_argon2id_hash() {
    let service = Service::start().await;
    let user = UserRecord {
        id: Records::new_user_id(),
        name: "Old".into(),
        email: "old@example.org".into(),
        // "legacy-password", cost 4.
        password: bcrypt::hash("legacy-password", 4).unwrap(),
        avatar: None,
        sign_ins_since: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    service.records.insert_user(&user).await.unwrap();
    for _ in 0..2 {
        let form = json!({ "email": user.email, "password": "legacy-password" });
        assert_eq!(service.post("/api/auth/login", None, form).await.status, 200);
        let stored = service.records.user(&user.id).await.unwrap().unwrap();
        assert!(stored.password.starts_with("$argon2id$"), "{}", stored.password);
    }
    let form = json!({ "email": user.email, "password": "another-password" });
    assert_eq!(service.post("/api/auth/login", None, form).await.refusal(), (401, "INVALID_CREDENTIALS"));
}

#[tokio::test]
async fn an_account_opens_with_every_spelling_of_its_address_and_every_form_of_its_password() {
    let service = Service::start().await;
    let sign_in = async |email: &str, password: &str| {
        let form = json!({ "email": email, "password": password });
        service.post("/api/auth/login", None, form).await
    };
    let register = async |email: &str| {
        let form = json!({ "name": "Jos\u{e9}", "email": email, "password": "cafe\u{301} cre\u{300}me" });
        service.post("/api/auth/register", None, form).await
    };
    let registered = register("  Jose\u{301}@B\u{fc}cher.Example").await;
    assert_eq!(registered.data()["user"]["email"], "jos\u{e9}@b\u{fc}cher.example", "{registered:?}");
    // Another keyboard writes letters as one character; a browser writes the domain in ASCII.
    for email in
        ["jos\u{e9}@b\u{fc}cher.example", "JOS\u{c9}@xn--bcher-kva.example ", "jose\u{301}@BU\u{308}CHER.example"]
    {
        let signed_in = sign_in(email, "caf\u{e9}\u{a0}cr\u{e8}me").await;
        assert_eq!(signed_in.status, 200, "{email}: {signed_in:?}");
        assert_eq!(register(email).await.refusal(), (409, "USER_EXISTS"), "{email}");
    }
    assert_eq!(sign_in("jose@bucher.example", "caf\u{e9} cr\u{e8}me").await.status, 401);
    // An account of an earlier version, in the forms in which it was typed then.
    let old = UserRecord {
        id: Records::new_user_id(),
        name: "Old".into(),
        email: "zoe\u{308}@xn--bcher-kva.example".into(),
        password: bcrypt::hash("pa\u{308}sswort", 4).unwrap(),
        avatar: None,
        sign_ins_since: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    service.database().await.collection::<UserRecord>("users").insert_one(&old).await.unwrap();
    let signed_in = sign_in("zo\u{eb}@b\u{fc}cher.example", "p\u{e4}sswort").await;
    assert_eq!((signed_in.status.as_u16(), signed_in.data()["user"]["id"].as_str()), (200, Some(old.id.as_str())));
    assert_eq!(sign_in("zo\u{eb}@b\u{fc}cher.example", "pa\u{308}sswort").await.status, 200, "the new hash");
    assert_eq!(register("Zo\u{eb}@B\u{fc}cher.example").await.refusal(), (409, "USER_EXISTS"));
    // Its address in another form is no change, so it needs no password.
    let same = json!({ "email": "zo\u{eb}@b\u{fc}cher.example" });
    let request = service.request(Method::PATCH, "/api/auth/profile").bearer_auth(signed_in.text("token"));
    assert_eq!(service.send(request.json(&same)).await.status, 200);
}

#[tokio::test]
async fn a_client_may_send_back_the_whole_profile_that_it_has_read() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    // The old backend took such a picture.
    let users = service.database().await.collection::<mongodb::bson::Document>("users");
    let set = mongodb::bson::doc! { "$set": { "avatar": "/avatars/7.png" } };
    users.update_one(mongodb::bson::doc! { "email": &ann.email }, set).await.unwrap();
    let mut profile = service.get("/api/auth/profile", Some(&ann.token)).await.data().clone();
    profile["name"] = json!("Anna");
    let request = service.request(Method::PATCH, "/api/auth/profile").bearer_auth(&ann.token);
    let changed = service.send(request.json(&profile)).await;
    assert_eq!((changed.text("name"), changed.text("avatar")), ("Anna".into(), "/avatars/7.png".into()));
}

#[tokio::test]
async fn a_profile_is_read_only_with_a_valid_token() {
    let service = Service::start().await;
    let ann = service.user("Ann").await;
    assert_eq!(service.get("/api/auth/profile", None).await.refusal(), (401, "UNAUTHORIZED"));
    let user = service.records.user_by_email(&EmailAddress::of_account(&ann.email)).await.unwrap().unwrap().public();
    let issue = |tokens: Tokens| tokens.issue_access(&user, &ann.email, "s").unwrap().token;
    let unsigned = {
        let body = ann.token.split('.').nth(1).unwrap();
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.")
    };
    let foreign = issue(Tokens::new("another-secret-of-at-least-32-byte", REFRESH_SECRET));
    let expired = issue(Tokens::new(ACCESS_SECRET, REFRESH_SECRET).with_clock(|| 1_000_000_000_000));
    let call = service.call(&ann, json!({})).await;
    let joining = service.join(&call, Some(&ann.token), json!({})).await.text("joinToken");
    let edited = ann.token.replace(ann.token.split('.').nth(1).unwrap(), joining.split('.').nth(1).unwrap());
    for (token, code) in [
        (ann.refresh.as_str(), "TOKEN_INVALID"),
        (joining.as_str(), "TOKEN_INVALID"),
        (edited.as_str(), "TOKEN_INVALID"),
        (unsigned.as_str(), "TOKEN_INVALID"),
        (foreign.as_str(), "TOKEN_INVALID"),
        ("noise", "TOKEN_INVALID"),
        (expired.as_str(), "TOKEN_EXPIRED"),
    ] {
        assert_eq!(service.get("/api/auth/profile", Some(token)).await.refusal(), (401, code));
    }
    let request = service.request(Method::GET, "/api/auth/profile").header("authorization", "Basic YTpi");
    assert_eq!(service.send(request).await.refusal(), (401, "TOKEN_INVALID"));
    let valid = service.get("/api/auth/validate", Some(&ann.token)).await;
    assert_eq!((&valid.data()["valid"], &valid.data()["user"]["id"]), (&json!(true), &json!(ann.id)));
}

#[tokio::test]
async fn a_profile_changes_field_by_field_and_a_taken_address_is_refused() {
    let service = Service::start().await;
    let (ann, bob) = (service.user("Ann").await, service.user("Bob").await);
    let patch = async |body: serde_json::Value| {
        service.send(service.request(Method::PATCH, "/api/auth/profile").bearer_auth(&ann.token).json(&body)).await
    };
    let changed = patch(json!({ "name": "Anna", "avatar": "https://example.org/a.png" })).await;
    assert_eq!((changed.text("name"), changed.text("email")), ("Anna".into(), ann.email.clone()));
    assert_eq!(patch(json!({ "avatar": null })).await.data()["avatar"], json!(null));
    assert_eq!(patch(json!({ "email": bob.email, "currentPassword": PASSWORD })).await.refusal(), (409, "USER_EXISTS"));
    for malformed in ["http://[::1", "https://", "https://a.example:99999/a.png", "https://a b/"] {
        let refused = patch(json!({ "avatar": malformed })).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["avatar"]), "{malformed}");
    }
    let wrong = patch(json!({ "name": "A", "email": "x", "avatar": "javascript:alert(1)" })).await;
    assert_eq!((wrong.refusal(), wrong.fields().len()), ((400, "VALIDATION_ERROR"), 3));
    assert_eq!(service.get("/api/auth/profile", Some(&ann.token)).await.text("name"), "Anna");
}

#[tokio::test]
async fn a_refresh_token_works_once_and_a_replay_ends_the_session() {
    let service = Service::start().await;
    service.user("Ann").await;
    let form = json!({ "email": "ann@example.org", "password": PASSWORD });
    let first = service.post("/api/auth/login", None, form).await.text("refreshToken");
    let refresh = async |token: &str| service.post("/api/auth/refresh", None, json!({ "refreshToken": token })).await;
    let second = refresh(&first).await.text("refreshToken");
    let third = refresh(&second).await;
    assert!(service.get("/api/auth/profile", Some(&third.text("token"))).await.status.is_success());
    let (access, third) = (third.text("token"), third.text("refreshToken"));
    assert_eq!(refresh(&first).await.refusal(), (401, "TOKEN_INVALID"));
    assert_eq!(refresh(&third).await.refusal(), (401, "TOKEN_INVALID"), "the family is gone");
    assert_eq!(service.get("/api/auth/profile", Some(&access)).await.refusal(), (401, "TOKEN_INVALID"));
}

#[tokio::test]
async fn signing_out_ends_this_sign_in_and_no_other() {
    let service = Service::start().await;
    let here = service.user("Ann").await;
    let form = json!({ "email": here.email, "password": PASSWORD });
    let there = service.post("/api/auth/login", None, form).await;
    assert_eq!(service.post("/api/auth/logout", None, json!({})).await.refusal(), (401, "UNAUTHORIZED"));
    assert_eq!(service.post("/api/auth/logout", Some(&there.text("token")), json!({})).await.status, 200);
    for path in ["/api/auth/profile", "/api/auth/validate", "/api/video-calls"] {
        assert_eq!(service.get(path, Some(&there.text("token"))).await.refusal(), (401, "TOKEN_INVALID"), "{path}");
    }
    let refreshing = json!({ "refreshToken": there.text("refreshToken") });
    assert_eq!(service.post("/api/auth/refresh", None, refreshing).await.refusal(), (401, "TOKEN_INVALID"));
    assert!(service.get("/api/auth/profile", Some(&here.token)).await.status.is_success());
}
