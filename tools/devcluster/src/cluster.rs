//! A whole cluster: Redis, MongoDB, the api, signal-nodes, and HAProxy in front of them.

use std::io::{IsTerminal, Write};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

use crate::haproxy::{self, RuntimeApi};
use crate::link::Link;
use crate::mongo::{Mongo, MongoOptions};
use crate::process::{Echo, Process, Spec};
use crate::programs::{binary_in, folder, workspace};
use crate::redis::{RedisCluster, RedisOptions, RedisServer};
use crate::redis_sentinel::{RedisSentinel, SentinelOptions};
use crate::service::{Backend, Service, local};
use crate::settings::{Ports, Secrets};

pub use crate::redis_topology::Redis;

/// Time that a service has to end after SIGTERM before SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Attempts with other free ports when another program takes one of them first.
const ATTEMPTS: usize = 5;
/// Names of the programs.
const API: &str = "api";
const NODE: &str = "signal-node";
/// Database of the api, with its default name.
pub const DATABASE: &str = "videocall-db";

/// Settings of a cluster. The default is two nodes behind HAProxy, on free ports, in a temporary
/// directory, without output.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of signal-nodes.
    pub nodes: usize,
    /// Whether to start HAProxy in front of the api and the nodes.
    pub haproxy: bool,
    /// Number of masters of a Redis Cluster; 0 for one standalone server.
    pub redis_masters: usize,
    /// Number of replicas of each master.
    pub redis_replicas: usize,
    /// Whether to start a master with a replica and Sentinels, instead of one server.
    pub redis_sentinel: bool,
    /// Whether the api and the nodes reach the one server by a [`Link`].
    pub redis_link: bool,
    /// Ports of every server; free ports when `None`.
    pub ports: Option<Ports>,
    /// Directory of data, secrets and logs. `None` for a temporary one, which is removed with the
    /// cluster.
    pub data: Option<PathBuf>,
    /// Prints each step of the start, and copies every process's log to standard output.
    pub verbose: bool,
    /// Variables added to the environment of the api and of every node.
    pub env: Vec<(String, String)>,
    /// Folders of the programs, perhaps of several versions: the api and the first node use the
    /// first one, the next node the next one, in turn. Empty for the programs of this build.
    pub programs: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            haproxy: true,
            redis_masters: 0,
            redis_replicas: 0,
            redis_sentinel: false,
            redis_link: false,
            ports: None,
            data: None,
            verbose: false,
            env: Vec::new(),
            programs: Vec::new(),
        }
    }
}

/// A running cluster. Dropping it ends every process in the order of the fields, so that the load
/// balancer goes first and the stores last. The struct has more than eight fields: each is a part
/// of the cluster, or is shared by all parts.
#[derive(Debug)]
pub struct Cluster {
    /// The load balancer; `None` without [`Options::haproxy`].
    pub haproxy: Option<Service>,
    /// The signal-nodes `n1`, `n2`, ... in this order.
    pub nodes: Vec<Service>,
    /// The api.
    pub api: Service,
    /// MongoDB.
    pub mongo: Mongo,
    /// Redis.
    pub redis: Redis,
    /// The link to Redis; `None` without [`Options::redis_link`].
    pub redis_link: Option<Link>,
    /// Keys that sign tokens, so that tests can sign tokens that the api would not issue.
    pub secrets: Secrets,
    /// Keys that only verify, after [`Cluster::set_keys`].
    pub previous_secrets: Option<Secrets>,
    ports: Ports,
    dir: Option<TempDir>,
}

/// Returns the key that encrypts the secrets of apps.
#[must_use]
pub fn app_master_key(secrets: &Secrets) -> String {
    format!("apps {}", secrets.refresh)
}

impl Cluster {
    /// Starts everything. All processes are ready when this returns.
    ///
    /// # Errors
    /// When a program is missing or a process does not start. The message has the end of its log.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        for _ in 1..ATTEMPTS {
            match Self::start_once(options).await {
                // Another program took a port between the choice of the port and the start.
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
        let redis_link = match &redis {
            Redis::Single(server) if options.redis_link => Some(Link::to(server.port()).await?),
            _ => None,
        };
        let url = redis_link.as_ref().map_or_else(|| redis.url(), |link| format!("redis://{}", link.address()));
        let stores = Stores { redis: url, mongo: mongo.uri(DATABASE) };
        let api = starter.api(&stores).await?;
        let mut nodes = Vec::new();
        for index in 0..options.nodes {
            nodes.push(starter.node(index, &stores).await?);
        }
        let haproxy = if options.haproxy { Some(starter.haproxy().await?) } else { None };
        let secrets = starter.secrets;
        Ok(Self {
            haproxy,
            nodes,
            api,
            mongo,
            redis,
            redis_link,
            secrets,
            previous_secrets: None,
            ports,
            dir: temporary,
        })
    }

    /// Ports of every server.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Address that clients use: HAProxy's, or the api's when there is no HAProxy.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.haproxy.as_ref().unwrap_or(&self.api).url()
    }

    /// Runtime API of HAProxy. `None` without HAProxy, and for a cluster that keeps its data.
    #[must_use]
    pub fn balancer(&self) -> Option<RuntimeApi> {
        self.haproxy.as_ref()?;
        RuntimeApi::of(self.dir.as_ref()?.path())
    }

    /// Connection string of the api's database.
    #[must_use]
    pub fn mongodb_uri(&self) -> String {
        self.mongo.uri(DATABASE)
    }

    /// Sets the keys of the api and the nodes for their next processes: `current` sign, `previous`
    /// only verify. Processes that run keep theirs.
    pub fn set_keys(&mut self, current: Secrets, previous: Secrets) {
        let variables = [
            ("JWT_ACCESS_SECRET", &*current.access),
            ("JWT_ACCESS_SECRET_PREVIOUS", &previous.access),
            ("JWT_ACCESS_PRIVATE_KEY", &current.private_key),
            ("JWT_ACCESS_PRIVATE_KEY_PREVIOUS", &previous.private_key),
            ("JWT_ACCESS_ALGORITHM", if current.is_eddsa { "EdDSA" } else { "HS256" }),
            ("JWT_REFRESH_SECRET", &current.refresh),
            ("JWT_REFRESH_SECRET_PREVIOUS", &previous.refresh),
        ];
        for service in self.nodes.iter_mut().chain([&mut self.api]) {
            variables.into_iter().for_each(|(name, value)| service.process().set_env(name, value));
        }
        (self.secrets, self.previous_secrets) = (current, Some(previous));
    }

    /// Sets the folder of the programs of the api and the nodes for their next processes. Processes
    /// that run keep theirs.
    ///
    /// # Errors
    /// When a program is missing.
    pub fn set_programs(&mut self, folder: &Path) -> anyhow::Result<()> {
        let (api, node) = (binary_in(folder, API)?, binary_in(folder, NODE)?);
        self.api.process().set_program(api);
        self.nodes.iter_mut().for_each(|pod| pod.process().set_program(node.clone()));
        Ok(())
    }

    /// Every process, in the order of [`Cluster::stop`].
    pub fn processes(&mut self) -> Vec<&mut Process> {
        let services = self.haproxy.iter_mut().chain(&mut self.nodes).chain([&mut self.api]);
        let mut processes: Vec<_> = services.map(Service::process).collect();
        processes.push(self.mongo.process());
        processes.extend(self.redis.servers().iter_mut().map(RedisServer::process));
        processes
    }

    /// Name and exit status of a process that has ended, if there is one.
    pub fn ended(&mut self) -> Option<(String, ExitStatus)> {
        self.processes().into_iter().find_map(|process| Some((process.name().to_owned(), process.exit_status()?)))
    }

    /// Stops everything, from the load balancer to the stores. Each process gets SIGTERM, and
    /// SIGKILL after 8 s. The nodes drain at the same time.
    ///
    /// # Errors
    /// When a process cannot be signalled. Dropping this value ends the others.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(haproxy) = &mut self.haproxy {
            haproxy.process().stop(STOP_TIMEOUT).await?;
        }
        for node in &mut self.nodes {
            if node.process().exit_status().is_none() {
                node.process().terminate()?;
            }
        }
        for process in self.processes() {
            process.stop(STOP_TIMEOUT).await?;
        }
        Ok(())
    }
}

/// Addresses of the stores.
struct Stores {
    redis: String,
    mongo: String,
}

/// Inputs that every step of a start shares.
struct Starter<'a> {
    options: &'a Options,
    ports: &'a Ports,
    dir: &'a Path,
    secrets: Secrets,
}

impl Starter<'_> {
    async fn redis(&self) -> anyhow::Result<Redis> {
        self.announce("redis");
        if self.options.redis_masters > 0 {
            return Ok(Redis::Sharded(
                RedisCluster::start_with(self.options.redis_masters, self.options.redis_replicas).await?,
            ));
        }
        if self.options.redis_sentinel {
            let options = SentinelOptions { appendonly: true, ..SentinelOptions::default() };
            return Ok(Redis::Sentinel(RedisSentinel::start_with(&options).await?));
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
        self.announce("mongo");
        let port = self.options.ports.as_ref().map(|ports| ports.mongo);
        let dir = Some(self.dir.join("mongo"));
        Mongo::start_with(&MongoOptions { port, dir, echo: self.options.verbose, ..MongoOptions::default() }).await
    }

    async fn api(&self, stores: &Stores) -> anyhow::Result<Service> {
        self.announce("api");
        let web = std::env::var("WEB_DIR").unwrap_or_else(|_| workspace().join("web/dist").display().to_string());
        let spec = self.spec("api", self.program(API, 0)?, self.ports.api, stores);
        let spec = spec.env("API_PORT", self.ports.api.port);
        self.service(spec.env("WEB_DIR", web), self.ports.api).await
    }

    async fn node(&self, index: usize, stores: &Stores) -> anyhow::Result<Service> {
        let (name, backend) = (format!("n{}", index + 1), self.ports.nodes[index]);
        self.announce(&name);
        let spec = self.spec(&name, self.program(NODE, index)?, backend, stores);
        let spec = spec.env("INTERNAL_PORT", self.ports.internal[index]);
        self.service(spec.env("SIGNALING_PORT", backend.port).env("NODE_ID", name), backend).await
    }

    async fn haproxy(&self) -> anyhow::Result<Service> {
        self.announce("haproxy");
        let Ports { http, api, nodes, .. } = self.ports;
        let bind = SocketAddrV4::new(self.ports.bind, *http);
        haproxy::start(self.dir, bind, *api, nodes, "/api/health", self.echo()).await
    }

    /// Path of a program for the pod with this index.
    fn program(&self, name: &str, index: usize) -> anyhow::Result<PathBuf> {
        let folders = &self.options.programs;
        match folders.len() {
            0 => binary_in(&folder()?, name),
            count => binary_in(&folders[index % count], name),
        }
    }

    /// One of our binaries, with the variables that the api and the nodes share.
    fn spec(&self, name: &str, program: PathBuf, backend: Backend, stores: &Stores) -> Spec {
        let public = if self.options.haproxy { self.ports.http } else { self.ports.api.port };
        let page = self.ports.bind_url(public);
        let frontend = std::env::var("FRONTEND_URL").unwrap_or_else(|_| page.clone());
        let local = [page, format!("http://localhost:{public}"), local(public)];
        let origins = local.into_iter().chain(std::env::var("ALLOWED_ORIGINS"));
        let origins: Vec<String> = origins.filter(|list| !list.trim().is_empty()).collect();
        let common = [
            ("METRICS_PORT", backend.admin.to_string()),
            ("BIND_ADDRESS", "127.0.0.1".into()),
            ("REDIS_URL", stores.redis.clone()),
            ("MONGODB_URI", stores.mongo.clone()),
            ("JWT_ACCESS_SECRET", self.secrets.access.clone()),
            ("JWT_REFRESH_SECRET", self.secrets.refresh.clone()),
            ("APP_MASTER_KEY", app_master_key(&self.secrets)),
            ("ALLOWED_ORIGINS", origins.join(",")),
            ("FRONTEND_URL", frontend),
            ("NODE_ENV", "development".into()),
            // HAProxy adds the client's address. Without it the limits per address would count all
            // clients as one.
            ("TRUSTED_HOPS", u8::from(self.options.haproxy).to_string()),
            ("LOG_FORMAT", "text".into()),
            ("WORKERS", (cores() / self.options.nodes.max(1)).max(1).to_string()),
        ];
        // Tests and load tests send everything from one address, and choose the node of each
        // client. A cluster that keeps its data is for people, and has the settings of production.
        let for_tests = [
            ("RATE_LIMITS", "false"),
            ("SOCKETS_PER_ADDRESS", "0"),
            ("CONNECTIONS_PER_ADDRESS", "0"),
            ("REBALANCE", "false"),
        ];
        let limits = for_tests.map(|(name, value)| (name, value.to_owned()));
        let limits = limits.into_iter().filter(|_| self.options.data.is_none());
        let temporary = self.options.data.is_none().then_some(self.dir);
        let mut spec = Spec::new(name, program, self.dir).echo(self.echo()).temporary(temporary);
        if !(self.options.verbose && std::io::stdout().is_terminal()) {
            // Colours would hide words from `grep`.
            spec = spec.env("NO_COLOR", 1);
        }
        let spec = common.into_iter().chain(limits).fold(spec, |spec, (key, value)| spec.env(key, value));
        self.options.env.iter().fold(spec, |spec, (key, value)| spec.env(key, value))
    }

    async fn service(&self, spec: Spec, backend: Backend) -> anyhow::Result<Service> {
        Service::start(spec, backend.port, format!("{}/readyz", local(backend.admin))).await
    }

    fn echo(&self) -> Echo {
        if self.options.verbose { Echo::All } else { Echo::Off }
    }

    fn announce(&self, name: &str) {
        if self.options.verbose {
            // A closed terminal must not stop the start.
            let _ = writeln!(std::io::stdout().lock(), "{:>8} | starting {name}", "up");
        }
    }
}

/// Number of cores of this machine, which the nodes share.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
