use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::{AppKeyId, Code};

use super::support::{READ_KEY, Reply, Service, WRITE_KEY, until};

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
    let bad = ask(&service, Method::POST, &format!("/{app}/keys"), json!({ "scopes": ["all"] })).await;
    assert_eq!((bad.refusal(), bad.fields()), ((400, "VALIDATION_ERROR"), vec!["scopes"]));
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
    let (_, key) = service.app_key().await;
    let id = AppKeyId::read(&key).unwrap();
    assert!(service.apps.key(&id).await.is_ok());
    mongo.process().kill().unwrap();
    until("an unknown key to be refused with the code of an outage", async || {
        service.apps.key(&AppKeyId::from_random([9; 20])).await.unwrap_err().code == Code::ServiceUnavailable
    })
    .await;
    assert!(service.apps.key(&id).await.is_ok());
}
