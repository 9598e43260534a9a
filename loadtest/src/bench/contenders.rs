//! The contenders of the benchmark: two nodes each, or one service with a process per core, on the
//! same Redis and MongoDB. Only one contender runs at a time.

use std::time::Duration;

use clap::ValueEnum;
use devcluster::cluster::{Cluster, Options};
use devcluster::ports;
use devcluster::process::{Spec, retry};
use devcluster::programs::{find_program, workspace};
use devcluster::service::{Service, local};
use serde::Serialize;
use tempfile::TempDir;

use crate::client::api::Account;
use crate::client::protocol::Protocol;
use crate::scenario::target::{Services, Target};

/// Program of Centrifugo.
const CENTRIFUGO: &str = "centrifugo";
/// Time limit for a node to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A measured system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Contender {
    /// Switchboard, with its api and MongoDB.
    Switchboard,
    /// The baseline scenario, directly after Switchboard, which is compared with it.
    Baseline,
    /// Express and mongoose, one process per core, beside Socket.IO with its Redis streams adapter:
    /// authenticated reads, and whole calls, which mongoose records. Soon after Switchboard, whose
    /// api is compared with it.
    Express,
    /// Centrifugo with its Redis engine: history and recovery on, and joins and leaves announced.
    Centrifugo,
    /// Socket.IO with its Redis pub/sub adapter; disconnected clients lose messages.
    RedisAdapter,
    /// Socket.IO with its Redis streams adapter and connection state recovery.
    StreamsAdapter,
}

impl Contender {
    pub(super) const ALL: [Self; 6] =
        [Self::Switchboard, Self::Baseline, Self::Express, Self::Centrifugo, Self::RedisAdapter, Self::StreamsAdapter];

    /// Name in the table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Switchboard => "Switchboard",
            Self::Centrifugo => "Centrifugo",
            Self::RedisAdapter => "Socket.IO, redis-adapter",
            Self::StreamsAdapter => "Socket.IO, redis-streams-adapter",
            Self::Baseline => "baseline",
            Self::Express => "Express, mongoose, Socket.IO",
        }
    }

    /// Whether the programs are installed that `scripts/setup bench` installs only on some
    /// machines: it builds Centrifugo where Go is there.
    pub(super) fn is_installed(self) -> bool {
        self != Self::Centrifugo || find_program(CENTRIFUGO).is_ok()
    }
}

/// The shared servers and the running contender.
pub(super) struct TestBed {
    cluster: Cluster,
    peers: Vec<Service>,
    nodes: usize,
    dir: TempDir,
}

impl TestBed {
    /// Starts the shared servers.
    pub(super) async fn start(nodes: usize) -> anyhow::Result<Self> {
        // A few clients stand for many, so the rates of a client are unlimited. A throw-away
        // cluster has no request limits.
        let rates = ["EVENTS_PER_SECOND", "FRAMES_PER_SECOND"];
        let env = rates.map(|name| (name.to_owned(), "0".to_owned())).to_vec();
        let options = Options { nodes, haproxy: false, env, ..Options::default() };
        let cluster = Cluster::start(&options).await?;
        Ok(Self { cluster, peers: Vec::new(), nodes, dir: TempDir::with_prefix("switchboard-bench-")? })
    }

    /// Stops the running contender and starts the given one.
    pub(super) async fn switch_to(&mut self, contender: Contender) -> anyhow::Result<Target> {
        self.stop_nodes().await?;
        let services = Services::of_cluster(&self.cluster);
        let redis_only = Services { redis: services.redis.clone(), ..Services::default() };
        match contender {
            Contender::Switchboard => {
                self.cluster.api.process().resume()?;
                for node in &mut self.cluster.nodes {
                    node.restart().await?;
                }
                let nodes: Vec<_> = self.cluster.nodes.iter().map(Service::url).collect();
                Target::connect(&nodes, &services).await
            }
            Contender::RedisAdapter | Contender::StreamsAdapter => {
                let adapter = if contender == Contender::RedisAdapter { "redis" } else { "streams" };
                for _ in 0..self.nodes {
                    self.peers.push(self.socket_io(adapter, None).await?);
                }
                let nodes: Vec<_> = self.peers.iter().map(Service::url).collect();
                Target::connect(&nodes, &redis_only).await
            }
            Contender::Centrifugo => {
                for _ in 0..self.nodes {
                    self.peers.push(self.centrifugo().await?);
                }
                let nodes: Vec<_> = self.peers.iter().map(Service::url).collect();
                Ok(Target { protocol: Protocol::Centrifugo, ..Target::connect(&nodes, &redis_only).await? })
            }
            Contender::Baseline => Target::connect(&[], &redis_only).await,
            Contender::Express => {
                // The account and its token come from the api, which is paused again before the
                // measurement.
                self.cluster.api.process().resume()?;
                let account = Account::register(&self.cluster.api.url()).await?;
                self.cluster.api.process().pause()?;
                let peer = self.express().await?;
                let url = peer.url();
                self.peers.push(peer);
                let mut nodes = Vec::new();
                for _ in 0..self.nodes {
                    let node = self.socket_io("streams", Some(self.cluster.mongodb_uri())).await?;
                    nodes.push(node.url());
                    self.peers.push(node);
                }
                let account = account.with_base_url(&url);
                Target::with_account(&nodes, Some(account), &Services { api: Some(url), ..services })
            }
        }
    }

    /// Stops all nodes and peers and pauses the api.
    async fn stop_nodes(&mut self) -> anyhow::Result<()> {
        self.peers.clear();
        for node in &mut self.cluster.nodes {
            node.process().stop(STOP_TIMEOUT).await?;
        }
        self.cluster.api.process().pause()
    }

    /// Starts a node with this adapter, which records calls in `mongo` if it is given.
    async fn socket_io(&self, adapter: &str, mongo: Option<String>) -> anyhow::Result<Service> {
        let redis = self.cluster.redis.url();
        retry(async || {
            let port = ports::free()?;
            let spec = self.peer_spec("server.mjs", port)?.args([adapter.to_owned(), port.to_string(), redis.clone()]);
            Service::start(spec.args(mongo.clone()), port, local(port)).await
        })
        .await
    }

    async fn centrifugo(&self) -> anyhow::Result<Service> {
        let (redis, settings) = (self.cluster.redis.url(), peer_file("centrifugo.json"));
        retry(async || {
            let port = ports::free()?;
            let spec = Spec::new(format!("peer-{port}"), find_program(CENTRIFUGO)?, self.dir.path())
                .args(["--config", &settings])
                .env("CENTRIFUGO_HTTP_SERVER_PORT", port)
                .env("CENTRIFUGO_ENGINE_REDIS_ADDRESS", &redis);
            Service::start(spec, port, format!("{}/health", local(port))).await
        })
        .await
    }

    async fn express(&self) -> anyhow::Result<Service> {
        let (mongo, secret) = (self.cluster.mongodb_uri(), &self.cluster.secrets.access);
        retry(async || {
            let port = ports::free()?;
            let spec = self.peer_spec("rest.mjs", port)?.env("PORT", port).env("MONGODB_URI", &mongo);
            Service::start(spec.env("JWT_ACCESS_SECRET", secret), port, format!("{}/ready", local(port))).await
        })
        .await
    }

    /// Process of a script in `loadtest/peers`.
    fn peer_spec(&self, script: &str, port: u16) -> anyhow::Result<Spec> {
        let spec = Spec::new(format!("peer-{port}"), find_program("node")?, self.dir.path());
        Ok(spec.args([peer_file(script)]).env("NODE_ENV", "production"))
    }

    /// Stops all servers.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_nodes().await?;
        self.cluster.api.process().resume()?;
        self.cluster.stop().await
    }
}

/// Path of a file in `loadtest/peers`.
fn peer_file(name: &str) -> String {
    workspace().join("loadtest/peers").join(name).display().to_string()
}
