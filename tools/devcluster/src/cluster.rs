//! A whole cluster: Redis, MongoDB, the api, signal-nodes, and HAProxy in front of them.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

use crate::haproxy::{self, Backend, Orders};
use crate::mongo::{Mongo, MongoOptions};
use crate::process::{Echo, Process, Spec};
use crate::redis::{RedisCluster, RedisOptions, RedisServer};
use crate::service::{Service, binary, local, workspace};
use crate::settings::{Ports, Secrets};

/// How long a service may take to end by itself before it is killed.
const STOP: Duration = Duration::from_secs(8);
/// Tries with other ports, when one turns out to be taken.
const TRIES: usize = 5;
/// The database of the api, as existing installations call it.
const DATABASE: &str = "videocall-db";

/// What to start. The default is two nodes behind HAProxy on free ports, in a temporary directory, silent.
#[derive(Clone, Debug)]
pub struct Options {
    /// Signal-nodes.
    pub nodes: usize,
    /// Whether HAProxy stands in front.
    pub haproxy: bool,
    /// Masters of a Redis Cluster; 0 for one standalone server.
    pub redis_masters: usize,
    /// Replicas of each of these masters.
    pub redis_replicas: usize,
    /// Where everything listens; free ports when `None`.
    pub ports: Option<Ports>,
    /// Keeps data, secrets and logs here; a temporary directory, removed with the cluster, when `None`.
    pub data: Option<PathBuf>,
    /// Tells each step, and copies every process's log lines, on standard output.
    pub verbose: bool,
    /// Further variables of the environment of the api and every node.
    pub env: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            haproxy: true,
            redis_masters: 0,
            redis_replicas: 0,
            ports: None,
            data: None,
            verbose: false,
            env: Vec::new(),
        }
    }
}

/// The Redis of a cluster.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a cluster")]
pub enum Redis {
    /// One server.
    Single(RedisServer),
    /// Several masters.
    Sharded(RedisCluster),
}

impl Redis {
    /// The `REDIS_URL` of it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Single(server) => server.url(),
            Self::Sharded(cluster) => cluster.url(),
        }
    }

    /// Its servers: one, or the cluster's.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        match self {
            Self::Single(server) => std::slice::from_mut(server),
            Self::Sharded(cluster) => cluster.servers(),
        }
    }
}

/// A running cluster. Dropping it ends every process, in the order of the fields: clients' side first.
#[derive(Debug)]
pub struct Cluster {
    /// The load balancer, if asked for.
    pub haproxy: Option<Service>,
    /// The signal-nodes, in order; `n1` is the first.
    pub nodes: Vec<Service>,
    /// The api.
    pub api: Service,
    /// MongoDB.
    pub mongo: Mongo,
    /// Redis.
    pub redis: Redis,
    /// `JWT_ACCESS_SECRET`: tests make tokens that no api would.
    pub access_secret: String,
    ports: Ports,
    dir: Option<TempDir>,
}

impl Cluster {
    /// Starts everything; all of it is ready when this returns.
    ///
    /// # Errors
    /// When a program is missing or something does not start; with the end of its log.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        for _ in 1..TRIES {
            match Self::start_once(options).await {
                // A port that was free when it was chosen: somebody else was faster.
                Err(error) if options.ports.is_none() && format!("{error:#}").contains("ddress already in use") => {}
                done => return done,
            }
        }
        Self::start_once(options).await
    }

    async fn start_once(options: &Options) -> anyhow::Result<Self> {
        let (dir, temporary) = match &options.data {
            Some(data) => (data.clone(), None),
            None => {
                let dir = TempDir::with_prefix("switchboard-cluster-")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let ports = options.ports.clone().map_or_else(|| Ports::free(options.nodes), Ok)?;
        let secrets = if options.data.is_some() { Secrets::kept(&dir.join("secrets"))? } else { Secrets::random() };
        let starter = Starter { options, ports: &ports, dir: &dir, secrets };

        let redis = starter.redis().await?;
        let mongo = starter.mongo().await?;
        let backing = Backing { redis: redis.url(), mongo: mongo.uri(DATABASE) };
        let api = starter.api(&backing).await?;
        let mut nodes = Vec::new();
        for index in 0..options.nodes {
            nodes.push(starter.node(index, &backing).await?);
        }
        let haproxy = if options.haproxy { Some(starter.haproxy().await?) } else { None };
        let access_secret = starter.secrets.access;
        Ok(Self { haproxy, nodes, api, mongo, redis, access_secret, ports, dir: temporary })
    }

    /// Where everything listens.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The address that clients use: HAProxy's, or the api's without one.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.haproxy.as_ref().unwrap_or(&self.api).url()
    }

    /// What HAProxy is told of pods that come and go; none without HAProxy, and where the cluster's data are kept.
    #[must_use]
    pub fn orders(&self) -> Option<Orders> {
        self.haproxy.as_ref()?;
        Orders::of(self.dir.as_ref()?.path())
    }

    /// MongoDB's connection string, with the database that the api uses.
    #[must_use]
    pub fn mongodb_uri(&self) -> String {
        self.mongo.uri(DATABASE)
    }

    /// Every process, in the order in which they stop.
    pub fn processes(&mut self) -> Vec<&mut Process> {
        let services = self.haproxy.iter_mut().chain(&mut self.nodes).chain([&mut self.api]);
        let mut processes: Vec<_> = services.map(Service::process).collect();
        processes.push(self.mongo.process());
        processes.extend(self.redis.servers().iter_mut().map(RedisServer::process));
        processes
    }

    /// The name and status of a process that has ended, if there is one.
    pub fn ended(&mut self) -> Option<(String, ExitStatus)> {
        self.processes().into_iter().find_map(|process| Some((process.name().to_owned(), process.exited()?)))
    }

    /// Stops everything, clients' side first, each with SIGTERM and then SIGKILL if it takes over 8 s; the nodes drain
    /// at the same time.
    ///
    /// # Errors
    /// When a process cannot be signalled; the others are still ended when this value is dropped.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(haproxy) = &mut self.haproxy {
            haproxy.process().stop(STOP).await?;
        }
        for node in &mut self.nodes {
            if node.process().exited().is_none() {
                node.process().terminate()?;
            }
        }
        for process in self.processes() {
            process.stop(STOP).await?;
        }
        Ok(())
    }
}

/// The addresses that the api and the nodes share.
struct Backing {
    redis: String,
    mongo: String,
}

/// What every step of a start needs.
struct Starter<'a> {
    options: &'a Options,
    ports: &'a Ports,
    dir: &'a Path,
    secrets: Secrets,
}

impl Starter<'_> {
    async fn redis(&self) -> anyhow::Result<Redis> {
        self.tell("redis");
        if self.options.redis_masters > 0 {
            return Ok(Redis::Sharded(
                RedisCluster::start_with(self.options.redis_masters, self.options.redis_replicas).await?,
            ));
        }
        let options = RedisOptions {
            appendonly: true,
            port: self.options.ports.as_ref().map(|ports| ports.redis),
            dir: Some(self.dir.join("redis")),
            echo: self.echo(),
            ..RedisOptions::default()
        };
        Ok(Redis::Single(RedisServer::start_with(&options).await?))
    }

    async fn mongo(&self) -> anyhow::Result<Mongo> {
        self.tell("mongo");
        let port = self.options.ports.as_ref().map(|ports| ports.mongo);
        let dir = Some(self.dir.join("mongo"));
        Mongo::start_with(&MongoOptions { port, dir, echo: self.options.verbose }).await
    }

    async fn api(&self, backing: &Backing) -> anyhow::Result<Service> {
        self.tell("api");
        let web = std::env::var("WEB_DIR").unwrap_or_else(|_| workspace().join("web").display().to_string());
        let spec = self.spec("api", "api", self.ports.api, backing)?.env("API_PORT", self.ports.api.port);
        self.service(spec.env("WEB_DIR", web), self.ports.api).await
    }

    async fn node(&self, index: usize, backing: &Backing) -> anyhow::Result<Service> {
        let (name, backend) = (format!("n{}", index + 1), self.ports.nodes[index]);
        self.tell(&name);
        let spec = self.spec(&name, "signal-node", backend, backing)?;
        let spec = spec.env("INTERNAL_PORT", self.ports.internal[index]);
        self.service(spec.env("SIGNALING_PORT", backend.port).env("NODE_ID", name), backend).await
    }

    async fn haproxy(&self) -> anyhow::Result<Service> {
        self.tell("haproxy");
        let Ports { http, api, nodes, .. } = self.ports;
        haproxy::start(self.dir, *http, *api, nodes, "/api/health", self.echo()).await
    }

    /// One of our binaries, with the environment that api and nodes have in common.
    fn spec(&self, name: &str, program: &str, backend: Backend, backing: &Backing) -> anyhow::Result<Spec> {
        let public = if self.options.haproxy { self.ports.http } else { self.ports.api.port };
        let page = format!("http://localhost:{public}");
        let common = [
            ("METRICS_PORT", backend.admin.to_string()),
            ("BIND_ADDRESS", "127.0.0.1".into()),
            ("REDIS_URL", backing.redis.clone()),
            ("MONGODB_URI", backing.mongo.clone()),
            ("JWT_ACCESS_SECRET", self.secrets.access.clone()),
            ("JWT_REFRESH_SECRET", self.secrets.refresh.clone()),
            ("ALLOWED_ORIGINS", format!("{page},{}", local(public))),
            ("FRONTEND_URL", page),
            ("NODE_ENV", "development".into()),
            // HAProxy tells whose request it is; limits per address would otherwise take everybody for one client.
            ("TRUSTED_HOPS", u8::from(self.options.haproxy).to_string()),
            ("LOG_FORMAT", "text".into()),
            ("WORKERS", (cores() / self.options.nodes.max(1)).max(1).to_string()),
        ];
        // Tests and load come from one address and are no attack; who starts a cluster to look at has the limits of production.
        let limits = self.options.data.is_none().then_some(("RATE_LIMITS", "false".to_owned()));
        let litter = self.options.data.is_none().then_some(self.dir);
        let mut spec = Spec::new(name, binary(program)?, self.dir).echo(self.echo()).litter(litter);
        if !(self.options.verbose && std::io::stdout().is_terminal()) {
            // A log that is read with `grep` has no use for colours.
            spec = spec.env("NO_COLOR", 1);
        }
        let spec = common.into_iter().chain(limits).fold(spec, |spec, (key, value)| spec.env(key, value));
        Ok(self.options.env.iter().fold(spec, |spec, (key, value)| spec.env(key, value)))
    }

    async fn service(&self, spec: Spec, backend: Backend) -> anyhow::Result<Service> {
        Service::start(spec, backend.port, format!("{}/readyz", local(backend.admin))).await
    }

    fn echo(&self) -> Echo {
        if self.options.verbose { Echo::All } else { Echo::Off }
    }

    fn tell(&self, name: &str) {
        if self.options.verbose {
            // A closed terminal is no reason not to start.
            let _ = writeln!(std::io::stdout().lock(), "{:>8} | starting {name}", "up");
        }
    }
}

/// The nodes share this machine's.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
