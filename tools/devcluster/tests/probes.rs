//! Probes of the manifests while Redis is unreachable for more than a minute, for all pods or for
//! one.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use devcluster::cluster::{Cluster, Options};
use devcluster::kubernetes::{Condition, Kubelet, Workload};
use devcluster::ports;
use devcluster::service::Backend;
use devcluster::service::Service;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Time without Redis. Longer than the time after which every node would be unready if each decided
/// alone (60 s and two probes).
const OUTAGE: Duration = Duration::from_secs(80);
/// Longest wait until all pods are ready again, on a busy machine.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

async fn socket(node: &str) -> WebSocketStream<TcpStream> {
    let url = format!("{}/socket.io/?EIO=4&transport=websocket", node.replacen("http", "ws", 1));
    let stream = TcpStream::connect(node.trim_start_matches("http://")).await.unwrap();
    let mut socket = client_async(url, stream).await.unwrap().0;
    socket.send(Message::text("40{}")).await.unwrap();
    socket
}

/// Answers pings until the socket closes. Returns the reason.
async fn stay(mut socket: WebSocketStream<TcpStream>) -> String {
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Text(text)) if text.as_str() == "2" => {
                if let Err(error) = socket.send(Message::text("3")).await {
                    return error.to_string();
                }
            }
            Ok(Message::Close(frame)) => return format!("{frame:?}"),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
    "the end".to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_redis_restarts_no_pod_leaves_a_node_ready_and_closes_no_socket() {
    let mut cluster = Cluster::start(&Options { haproxy: false, nodes: 3, ..Options::default() }).await.unwrap();
    let [api, node] = ["api", "node"].map(|component| Workload::read("production", component).unwrap());
    let ports = cluster.ports().clone();
    let rest = Kubelet::watch(&api, ports.api.admin);
    let nodes: Vec<_> = ports.nodes.iter().map(|pod| Kubelet::watch(&node, pod.admin)).collect();
    let mut sockets = Vec::new();
    for node in &cluster.nodes {
        sockets.push(tokio::spawn(stay(socket(&node.url()).await)));
    }
    let before: Vec<u32> = cluster.nodes.iter().chain([&cluster.api]).map(Service::id).collect();
    let conditions = || -> Vec<Condition> { nodes.iter().map(Kubelet::condition).collect() };

    cluster.redis.servers()[0].process().kill().unwrap();
    let gone = Instant::now();
    while gone.elapsed() < OUTAGE {
        assert!(conditions().iter().any(|node| node.ready), "no node is ready: {:?}", conditions());
        assert!(rest.condition().ready, "the api stays ready: {:?}", rest.condition());
        sleep(POLL_INTERVAL).await;
    }
    cluster.redis.servers()[0].restart().await.unwrap();
    let end = Instant::now() + RECOVERY_TIMEOUT;
    while !conditions().iter().all(|node| node.ready) {
        assert!(conditions().iter().any(|node| node.ready), "no node is ready: {:?}", conditions());
        assert!(Instant::now() < end, "{:?}", conditions());
        sleep(POLL_INTERVAL).await;
    }

    for pod in conditions().into_iter().chain([rest.condition()]) {
        assert_eq!((pod.dead, pod.restarts), (0, 0), "every liveness probe succeeds: {pod:?}");
        for (after, why) in &pod.unready {
            // The bound, and two probes more. The first probe was before the outage.
            assert!(*after >= Duration::from_secs(30), "unready after {after:?}: {why}");
        }
    }
    let after: Vec<u32> = cluster.nodes.iter().chain([&cluster.api]).map(Service::id).collect();
    assert_eq!(before, after);
    assert!(cluster.ended().is_none(), "{:?}", cluster.ended());
    for socket in sockets {
        assert!(!socket.is_finished(), "a socket was closed: {}", socket.await.unwrap());
        socket.abort();
    }
    cluster.stop().await.unwrap();
}

/// Forwards connections to a port of this machine until dropped, which cuts all of them: the
/// network of one pod.
async fn forward(to: u16) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut forwarding = JoinSet::new();
    forwarding.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", to)).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    (port, forwarding)
}

async fn metrics(admin: u16) -> String {
    reqwest::get(format!("http://127.0.0.1:{admin}/metrics")).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_alone_has_no_redis_is_unready_unless_there_is_no_other_node() {
    let mut cluster = Cluster::start(&Options { haproxy: false, nodes: 1, ..Options::default() }).await.unwrap();
    let node = Workload::read("production", "node").unwrap();
    let redis = cluster.redis.url().rsplit(':').next().unwrap().parse().unwrap();
    let (entrance, forwarding) = forward(redis).await;
    let free = ports::several(3).unwrap();
    let (port, admin, internal) = (free[0], free[1], free[2]);
    let variables = [
        ("REDIS_URL", format!("redis://127.0.0.1:{entrance}")),
        ("SIGNALING_PORT", port.to_string()),
        ("METRICS_PORT", admin.to_string()),
        ("INTERNAL_PORT", internal.to_string()),
        ("NODE_ID", "cut".to_owned()),
    ];
    let cut = cluster.nodes[0].successor("cut", &variables, Backend { port, admin }).await.unwrap();
    let (healthy, isolated) = (Kubelet::watch(&node, cluster.ports().nodes[0].admin), Kubelet::watch(&node, admin));
    // It learns the address of the other node from Redis.
    let asked = r#"switchboard_redis_calls_total{script="address""#;
    let end = Instant::now() + RECOVERY_TIMEOUT;
    while !metrics(admin).await.contains(asked) {
        assert!(Instant::now() < end, "it never reads the other node's address");
        sleep(POLL_INTERVAL).await;
    }

    drop(forwarding);
    let end = Instant::now() + OUTAGE + RECOVERY_TIMEOUT;
    while isolated.condition().ready {
        assert!(Instant::now() < end, "still ready: {:?}", isolated.condition());
        sleep(POLL_INTERVAL).await;
    }
    assert_eq!((isolated.condition().dead, isolated.condition().restarts), (0, 0), "{:?}", isolated.condition());
    assert!(healthy.condition().unready.is_empty(), "the other node stays ready: {:?}", healthy.condition());

    // Without another node it becomes ready.
    cluster.nodes[0].process().kill().unwrap();
    while !isolated.condition().ready {
        assert!(Instant::now() < end + RECOVERY_TIMEOUT, "no node is ready: {:?}", isolated.condition());
        sleep(POLL_INTERVAL).await;
    }
    drop(cut);
    cluster.stop().await.unwrap();
}
