//! Membership of this node in the cluster: heartbeats, dead nodes, deadlines, lost seats.
//!
//! | file | content |
//! |---|---|
//! | `mod` | the loop: a round of heartbeats and checks each second, and its results |
//! | `group` | a heartbeat in one group of partitions, and the checks of its partitions |
//! | `subscription_watch` | pure: whether the subscription of a partition works |
//! | `deadlines` | which node handles a partition's deadlines, and handling them |
//! | `strays` | nodes that no node watches |
//! | `seat_recovery` | restores seats that Redis lost |
//!
//! The rules that decide which nodes are dead are in `switchboard_rooms::failure_detector`.

mod deadlines;
mod group;
mod seat_recovery;
mod strays;
mod subscription_watch;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use switchboard_core::domain::NodeId;
use switchboard_rooms::{Bus, Partition, Rooms};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::delivery::Hub;
use crate::health::{NodeHealth, PeerHealth};
use group::{Findings, GroupState, Round};
pub use seat_recovery::SeatRecovery;

/// Time between two heartbeats.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Time after its last heartbeat for which a node's address stays in Redis. A paused node must not
/// get hand-overs for long.
const ADDRESS_TTL: Duration = Duration::from_secs(6);
/// Time without health before the node becomes unready, plus jitter so that nodes do not all do so
/// together. It becomes unready only if another node is healthy: see `health::peer_health`.
const UNREADY_TIMEOUT: Duration = Duration::from_secs(30);
const UNREADY_JITTER_MS: u64 = 30_000;

/// Membership of one node.
#[derive(Debug)]
pub struct Membership {
    /// This node.
    pub node: NodeId,
    /// Room state.
    pub rooms: Rooms,
    /// Sessions of this node.
    pub hub: Arc<Hub>,
    /// Subscriptions of this node.
    pub bus: Bus,
    /// Restores seats after Redis lost them.
    pub recovery: SeatRecovery,
    /// Set at each heartbeat.
    pub health: NodeHealth,
    /// `host:port` at which this node takes hand-overs.
    pub address: String,
}

impl Membership {
    /// Sends heartbeats until `stop`, then deregisters the node, so that it needs no sweep.
    pub async fn run(self: Arc<Self>, mut peers: PeerHealth, stop: CancellationToken) {
        let total = self.rooms.partitions();
        let mut groups: Vec<GroupState> =
            self.rooms.groups().map(|group| GroupState::new(group, group.partitions(total))).collect();
        let mut ticks = interval(BEAT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut takeovers = self.rooms.takeovers();
        let unready_after = UNREADY_TIMEOUT + Duration::from_millis(rand::random_range(0..UNREADY_JITTER_MS));
        let mut last_healthy = None;
        let mut counter = 0;
        while !stop.is_cancelled() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            counter += 1;
            let round = Round { counter, lanes: self.rooms.lanes() };
            let beats = groups.iter_mut().map(|group| self.beat(group, &round));
            let (findings, announced) =
                join(join_all(beats), self.rooms.publish_address(&self.address, ADDRESS_TTL)).await;
            // After a failover the new master may lack the last seats that the old one
            // acknowledged.
            let taken_over = takeovers.has_changed().unwrap_or(false);
            if taken_over {
                takeovers.mark_unchanged();
            }
            let healthy = announced.is_ok() && findings.iter().all(|found| found.healthy);
            self.health.set_healthy(healthy);
            if healthy {
                last_healthy = Some(Instant::now());
                peers.record_healthy().await;
            }
            self.measure(&groups);
            let ready = match last_healthy {
                None => false,
                Some(at) => at.elapsed() < unready_after || !peers.is_any_healthy().await,
            };
            self.health.set_ready(ready);
            for (found, group) in findings.into_iter().zip(&mut groups) {
                self.start_maintenance(group, found, taken_over);
            }
        }
        // The address expires by itself, too.
        let _withdrawn_or_soon = self.rooms.withdraw_address().await;
        join_all(groups.iter().map(|group| self.leave(group))).await;
    }

    /// Deregisters the node in a group. If it still has seats there, it stays on the ring, and
    /// another node sweeps it.
    async fn leave(&self, group: &GroupState) {
        let partitions = group.partitions.iter().map(|state| self.rooms.deregister_node(state.partition));
        if join_all(partitions).await.into_iter().all(|removed| removed.unwrap_or(false)) {
            // Otherwise another node finds a node on the ring without a registration.
            let _left_or_swept = self.rooms.leave_ring(group.group).await;
        }
    }

    fn measure(&self, groups: &[GroupState]) {
        let partitions = groups.iter().flat_map(|group| &group.partitions);
        let silent = |state: &&group::PartitionState| {
            state.subscription.silent || self.hub.is_subscription_lost(state.partition)
        };
        #[expect(clippy::cast_precision_loss, reason = "gauges of at most some thousand")]
        {
            metrics::gauge!("switchboard_canary_silent_partitions").set(partitions.filter(silent).count() as f64);
            let watched = groups.iter().map(|group| group.detector.watched()).max().unwrap_or(0);
            metrics::gauge!("switchboard_watched_nodes").set(watched as f64);
        }
    }

    /// Starts the work that a round found, in tasks, because heartbeats must never wait. A group
    /// sweeps in one task at a time, and a partition has one for its other work, except for
    /// restoring seats.
    fn start_maintenance(self: &Arc<Self>, group: &mut GroupState, found: Findings, taken_over: bool) {
        let is_idle = |task: &Option<tokio::task::JoinHandle<()>>| task.as_ref().is_none_or(|task| task.is_finished());
        if !found.dead.is_empty() && is_idle(&group.sweep) {
            let (membership, id, dead) = (Arc::clone(self), group.group, found.dead);
            group.sweep = Some(tokio::spawn(async move {
                for (node, beat) in dead {
                    membership.declare_dead(id, &node, beat).await;
                }
            }));
        }
        for (state, found) in group.partitions.iter_mut().zip(found.partitions) {
            if found.restore_seats || taken_over {
                self.recovery.start_partition(state.partition);
            }
            if !(found.subscription_lost || found.maintainer) || !is_idle(&state.maintenance) {
                continue;
            }
            let (membership, partition, strays) = (Arc::clone(self), state.partition, Arc::clone(&state.strays));
            state.maintenance = Some(tokio::spawn(async move {
                if found.subscription_lost && membership.bus.resubscribe(partition).await.is_err() {
                    tracing::warn!(partition = partition.0, "resubscribing failed");
                }
                if found.maintainer {
                    deadlines::expire(&membership.rooms, partition).await;
                    let mut strays = strays.lock().await;
                    if strays.is_due() {
                        strays.sweep(&membership.rooms, partition).await;
                    }
                }
            }));
        }
    }

    fn canary_ms(&self, partition: Partition) -> u64 {
        self.hub.canary(partition).ms
    }
}
