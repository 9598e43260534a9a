//! Faults of nodes and of Redis.

use std::time::Duration;

use anyhow::{Context, bail};
use devcluster::cluster::{Cluster, Redis};
use redis::cmd;
use tokio::time::sleep;

use super::Fault;
use super::party::Party;
use super::stock::Order;

/// Longer than the others need to take a node for dead (4 s of standstill, seen by beats of 1 s).
const PAST_DEATH: Duration = Duration::from_secs(8);
/// How long Redis is away when it is killed.
const AWAY: Duration = Duration::from_secs(1);
/// A node's drain takes at most 20 s.
const DRAINED: Duration = Duration::from_secs(40);
/// Slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// Injects a fault; returns when it is over.
pub(super) async fn strike(
    fault: Fault,
    cluster: &mut Cluster,
    party: &Party,
    victim: usize,
    short: bool,
) -> anyhow::Result<()> {
    match fault {
        Fault::NodeKill => {
            party.doomed().for_each(|(_, client)| client.order(Order::Die));
            cluster.nodes[victim].process().kill()?;
            // Back only after it was buried: its successor is another node to the cluster.
            sleep(PAST_DEATH).await;
            cluster.nodes[victim].restart().await
        }
        Fault::NodePause => {
            cluster.nodes[victim].process().pause()?;
            party.doomed().for_each(|(_, client)| client.order(Order::Die));
            sleep(PAST_DEATH).await;
            cluster.nodes[victim].process().resume()
        }
        Fault::Drain => {
            for node in &mut cluster.nodes {
                node.process().terminate()?;
                let status = node.process().wait_exit(DRAINED).await?;
                if !status.success() {
                    bail!("a node drained and ended with {status}");
                }
                node.restart().await?;
            }
            Ok(())
        }
        Fault::RedisPause => {
            let redis = cluster.redis.servers()[0].process();
            redis.pause()?;
            sleep(Duration::from_secs(if short { 5 } else { 30 })).await;
            redis.resume()
        }
        Fault::RedisCut => {
            for kind in ["normal", "pubsub"] {
                let mut kill = cmd("CLIENT");
                kill.arg("KILL").arg("TYPE").arg(kind);
                let cut: usize = cluster.redis.servers()[0].query(&kill).await?;
                if cut == 0 {
                    bail!("there was no {kind} connection to cut");
                }
                sleep(AWAY).await;
            }
            Ok(())
        }
        Fault::RedisRestart => restart(cluster, true).await,
        Fault::RedisEmpty => restart(cluster, false).await,
        Fault::SlotMove => move_slot(cluster, &party.tables[0].room).await,
        Fault::MasterLost => lose_master(cluster).await,
        Fault::Rollout | Fault::Deaf | Fault::Flood | Fault::Garbage | Fault::HalfOpen => bail!("not done here"),
    }
}

async fn restart(cluster: &mut Cluster, with_data: bool) -> anyhow::Result<()> {
    let redis = &mut cluster.redis.servers()[0];
    redis.process().kill()?;
    sleep(AWAY).await;
    if !with_data {
        let data = redis.dir().join("appendonlydir");
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
    }
    redis.restart().await
}

/// Moves the slot of a room to the next master and back.
async fn move_slot(cluster: &mut Cluster, room: &str) -> anyhow::Result<()> {
    let Redis::Sharded(redis) = &mut cluster.redis else { bail!("this needs a Redis Cluster") };
    let masters = redis.masters();
    let (mut found, pattern) = (None, format!("*:r:{room}"));
    for index in 0..masters {
        let keys: Vec<String> = redis.servers()[index].query(cmd("KEYS").arg(&pattern)).await?;
        found = found.or(keys.into_iter().next().map(|key| (index, key)));
    }
    let (owner, key) = found.context("no master has the room")?;
    let slot: u16 = redis.servers()[owner].query(cmd("CLUSTER").arg("KEYSLOT").arg(key)).await?;
    if slot >= SLOTS {
        bail!("{slot} is no slot");
    }
    let other = (owner + 1) % masters;
    redis.move_slot(slot, owner, other).await?;
    sleep(AWAY).await;
    redis.move_slot(slot, other, owner).await
}

/// Kills the first master; waits until its replica serves its slots, and starts it again as a replica.
async fn lose_master(cluster: &mut Cluster) -> anyhow::Result<()> {
    let Redis::Sharded(redis) = &mut cluster.redis else { bail!("this needs a Redis Cluster") };
    let mut master = None;
    for (index, server) in redis.servers().iter().enumerate() {
        let role: Vec<redis::Value> = server.query(&cmd("ROLE")).await?;
        if matches!(role.first(), Some(redis::Value::BulkString(role)) if role == b"master") {
            master = master.or(Some(index));
        }
    }
    let index = master.context("no master")?;
    redis.servers()[index].process().kill()?;
    // The cluster notices after 2 s and votes.
    sleep(Duration::from_secs(6)).await;
    redis.servers()[index].restart().await?;
    redis.whole().await
}
