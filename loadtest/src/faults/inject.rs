//! Faults of nodes and of Redis.

use std::time::Duration;

use anyhow::{Context, bail};
use devcluster::cluster::{Cluster, Redis};
use devcluster::link::Speed;
use devcluster::service::Service;
use redis::cmd;
use tokio::time::{Instant, sleep};

use super::Fault;
use super::client_pairs::ClientPairs;
use super::reconnecting_client::{ClientCommand, ReconnectingClient};

/// Longer than the failure detector needs: it declares a node dead after 4 s without heartbeats and
/// checks every second.
const DEATH_WAIT: Duration = Duration::from_secs(8);
/// Time between the kill of Redis and its restart.
const REDIS_DOWNTIME: Duration = Duration::from_secs(1);
/// Time limit for a node to drain and exit; a drain takes at most 20 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(40);
/// Maximum time until each node has its share of the sessions.
const BALANCE_TIMEOUT: Duration = Duration::from_secs(180);
/// A script that takes Redis 3 to 4 s.
const SLOW_COMMAND: &str = "
local from = tonumber(redis.call('TIME')[1])
repeat local now = tonumber(redis.call('TIME')[1]) until now - from > 3
";
/// Least and greatest time in which Redis answers nothing else.
const SLOW_COMMAND_MIN: Duration = Duration::from_secs(2);
const SLOW_COMMAND_MAX: Duration = Duration::from_secs(30);
/// Speed of the slow link: 10 Mbit/s, and 100 ms for a question and its answer.
const SLOW: Speed = Speed { bandwidth: 1_250_000, latency: Duration::from_millis(50) };
/// Number of slots in a Redis Cluster.
const CLUSTER_SLOTS: u16 = 16_384;

/// Injects a fault. Returns when the fault is over.
pub(super) async fn inject(
    fault: Fault,
    cluster: &mut Cluster,
    pairs: &ClientPairs,
    victim: usize,
    short: bool,
) -> anyhow::Result<()> {
    match fault {
        Fault::NodeKill => {
            pairs.vanishing().for_each(|(_, client)| client.command(ClientCommand::Vanish));
            cluster.nodes[victim].process().kill()?;
            // The node restarts only after the cluster declared it dead; the new process has a new
            // node id.
            sleep(DEATH_WAIT).await;
            cluster.nodes[victim].restart().await
        }
        Fault::NodePause => {
            cluster.nodes[victim].process().pause()?;
            pairs.vanishing().for_each(|(_, client)| client.command(ClientCommand::Vanish));
            sleep(DEATH_WAIT).await;
            cluster.nodes[victim].process().resume()
        }
        Fault::Drain => {
            for node in &mut cluster.nodes {
                node.process().terminate()?;
                let status = node.process().wait_exit(DRAIN_TIMEOUT).await?;
                if !status.success() {
                    bail!("a drained node exited with {status}");
                }
                node.restart().await?;
            }
            Ok(())
        }
        Fault::Rebalance => {
            let node = &mut cluster.nodes[victim];
            node.process().terminate()?;
            node.process().wait_exit(DRAIN_TIMEOUT).await?;
            node.restart().await?;
            balanced(cluster).await
        }
        Fault::ScaleOut => {
            for node in later_nodes(cluster) {
                node.restart().await?;
            }
            balanced(cluster).await
        }
        Fault::RedisPause => {
            let redis = cluster.redis.servers()[0].process();
            redis.pause()?;
            sleep(Duration::from_secs(if short { 5 } else { 30 })).await;
            redis.resume()
        }
        Fault::RedisDisconnect => {
            for kind in ["normal", "pubsub"] {
                let mut kill = cmd("CLIENT");
                kill.arg("KILL").arg("TYPE").arg(kind);
                let closed: usize = cluster.redis.servers()[0].query(&kill).await?;
                if closed == 0 {
                    bail!("Redis has no {kind} connection to close");
                }
                sleep(REDIS_DOWNTIME).await;
            }
            Ok(())
        }
        Fault::LargeRoom => {
            cut_subscriptions(cluster).await?;
            pairs.clients().for_each(ReconnectingClient::cut);
            Ok(())
        }
        Fault::RedisSlowCommand => {
            let start = Instant::now();
            let redis = &cluster.redis.servers()[0];
            let mut eval = cmd("EVAL");
            eval.arg(SLOW_COMMAND).arg(0);
            // The question gives up before the answer comes.
            let _ = redis.query::<redis::Value>(&eval).await;
            while redis.query::<String>(&cmd("PING")).await.is_err() {
                if start.elapsed() > SLOW_COMMAND_MAX {
                    bail!("Redis does not answer after {SLOW_COMMAND_MAX:?}");
                }
            }
            if start.elapsed() < SLOW_COMMAND_MIN {
                bail!("the slow command took {:?}", start.elapsed());
            }
            Ok(())
        }
        Fault::RedisReadOnly => {
            let redis = &cluster.redis.servers()[0];
            let set = async |replicas: u8| {
                let mut set = cmd("CONFIG");
                set.arg("SET").arg("min-replicas-to-write").arg(replicas);
                redis.query::<()>(&set).await
            };
            set(1).await?;
            sleep(Duration::from_secs(if short { 5 } else { 20 })).await;
            set(0).await
        }
        Fault::SlowLink => {
            let set_speed = |cluster: &Cluster, speed| {
                cluster.redis_link.as_ref().map(|link| link.set_speed(speed)).context("this fault needs a link")
            };
            let traffic = Duration::from_secs(if short { 1 } else { 5 });
            set_speed(cluster, Some(SLOW))?;
            sleep(traffic).await;
            cut_subscriptions(cluster).await?;
            sleep(traffic).await;
            set_speed(cluster, None)
        }
        Fault::RedisRestart => restart(cluster, true).await,
        Fault::RedisDataLoss => restart(cluster, false).await,
        Fault::SlotMove => move_slot(cluster, &pairs.rooms[0].room).await,
        Fault::MasterKill => kill_master(cluster).await,
        Fault::SentinelFailover => {
            let Redis::Sentinel(redis) = &mut cluster.redis else { bail!("this fault needs Sentinels") };
            redis.kill_master().await.map(drop)
        }
        Fault::Rollout
        | Fault::TwoVersions
        | Fault::KeyRotation
        | Fault::StalledReader
        | Fault::Flood
        | Fault::MalformedPackets
        | Fault::HalfOpen => {
            bail!("this fault is not injected here")
        }
    }
}

/// Prepares the cluster for the clients of a round.
pub(super) async fn prepare(fault: Fault, cluster: &mut Cluster) -> anyhow::Result<()> {
    match (fault, &mut cluster.redis) {
        // A round before this one has killed a server.
        (_, Redis::Sentinel(redis)) => redis.restore().await,
        (Fault::ScaleOut, _) => {
            for node in later_nodes(cluster) {
                node.process().terminate()?;
                node.process().wait_exit(DRAIN_TIMEOUT).await?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The half of the nodes that [`Fault::ScaleOut`] starts.
fn later_nodes(cluster: &mut Cluster) -> &mut [Service] {
    let half = cluster.nodes.len() / 2;
    &mut cluster.nodes[half..]
}

/// Closes every subscription.
async fn cut_subscriptions(cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut kill = cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub");
    let closed: usize = cluster.redis.servers()[0].query(&kill).await?;
    if closed == 0 {
        bail!("Redis has no subscription to close");
    }
    sleep(REDIS_DOWNTIME).await;
    Ok(())
}

/// Waits until each node has its share of the sessions.
async fn balanced(cluster: &Cluster) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let mut sessions = Vec::new();
        for node in &cluster.ports().nodes {
            let metrics = reqwest::get(format!("http://127.0.0.1:{}/metrics", node.admin)).await?.text().await?;
            let gauge = metrics.lines().find_map(|line| line.strip_prefix("switchboard_sessions "));
            sessions.push(gauge.context("no gauge of sessions")?.trim().parse::<f64>()?);
        }
        #[expect(clippy::cast_precision_loss, reason = "a few nodes")]
        let mean = sessions.iter().sum::<f64>() / sessions.len() as f64;
        if sessions.iter().all(|count| (count - mean).abs() <= mean / 5.0) {
            return Ok(());
        }
        if start.elapsed() > BALANCE_TIMEOUT {
            bail!("the nodes have {sessions:?} sessions after {BALANCE_TIMEOUT:?}");
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn restart(cluster: &mut Cluster, with_data: bool) -> anyhow::Result<()> {
    let redis = &mut cluster.redis.servers()[0];
    redis.process().kill()?;
    sleep(REDIS_DOWNTIME).await;
    if !with_data {
        let data = redis.dir().join("appendonlydir");
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
    }
    redis.restart().await
}

/// Moves a room's slot to the next master and back.
async fn move_slot(cluster: &mut Cluster, room: &str) -> anyhow::Result<()> {
    let Redis::Sharded(redis) = &mut cluster.redis else { bail!("this fault needs a Redis Cluster") };
    let masters = redis.masters();
    let (mut found, pattern) = (None, format!("*:r:{room}"));
    for index in 0..masters {
        let keys: Vec<String> = redis.servers()[index].query(cmd("KEYS").arg(&pattern)).await?;
        found = found.or(keys.into_iter().next().map(|key| (index, key)));
    }
    let (owner, key) = found.context("no master holds a key of the room")?;
    let slot: u16 = redis.servers()[owner].query(cmd("CLUSTER").arg("KEYSLOT").arg(key)).await?;
    if slot >= CLUSTER_SLOTS {
        bail!("{slot} is not a slot of Redis Cluster");
    }
    let other = (owner + 1) % masters;
    redis.move_slot(slot, owner, other).await?;
    sleep(REDIS_DOWNTIME).await;
    redis.move_slot(slot, other, owner).await
}

/// Kills the first master, waits until its replica serves its slots, and restarts it as a replica.
async fn kill_master(cluster: &mut Cluster) -> anyhow::Result<()> {
    let Redis::Sharded(redis) = &mut cluster.redis else { bail!("this fault needs a Redis Cluster") };
    let mut master = None;
    for (index, server) in redis.servers().iter().enumerate() {
        let role: Vec<redis::Value> = server.query(&cmd("ROLE")).await?;
        if matches!(role.first(), Some(redis::Value::BulkString(role)) if role == b"master") {
            master = master.or(Some(index));
        }
    }
    let index = master.context("the Redis Cluster has no master")?;
    redis.servers()[index].process().kill()?;
    // The cluster detects the failure after 2 s and then elects a new master.
    sleep(Duration::from_secs(6)).await;
    redis.servers()[index].restart().await?;
    redis.whole().await
}
