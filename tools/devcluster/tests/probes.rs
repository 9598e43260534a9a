//! What the kubelet makes of pods whose Redis is away for over a minute, for all or for one, by the probes of the manifests.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use devcluster::cluster::{Cluster, Options};
use devcluster::haproxy::Backend;
use devcluster::kubernetes::{Condition, Kubelet, Workload};
use devcluster::ports;
use devcluster::service::Service;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Over a minute, and past the time at which every node would be unready if each judged by itself (60 s and two probes).
const AWAY: Duration = Duration::from_secs(80);
/// Until everybody is well again, on a busy machine.
const BACK: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

async fn socket(node: &str) -> WebSocketStream<TcpStream> {
    let url = format!("{}/socket.io/?EIO=4&transport=websocket", node.replacen("http", "ws", 1));
    let stream = TcpStream::connect(node.trim_start_matches("http://")).await.unwrap();
    let mut socket = client_async(url, stream).await.unwrap().0;
    socket.send(Message::text("40{}")).await.unwrap();
    socket
}

/// Answers pings for as long as the socket is open; what ended it.
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
async fn redis_away_for_over_a_minute_restarts_no_pod_takes_not_every_node_out_and_closes_no_socket() {
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
    while gone.elapsed() < AWAY {
        assert!(conditions().iter().any(|node| node.ready), "every node at the same moment: {:?}", conditions());
        assert!(rest.condition().ready, "the api answers that it cannot: {:?}", rest.condition());
        sleep(LOOK).await;
    }
    cluster.redis.servers()[0].restart().await.unwrap();
    let end = Instant::now() + BACK;
    while !conditions().iter().all(|node| node.ready) {
        assert!(conditions().iter().any(|node| node.ready), "every node at the same moment: {:?}", conditions());
        assert!(Instant::now() < end, "{:?}", conditions());
        sleep(LOOK).await;
    }

    for pod in conditions().into_iter().chain([rest.condition()]) {
        assert_eq!((pod.dead, pod.restarts), (0, 0), "alive all the time: {pod:?}");
        for (after, why) in &pod.unready {
            // The bound, and two probes more; the first was asked before Redis went.
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

/// Passes connections on to a port of this machine until dropped, when all of them are cut: one pod's network.
async fn passage(to: u16) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut passing = JoinSet::new();
    passing.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", to)).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    (port, passing)
}

async fn metrics(admin: u16) -> String {
    reqwest::get(format!("http://127.0.0.1:{admin}/metrics")).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_alone_is_cut_off_from_redis_gets_no_new_clients_unless_there_is_no_other() {
    let mut cluster = Cluster::start(&Options { haproxy: false, nodes: 1, ..Options::default() }).await.unwrap();
    let node = Workload::read("production", "node").unwrap();
    let redis = cluster.redis.url().rsplit(':').next().unwrap().parse().unwrap();
    let (entrance, passing) = passage(redis).await;
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
    let (well, ill) = (Kubelet::watch(&node, cluster.ports().nodes[0].admin), Kubelet::watch(&node, admin));
    // Only Redis can tell it where the other one is.
    let asked = r#"switchboard_redis_calls_total{script="address""#;
    let end = Instant::now() + BACK;
    while !metrics(admin).await.contains(asked) {
        assert!(Instant::now() < end, "it never asked where the other one is");
        sleep(LOOK).await;
    }

    drop(passing);
    let end = Instant::now() + AWAY + BACK;
    while ill.condition().ready {
        assert!(Instant::now() < end, "still ready: {:?}", ill.condition());
        sleep(LOOK).await;
    }
    assert_eq!((ill.condition().dead, ill.condition().restarts), (0, 0), "{:?}", ill.condition());
    assert!(well.condition().unready.is_empty(), "the other one serves: {:?}", well.condition());

    // Alone, it is as good as any.
    cluster.nodes[0].process().kill().unwrap();
    while !ill.condition().ready {
        assert!(Instant::now() < end + BACK, "nobody is ready: {:?}", ill.condition());
        sleep(LOOK).await;
    }
    drop(cut);
    cluster.stop().await.unwrap();
}
