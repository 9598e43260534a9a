//! The load balancer's rules, before stand-ins for the api and the nodes.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::HashMap;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use devcluster::haproxy::{self, Backend};
use devcluster::ports;
use devcluster::process::Echo;
use devcluster::service::Service;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A server that is always ready and says `name` to everything else.
async fn stand_in(name: &'static str) -> (Backend, AbortHandle) {
    let listener = TcpListener::bind(("127.0.0.1", ports::free().unwrap())).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = move |headers: HeaderMap| async move {
        assert!(headers.contains_key("x-forwarded-for"));
        name
    };
    let router = Router::new().route("/readyz", get(|| async { "ready" })).fallback(answer);
    let task = tokio::spawn(async move { axum::serve(listener, router).await });
    (Backend { port, admin: port }, task.abort_handle())
}

async fn answers(proxy: &Service, path: &str, times: usize) -> HashMap<String, usize> {
    let mut answers = HashMap::new();
    for _ in 0..times {
        let response = reqwest::get(format!("{}{path}", proxy.url())).await.unwrap();
        *answers.entry(response.text().await.unwrap()).or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn sockets_go_round_the_nodes_and_all_else_to_the_api_and_a_lost_node_costs_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let (api, _) = stand_in("api").await;
    let (n1, _) = stand_in("n1").await;
    let (n2, lost) = stand_in("n2").await;
    let port = ports::free().unwrap();
    let proxy = haproxy::start(dir.path(), port, api, &[n1, n2], "/api/health", Echo::Off).await.unwrap();

    assert_eq!(answers(&proxy, "/", 4).await, HashMap::from([("api".into(), 4)]));
    assert_eq!(answers(&proxy, "/api/version", 4).await, HashMap::from([("api".into(), 4)]));
    let balanced = answers(&proxy, "/socket.io/?EIO=4&transport=polling", 10).await;
    assert_eq!(balanced, HashMap::from([("n1".into(), 5), ("n2".into(), 5)]));

    lost.abort();
    let rest = answers(&proxy, "/socket.io/?EIO=4&transport=polling", 10).await;
    assert_eq!(rest.get("n1").copied().unwrap_or(0) + rest.get("n2").copied().unwrap_or(0), 10, "{rest:?}");
    assert!(rest["n1"] >= 9, "{rest:?}");
}
