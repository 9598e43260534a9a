//! The sides, each started when its turn comes: two nodes, or a service on every core, and the same Redis and MongoDB. Only one side's nodes ever run.

use std::time::Duration;

use clap::ValueEnum;
use devcluster::cluster::{Cluster, Options};
use devcluster::ports;
use devcluster::process::{Spec, find_program, retry};
use devcluster::service::{Service, local, workspace};
use serde::Serialize;
use tempfile::TempDir;

use crate::client::api::Host;
use crate::scenario::target::{Beside, Target};

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
    /// An authenticated read with Express and mongoose, a process for each core; soon after the api that is compared with it.
    Express,
    /// Socket.IO with its adapter on Redis's pub/sub: a message to somebody who is away is gone.
    Redis,
    /// Socket.IO with its adapter on a Redis stream, and connection state recovery.
    Streams,
}

impl Side {
    pub(super) const ALL: [Self; 5] = [Self::Switchboard, Self::Floor, Self::Express, Self::Redis, Self::Streams];

    /// As the table says it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Switchboard => "Switchboard",
            Self::Redis => "Socket.IO, redis-adapter",
            Self::Streams => "Socket.IO, redis-streams-adapter",
            Self::Floor => "the floor",
            Self::Express => "Express, mongoose",
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
        // A few clients stand for many: no limit on what one may send. A throw-away cluster limits no requests by itself.
        let env = vec![("EVENTS_PER_SECOND".to_owned(), "0".to_owned())];
        let options = Options { nodes, haproxy: false, env, ..Options::default() };
        let cluster = Cluster::start(&options).await?;
        Ok(Self { cluster, peers: Vec::new(), nodes, dir: TempDir::with_prefix("switchboard-bench-")? })
    }

    /// Ends whatever runs, and starts this side's nodes.
    pub(super) async fn turn_to(&mut self, side: Side) -> anyhow::Result<Target> {
        self.clear().await?;
        let beside = Beside::of(&self.cluster);
        let redis_alone = Beside { redis: beside.redis.clone(), ..Beside::default() };
        match side {
            Side::Switchboard => {
                self.cluster.api.process().resume()?;
                for node in &mut self.cluster.nodes {
                    node.restart().await?;
                }
                let nodes: Vec<_> = self.cluster.nodes.iter().map(Service::url).collect();
                Target::at(&nodes, &beside).await
            }
            Side::Redis | Side::Streams => {
                let adapter = if side == Side::Redis { "redis" } else { "streams" };
                for _ in 0..self.nodes {
                    self.peers.push(self.socket_io(adapter).await?);
                }
                let nodes: Vec<_> = self.peers.iter().map(Service::url).collect();
                Target::at(&nodes, &redis_alone).await
            }
            Side::Floor => Target::at(&[], &redis_alone).await,
            Side::Express => {
                // The account and its token are the api's, which rests again before anything is measured.
                self.cluster.api.process().resume()?;
                let host = Host::register(&self.cluster.api.url()).await?;
                self.cluster.api.process().pause()?;
                let peer = self.express().await?;
                let url = peer.url();
                self.peers.push(peer);
                Target::with(&[], Some(host.at(&url)), &Beside { api: Some(url), redis: None, ..beside })
            }
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

    async fn socket_io(&self, adapter: &str) -> anyhow::Result<Service> {
        let redis = self.cluster.redis.url();
        retry(async || {
            let port = ports::free()?;
            let spec = self.peer("server.mjs", port)?.args([adapter.to_owned(), port.to_string(), redis.clone()]);
            Service::start(spec, port, local(port)).await
        })
        .await
    }

    async fn express(&self) -> anyhow::Result<Service> {
        let (mongo, secret) = (self.cluster.mongodb_uri(), &self.cluster.access_secret);
        retry(async || {
            let port = ports::free()?;
            let spec = self.peer("rest.mjs", port)?.env("PORT", port).env("MONGODB_URI", &mongo);
            Service::start(spec.env("JWT_ACCESS_SECRET", secret), port, format!("{}/ready", local(port))).await
        })
        .await
    }

    /// A script of `loadtest/peers`.
    fn peer(&self, script: &str, port: u16) -> anyhow::Result<Spec> {
        let script = workspace().join("loadtest/peers").join(script).display().to_string();
        let spec = Spec::new(format!("peer-{port}"), find_program("node")?, self.dir.path());
        Ok(spec.args([script]).env("NODE_ENV", "production"))
    }

    /// Ends everything.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.clear().await?;
        self.cluster.api.process().resume()?;
        self.cluster.stop().await
    }
}
