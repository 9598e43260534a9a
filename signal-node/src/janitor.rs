//! The node's part in keeping the cluster clean: beats, dead nodes, deadlines, and proof that its subscription lives.
//!
//! A node is dead when its counter stood still in [`STANDSTILL`] consecutive prompt replies over [`DEATH`] of this node's own
//! monotonic clock. A paused Redis answers late, and so kills nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use switchboard_core::domain::{DisconnectReason, NodeId};
use switchboard_rooms::{Beat, BeatOutcome, Bus, Partition, Rooms, StoreError, Sweep};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::mender::Mender;
use crate::neighbours::Neighbours;

/// Between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// A reply later than this says nothing about who is alive.
const PROMPT: Duration = Duration::from_millis(500);
/// Prompt replies in a row that must show the same counter.
const STANDSTILL: u32 = 4;
/// And the time they must span.
const DEATH: Duration = Duration::from_secs(4);
/// How long a node's address outlives its last beat. A paused node is not to be asked for long.
const ADDRESS: Duration = Duration::from_secs(6);
/// How long all must not be well before the node calls itself unready, and by how much the nodes differ in that; and only if another
/// node does better: when Redis is away for everybody, taking every node out of the load balancer would only make it worse.
const PATIENCE: Duration = Duration::from_secs(30);
const SPREAD_MS: u64 = 30_000;
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
    /// Whether this node is registered in every partition and its subscription lives, or did until a short while ago, or no other
    /// node does better: what readiness asks.
    pub ready: Arc<AtomicBool>,
    /// The same, as of the last beat.
    pub well: Arc<AtomicBool>,
    /// Where this node takes hand-overs, as the others are to find it.
    pub address: String,
}

/// What is remembered of a partition from beat to beat.
#[derive(Debug, Default)]
struct Watch {
    registered: bool,
    epoch: Option<String>,
    /// The last canary seen, and the beats since.
    canary_ms: u64,
    silent: u32,
    /// The subscription was taken for lost, and no canary has come since.
    deaf: bool,
    /// When the last beat was sent.
    beat_at: Option<std::time::Instant>,
    others: HashMap<String, Standing>,
    /// What the last beats found to do, while it is being done.
    tending: Option<JoinHandle<()>>,
}

/// What one beat shows.
#[derive(Debug, Default)]
struct Findings {
    /// Registered, and the subscription lives.
    well: bool,
    /// The subscription is lost.
    silent: bool,
    /// Redis may have lost seats of this node's.
    reseat: bool,
    /// Dead nodes, with the counters that prove it.
    dead: Vec<(String, u64)>,
    /// The partition's deadlines are this node's to tend.
    tidy: bool,
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
    pub async fn run(self: Arc<Self>, mut neighbours: Neighbours, stop: CancellationToken) {
        let mut watches: Vec<Watch> = (0..self.rooms.partitions()).map(|_| Watch::default()).collect();
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut takeovers = self.rooms.takeovers();
        let patience = PATIENCE + Duration::from_millis(rand::random_range(0..SPREAD_MS));
        let mut last_well = None;
        let mut counter = 0;
        while !stop.is_cancelled() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            counter += 1;
            let round = watches.iter_mut().zip(0..).map(|(watch, p)| self.beat(Partition(p), watch, counter));
            let (findings, announced) = join(join_all(round), self.rooms.publish_address(&self.address, ADDRESS)).await;
            // Another server may lack what its predecessor acknowledged last, seats among it.
            let taken_over = takeovers.has_changed().unwrap_or(false);
            takeovers.mark_unchanged();
            let well = announced.is_ok() && findings.iter().all(|found| found.well);
            self.well.store(well, Ordering::Relaxed);
            if well {
                last_well = Some(Instant::now());
                neighbours.all_is_well(watches.iter().take(1).flat_map(|watch| watch.others.keys())).await;
            }
            let lost = |(watch, p): &(&Watch, u16)| watch.deaf || self.hub.is_interrupted(Partition(*p));
            let silent = watches.iter().zip(0..).filter(lost).count();
            #[expect(clippy::cast_precision_loss, reason = "a gauge of at most some thousand")]
            metrics::gauge!("switchboard_canary_silent_partitions").set(silent as f64);
            let ready = match last_well {
                None => false,
                Some(at) => at.elapsed() < patience || !neighbours.do_better().await,
            };
            self.ready.store(ready, Ordering::Relaxed);
            for ((mut found, watch), p) in findings.into_iter().zip(&mut watches).zip(0..) {
                found.reseat |= taken_over;
                self.tend(Partition(p), watch, found);
            }
        }
        // It expires by itself, too.
        let _withdrawn_or_soon = self.rooms.withdraw_address().await;
        join_all((0..self.rooms.partitions()).map(|p| self.rooms.deregister_node(Partition(p)))).await;
    }

    /// One beat in one partition, and what its reply shows.
    async fn beat(&self, partition: Partition, watch: &mut Watch, counter: u64) -> Findings {
        let sent = Instant::now();
        let mut reply = self.rooms.beat(partition, counter, !watch.registered).await;
        let swept = matches!(reply, Ok(BeatOutcome::Swept));
        if swept {
            watch.registered = false;
            reply = self.rooms.beat(partition, counter, true).await;
        }
        let beat = match reply {
            Ok(BeatOutcome::Beat(beat)) => beat,
            Ok(BeatOutcome::Swept) | Err(StoreError::Unavailable) => {
                watch.others.clear();
                return Findings::default();
            }
            Err(StoreError::Unexpected(detail)) => {
                tracing::error!(partition = partition.0, detail, "a beat was answered with something unexpected");
                return Findings::default();
            }
        };
        let first = !std::mem::replace(&mut watch.registered, true);
        let known = watch.epoch.replace(beat.epoch.clone());
        let lost_data = known.as_ref().is_some_and(|epoch| *epoch != beat.epoch);
        self.settle(partition, swept && !lost_data, lost_data);
        let canary = self.hub.canary(partition);
        if let (Some(arrived), Some(sent)) = (canary.arrived, watch.beat_at)
            && canary.ms > watch.canary_ms
        {
            metrics::histogram!("switchboard_canary_seconds")
                .record(arrived.saturating_duration_since(sent).as_secs_f64());
        }
        watch.beat_at = Some(sent.into_std());
        let silent = watch.is_silent(canary.ms, &beat, first);
        let dead = if sent.elapsed() <= PROMPT {
            dead(&self.node, watch, &beat)
        } else {
            watch.others.clear();
            Vec::new()
        };
        Findings { well: !silent, silent, reseat: lost_data, dead, tidy: tidies(&self.node, partition, &beat) }
    }

    /// What becomes of sessions whose seats are in question. Either others took this node, or a session, for gone: then it resumes,
    /// here or elsewhere. Or Redis came back without its data, which the new epoch says: then the seats are taken again.
    /// A doubt may be older than that taking, so Redis is asked once more before a session is given up.
    fn settle(&self, partition: Partition, swept: bool, lost_data: bool) {
        let doubted = self.hub.take_doubted(partition);
        if lost_data {
            tracing::warn!(partition = partition.0, "redis lost its data: taking seats again");
        } else if swept {
            metrics::counter!("switchboard_swept_total").increment(1);
            tracing::warn!(partition = partition.0, "this node was swept: its sessions resume");
            self.hub.links(partition).iter().for_each(|link| link.close(DisconnectReason::Fenced));
        } else if !doubted.is_empty() {
            let mender = self.mender.clone();
            self.mender.tasks.spawn(async move { mender.verify(doubted).await });
        }
    }

    /// Does what a beat found to do, apart from the beats, which must never wait; and never twice at once in a partition.
    fn tend(self: &Arc<Self>, partition: Partition, watch: &mut Watch, found: Findings) {
        let busy = watch.tending.as_ref().is_some_and(|task| !task.is_finished());
        if found.reseat {
            let mender = self.mender.clone();
            self.mender.tasks.spawn(async move { mender.reseat(partition).await });
        }
        if busy || !(found.silent || found.tidy || !found.dead.is_empty()) {
            return;
        }
        let janitor = Arc::clone(self);
        watch.tending = Some(tokio::spawn(async move {
            if found.silent && janitor.bus.resubscribe(partition).await.is_err() {
                tracing::warn!(partition = partition.0, "could not subscribe again yet");
            }
            for (node, observed) in found.dead {
                janitor.bury(partition, &node, observed).await;
            }
            if found.tidy
                && let Err(StoreError::Unexpected(detail)) = janitor.rooms.expire_due(partition).await
            {
                tracing::error!(partition = partition.0, detail, "deadlines could not be expired");
            }
        }));
    }

    /// Sweeps a dead node. The script lets exactly one observer do it.
    async fn bury(&self, partition: Partition, node: &str, observed: u64) {
        match self.rooms.sweep(partition, node, observed).await {
            Ok(Sweep { declared: false, .. }) | Err(StoreError::Unavailable) => {}
            Ok(Sweep { seats, .. }) => {
                metrics::counter!("switchboard_nodes_buried_total").increment(1);
                tracing::warn!(partition = partition.0, node_id = node, seats, "a dead node was swept");
            }
            Err(StoreError::Unexpected(detail)) => {
                tracing::error!(partition = partition.0, detail, "a sweep was answered with something unexpected");
            }
        }
    }
}

impl Watch {
    /// Whether the subscription must be taken for lost: nobody received the canary, or it does not come back.
    fn is_silent(&mut self, canary_ms: u64, beat: &Beat, first: bool) -> bool {
        let came = std::mem::replace(&mut self.canary_ms, canary_ms) != canary_ms;
        self.silent = if came || first { 0 } else { self.silent + 1 };
        let lost = beat.receivers == 0 || self.silent >= SILENT_BEATS;
        if lost {
            self.silent = 0;
        }
        self.deaf = lost || (self.deaf && !came);
        lost
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn beat(nodes: &[(&str, u64)]) -> Beat {
        let nodes = nodes.iter().map(|&(node, counter)| (node.to_owned(), counter)).collect();
        Beat { receivers: 1, time_ms: 0, epoch: "e".to_owned(), nodes }
    }

    fn own() -> NodeId {
        NodeId::parse("a").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_dead_when_its_counter_stood_still_for_four_replies_over_four_seconds() {
        let mut watch = Watch::default();
        for second in 0..10 {
            let found = dead(&own(), &mut watch, &beat(&[("a", 1), ("still", 7), ("alive", second)]));
            let expected: &[(String, u64)] = if second >= 4 { &[("still".to_owned(), 7)] } else { &[] };
            assert_eq!(found, expected, "after {second} s");
            tokio::time::advance(BEAT).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_replies_at_once_after_a_pause_prove_nobody_dead() {
        let mut watch = Watch::default();
        for _ in 0..10 {
            assert!(dead(&own(), &mut watch, &beat(&[("other", 7)])).is_empty());
        }
        tokio::time::advance(DEATH * 10).await;
        // What came late clears the watch; the next prompt reply starts anew.
        watch.others.clear();
        assert!(dead(&own(), &mut watch, &beat(&[("other", 7)])).is_empty());
    }

    #[test]
    fn exactly_one_of_the_registered_nodes_tends_a_partition_and_all_share_the_work() {
        let nodes = ["a", "b", "c"];
        let now = beat(&nodes.map(|node| (node, 1)));
        let mut shares = [0; 3];
        for partition in 0..64 {
            let tends = nodes.map(|node| tidies(&NodeId::parse(node).unwrap(), Partition(partition), &now));
            assert_eq!(tends.iter().filter(|tends| **tends).count(), 1);
            shares[tends.iter().position(|tends| *tends).unwrap()] += 1;
        }
        assert!(shares.iter().all(|share| *share > 5), "{shares:?}");
    }

    #[test]
    fn a_canary_that_stays_away_for_two_beats_is_a_lost_subscription() {
        let mut watch = Watch::default();
        assert!(!watch.is_silent(0, &beat(&[]), true), "the first one is on its way");
        assert!(!watch.is_silent(5, &beat(&[]), false));
        assert!(!watch.is_silent(5, &beat(&[]), false));
        assert!(watch.is_silent(5, &beat(&[]), false));
        assert!(watch.is_silent(9, &Beat { receivers: 0, ..beat(&[]) }, false), "nobody was there to hear it");
    }

    #[test]
    fn a_subscription_that_is_acknowledged_and_delivers_nothing_stays_lost_until_a_canary_comes() {
        let mut watch = Watch::default();
        // What the gauge shows after each beat, the subscription being made anew whenever it is taken for lost.
        let mut deaf = |canary_ms| {
            let first = canary_ms == 0;
            let _made_anew = watch.is_silent(canary_ms, &beat(&[]), first);
            watch.deaf
        };
        assert_eq!([0, 5, 5].map(&mut deaf), [false; 3]);
        assert_eq!([5; 10].map(&mut deaf), [true; 10]);
        assert_eq!([8, 9].map(&mut deaf), [false; 2]);
    }
}
