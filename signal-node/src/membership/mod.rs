//! Membership of this node in the cluster: heartbeats, dead nodes, deadlines, lost seats.
//!
//! | file | content |
//! |---|---|
//! | `mod` | the loop: a heartbeat in every partition each second, and its results |
//! | `failure_detector` | pure: which other nodes are dead |
//! | `subscription_watch` | pure: whether the subscription of a partition works |
//! | `deadlines` | which node handles a partition's deadlines, and handling them |
//! | `seat_recovery` | restores seats that Redis lost |

mod deadlines;
mod failure_detector;
mod seat_recovery;
mod subscription_watch;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use switchboard_core::domain::{DisconnectReason, NodeId};
use switchboard_rooms::{Beat, BeatOutcome, Bus, Partition, Rooms, StoreError, Sweep};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::delivery::Hub;
use crate::health::{NodeHealth, PeerHealth};
use failure_detector::{FailureDetector, PROMPT_REPLY_MAX};
pub use seat_recovery::SeatRecovery;
use subscription_watch::SubscriptionWatch;

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

/// State of one partition, from heartbeat to heartbeat.
#[derive(Debug, Default)]
struct PartitionState {
    registered: bool,
    /// Epoch of the partition's data. It changes when Redis loses its data.
    epoch: Option<String>,
    subscription: SubscriptionWatch,
    /// Time at which the last heartbeat was sent.
    beat_at: Option<std::time::Instant>,
    detector: FailureDetector,
    /// Task that does the work that earlier heartbeats found.
    maintenance: Option<JoinHandle<()>>,
}

/// Work that one heartbeat found.
#[derive(Debug, Default)]
struct Findings {
    /// The node is registered, and its subscription works.
    healthy: bool,
    /// The subscription is lost.
    subscription_lost: bool,
    /// Redis may have lost seats of this node.
    restore_seats: bool,
    /// Dead nodes, with the counters that prove it.
    dead: Vec<(String, u64)>,
    /// This node handles the partition's deadlines.
    maintainer: bool,
}

impl Membership {
    /// Sends heartbeats until `stop`, then deregisters the node, so that it needs no sweep.
    pub async fn run(self: Arc<Self>, mut peers: PeerHealth, stop: CancellationToken) {
        let mut partitions: Vec<PartitionState> =
            (0..self.rooms.partitions()).map(|_| PartitionState::default()).collect();
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
            let round = partitions.iter_mut().zip(0..).map(|(state, p)| self.beat(Partition(p), state, counter));
            let (findings, announced) =
                join(join_all(round), self.rooms.publish_address(&self.address, ADDRESS_TTL)).await;
            // After a failover the new master may lack the last seats that the old one
            // acknowledged.
            let taken_over = takeovers.has_changed().unwrap_or(false);
            takeovers.mark_unchanged();
            let healthy = announced.is_ok() && findings.iter().all(|found| found.healthy);
            self.health.set_healthy(healthy);
            if healthy {
                last_healthy = Some(Instant::now());
                peers.record_healthy(partitions.iter().take(1).flat_map(|state| state.detector.names())).await;
            }
            self.measure_silent_partitions(&partitions);
            let ready = match last_healthy {
                None => false,
                Some(at) => at.elapsed() < unready_after || !peers.is_any_healthy().await,
            };
            self.health.set_ready(ready);
            for ((mut found, state), p) in findings.into_iter().zip(&mut partitions).zip(0..) {
                found.restore_seats |= taken_over;
                self.run_maintenance(Partition(p), state, found);
            }
        }
        // The address expires by itself, too.
        let _withdrawn_or_soon = self.rooms.withdraw_address().await;
        join_all((0..self.rooms.partitions()).map(|p| self.rooms.deregister_node(Partition(p)))).await;
    }

    /// Sends one heartbeat in one partition, and evaluates its reply.
    async fn beat(&self, partition: Partition, state: &mut PartitionState, counter: u64) -> Findings {
        let sent = Instant::now();
        let mut reply = self.rooms.beat(partition, counter, !state.registered).await;
        let swept = matches!(reply, Ok(BeatOutcome::Swept));
        if swept {
            state.registered = false;
            reply = self.rooms.beat(partition, counter, true).await;
        }
        let beat = match reply {
            Ok(BeatOutcome::Beat(beat)) => beat,
            Ok(BeatOutcome::Swept) | Err(StoreError::Unavailable) => {
                state.detector.reset();
                return Findings::default();
            }
            Err(StoreError::Unexpected(detail)) => {
                tracing::error!(partition = partition.0, detail, "unexpected reply to a heartbeat");
                return Findings::default();
            }
        };
        let first = !std::mem::replace(&mut state.registered, true);
        let known = state.epoch.replace(beat.epoch.clone());
        let lost_data = known.as_ref().is_some_and(|epoch| *epoch != beat.epoch);
        self.resolve_suspects(partition, swept && !lost_data, lost_data);
        let subscription_lost = self.check_subscription(partition, state, (&beat, sent), first);
        let dead = if sent.elapsed() <= PROMPT_REPLY_MAX {
            state.detector.observe(&self.node, &beat)
        } else {
            state.detector.reset();
            Vec::new()
        };
        Findings {
            healthy: !subscription_lost,
            subscription_lost,
            restore_seats: lost_data,
            dead,
            maintainer: deadlines::is_maintainer(&self.node, partition, &beat),
        }
    }

    /// Measures the time of the last canary, and returns whether the subscription must be made
    /// again.
    fn check_subscription(
        &self,
        partition: Partition,
        state: &mut PartitionState,
        (beat, sent): (&Beat, Instant),
        first: bool,
    ) -> bool {
        let canary = self.hub.canary(partition);
        if let (Some(arrived), Some(published)) = (canary.arrived, state.beat_at)
            && canary.ms > state.subscription.canary_ms
        {
            metrics::histogram!("switchboard_canary_seconds")
                .record(arrived.saturating_duration_since(published).as_secs_f64());
        }
        state.beat_at = Some(sent.into_std());
        state.subscription.observe(canary.ms, beat, first)
    }

    fn measure_silent_partitions(&self, partitions: &[PartitionState]) {
        let is_silent = |(state, p): &(&PartitionState, u16)| {
            state.subscription.silent || self.hub.is_subscription_lost(Partition(*p))
        };
        let silent = partitions.iter().zip(0..).filter(is_silent).count();
        #[expect(clippy::cast_precision_loss, reason = "a gauge of at most some thousand")]
        metrics::gauge!("switchboard_canary_silent_partitions").set(silent as f64);
    }

    /// Decides about sessions whose seats are in question.
    ///
    /// - After a sweep, which another node makes when it declares this node dead, the clients of
    ///   this node reconnect and resume.
    /// - After a loss of data, which a new epoch shows, all seats are restored.
    /// - A single session may have been marked before such a restore. Redis is asked once more
    ///   before its client is disconnected.
    fn resolve_suspects(&self, partition: Partition, swept: bool, lost_data: bool) {
        let suspects = self.hub.take_suspects(partition);
        if lost_data {
            tracing::warn!(partition = partition.0, "redis lost its data, seats are restored");
        } else if swept {
            metrics::counter!("switchboard_swept_total").increment(1);
            tracing::warn!(partition = partition.0, "this node was swept, sessions resume");
            self.hub.links(partition).iter().for_each(|link| link.close(DisconnectReason::Fenced));
        } else if !suspects.is_empty() {
            self.recovery.start_sessions(suspects);
        }
    }

    /// Starts the work that a heartbeat found, in tasks, because heartbeats must never wait. A
    /// partition has at most one such task, except for restoring seats.
    fn run_maintenance(self: &Arc<Self>, partition: Partition, state: &mut PartitionState, found: Findings) {
        if found.restore_seats {
            self.recovery.start_partition(partition);
        }
        let busy = state.maintenance.as_ref().is_some_and(|task| !task.is_finished());
        if busy || !(found.subscription_lost || found.maintainer || !found.dead.is_empty()) {
            return;
        }
        let membership = Arc::clone(self);
        state.maintenance = Some(tokio::spawn(async move {
            if found.subscription_lost && membership.bus.resubscribe(partition).await.is_err() {
                tracing::warn!(partition = partition.0, "resubscribing failed");
            }
            for (node, counter) in found.dead {
                membership.declare_dead(partition, &node, counter).await;
            }
            if found.maintainer {
                deadlines::expire(&membership.rooms, partition).await;
            }
        }));
    }

    /// Sweeps a dead node. The script lets exactly one node do so for each counter.
    async fn declare_dead(&self, partition: Partition, node: &str, counter: u64) {
        match self.rooms.sweep(partition, node, counter).await {
            Ok(Sweep { declared: false, .. }) | Err(StoreError::Unavailable) => {}
            Ok(Sweep { seats, .. }) => {
                metrics::counter!("switchboard_nodes_declared_dead_total").increment(1);
                tracing::warn!(partition = partition.0, node_id = node, seats, "dead node swept");
            }
            Err(StoreError::Unexpected(detail)) => {
                tracing::error!(partition = partition.0, detail, "unexpected reply to a sweep");
            }
        }
    }
}
