//! Fault injection over HTTP, for tests in other languages: `POST /{service}/{action}` on a port of
//! 127.0.0.1.
//!
//! Services: `nodes/0`, `nodes/1`, ... (in the order of `NODE_URLS`), `api`, `mongo`, `redis`,
//! `haproxy`.
//!
//! | action | effect |
//! |---|---|
//! | `kill` | SIGKILL |
//! | `term` | SIGTERM; the response comes when the process has ended |
//! | `stop`, `cont` | SIGSTOP, SIGCONT |
//! | `start` | starts it again on the same ports; the response comes when it is ready |

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Router, serve};
use devcluster::cluster::Cluster;
use devcluster::process::Process;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// Cluster that this server and [`crate::run`] share.
pub(crate) type Shared = Arc<Mutex<Cluster>>;

/// Longest wait for a process after SIGTERM. Longer than a node's drain deadline.
const TERM_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves requests until the program ends. Returns the address.
pub(crate) async fn start(cluster: Shared) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/nodes/{index}/{action}", post(on_node))
        .route("/{service}/{action}", post(on_service))
        .with_state(cluster);
    tokio::spawn(async move { serve(listener, router).await });
    Ok(address)
}

type Answer = (StatusCode, String);

async fn on_node(State(cluster): State<Shared>, Path((index, action)): Path<(usize, String)>) -> Answer {
    answer(act(&mut *cluster.lock().await, Target::Node(index), &action).await)
}

async fn on_service(State(cluster): State<Shared>, Path((service, action)): Path<(String, String)>) -> Answer {
    let target = match service.as_str() {
        "api" => Target::Api,
        "mongo" => Target::Mongo,
        "redis" => Target::Redis,
        "haproxy" => Target::Haproxy,
        _ => return (StatusCode::NOT_FOUND, "no such service\n".into()),
    };
    answer(act(&mut *cluster.lock().await, target, &action).await)
}

fn answer(outcome: anyhow::Result<()>) -> Answer {
    match outcome {
        Ok(()) => (StatusCode::OK, "done\n".into()),
        Err(error) => (StatusCode::CONFLICT, format!("{error:#}\n")),
    }
}

#[derive(Clone, Copy)]
enum Target {
    Node(usize),
    Api,
    Mongo,
    Redis,
    Haproxy,
}

async fn act(cluster: &mut Cluster, target: Target, action: &str) -> anyhow::Result<()> {
    if action == "start" {
        return start_again(cluster, target).await;
    }
    let process = process(cluster, target)?;
    match action {
        "kill" => process.kill(),
        "stop" => process.pause(),
        "cont" => process.resume(),
        "term" => {
            process.terminate()?;
            process.wait_exit(TERM_TIMEOUT).await.map(drop)
        }
        _ => bail!("the actions are kill, term, stop, cont and start"),
    }
}

fn process(cluster: &mut Cluster, target: Target) -> anyhow::Result<&mut Process> {
    Ok(match target {
        Target::Node(index) => cluster.nodes.get_mut(index).context("no such node")?.process(),
        Target::Api => cluster.api.process(),
        Target::Mongo => cluster.mongo.process(),
        Target::Redis => cluster.redis.servers()[0].process(),
        Target::Haproxy => cluster.haproxy.as_mut().context("no load balancer")?.process(),
    })
}

async fn start_again(cluster: &mut Cluster, target: Target) -> anyhow::Result<()> {
    match target {
        Target::Node(index) => cluster.nodes.get_mut(index).context("no such node")?.restart().await,
        Target::Api => cluster.api.restart().await,
        Target::Mongo => cluster.mongo.restart().await,
        Target::Redis => cluster.redis.servers()[0].restart().await,
        Target::Haproxy => cluster.haproxy.as_mut().context("no load balancer")?.restart().await,
    }
}
