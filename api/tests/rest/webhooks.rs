use devcluster::mongo::{Mongo, MongoOptions};
use devcluster::redis::RedisServer;
use mongodb::bson::doc;
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_auth::AppVault;
use switchboard_core::domain::{AppId, Timestamp, WebhookId};
use switchboard_records::{Attempt, Delivery, DeliveryOutcome};

use super::support::{MASTER_KEY, READ_KEY, Reply, Service, WRITE_KEY};

/// Sends a request of an operator with write scope.
async fn ask(service: &Service, method: Method, path: &str, body: Value) -> Reply {
    let request = service.request(method, &format!("/api/admin{path}")).header("x-api-key", WRITE_KEY);
    service.send(if body.is_null() { request } else { request.json(&body) }).await
}

#[tokio::test]
async fn an_operator_adds_changes_and_removes_webhooks_whose_secrets_are_shown_once() {
    let service = Service::start().await;
    let (app, _) = service.app_key().await;
    let path = format!("/apps/{app}/webhooks");
    let url = "https://a.test/hook";
    let added = ask(&service, Method::POST, &path, json!({ "url": url })).await;
    assert_eq!(added.status, 201, "{added:?}");
    let (id, secret) = (added.text("webhookId"), added.text("secret"));
    assert!(secret.starts_with("whsec_") && added.data()["events"].as_array().unwrap().len() == 6, "{added:?}");
    assert!(!added.data()["events"].to_string().contains("chat.message"), "newer types are asked for");
    let hook = format!("{path}/{id}");
    let changed = ask(&service, Method::PATCH, &hook, json!({ "events": ["chat.message", "call.ended"] })).await;
    assert_eq!(
        (changed.text("url"), &changed.data()["events"]),
        (url.to_owned(), &json!(["chat.message", "call.ended"]))
    );
    let moved = ask(&service, Method::PATCH, &hook, json!({ "url": "https://b.test/" })).await;
    assert_eq!(moved.data()["events"], json!(["chat.message", "call.ended"]));

    let rotated = ask(&service, Method::POST, &format!("{hook}/secret"), json!({ "previousSeconds": 60 })).await;
    assert!(rotated.text("secret") != secret && rotated.data()["previousSecretUntil"].is_string(), "{rotated:?}");
    let ended = ask(&service, Method::POST, &format!("{hook}/secret"), json!({ "previousSeconds": 0 })).await;
    assert!(ended.data()["previousSecretUntil"].is_null(), "{ended:?}");
    let listed = ask(&service, Method::GET, &path, Value::Null).await;
    assert_eq!((listed.data().as_array().unwrap().len(), &listed.data()[0]["url"]), (1, &json!("https://b.test/")));
    assert!(!listed.body.to_string().contains("whsec_"), "{listed:?}");
    let stored = service.database().await.collection::<mongodb::bson::Document>("apps");
    let stored = stored.find_one(doc! { "_id": &app }).await.unwrap().unwrap();
    assert!(!stored.to_string().contains("whsec_") && stored.to_string().contains("sealed"), "{stored}");

    for (body, field) in [
        (json!({ "url": "ftp://a.test" }), "url"),
        (json!({ "url": "https://u:p@a.test" }), "url"),
        (json!({}), "url"),
        (json!({ "url": url, "events": ["call.exploded"] }), "events"),
        (json!({ "url": url, "events": [] }), "events"),
    ] {
        let refused = ask(&service, Method::POST, &path, body.clone()).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec![field]), "{body}");
    }
    let read = service.request(Method::POST, &format!("/api/admin{path}")).header("x-api-key", READ_KEY);
    assert_eq!(service.send(read.json(&json!({ "url": url }))).await.refusal(), (403, "FORBIDDEN"));
    for _ in 1..5 {
        assert_eq!(ask(&service, Method::POST, &path, json!({ "url": url })).await.status, 201);
    }
    assert_eq!(ask(&service, Method::POST, &path, json!({ "url": url })).await.refusal(), (409, "LIMIT_REACHED"));

    ask(&service, Method::DELETE, &hook, Value::Null).await.data();
    for (method, path) in [
        (Method::DELETE, hook.clone()),
        (Method::PATCH, hook.clone()),
        (Method::POST, format!("{hook}/secret")),
        (Method::POST, format!("/webhooks/{id}/ping")),
    ] {
        let gone = ask(&service, method, &path, json!({})).await;
        assert_eq!(gone.refusal(), (404, "WEBHOOK_NOT_FOUND"), "{path}");
    }
    let nowhere = ask(&service, Method::POST, "/apps/nosuchapp/webhooks", json!({ "url": url })).await;
    assert_eq!(nowhere.refusal(), (404, "APP_NOT_FOUND"));
    let without = service.pod_without_master_key().await;
    let refused = ask(&without, Method::POST, &path, json!({ "url": url })).await;
    assert_eq!(refused.refusal(), (501, "APPS_NOT_CONFIGURED"));
}

#[tokio::test]
async fn an_operator_reads_the_outcome_of_each_event_and_sends_one_or_all_that_failed_again() {
    let service = Service::start().await;
    let (app, _) = service.app_key().await;
    let added = ask(&service, Method::POST, &format!("/apps/{app}/webhooks"), json!({ "url": "https://a.test" })).await;
    let id = added.text("webhookId");
    let call = "65a1b2c3d4e5f60718293a4b";
    let delivery = |number: i64| Delivery {
        id: format!("{id}/3:{number}-0"),
        endpoint: id.clone(),
        event_id: format!("3:{number}-0"),
        event: "call.ended".to_owned(),
        call_id: if number == 4 { "65a1b2c3d4e5f60718293a4c" } else { call }.to_owned(),
        order: format!("{number:020}"),
        body: r#"{"name":"Ann"}"#.to_owned(),
        attempts: 0,
        created_at: Timestamp(4_000_000_000_000 + number),
        queued_at: None,
    };
    let all: Vec<_> = (1..=4).map(delivery).collect();
    service.records.queue_deliveries(&all).await.unwrap();
    let refused = Attempt { status: Some(503), problem: Some("the receiver answered 503".to_owned()) };
    let accepted = Attempt { status: Some(204), problem: None };
    for (number, outcome, attempt) in [
        (0, DeliveryOutcome::Delivered, &accepted),
        (1, DeliveryOutcome::Failed, &refused),
        (2, DeliveryOutcome::Failed, &refused),
        (3, DeliveryOutcome::Postponed, &refused),
    ] {
        service.records.settle_delivery(&all[number].id, outcome, attempt, Timestamp(7)).await.unwrap();
    }
    let path = format!("/webhooks/{id}/deliveries");
    let events = async |query: &str| {
        let page = ask(&service, Method::GET, &format!("{path}{query}"), Value::Null).await;
        let page = page.data().clone();
        let ids: Vec<_> = page["deliveries"].as_array().unwrap().iter().map(|one| one["eventId"].clone()).collect();
        (json!(ids), page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(events("").await, (json!(["3:4-0", "3:3-0", "3:2-0", "3:1-0"]), None));
    assert_eq!(events("?state=failed").await.0, json!(["3:3-0", "3:2-0"]));
    assert_eq!(events("?state=delivered").await.0, json!(["3:1-0"]));
    assert_eq!(events(&format!("?callId={call}&state=waiting")).await.0, json!([]));
    let (first, next) = events("?limit=3").await;
    assert_eq!(first, json!(["3:4-0", "3:3-0", "3:2-0"]));
    assert_eq!(events(&format!("?limit=3&after={}", next.unwrap())).await, (json!(["3:1-0"]), None));
    let page = ask(&service, Method::GET, &format!("{path}?state=failed&limit=1"), Value::Null).await;
    assert_eq!(
        page.data()["deliveries"][0],
        json!({
            "eventId": "3:3-0", "type": "call.ended", "callId": call, "state": "failed", "attempts": 1,
            "createdAt": "2096-10-02T07:06:40.003Z", "triedAt": "1970-01-01T00:00:00.007Z", "status": 503,
            "problem": "the receiver answered 503",
        }),
        "without the body"
    );
    assert_eq!(events(&format!("?callId={}", call.to_uppercase())).await.0, json!(["3:3-0", "3:2-0", "3:1-0"]));
    for (query, field) in [
        ("?state=lost", "state"),
        ("?callId=!", "callId"),
        ("?callId=65a1b2c3", "callId"),
        ("?after=x", "after"),
        ("?limit=0", "limit"),
    ] {
        let refused = ask(&service, Method::GET, &format!("{path}{query}"), Value::Null).await;
        assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec![field]), "{query}");
    }
    let waiting = ask(&service, Method::GET, "/webhooks", Value::Null).await;
    assert_eq!(
        waiting.data(),
        &json!([{ "webhookId": id, "appId": app, "oldestWaitingAt": "2096-10-02T07:06:40.001Z" }])
    );

    let resend = async |body: Value| ask(&service, Method::POST, &format!("/webhooks/{id}/resend"), body).await;
    assert_eq!(resend(json!({ "eventId": "3:1-0" })).await.data(), &json!({ "count": 1, "more": false }));
    assert_eq!(resend(json!({ "eventId": "3:1-0" })).await.refusal(), (404, "DELIVERY_NOT_FOUND"), "it waits");
    assert_eq!(resend(json!({ "eventId": "3:9-0" })).await.refusal(), (404, "DELIVERY_NOT_FOUND"));
    assert_eq!(resend(json!({})).await.data(), &json!({ "count": 2, "more": false }));
    assert_eq!(events("?state=waiting").await.0, json!(["3:4-0", "3:3-0", "3:2-0", "3:1-0"]));
}

#[tokio::test]
async fn of_two_rotations_of_a_secret_at_the_same_time_one_is_refused() {
    let mongo = Mongo::start_with(&MongoOptions { test_commands: true, ..MongoOptions::default() }).await.unwrap();
    let redis = RedisServer::start().await.unwrap();
    let service = Service::on_servers(&mongo, &redis.url()).await;
    let (app, _) = service.app_key().await;
    let path = format!("/apps/{app}/webhooks");
    let id = ask(&service, Method::POST, &path, json!({ "url": "https://a.test" })).await.text("webhookId");
    // Both read the secret before one of them writes.
    let write = doc! {
        "failCommands": ["findAndModify"], "appName": "switchboard", "blockConnection": true, "blockTimeMS": 1_000,
    };
    let database = service.database().await;
    let fail = doc! { "configureFailPoint": "failCommand", "mode": { "times": 2 }, "data": write };
    database.client().database("admin").run_command(fail).await.unwrap();
    let secret = format!("{path}/{id}/secret");
    let rotate = || ask(&service, Method::POST, &secret, json!({ "previousSeconds": 0 }));
    let (one, two) = tokio::join!(rotate(), rotate());
    let (made, refused) = if one.status == 201 { (one, two) } else { (two, one) };
    assert_eq!((made.status.as_u16(), refused.refusal()), (201, (409, "SECRET_ROTATED")));
    let (app, id) = (AppId::parse(&app).unwrap(), WebhookId::parse(&id).unwrap());
    let stored = service.records.app_webhook(&app, &id).await.unwrap().unwrap();
    let secret = AppVault::new(MASTER_KEY.into()).open(&app, &id, &stored.sealed).unwrap();
    assert_eq!(secret.expose(), made.text("secret"), "the secret of the answer is the stored one");
}
