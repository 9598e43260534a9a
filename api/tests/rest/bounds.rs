//! Bounds on what one address and one account may ask of a pod.

use std::time::{Duration, Instant};

use api::limits::RatesConfig;
use devcluster::mongo::{Mongo, MongoOptions};
use devcluster::redis::RedisServer;
use mongodb::bson::doc;
use reqwest::Method;
use serde_json::json;
use switchboard_core::client_address::TrustedProxies;
use switchboard_rooms::Rate;

use super::support::{Reply, Service};

#[tokio::test]
async fn every_request_of_an_address_counts_whatever_its_path_and_a_page_can_read_the_refusal() {
    let requests = Some(Rate { requests: 4, period: Duration::from_secs(4 * 3600) });
    let service =
        Service::limited(RatesConfig { requests, proxies: TrustedProxies::hops(1), ..RatesConfig::default() }).await;
    let ask = async |method: Method, path: &str, from: &str| {
        let request = service.request(method, path).header("x-forwarded-for", from);
        service.send(request.header("origin", "http://friend.test")).await
    };
    let preflight = async |from: &str| {
        let request = service.request(Method::OPTIONS, "/api/video-calls").header("x-forwarded-for", from);
        let asked = request.header("origin", "http://friend.test").header("access-control-request-method", "GET");
        service.send(asked).await
    };
    assert_eq!(ask(Method::GET, "/api/nowhere", "192.0.2.1").await.refusal(), (404, "ROUTE_NOT_FOUND"));
    assert_eq!(ask(Method::GET, "/", "192.0.2.1").await.status, 200);
    assert_eq!(ask(Method::GET, "/nowhere", "192.0.2.1").await.status, 404);
    assert_eq!(preflight("192.0.2.1").await.status, 200);
    for path in ["/api/nowhere", "/index.html", "/nowhere", "/api/version"] {
        let refused = ask(Method::GET, path, "192.0.2.1").await;
        assert_eq!(refused.refusal(), (429, "RATE_LIMIT_EXCEEDED"), "{path}");
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=3600).contains(&wait), "{wait}");
        assert_eq!(refused.headers["access-control-allow-origin"], "http://friend.test");
    }
    assert_eq!(preflight("192.0.2.1").await.refusal(), (429, "RATE_LIMIT_EXCEEDED"));
    assert_eq!(ask(Method::GET, "/nowhere", "192.0.2.2").await.status, 404, "another address");
}

#[tokio::test]
async fn joins_go_on_while_two_accounts_send_more_lists_than_mongodb_can_answer_and_lists_come_back() {
    let mongo = Mongo::start_with(&MongoOptions { test_commands: true, ..MongoOptions::default() }).await.unwrap();
    let redis = RedisServer::start().await.unwrap();
    let service = Service::on_servers(&mongo, &redis.url()).await;
    let (ann, bob, eve) = (service.user("Ann").await, service.user("Bob").await, service.user("Eve").await);
    let call = service.call(&ann, json!({})).await;
    let database = service.database().await;
    let slow = async |mode: &str| {
        // Only lists look for the calls that a user took part in.
        let data = doc! {
            "failCommands": ["find"], "namespace": format!("{}.participants", database.name()),
            "blockConnection": true, "blockTimeMS": 20_000,
        };
        let fail = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
        database.client().database("admin").run_command(fail).await.unwrap();
    };
    slow("alwaysOn").await;
    let list = |token: &str| {
        let request = service.request(Method::GET, "/api/video-calls").bearer_auth(token);
        tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.headers().contains_key("retry-after"))
        })
    };
    let attack: Vec<_> = (0..600).map(|number| list(if number % 2 == 0 { &bob.token } else { &eve.token })).collect();
    let joins = async {
        for _ in 0..5 {
            let joined = service.join(&call, Some(&ann.token), json!({})).await;
            assert_eq!(joined.status, 200, "{joined:?}");
            assert_eq!(service.get("/api/auth/profile", Some(&ann.token)).await.status, 200);
        }
    };
    joins.await;
    let (mut refused, mut unavailable) = (0, 0);
    for reply in attack {
        match reply.await.unwrap() {
            (429, true) => refused += 1,
            (503, true) => unavailable += 1,
            other => panic!("{other:?}"),
        }
    }
    // The address and each account have 8 at the same time. The address is the tighter bound.
    assert!(refused >= 500 && unavailable >= 8, "{refused} refused, {unavailable} unavailable");
    slow("off").await;
    let started = Instant::now();
    loop {
        let reply: Reply = service.get("/api/video-calls", Some(&bob.token)).await;
        if reply.status == 200 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "MongoDB is fast again, and lists are not: {reply:?}");
    }
}
