//! The node's part in keeping the cluster clean: beats, dead nodes, deadlines, and proof that its subscription lives.
//!
//! A node is dead when its counter stood still in [`STANDSTILL`] consecutive prompt replies over [`DEATH`] of this node's own
//! monotonic clock. A paused Redis answers late, and so kills nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use switchboard_common::domain::{DisconnectReason, NodeId};
use switchboard_common::room::{Beat, Beaten, Bus, Partition, Reseated, Rooms, StoreError, Sweep};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::subscriber::Mender;

/// Between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// A reply later than this says nothing about who is alive.
const PROMPT: Duration = Duration::from_millis(500);
/// Prompt replies in a row that must show the same counter.
const STANDSTILL: u32 = 4;
/// And the time they must span.
const DEATH: Duration = Duration::from_secs(4);
/// Beats without a canary after which the subscription counts as lost.
const SILENT_BEATS: u32 = 2;

/// The janitor of one node.
#[derive(Debug)]
pub struct Janitor {
    /// This node.
    pub node: NodeId,
    /// Room state.
    pub rooms: Rooms,
    /// The sessions here.
    pub hub: Arc<Hub>,
    /// The subscription.
    pub bus: Bus,
    /// What mends its gaps.
    pub mender: Mender,
    /// Whether this node is registered in every partition and its subscription lives: what readiness asks.
    pub ready: Arc<AtomicBool>,
}

/// What is remembered of a partition from beat to beat.
#[derive(Debug, Default)]
struct Watch {
    registered: bool,
    epoch: Option<String>,
    /// The last canary seen, and the beats since.
    canary_ms: u64,
    silent: u32,
    others: HashMap<String, Standing>,
}

/// Another node's counter, and since when it stands still.
#[derive(Debug)]
struct Standing {
    counter: u64,
    since: Instant,
    replies: u32,
}

impl Janitor {
    /// Beats until `stop`, then says goodbye: a retired node needs no sweep.
    pub async fn run(self, stop: CancellationToken) {
        let mut watches: Vec<Watch> = (0..self.rooms.partitions()).map(|_| Watch::default()).collect();
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut counter = 0;
        while !stop.is_cancelled() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            counter += 1;
            let round = watches.iter_mut().zip(0..).map(|(watch, p)| self.watch(Partition(p), watch, counter));
            let alive = join_all(round).await.into_iter().all(|alive| alive);
            self.ready.store(alive, Ordering::Relaxed);
        }
        join_all((0..self.rooms.partitions()).map(|p| self.rooms.retire(Partition(p)))).await;
    }

    /// One beat in one partition and what follows from its reply. Whether all is well here.
    async fn watch(&self, partition: Partition, watch: &mut Watch, counter: u64) -> bool {
        let sent = Instant::now();
        let beat = match self.rooms.beat(partition, counter, !watch.registered).await {
            Ok(Beaten::Beat(beat)) => beat,
            Ok(Beaten::Swept) => {
                self.swept(partition, watch, counter).await;
                return false;
            }
            Err(error) => {
                if let StoreError::Unexpected(detail) = error {
                    tracing::error!(partition = partition.0, detail, "a beat was answered with something unexpected");
                }
                watch.others.clear();
                return false;
            }
        };
        let first = !std::mem::replace(&mut watch.registered, true);
        self.settle_doubts(partition, watch, &beat).await;
        let heard = self.listen(partition, watch, &beat, first).await;
        if sent.elapsed() <= PROMPT {
            for (node, observed) in dead(&self.node, watch, &beat) {
                self.bury(partition, &node, observed).await;
            }
        } else {
            watch.others.clear();
        }
        if tidies(&self.node, partition, &beat)
            && let Err(StoreError::Unexpected(detail)) = self.rooms.expire_due(partition).await
        {
            tracing::error!(partition = partition.0, detail, "deadlines could not be expired");
        }
        heard
    }

    /// This node is not registered. Either others took it for dead: its seats here are given up, so its sessions must resume, here
    /// or elsewhere. Or Redis came back without its data, which the new epoch says: then they take their seats again.
    async fn swept(&self, partition: Partition, watch: &mut Watch, counter: u64) {
        let known = std::mem::take(watch).epoch;
        let Ok(Beaten::Beat(beat)) = self.rooms.beat(partition, counter, true).await else {
            watch.epoch = known;
            return;
        };
        watch.registered = true;
        if known.as_ref() == Some(&beat.epoch) {
            metrics::counter!("switchboard_swept_total").increment(1);
            tracing::warn!(partition = partition.0, "this node was swept: its sessions resume");
            self.hub.links(partition).iter().for_each(|link| link.close(DisconnectReason::Fenced));
        }
        watch.epoch = known;
        self.settle_doubts(partition, watch, &beat).await;
    }

    /// Under a new epoch every seat is taken again; under the old one, who was doubted has lost its seat to somebody.
    async fn settle_doubts(&self, partition: Partition, watch: &mut Watch, beat: &Beat) {
        let doubted = self.hub.take_doubted(partition);
        let known = watch.epoch.replace(beat.epoch.clone());
        if known.is_some_and(|epoch| epoch != beat.epoch) {
            self.reseat(partition).await;
        } else {
            doubted.iter().for_each(|link| link.close(DisconnectReason::Fenced));
        }
    }

    /// Whether the subscription proves alive: every beat's canary must come back.
    async fn listen(&self, partition: Partition, watch: &mut Watch, beat: &Beat, first: bool) -> bool {
        let canary_ms = self.hub.canary_ms(partition);
        watch.silent = if canary_ms == watch.canary_ms && !first { watch.silent + 1 } else { 0 };
        watch.canary_ms = canary_ms;
        metrics::gauge!("switchboard_canary_silent_beats", "partition" => partition.0.to_string())
            .set(f64::from(watch.silent));
        if beat.receivers == 0 || watch.silent >= SILENT_BEATS {
            let cause = if beat.receivers == 0 { "no_receivers" } else { "silent" };
            self.mender.resubscribe(&self.bus, partition, cause).await;
            watch.silent = 0;
            return false;
        }
        true
    }

    /// Sweeps a dead node. The script lets exactly one observer do it.
    async fn bury(&self, partition: Partition, node: &str, observed: u64) {
        match self.rooms.sweep(partition, node, observed).await {
            Ok(Sweep { declared: false, .. }) => {}
            Ok(Sweep { seats, .. }) => {
                metrics::counter!("switchboard_nodes_buried_total").increment(1);
                tracing::warn!(partition = partition.0, node_id = node, seats, "a dead node was swept");
            }
            Err(StoreError::Unavailable) => {}
            Err(StoreError::Unexpected(detail)) => {
                tracing::error!(partition = partition.0, detail, "a sweep was answered with something unexpected");
            }
        }
    }

    /// Redis lost its data: this node's participants take their seats again, from its own copies. Who cannot resumes, finds
    /// nothing, and joins afresh.
    async fn reseat(&self, partition: Partition) {
        let links = self.hub.links(partition);
        tracing::warn!(partition = partition.0, sessions = links.len(), "redis lost its data: taking seats again");
        for link in links {
            let Some((seat, copy, meta)) = link.held() else { continue };
            let outcome = self.rooms.reseat(&seat, &copy, &meta).await;
            let label = match outcome {
                Ok(Reseated::Done) => "done",
                Ok(Reseated::Gone | Reseated::Fenced) => "gone",
                Err(_) => "error",
            };
            metrics::counter!("switchboard_reseats_total", "outcome" => label).increment(1);
            if label != "done" {
                link.close(DisconnectReason::Fenced);
            }
        }
    }
}

/// The nodes that this reply proves dead.
fn dead(own: &NodeId, watch: &mut Watch, beat: &Beat) -> Vec<(String, u64)> {
    let now = Instant::now();
    watch.others.retain(|node, _| beat.nodes.iter().any(|(known, _)| known == node));
    let mut dead = Vec::new();
    for (node, counter) in beat.nodes.iter().filter(|(node, _)| node != own.as_str()) {
        let standing =
            watch.others.entry(node.clone()).or_insert(Standing { counter: *counter, since: now, replies: 0 });
        if standing.counter == *counter {
            standing.replies += 1;
            if standing.replies > STANDSTILL && now - standing.since >= DEATH {
                dead.push((node.clone(), *counter));
            }
        } else {
            *standing = Standing { counter: *counter, since: now, replies: 1 };
        }
    }
    dead
}

/// Whether this node tends the partition's deadlines: one of the registered nodes does, chosen by hashing, so that the work
/// is spread and nobody has to agree on anything. Two at once do no harm.
fn tidies(own: &NodeId, partition: Partition, beat: &Beat) -> bool {
    let weight = |node: &str| {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (node, partition.0).hash(&mut hasher);
        hasher.finish()
    };
    beat.nodes.iter().all(|(node, _)| weight(node) <= weight(own.as_str()))
}
