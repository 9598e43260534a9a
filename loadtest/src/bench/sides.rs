//! The sides, each started when its turn comes: two nodes, and the same Redis. Only one side's nodes ever run.

use std::time::Duration;

use clap::ValueEnum;
use devcluster::cluster::{Cluster, Options};
use devcluster::ports;
use devcluster::process::{Spec, find_program, retry};
use devcluster::service::{Service, local, workspace};
use serde::Serialize;
use tempfile::TempDir;

use crate::scenario::target::Target;

/// How long nodes may take to end.
const STOP: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Side {
    /// This project, its api and MongoDB beside it.
    Switchboard,
    /// The bare script and subscription, and a WebSocket echo; right after the one that is compared with it.
    Floor,
    /// Socket.IO with its adapter on Redis's pub/sub: a message to somebody who is away is gone.
    Redis,
    /// Socket.IO with its adapter on a Redis stream, and connection state recovery.
    Streams,
}

impl Side {
    pub(super) const ALL: [Self; 4] = [Self::Switchboard, Self::Floor, Self::Redis, Self::Streams];

    /// As the table says it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Switchboard => "Switchboard",
            Self::Redis => "Socket.IO, redis-adapter",
            Self::Streams => "Socket.IO, redis-streams-adapter",
            Self::Floor => "the floor",
        }
    }
}

/// Where the sides take turns.
pub(super) struct Stand {
    cluster: Cluster,
    peers: Vec<Service>,
    nodes: usize,
    dir: TempDir,
}

impl Stand {
    /// Starts what all sides share.
    pub(super) async fn start(nodes: usize) -> anyhow::Result<Self> {
        // A few clients stand for many: no limit on what one may send.
        let env = vec![("EVENTS_PER_SECOND".to_owned(), "0".to_owned())];
        let options = Options { nodes, haproxy: false, env, ..Options::default() };
        let cluster = Cluster::start(&options).await?;
        Ok(Self { cluster, peers: Vec::new(), nodes, dir: TempDir::with_prefix("switchboard-bench-")? })
    }

    /// Ends whatever runs, and starts this side's nodes.
    pub(super) async fn turn_to(&mut self, side: Side) -> anyhow::Result<Target> {
        self.clear().await?;
        let redis = self.cluster.redis.url();
        match side {
            Side::Switchboard => {
                self.cluster.api.process().resume()?;
                for node in &mut self.cluster.nodes {
                    node.restart().await?;
                }
                let nodes: Vec<_> = self.cluster.nodes.iter().map(Service::url).collect();
                Target::at(&nodes, Some(self.cluster.api.url()), Some(redis)).await
            }
            Side::Redis | Side::Streams => {
                let adapter = if side == Side::Redis { "redis" } else { "streams" };
                for _ in 0..self.nodes {
                    self.peers.push(self.peer(adapter, &redis).await?);
                }
                let nodes: Vec<_> = self.peers.iter().map(Service::url).collect();
                Target::at(&nodes, None, Some(redis)).await
            }
            Side::Floor => Target::at(&[], None, Some(redis)).await,
        }
    }

    /// Nobody's nodes run after this, and the api rests.
    async fn clear(&mut self) -> anyhow::Result<()> {
        self.peers.clear();
        for node in &mut self.cluster.nodes {
            node.process().stop(STOP).await?;
        }
        self.cluster.api.process().pause()
    }

    async fn peer(&self, adapter: &str, redis: &str) -> anyhow::Result<Service> {
        let script = workspace().join("loadtest/peers/server.mjs");
        retry(async || {
            let port = ports::free()?;
            let arguments = [script.display().to_string(), adapter.to_owned(), port.to_string(), redis.to_owned()];
            let spec = Spec::new(format!("peer-{port}"), find_program("node")?, self.dir.path()).args(arguments);
            Service::start(spec.env("NODE_ENV", "production"), port, local(port)).await
        })
        .await
    }

    /// Ends everything.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.clear().await?;
        self.cluster.api.process().resume()?;
        self.cluster.stop().await
    }
}
