//! A Redis master, its replica, and three Sentinels that fail over between the two.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::bail;
use redis::{Cmd, FromRedisValue, Value, cmd};
use tempfile::TempDir;

use crate::ports;
use crate::process::{Process, Spec, retry};
use crate::programs::redis_server;
use crate::redis::{RedisOptions, RedisServer, START_TIMEOUT, query, wait_ready};

/// Name of the master in the configuration of the Sentinels.
pub const MASTER_NAME: &str = "calls";
/// Number of Sentinels. Two of them must agree that the master is down.
const SENTINELS: usize = 3;
/// Time until a Sentinel takes a silent master for down, in ms.
const DOWN_AFTER_MS: u32 = 1_000;
/// Half of the time between two attempts of a failover, in ms.
const FAILOVER_TIMEOUT_MS: u32 = 2_000;
/// Longest wait for a failover.
const FAILOVER_WAIT: Duration = Duration::from_secs(30);
/// Time between two questions to the servers.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Settings of the servers and of the Sentinels. The default has no credentials.
#[derive(Clone, Debug, Default)]
pub struct SentinelOptions {
    /// Whether the servers set `appendonly yes`.
    pub appendonly: bool,
    /// Further arguments of the servers.
    pub server: Vec<String>,
    /// Further lines in the configuration of each Sentinel.
    pub sentinel: Vec<String>,
}

/// A running master, its replica and their Sentinels. Dropping it ends them.
#[derive(Debug)]
pub struct RedisSentinel {
    sentinels: Vec<Sentinel>,
    servers: Vec<RedisServer>,
}

#[derive(Debug)]
struct Sentinel {
    process: Process,
    port: u16,
    _dir: TempDir,
}

impl RedisSentinel {
    /// Starts everything, without credentials.
    ///
    /// # Errors
    /// When a server does not start, or the Sentinels do not know each other and the replica within
    /// 20 s.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&SentinelOptions::default()).await
    }

    /// Starts everything with these settings.
    ///
    /// # Errors
    /// See [`RedisSentinel::start`].
    pub async fn start_with(options: &SentinelOptions) -> anyhow::Result<Self> {
        let master = start_server("redis0", options, &[]).await?;
        let replica_of = ["--replicaof".to_owned(), "127.0.0.1".to_owned(), master.port().to_string()];
        let replica = start_server("redis1", options, &replica_of).await?;
        let port = master.port();
        let mut started = Self { sentinels: Vec::new(), servers: vec![master, replica] };
        for index in 0..SENTINELS {
            started.sentinels.push(start_sentinel(index, port, options).await?);
        }
        started.wait_complete().await?;
        Ok(started)
    }

    /// `redis+sentinel://127.0.0.1:<port>,127.0.0.1:<port>,127.0.0.1:<port>/calls`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/{MASTER_NAME}", self.hosts())
    }

    /// `127.0.0.1:<port>` of each Sentinel, separated by commas.
    #[must_use]
    pub fn hosts(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        hosts.join(",")
    }

    /// The two servers: first the master of the start.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// Process of a Sentinel, to signal it.
    pub fn sentinel(&mut self, index: usize) -> &mut Process {
        &mut self.sentinels[index].process
    }

    /// Index of the server that the Sentinels name. `None` while they disagree or a failover is
    /// under way.
    pub async fn master(&self) -> Option<usize> {
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER_NAME);
        let mut named = None;
        for sentinel in &self.sentinels {
            let (_, port): (String, u16) = query(sentinel.port, &command).await.ok()?;
            if named.is_some_and(|named| named != port) {
                return None;
            }
            named = Some(port);
        }
        let index = self.servers.iter().position(|server| Some(server.port()) == named)?;
        let role: Vec<Value> = self.servers[index].query(&cmd("ROLE")).await.ok()?;
        matches!(role.first(), Some(Value::BulkString(role)) if role == b"master").then_some(index)
    }

    /// Kills the master and waits until the other server is one. Returns its index.
    ///
    /// # Errors
    /// When the Sentinels do not fail over within 30 s.
    pub async fn kill_master(&mut self) -> anyhow::Result<usize> {
        let Some(old) = self.master().await else { bail!("the Sentinels name no master") };
        self.servers[old].process().kill()?;
        self.failed_over(old).await
    }

    /// Asks a Sentinel for a failover without a crash and waits until the other server is the
    /// master. Returns its index. The old master becomes a replica some seconds later.
    ///
    /// # Errors
    /// When the Sentinels do not fail over within 30 s.
    pub async fn fail_over(&self) -> anyhow::Result<usize> {
        let Some(old) = self.master().await else { bail!("the Sentinels name no master") };
        query::<Value>(self.sentinels[0].port, cmd("SENTINEL").arg("FAILOVER").arg(MASTER_NAME)).await?;
        self.failed_over(old).await
    }

    async fn failed_over(&self, old: usize) -> anyhow::Result<usize> {
        let start = Instant::now();
        while start.elapsed() < FAILOVER_WAIT {
            if let Some(new) = self.master().await.filter(|new| *new != old) {
                return Ok(new);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        bail!("the Sentinels did not fail over within {FAILOVER_WAIT:?}")
    }

    /// Starts a killed server again as the replica of the other, and waits until the Sentinels know
    /// it. Does nothing when both servers run.
    ///
    /// # Errors
    /// When it does not start or does not replicate within 20 s.
    pub async fn restore(&mut self) -> anyhow::Result<()> {
        for index in 0..self.servers.len() {
            if self.servers[index].process().exit_status().is_none() {
                continue;
            }
            let master = self.servers[1 - index].port();
            self.servers[index].restart().await?;
            let mut follow = cmd("REPLICAOF");
            self.servers[index].query::<Value>(follow.arg("127.0.0.1").arg(master)).await?;
        }
        self.wait_complete().await
    }

    /// Waits until the replica replicates and every Sentinel knows the others and the replica.
    async fn wait_complete(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if self.is_complete().await {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        bail!("the Sentinels did not know each other and the replica within {START_TIMEOUT:?}")
    }

    async fn is_complete(&self) -> bool {
        let Some(master) = self.master().await else { return false };
        let info: anyhow::Result<String> = self.servers[1 - master].query(cmd("INFO").arg("replication")).await;
        if !info.is_ok_and(|info| info.contains("master_link_status:up")) {
            return false;
        }
        for sentinel in &self.sentinels {
            let known = |list: &str| {
                let mut command = cmd("SENTINEL");
                command.arg(list).arg(MASTER_NAME);
                healthy(sentinel.port, command)
            };
            if known("SENTINELS").await != SENTINELS - 1 || known("REPLICAS").await != 1 {
                return false;
            }
        }
        true
    }
}

/// Number of instances in the reply that are up, and of replicas whose link to the master is up.
async fn healthy(port: u16, command: Cmd) -> usize {
    let instances: Vec<std::collections::HashMap<String, String>> = query_or_default(port, &command).await;
    let is_up = |instance: &&std::collections::HashMap<String, String>| {
        !instance["flags"].contains("down") && instance.get("master-link-status").is_none_or(|link| link == "ok")
    };
    instances.iter().filter(is_up).count()
}

async fn query_or_default<T: FromRedisValue + Default>(port: u16, command: &Cmd) -> T {
    query(port, command).await.unwrap_or_default()
}

async fn start_server(name: &str, options: &SentinelOptions, further: &[String]) -> anyhow::Result<RedisServer> {
    let extra = ["--repl-diskless-sync-delay".to_owned(), "0".to_owned()];
    let extra = extra.into_iter().chain(options.server.iter().cloned()).chain(further.iter().cloned()).collect();
    let (name, appendonly) = (name.to_owned(), options.appendonly);
    RedisServer::start_with(&RedisOptions { name, appendonly, extra, ..RedisOptions::default() }).await
}

async fn start_sentinel(index: usize, master: u16, options: &SentinelOptions) -> anyhow::Result<Sentinel> {
    retry(async || {
        let (dir, port) = (TempDir::with_prefix("switchboard-sentinel-")?, ports::free()?);
        let mut lines = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {MASTER_NAME} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {MASTER_NAME} {FAILOVER_TIMEOUT_MS}\n",
            dir.path().display(),
        );
        for line in &options.sentinel {
            writeln!(lines, "{line}")?;
        }
        // A Sentinel writes what it learns into this file.
        let file = dir.path().join("sentinel.conf");
        std::fs::write(&file, lines)?;
        let spec = Spec::new(format!("sentinel{index}"), redis_server()?, dir.path())
            .args([file.as_os_str(), "--sentinel".as_ref()])
            .temporary(Some(dir.path()));
        let mut process = Process::spawn(spec)?;
        wait_ready(&mut process, port).await?;
        Ok(Sentinel { process, port, _dir: dir })
    })
    .await
}
