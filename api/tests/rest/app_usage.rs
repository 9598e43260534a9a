//! Usage of apps, limits in use, and last uses of API keys.

use mongodb::bson::{DateTime, Document, doc};
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_core::domain::{AppId, CallId, RoomId, Timestamp};
use switchboard_records::{CallChange, CallFact};
use switchboard_rooms::AppReport;

use super::support::{Backend, READ_KEY, Reply, Service, WRITE_KEY, came, said, user_token, went};

/// Sends a request of an operator with write scope.
async fn ask(service: &Service, method: Method, path: &str) -> Reply {
    service.send(service.request(method, &format!("/api/admin/apps{path}")).header("x-api-key", WRITE_KEY)).await
}

#[tokio::test]
async fn the_usage_of_an_app_is_read_by_day_as_json_and_as_csv() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let app = backend.app.as_str();
    let read = async |query: &str| {
        let path = format!("/api/admin/apps/{app}/usage{query}");
        service.send(service.request(Method::GET, &path).header("x-api-key", READ_KEY)).await
    };
    let own = async |query: &str| service.ask(&backend, Method::GET, &format!("/usage{query}"), Value::Null).await;
    assert_eq!(read("").await.data()["days"], json!([]));
    let midnight = Timestamp::parse("2099-11-02T00:00:00Z").unwrap();
    let fact = |ms: i64, change: CallChange| CallFact {
        event_id: format!("7:{ms}-0"),
        order: format!("{ms:015}-{:020}", 0),
        at: Timestamp(ms),
        call: CallId::parse("0123456789abcdef01234567").unwrap(),
        room: RoomId::parse(&format!("{app}.standup")).unwrap(),
        change,
    };
    let left = match went("ann") {
        CallChange::Left { mut who, reason, count } => {
            who.join = format!("{}-0", midnight.0 - 1_500);
            CallChange::Left { who, reason, count }
        }
        other => other,
    };
    let facts = [
        fact(midnight.0 - 1_500, came("ann")),
        fact(midnight.0 - 1_000, said("ann", None, "hi")),
        fact(midnight.0 + 250, left),
    ];
    // Two recorders, one of which is behind.
    for part in [&facts[..2], &facts[..], &facts[..1]] {
        service.records.write_facts(part).await.unwrap();
    }
    let usage = read("?from=2099-11-01&to=2099-11-30").await;
    assert_eq!(
        usage.data(),
        &json!({
            "from": "2099-11-01", "to": "2099-11-30",
            "total": { "participantMs": 1_750, "joins": 1, "calls": 1, "recordedMessages": 1 },
            "days": [
                { "day": "2099-11-01", "participantMs": 1_500, "joins": 1, "calls": 1, "recordedMessages": 1 },
                { "day": "2099-11-02", "participantMs": 250, "joins": 0, "calls": 0, "recordedMessages": 0 },
            ],
        })
    );
    assert_eq!(own("?from=2099-11-01&to=2099-11-30").await.data(), usage.data(), "the app's backend reads the same");
    let other = service.backend().await;
    let foreign = service.ask(&other, Method::GET, "/usage?from=2099-11-01&to=2099-11-30", Value::Null).await;
    assert_eq!(foreign.data()["days"], json!([]), "of its own app alone");
    // A time means its whole day, UTC, and the answer names the days.
    for query in ["?from=2099-11-02&to=2099-11-02T23:00:00Z", "?from=2099-11-02T12:00Z&to=2099-11-03T01:00+02:00"] {
        let usage = read(query).await;
        assert_eq!((usage.text("from"), usage.text("to")), ("2099-11-02".to_owned(), "2099-11-02".to_owned()));
        assert_eq!(usage.data()["total"]["participantMs"], 250, "{query}");
    }
    let document = service.get("/api/openapi.json", None).await.body;
    for path in ["/api/server/usage", "/api/admin/apps/{appId}/usage"] {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap().iter();
        for said in parameters.filter(|said| said["in"] == "query") {
            assert!(said["description"].as_str().unwrap().contains("the whole day counts, UTC"), "{path} {said}");
        }
    }
    assert_eq!(read("?from=2099-11-03&to=2099-11-30").await.data()["days"], json!([]));
    for base in [format!("/api/admin/apps/{app}"), "/api/server".to_owned()] {
        let path = format!("{base}/usage?from=2099-11-01&to=2099-11-30");
        let accepting = async |accept: &str| {
            let request = service.request(Method::GET, &path).header("accept", accept).header("x-api-key", READ_KEY);
            request.basic_auth(&backend.key, Some(&backend.secret)).send().await.unwrap()
        };
        for json in ["application/json, text/csv;q=0.1", "text/csv;q=0", "*/*"] {
            let answer = accepting(json).await;
            assert_eq!(answer.headers()["content-type"], "application/json", "{base} {json}");
        }
        let csv = accepting("text/csv;q=1, */*;q=0.5").await;
        assert!(csv.headers()["content-type"].to_str().unwrap().starts_with("text/csv"), "{base}");
        let header = "day,participantMs,joins,calls,recordedMessages\r\n";
        assert_eq!(csv.text().await.unwrap(), format!("{header}2099-11-01,1500,1,1,1\r\n2099-11-02,250,0,0,0\r\n"));
    }

    for query in ["?from=2099-11-02&to=2099-11-01", "?from=2098-11-01&to=2099-11-02"] {
        for refused in [read(query).await, own(query).await] {
            assert_eq!((refused.refusal(), refused.fields()), ((400, "VALIDATION_ERROR"), vec!["to"]), "{query}");
        }
    }
    assert_eq!(ask(&service, Method::GET, "/nosuchapp/usage").await.refusal(), (404, "APP_NOT_FOUND"));
    ask(&service, Method::DELETE, &format!("/{app}")).await.data();
    let usage = read("?from=2099-11-01&to=2099-11-30").await;
    assert_eq!(usage.data()["total"]["joins"], 1, "the usage of a deleted app can still be billed");
}

#[tokio::test]
async fn a_backend_reads_the_limits_of_its_app_and_how_much_of_them_is_in_use() {
    let service = Service::start().await;
    let backend = service.backend().await;
    let read = async || service.ask(&backend, Method::GET, "/limits", Value::Null).await.data().clone();
    let nothing = json!({ "concurrentCalls": null, "concurrentParticipants": null });
    assert_eq!(read().await["inUse"], nothing, "an app without limits is not counted");
    let limit = async |limits: Value| {
        let path = format!("/api/admin/apps/{}", backend.app);
        let request = service.request(Method::PATCH, &path).header("x-api-key", WRITE_KEY);
        service.send(request.json(&json!({ "limits": limits }))).await.data()["limits"].clone()
    };
    let limits = limit(json!({ "maxConcurrentCalls": 4, "maxRequestsPerSecond": 500 })).await;
    let shown = read().await;
    assert_eq!((&shown["limits"], &shown["inUse"]["concurrentCalls"]), (&limits, &json!(0)));
    limit(json!({ "maxConcurrentParticipants": 10 })).await;
    let id = AppId::parse(&backend.app).unwrap();
    let rooms: Vec<_> = ["one", "two"].map(|room| RoomId::parse(&format!("{id}.{room}")).unwrap()).into();
    let report = AppReport { participants: 7, rooms: &rooms, limits: service.apps.limits(&id) };
    service.rooms.report_app(&id, report).await.unwrap();
    assert_eq!(read().await["inUse"], json!({ "concurrentCalls": 2, "concurrentParticipants": 7 }));
    let other = service.ask(&service.backend().await, Method::GET, "/limits", Value::Null).await;
    assert_eq!(other.data()["inUse"], nothing, "of its own app alone");
}

#[tokio::test]
async fn an_operator_sees_when_a_key_was_used_last_and_all_pods_write_it_once_in_some_minutes() {
    let service = Service::start().await;
    let other = service.another_pod().await;
    let backend = service.backend().await;
    let signer = service.backend_of(&backend.app, &["tokens:mint"]).await;
    let app = backend.app.as_str();
    let stored = async || -> Document {
        let apps = service.database().await.collection::<Document>("apps");
        apps.find_one(doc! { "_id": app }).await.unwrap().unwrap()
    };
    // Stores the uses that pods know, as they do every few seconds.
    let shown = async || {
        for pod in [&service, &other] {
            pod.apps.note_key_uses().await.unwrap();
        }
        let keys = ask(&service, Method::GET, &format!("/{app}/keys")).await.data().clone();
        assert_eq!(ask(&service, Method::GET, &format!("/{app}")).await.data()["keys"], keys);
        [0_usize, 1].map(|index| keys[index]["lastUsedAt"].as_str().map(|at| Timestamp::parse(at).unwrap()))
    };
    let calls = async |pod: &Service, key: &Backend| pod.ask(key, Method::GET, "/calls", Value::Null).await.status;
    let changed = stored().await.get("changedAt").cloned();
    assert_eq!(calls(&service, &Backend { secret: "sbs_wrong".to_owned(), ..backend.clone() }).await, 401);
    let forged = user_token((&signer.key, "sbs_wrong"), "ann", "standup");
    let join = async |token: &str| other.get("/api/video-calls/room/standup", Some(token)).await.refusal().1.to_owned();
    assert_eq!(join(&forged).await, "TOKEN_INVALID");
    assert_eq!(shown().await, [None, None], "a wrong secret or signature is no use");

    let before = Timestamp(DateTime::now().timestamp_millis());
    assert_eq!(calls(&service, &backend).await, 200);
    let [first, none] = shown().await;
    assert!(first.unwrap() >= before && none.is_none(), "{first:?} {none:?}");
    assert_eq!(join(&user_token((&signer.key, &signer.secret), "ann", "standup")).await, "CALL_NOT_FOUND");
    let [_, second] = shown().await;
    assert!(second.unwrap() >= first.unwrap(), "a token of the key is a use of it");
    for pod in [&service, &other] {
        assert_eq!(calls(pod, &backend).await, 200);
    }
    assert_eq!(shown().await, [first, second], "one write for all pods");
    assert_eq!(stored().await.get("changedAt"), changed.as_ref(), "no pod reads the app again because of it");

    // As if the last use were from long ago.
    let old = doc! { "$set": { "keys.0.lastUsedAt": DateTime::from_millis(before.0 - 600_000) } };
    let apps = service.database().await.collection::<Document>("apps");
    apps.update_one(doc! { "_id": app }, old).await.unwrap();
    let third = service.another_pod().await;
    assert_eq!(calls(&third, &backend).await, 200);
    third.apps.note_key_uses().await.unwrap();
    assert!(shown().await[0].unwrap() >= first.unwrap());
}
