//! The load balancer's routing, with stand-ins for the api and the nodes.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use devcluster::haproxy::{self, Pool, RuntimeApi};
use devcluster::ports;
use devcluster::process::Echo;
use devcluster::service::{Backend, Service};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Starts a server that is always ready and answers every other request with `name`.
async fn stand_in(name: &'static str) -> (Backend, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = move |headers: HeaderMap| async move {
        assert!(headers.contains_key("x-forwarded-for"));
        name
    };
    let router = Router::new().route("/readyz", get(|| async { "ready" })).fallback(answer);
    let task = tokio::spawn(async move { axum::serve(listener, router).await });
    (Backend { port, admin: port }, task.abort_handle())
}

/// Path of a request that opens a session.
const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";
/// Path of a request of an open session.
const REQUEST: &str = "/socket.io/?EIO=4&transport=polling&sid=abc";

/// The bodies of the responses, in order.
async fn sequence(proxy: &Service, paths: &[&str]) -> Vec<String> {
    let mut bodies = Vec::new();
    for path in paths {
        let response = reqwest::get(format!("{}{path}", proxy.url())).await.unwrap();
        bodies.push(response.text().await.unwrap());
    }
    bodies
}

/// Number of answers from each server.
async fn counts(proxy: &Service, path: &str, times: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for name in sequence(proxy, &vec![path; times]).await {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn loopback() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports::free().unwrap())
}

#[tokio::test]
async fn sockets_go_round_the_nodes_and_all_else_to_the_api_and_a_lost_node_costs_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let (api, _) = stand_in("api").await;
    let (n1, _) = stand_in("n1").await;
    let (n2, lost) = stand_in("n2").await;
    let proxy = haproxy::start(dir.path(), loopback(), api, &[n1, n2], "/api/health", Echo::Off).await.unwrap();

    assert_eq!(counts(&proxy, "/", 4).await, HashMap::from([("api".into(), 4)]));
    assert_eq!(counts(&proxy, "/api/version", 4).await, HashMap::from([("api".into(), 4)]));
    assert_eq!(counts(&proxy, "/?sid=abc", 4).await, HashMap::from([("api".into(), 4)]));
    assert_eq!(counts(&proxy, "/socket.iodine", 4).await, HashMap::from([("api".into(), 4)]));
    // `addTrailingSlash: false` of the stock client.
    let bare = HANDSHAKE.replace("io/", "io");
    for path in [HANDSHAKE, REQUEST, &bare] {
        assert_eq!(counts(&proxy, path, 10).await, HashMap::from([("n1".into(), 5), ("n2".into(), 5)]), "{path}");
    }

    lost.abort();
    for path in [HANDSHAKE, REQUEST] {
        let rest = counts(&proxy, path, 10).await;
        assert_eq!(rest.get("n1").copied().unwrap_or(0) + rest.get("n2").copied().unwrap_or(0), 10, "{rest:?}");
        assert!(rest["n1"] >= 9, "{rest:?}");
    }
}

#[tokio::test]
async fn clients_that_open_a_session_in_turn_get_different_nodes_however_many_requests_each_makes() {
    let dir = tempfile::tempdir().unwrap();
    let (api, _) = stand_in("api").await;
    let (n1, _) = stand_in("n1").await;
    let (n2, _) = stand_in("n2").await;
    let proxy = haproxy::start(dir.path(), loopback(), api, &[n1, n2], "/api/health", Echo::Off).await.unwrap();
    let mut last = String::new();
    for requests in 0..6 {
        let page = ["/", "/app/main.js"];
        let session = [vec![HANDSHAKE], vec![REQUEST; requests]].concat();
        sequence(&proxy, &page).await;
        let node = sequence(&proxy, &session).await.swap_remove(0);
        assert_ne!(node, last, "after a client with {requests} requests");
        last = node;
    }
    // No stickiness: requests of one session meet both nodes.
    assert_eq!(counts(&proxy, REQUEST, 2).await.len(), 2);
}

#[tokio::test]
async fn a_node_that_is_added_gets_handshakes_and_requests_and_one_that_is_removed_gets_neither() {
    let dir = tempfile::tempdir().unwrap();
    let (api, _) = stand_in("api").await;
    let (n1, _) = stand_in("n1").await;
    let (n2, _) = stand_in("n2").await;
    let proxy = haproxy::start(dir.path(), loopback(), api, &[n1], "/api/health", Echo::Off).await.unwrap();
    let balancer = RuntimeApi::of(dir.path()).unwrap();
    balancer.add(Pool::Nodes, "n2", n2.port).await.unwrap();
    for path in [HANDSHAKE, REQUEST] {
        assert_eq!(counts(&proxy, path, 4).await.len(), 2, "{path}");
    }
    balancer.remove(Pool::Nodes, "n1").await.unwrap();
    for path in [HANDSHAKE, REQUEST] {
        assert_eq!(counts(&proxy, path, 4).await, HashMap::from([("n2".into(), 4)]), "{path}");
    }
    let refused = balancer.remove(Pool::Nodes, "n7").await.unwrap_err().to_string();
    assert!(refused.contains("handshakes/n7"), "{refused}");
}

#[tokio::test]
async fn it_listens_on_every_interface_or_on_the_one_address_that_is_asked_for() {
    let (api, _) = stand_in("api").await;
    for (bind, reachable) in [(Ipv4Addr::UNSPECIFIED, [true, true]), (Ipv4Addr::new(127, 0, 0, 2), [false, true])] {
        let dir = tempfile::tempdir().unwrap();
        let port = ports::free().unwrap();
        let bind = SocketAddrV4::new(bind, port);
        let proxy = haproxy::start(dir.path(), bind, api, &[api], "/api/health", Echo::Off).await.unwrap();
        assert_eq!(sequence(&proxy, &["/"]).await, ["api"]);
        for (address, reachable) in ["127.0.0.1", "127.0.0.2"].into_iter().zip(reachable) {
            let connected = tokio::net::TcpStream::connect((address, port)).await;
            assert_eq!(connected.is_ok(), reachable, "{bind} at {address}");
        }
    }
}
