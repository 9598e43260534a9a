//! Requests that reach another node than the session's. The file has more than 400 lines, because
//! all tests share one set of nodes and proxies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::echo::EngineEcho;
use crate::support::poller::Poller;
use crate::support::probe::{FENCED, Probe};
use crate::support::{Client, Nodes, Running, TIMEOUT, config, ending, http, start_nodes};
use reqwest::StatusCode;
use switchboard_core::ClusterKey;
use switchboard_core::domain::Rate;
use switchboard_socketio::{CloseReason, PeerDirectory, Peers, Service, SocketIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

async fn echoing(count: usize) -> Nodes {
    start_nodes(count, &config(), &(Arc::new(EngineEcho) as Arc<dyn Service>)).await
}

/// Sends a request to a node's internal port and returns the response.
async fn internal(nodes: &Nodes, node: &str, head: &str) -> String {
    let address = nodes.book.0.lock().unwrap()[node].clone();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

/// Connects to the main namespace and polls until the first event.
async fn connect(poller: &Poller) {
    assert_eq!(poller.post("40").await, 200);
    let mut received = String::new();
    while !received.contains("live") {
        received += &poller.payload().await;
    }
}

#[tokio::test]
async fn each_request_of_a_session_may_reach_another_node() {
    let Nodes { nodes, .. } = &echoing(3).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    for round in 0..9 {
        let (post, poll) = (&nodes[round % 3], &nodes[(round / 3) % 3]);
        let message = format!("4round {round}");
        assert_eq!(poller.at(post).post(message.clone()).await, 200);
        assert_eq!(poller.at(poll).payload().await, message);
    }
    let hanging = poller.at(&nodes[1]).hanging().await;
    assert_eq!(poller.at(&nodes[2]).post("bAQIDBA==").await, 200);
    assert_eq!(hanging.await.unwrap(), (StatusCode::OK, "bAQIDBA==".to_owned()));
    // Only the node that opened the session holds it.
    assert_eq!(nodes.iter().map(|node| node.server.open_sockets()).collect::<Vec<_>>(), [1, 0, 0]);
}

#[tokio::test]
async fn a_session_goes_on_over_an_upgrade_through_another_node() {
    let Nodes { nodes, .. } = &echoing(3).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    let hanging = poller.at(&nodes[2]).hanging().await;
    let mut socket = poller.dial_upgrade(&nodes[1]).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    assert_eq!(hanging.await.unwrap(), (StatusCode::OK, "6".to_owned()));
    assert_eq!(poller.at(&nodes[2]).payload().await, "6");
    socket.send("5").await;
    socket.send("4hello").await;
    assert_eq!(socket.text().await, "4hello");

    // Large messages in both directions at the same time: neither direction may wait for the other.
    let large = format!("4{}", "x".repeat(60_000));
    for _ in 0..20 {
        socket.send(&large).await;
    }
    for _ in 0..20 {
        assert!(socket.text().await == large);
    }
    for node in nodes {
        assert_eq!(poller.at(node).poll().await.0, 400);
        let mut second = Client::dial(node.address, &poller.upgrade_query(), &[]).await.unwrap();
        assert_eq!(second.next().await, Some(Message::Close(None)), "closed, as the stock server does");
    }
    socket.send_binary(&[1, 2, 3]).await;
    assert_eq!(socket.binary().await, [1, 2, 3]);
    // The server closes: the close frame passes the tunnel, and then the end of the stream.
    nodes[0].server.close_all(FENCED);
    assert_eq!(socket.closed().await, "fenced");
    timeout(TIMEOUT, nodes[0].server.drained()).await.expect("the session ends");
}

#[tokio::test]
async fn a_subprotocol_is_answered_through_another_node_and_a_session_on_websocket_takes_no_second_one() {
    let Nodes { nodes, .. } = &echoing(2).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    let offer = [("sec-websocket-protocol", "calls.v1, calls.v2")];
    let mut socket = Client::dial(nodes[1].address, &poller.upgrade_query(), &offer).await.unwrap();
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");

    let (mut first, open) = Client::open(nodes[0].address).await;
    let query = format!("EIO=4&transport=websocket&sid={}", open["sid"].as_str().unwrap());
    for node in nodes {
        let mut second = Client::dial(node.address, &query, &[]).await.unwrap();
        assert_eq!(second.next().await, Some(Message::Close(None)));
    }
    first.send("4hello").await;
    assert_eq!(first.text().await, "4hello");
}

#[tokio::test]
async fn a_client_that_disconnects_from_another_node_ends_its_session_on_this_node() {
    let (probe, mut endings) = Probe::new();
    let service: Arc<dyn Service> = Arc::new(SocketIo::new(probe));
    let Nodes { nodes, .. } = &start_nodes(2, &config(), &service).await;

    let (poller, _) = Poller::open(&nodes[0]).await;
    let elsewhere = poller.at(&nodes[1]);
    connect(&elsewhere).await;
    elsewhere.hanging().await.abort();
    assert_eq!(ending(&mut endings).await, CloseReason::TransportLost);
    elsewhere.assert_gone().await;

    let (poller, _) = Poller::open(&nodes[0]).await;
    connect(&poller.at(&nodes[1])).await;
    let socket = poller.upgrade(&nodes[1]).await;
    drop(socket);
    assert_eq!(ending(&mut endings).await, CloseReason::TransportLost);
}

#[tokio::test]
async fn a_client_learns_of_the_end_of_its_session_through_another_node() {
    let Nodes { nodes, .. } = &echoing(2).await;
    let (poller, _) = Poller::open(&nodes[0]).await;
    let hanging = poller.at(&nodes[1]).hanging().await;
    nodes[0].server.close_all(FENCED);
    assert_eq!(hanging.await.unwrap(), (StatusCode::OK, "1".to_owned()));
    poller.at(&nodes[1]).assert_gone().await;

    let (poller, _) = Poller::open(&nodes[0]).await;
    let hanging = poller.at(&nodes[1]).hanging().await;
    assert_eq!(poller.at(&nodes[1]).post("nonsense").await, 400);
    assert_eq!(hanging.await.unwrap().1, "1");

    let (poller, _) = Poller::open(&nodes[0]).await;
    assert_eq!(poller.at(&nodes[1]).post("4".repeat(1_100_000)).await, 413);
}

#[tokio::test]
async fn a_session_of_a_dead_node_is_unknown() {
    let cluster = echoing(2).await;
    let other = &cluster.nodes[1];
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let stale = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let set = |address: Option<String>| {
        let mut book = cluster.book.0.lock().unwrap();
        book.remove("n1");
        book.extend(address.map(|address| ("n1".to_owned(), address)));
    };

    // No process listens at its address.
    set(Some(stale.to_string()));
    poller.at(other).assert_gone().await;
    assert!(Client::dial(other.address, &poller.upgrade_query(), &[]).await.is_err());
    // Another node has its address now and refuses the request.
    let third = cluster.book.0.lock().unwrap()["n2"].clone();
    set(Some(third));
    poller.at(other).assert_gone().await;
    // The directory has no address.
    set(None);
    poller.at(other).assert_gone().await;
    assert_eq!(poller.at(other).post("4a").await, 400);
    // The session was open on its own node all the time.
    assert_eq!(poller.post("4here").await, 200);
    assert_eq!(poller.payload().await, "4here");
}

#[tokio::test]
async fn a_node_that_dies_or_does_not_respond_fails_its_handed_over_requests() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(200);
    config.timeouts.ping_timeout = Duration::from_millis(200);
    config.timeouts.http = Duration::from_millis(200);
    let cluster = start_nodes(2, &config, &(Arc::new(EngineEcho) as Arc<dyn Service>)).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.book.0.lock().unwrap().insert("n1".into(), silent.local_addr().unwrap().to_string());
    let elsewhere = poller.at(&cluster.nodes[1]);

    let hanging = tokio::spawn(async move { elsewhere.poll().await });
    drop(timeout(TIMEOUT, silent.accept()).await.expect("handed over").unwrap());
    assert_eq!(hanging.await.unwrap().0, 400, "the connection was closed");

    let elsewhere = poller.at(&cluster.nodes[1]);
    let hanging = tokio::spawn(async move { elsewhere.poll().await });
    let _never_answered = timeout(TIMEOUT, silent.accept()).await.expect("handed over").unwrap();
    assert_eq!(
        timeout(TIMEOUT, hanging).await.expect("a response in time").unwrap().0,
        400,
        "the node did not respond"
    );
}

#[tokio::test]
async fn handed_over_requests_fail_when_their_paused_node_no_longer_reports_that_it_is_alive() {
    let mut config = config();
    // Much longer than any of these requests may take.
    config.timeouts.ping_timeout = 10 * TIMEOUT;
    config.timeouts.http = 10 * TIMEOUT;
    let cluster = start_nodes(2, &config, &(Arc::new(EngineEcho) as Arc<dyn Service>)).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let elsewhere = poller.at(&cluster.nodes[1]);
    let paused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = paused.local_addr().unwrap().to_string();
    cluster.book.0.lock().unwrap().insert("n1".into(), address);

    let (poll, post) = (elsewhere.clone(), elsewhere.clone());
    let poll = tokio::spawn(async move { poll.poll().await.0 });
    let post = tokio::spawn(async move { post.post("4hello").await });
    let upgrade = (cluster.nodes[1].address, poller.upgrade_query());
    let upgrade = tokio::spawn(async move { Client::dial(upgrade.0, &upgrade.1, &[]).await.is_err() });
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(timeout(TIMEOUT, paused.accept()).await.expect("handed over").unwrap());
    }
    // The entry of the paused node expires.
    cluster.book.0.lock().unwrap().remove("n1");
    assert_eq!(timeout(TIMEOUT, poll).await.expect("a response in time").unwrap(), 400);
    assert_eq!(timeout(TIMEOUT, post).await.expect("a response in time").unwrap(), 400);
    assert!(timeout(TIMEOUT, upgrade).await.expect("a response in time").unwrap());
}

#[tokio::test]
async fn a_post_to_a_live_node_without_a_response_times_out_before_a_poll_would() {
    let mut config = config();
    config.timeouts.ping_timeout = 10 * TIMEOUT;
    config.timeouts.http = Duration::from_millis(200);
    let cluster = start_nodes(2, &config, &(Arc::new(EngineEcho) as Arc<dyn Service>)).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.book.0.lock().unwrap().insert("n1".into(), silent.local_addr().unwrap().to_string());
    assert_eq!(timeout(TIMEOUT, poller.at(&cluster.nodes[1]).post("4a")).await.expect("a response in time"), 400);
}

#[tokio::test]
async fn a_poll_with_an_upgrade_header_hangs_on_another_node_as_long_as_any_poll() {
    let mut config = config();
    config.timeouts.http = Duration::from_millis(200);
    config.timeouts.ping_interval = Duration::from_millis(800);
    let Nodes { nodes, .. } = &start_nodes(2, &config, &(Arc::new(EngineEcho) as Arc<dyn Service>)).await;
    for offered in ["websocket", "h2c"] {
        let (poller, _) = Poller::open(&nodes[0]).await;
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", poller.sid);
        // The poll ends with the first ping, later than any other request may take.
        let answer = http(&nodes[1], &format!("GET {target} HTTP/1.1\r\nUpgrade: {offered}")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n2"), "{answer}");
        assert_eq!(poller.post("3").await, 200);
    }
}

#[tokio::test]
async fn only_nodes_can_hand_over_and_only_on_the_internal_port() {
    let cluster = echoing(2).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", poller.sid);
    let forged = "x-switchboard-handover: 1.AAAA";
    for head in [format!("GET {target} HTTP/1.1"), format!("GET {target} HTTP/1.1\r\n{forged}")] {
        let answer = internal(&cluster, "n1", &head).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    let opening = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1";
    assert!(internal(&cluster, "n1", opening).await.starts_with("HTTP/1.1 403"));
    // A forged id names no node.
    let invented = poller.sid.replace("n1", "n2");
    for node in &cluster.nodes {
        let head = format!("GET /socket.io/?EIO=4&transport=polling&sid={invented} HTTP/1.1\r\n{forged}");
        assert!(http(node, &head).await.contains(r#""code":1"#));
    }
    assert_eq!(poller.post("4untouched").await, 200);
    assert_eq!(poller.payload().await, "4untouched");
}

#[tokio::test]
async fn only_a_page_of_an_allowed_origin_reads_the_response_of_a_hand_over() {
    let mut config = config();
    config.allowed_origins = switchboard_socketio::AllowedOrigins::list(["https://a.example".into()]);
    let cluster = start_nodes(2, &config, &(Arc::new(EngineEcho) as Arc<dyn Service>)).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    assert_eq!(poller.post("4a").await, 200);
    let other: &Running = &cluster.nodes[1];
    let head = |origin: &str| {
        format!("GET /socket.io/?EIO=4&transport=polling&sid={} HTTP/1.1\r\nOrigin: {origin}", poller.sid)
    };
    assert!(http(other, &head("https://b.example")).await.starts_with("HTTP/1.1 403"));
    let answer = http(other, &head("https://a.example")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("4a"), "{answer}");
    let allowed = "access-control-allow-origin: https://a.example";
    assert_eq!(answer.to_lowercase().matches(allowed).count(), 1, "{answer}");
}

#[tokio::test]
async fn a_node_answers_signed_health_checks_and_no_others() {
    let nodes = echoing(2).await;
    let checker = |secret: &str| {
        let book = Arc::clone(&nodes.book) as Arc<dyn PeerDirectory>;
        Peers::new("n3", ClusterKey::derive(secret), book, Arc::default())
    };
    let peers = checker("a secret");
    let address = peers.address("n2").await.unwrap();
    assert!(peers.is_healthy("n2", &address).await);
    nodes.healthy[1].store(false, Ordering::Relaxed);
    assert!(!peers.is_healthy("n2", &address).await);
    assert!(peers.is_healthy("n1", &peers.address("n1").await.unwrap()).await, "each node reports its own health");

    // A wrong key, another node's name and a missing signature are all refused.
    assert!(!checker("another secret").is_healthy("n1", &peers.address("n1").await.unwrap()).await);
    assert!(!peers.is_healthy("n2", &peers.address("n1").await.unwrap()).await);
    assert!(internal(&nodes, "n1", "GET /health HTTP/1.1").await.starts_with("HTTP/1.1 403"));
    // A paused node accepts the connection and does not respond.
    let paused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(!peers.is_healthy("n1", &paused.local_addr().unwrap().to_string()).await);
}

/// Forwards connections to a node's internal port. Changes what the other nodes send, and counts
/// their connections.
async fn intercept(cluster: &Nodes, node: &str, change: fn(&str) -> String) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = cluster.book.0.lock().unwrap().insert(node.to_owned(), address).unwrap();
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let far = TcpStream::connect(&target).await.unwrap();
            let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
            tokio::spawn(async move {
                let mut space = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = from_near.read(&mut space).await {
                    let changed = change(std::str::from_utf8(&space[..length]).unwrap());
                    if to_far.write_all(changed.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    count
}

#[tokio::test]
async fn hand_overs_one_after_another_share_a_connection() {
    let cluster = echoing(2).await;
    let connections = intercept(&cluster, "n1", str::to_owned).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let elsewhere = poller.at(&cluster.nodes[1]);
    for round in 0..20 {
        assert_eq!(elsewhere.post(format!("4{round}")).await, 200);
        assert_eq!(elsewhere.payload().await, format!("4{round}"));
    }
    let opened = connections.load(Ordering::Relaxed);
    assert!(opened <= 4, "40 hand-overs opened {opened} connections");
}

#[tokio::test]
async fn a_body_that_was_changed_between_the_nodes_is_refused() {
    let cluster = echoing(2).await;
    intercept(&cluster, "n1", |sent| sent.replace("4hello", "4hijak")).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let elsewhere = poller.at(&cluster.nodes[1]);
    assert_eq!(elsewhere.post("4hello").await, 400);
    assert_eq!(elsewhere.post("4other").await, 200);
    assert_eq!(poller.payload().await, "4other", "the changed body had no effect");
}

#[tokio::test]
async fn hand_overs_over_the_bound_of_a_node_are_refused_and_the_next_one_passes() {
    let mut config = config();
    config.admission.handovers_per_peer = 1;
    let cluster = start_nodes(2, &config, &(Arc::new(EngineEcho) as Arc<dyn Service>)).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let elsewhere = poller.at(&cluster.nodes[1]);
    let hanging = elsewhere.hanging().await;
    let head = format!("GET /socket.io/?EIO=4&transport=polling&sid={} HTTP/1.1", poller.sid);
    let busy = http(&cluster.nodes[1], &head).await;
    assert!(busy.starts_with("HTTP/1.1 503") && busy.contains("retry-after: 1"), "{busy}");
    assert_eq!(poller.post("4here").await, 200);
    assert_eq!(hanging.await.unwrap().1, "4here");
    assert_eq!(elsewhere.post("4there").await, 200);
}

#[tokio::test]
async fn hand_overs_over_the_rate_of_an_address_are_refused_and_its_own_node_serves_it() {
    let mut config = config();
    config.admission.handovers = Rate::parse("2/3600").unwrap();
    let cluster = start_nodes(2, &config, &(Arc::new(EngineEcho) as Arc<dyn Service>)).await;
    let (poller, _) = Poller::open(&cluster.nodes[0]).await;
    let elsewhere = poller.at(&cluster.nodes[1]);
    for _ in 0..2 {
        assert_eq!(elsewhere.post("4a").await, 200);
    }
    let head = format!("GET /socket.io/?EIO=4&transport=polling&sid={} HTTP/1.1", poller.sid);
    let refusal = http(&cluster.nodes[1], &head).await;
    assert!(refusal.starts_with("HTTP/1.1 429") && refusal.contains("retry-after: 1800"), "{refusal}");
    assert_eq!(poller.payload().await, "4a\u{1e}4a");
}
