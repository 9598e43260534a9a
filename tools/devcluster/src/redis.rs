//! Redis servers: one standalone server, or a Redis Cluster with all slots assigned.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use redis::{Cmd, FromRedisValue, Value, cmd};
use tempfile::TempDir;

use crate::ports;
use crate::process::{Echo, Process, Spec, retry};
use crate::programs::redis_server;

/// Longest wait for a server, and for a whole cluster.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Number of slots of a Redis Cluster.
const SLOTS: u32 = 16_384;

/// Settings of a server. The default is a temporary one: a free port and no persistence.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Whether to set `appendonly yes`, with `appendfsync everysec`.
    pub appendonly: bool,
    /// Port; a free one when `None`.
    pub port: Option<u16>,
    /// Directory of data and log. `None` for a temporary one, which is removed with the server.
    pub dir: Option<PathBuf>,
    /// Lines of the log that are copied to standard output.
    pub echo: Echo,
    /// Name in messages, and of the log file.
    pub name: String,
    /// Further arguments of `redis-server`.
    pub extra: Vec<String>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { appendonly: false, port: None, dir: None, echo: Echo::Off, name: "redis".into(), extra: Vec::new() }
    }
}

/// A running `redis-server`. Dropping it ends it.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    port: u16,
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl RedisServer {
    /// Starts a temporary standalone server on a free port.
    ///
    /// # Errors
    /// When `redis-server` is missing or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&RedisOptions::default()).await
    }

    /// Starts a standalone server with these settings.
    ///
    /// # Errors
    /// When `redis-server` is missing or does not start.
    pub async fn start_with(options: &RedisOptions) -> anyhow::Result<Self> {
        match options.port {
            Some(port) => Self::start_on(port, options).await,
            None => retry(async || Self::start_on(ports::free()?, options).await).await,
        }
    }

    async fn start_on(port: u16, options: &RedisOptions) -> anyhow::Result<Self> {
        let (path, temporary) = match &options.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let dir = TempDir::with_prefix("switchboard-redis-")?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        std::fs::create_dir_all(&path)?;
        let program = redis_server()?;
        let spec = Spec::new(&options.name, program, &path)
            .args(arguments(port, &path, options))
            .echo(options.echo)
            .temporary(temporary.as_ref().map(TempDir::path));
        let mut process = Process::spawn(spec)?;
        wait_ready(&mut process, port).await?;
        Ok(Self { process, port, path, _temporary: temporary })
    }

    /// Port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Directory of data and log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.path
    }

    /// `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The process, to signal it (pause, kill) and to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills the server if it runs and starts it again on the same port and directory. With
    /// `appendonly` it has its data again, otherwise it is empty.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.respawn()?;
        wait_ready(&mut self.process, self.port).await
    }

    /// Runs one command on a new connection, for tests that read or change the server's state.
    ///
    /// # Errors
    /// When the server does not answer, or answers with an error or another type.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> anyhow::Result<T> {
        query(self.port, command).await
    }
}

fn arguments(port: u16, dir: &Path, options: &RedisOptions) -> Vec<String> {
    // The default of 64 MB would make Redis rewrite its file every 2 s under a full load of relays,
    // which takes half of a core.
    let fixed = format!(
        "--port {port} --bind 127.0.0.1 --daemonize no --save --maxmemory-policy noeviction --appendfsync everysec \
         --auto-aof-rewrite-min-size 1gb --appendonly {}",
        if options.appendonly { "yes" } else { "no" },
    );
    // `--save ""` turns snapshots off. The split would lose the empty word.
    let fixed = fixed.split(' ').flat_map(|word| if word == "--save" { vec![word, ""] } else { vec![word] });
    let mut arguments: Vec<String> = fixed.map(str::to_owned).collect();
    // The default of 32 MB would close a node's subscription in a burst. The value is one argument.
    arguments.extend(["--client-output-buffer-limit".into(), "pubsub 256mb 128mb 60".into()]);
    arguments.extend(["--dir".into(), dir.display().to_string()]);
    arguments.extend(options.extra.iter().cloned());
    arguments
}

/// Waits until this server answers, and not another one that took the port first.
pub(crate) async fn wait_ready(process: &mut Process, port: u16) -> anyhow::Result<()> {
    let ours = format!("process_id:{}\r", process.id());
    process
        .wait_ready(START_TIMEOUT, || async {
            let info: anyhow::Result<String> = query(port, cmd("INFO").arg("server")).await;
            // A server that loads its data answers INFO and refuses PING.
            info.is_ok_and(|info| info.contains(&ours)) && query::<String>(port, &cmd("PING")).await.is_ok()
        })
        .await
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

pub(crate) async fn query<T: FromRedisValue>(port: u16, command: &Cmd) -> anyhow::Result<T> {
    let mut connection = redis::Client::open(url(port))?.get_multiplexed_async_connection().await?;
    Ok(command.query_async(&mut connection).await?)
}

/// A Redis Cluster on this machine: masters that share all slots, and their replicas.
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<RedisServer>,
    masters: usize,
}

impl RedisCluster {
    /// Starts `masters` masters without replicas.
    ///
    /// # Errors
    /// When a server does not start, or the cluster is not complete within 20 s.
    pub async fn start(masters: usize) -> anyhow::Result<Self> {
        Self::start_with(masters, 0).await
    }

    /// Starts `masters` masters, each with `replicas` replicas. The members notice the failure of a
    /// master after 2 s.
    ///
    /// # Errors
    /// When a server does not start, or the cluster is not complete within 20 s.
    pub async fn start_with(masters: usize, replicas: usize) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for index in 0..masters * (1 + replicas) {
            servers.push(start_member(index).await?);
        }
        let cluster = Self { servers, masters };
        cluster.assemble(replicas).await?;
        Ok(cluster)
    }

    /// Address of all members: `redis+cluster://127.0.0.1:<port>,127.0.0.1:<port>,...`
    #[must_use]
    pub fn url(&self) -> String {
        let members: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("redis+cluster://{}", members.join(","))
    }

    /// Number of masters.
    #[must_use]
    pub fn masters(&self) -> usize {
        self.masters
    }

    /// The members: first the masters of the start, then the replicas.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    async fn assemble(&self, replicas: usize) -> anyhow::Result<()> {
        for (index, server) in self.servers.iter().enumerate() {
            // Members with equal epochs would first hold a vote, which takes seconds.
            server.query::<Value>(cmd("CLUSTER").arg("SET-CONFIG-EPOCH").arg(index + 1)).await?;
            if index < self.masters {
                let (first, last) = slots(index, self.masters);
                server.query::<Value>(cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(first).arg(last)).await?;
            }
        }
        for server in &self.servers {
            for other in &self.servers {
                let mut meet = cmd("CLUSTER");
                meet.arg("MEET").arg("127.0.0.1").arg(other.port).arg(bus_port(other).await?);
                server.query::<Value>(&meet).await?;
            }
        }
        self.whole().await?;
        if replicas > 0 {
            for (index, replica) in self.servers[self.masters..].iter().enumerate() {
                let master = self.id(index % self.masters).await?;
                replica.query::<Value>(cmd("CLUSTER").arg("REPLICATE").arg(master)).await?;
            }
            self.whole().await?;
        }
        Ok(())
    }

    /// Waits until every running member knows all others and has an owner for every slot.
    ///
    /// # Errors
    /// When that takes over 20 s.
    pub async fn whole(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        let members = format!("cluster_known_nodes:{}\r", self.servers.len());
        'again: while Instant::now() < deadline {
            for server in &self.servers {
                let info: String = server.query(cmd("CLUSTER").arg("INFO")).await?;
                if !info.contains("cluster_state:ok") || !info.contains(&members) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue 'again;
                }
            }
            return Ok(());
        }
        bail!("the Redis Cluster was not complete within {START_TIMEOUT:?}")
    }

    /// Moves a slot with its keys to another member, as `redis-cli --cluster reshard` does. Clients
    /// get ASK and TRYAGAIN in the meantime, and MOVED afterwards.
    ///
    /// # Errors
    /// When a member refuses a step.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (source, target) = (self.id(from).await?, self.id(to).await?);
        let step = |state: &str, node: &str| {
            let mut command = cmd("CLUSTER");
            command.arg("SETSLOT").arg(slot).arg(state).arg(node);
            command
        };
        self.servers[to].query::<Value>(&step("IMPORTING", &source)).await?;
        self.servers[from].query::<Value>(&step("MIGRATING", &target)).await?;
        loop {
            let keys: Vec<String> =
                self.servers[from].query(cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(100)).await?;
            if keys.is_empty() {
                break;
            }
            let mut migrate = cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(self.servers[to].port).arg("").arg(0).arg(5000).arg("KEYS").arg(keys);
            self.servers[from].query::<Value>(&migrate).await?;
        }
        // The new owner first. If the old owner failed after it alone had the command, the slot
        // would have no owner.
        for index in [to, from].into_iter().chain(0..self.masters) {
            self.servers[index].query::<Value>(&step("NODE", &target)).await?;
        }
        Ok(())
    }

    /// Id of a member within the cluster.
    async fn id(&self, index: usize) -> anyhow::Result<String> {
        self.servers[index].query(cmd("CLUSTER").arg("MYID")).await
    }
}

async fn start_member(index: usize) -> anyhow::Result<RedisServer> {
    retry(async || {
        // The default bus port is the port + 10000, which may be in use when the port itself is
        // free.
        let bus = ports::free()?;
        let extra = format!(
            "--cluster-enabled yes --cluster-port {bus} --cluster-node-timeout 2000 --cluster-announce-ip 127.0.0.1 \
             --cluster-replica-validity-factor 0 --repl-diskless-sync-delay 0"
        );
        RedisServer::start_with(&RedisOptions {
            name: format!("redis{index}"),
            extra: extra.split_whitespace().map(str::to_owned).collect(),
            ..RedisOptions::default()
        })
        .await
    })
    .await
}

/// First and last slot of master `index` of `masters`.
fn slots(index: usize, masters: usize) -> (u32, u32) {
    let edge = |index: usize| u32::try_from(index).unwrap_or(0) * SLOTS / u32::try_from(masters).unwrap_or(1);
    (edge(index), edge(index + 1) - 1)
}

async fn bus_port(server: &RedisServer) -> anyhow::Result<u16> {
    let config: Vec<String> = server.query(cmd("CONFIG").arg("GET").arg("cluster-port")).await?;
    config.get(1).and_then(|port| port.parse().ok()).context("redis-server names no cluster-port")
}
