//! Decides which nodes are dead. Pure: no I/O, no clock.
//!
//! The nodes of a group are on a ring. Each node watches the few that follow it, so that the cost
//! grows with the number of nodes and not with its square.
//!
//! A node is dead when its last heartbeat was the same in more than [`SAME_BEAT_REPLIES`]
//! consecutive prompt replies over [`SAME_BEAT_TIMEOUT`] of the watching node's own monotonic
//! clock. A paused Redis replies late, and late replies are ignored, so that a pause declares no
//! node dead.
//!
//! When several neighbours on the ring die at once, the next living node before them must notice
//! all of them. So a node that sees none alive, and at least half of those that it watches still,
//! watches 16 times as many, until it sees one.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::LastBeat;

/// A reply that took longer does not show which nodes are alive.
pub const PROMPT_REPLY_MAX: Duration = Duration::from_millis(500);
/// Number of living nodes that each node watches.
pub const WATCHED: usize = 3;
/// Maximum number of nodes that a node watches.
pub const WATCHED_MAX: usize = 1024;
/// Factor by which a node that sees none alive watches more.
const WIDENING: usize = 16;
/// Consecutive prompt replies with the same heartbeat, after the first, that a node needs to be
/// dead.
const SAME_BEAT_REPLIES: u32 = 4;
/// Time that these replies must span.
const SAME_BEAT_TIMEOUT: Duration = Duration::from_secs(4);
/// Replies with the same heartbeat after which a node does not count as alive.
const STILL_REPLIES: u32 = 3;

/// The nodes that one node watches in a group.
#[derive(Debug)]
pub struct FailureDetector {
    /// In the order of the ring.
    nodes: Vec<WatchedNode>,
    watched: usize,
}

impl Default for FailureDetector {
    fn default() -> Self {
        Self { nodes: Vec::new(), watched: WATCHED }
    }
}

/// Heartbeat of another node, and the time since which it has not changed.
#[derive(Debug)]
struct WatchedNode {
    name: String,
    beat: LastBeat,
    since: Instant,
    /// Replies with this heartbeat.
    replies: u32,
    /// The heartbeat has changed since the node was first seen.
    has_changed: bool,
}

impl WatchedNode {
    /// A node that is being swept does not count as alive, although its text has just changed.
    fn is_still(&self) -> bool {
        self.beat == LastBeat::Dead || self.replies >= STILL_REPLIES
    }

    fn is_alive(&self) -> bool {
        self.has_changed && !self.is_still()
    }
}

impl FailureDetector {
    /// Returns the number of nodes whose heartbeats the next request must read.
    #[must_use]
    pub const fn watched(&self) -> usize {
        self.watched
    }

    /// Takes the following nodes of a prompt reply, in the order of the ring. Returns those that
    /// are dead, with the heartbeat that proves it.
    pub fn observe(&mut self, now: Instant, following: Vec<(String, LastBeat)>) -> Vec<(String, LastBeat)> {
        let mut known: HashMap<String, WatchedNode> =
            self.nodes.drain(..).map(|node| (node.name.clone(), node)).collect();
        for (name, beat) in following {
            let node = match known.remove(&name) {
                Some(node) if node.beat == beat => WatchedNode { replies: node.replies + 1, ..node },
                before => WatchedNode { name, beat, since: now, replies: 1, has_changed: before.is_some() },
            };
            self.nodes.push(node);
        }
        self.watched = match self.nodes.iter().position(WatchedNode::is_alive) {
            Some(alive) => (alive + WATCHED).min(WATCHED_MAX),
            // Not all: while others sweep, nodes come into view that are not known yet.
            None if !self.nodes.is_empty() && self.still() * 2 >= self.nodes.len() => {
                (self.watched * WIDENING).min(WATCHED_MAX)
            }
            None => self.watched,
        };
        let is_dead = |node: &&WatchedNode| node.replies > SAME_BEAT_REPLIES && now - node.since >= SAME_BEAT_TIMEOUT;
        self.nodes.iter().filter(is_dead).map(|node| (node.name.clone(), node.beat)).collect()
    }

    fn still(&self) -> usize {
        self.nodes.iter().filter(|node| node.is_still()).count()
    }

    /// Forgets all heartbeats, because a reply was late or missing.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn view(nodes: &[(&str, u64)]) -> Vec<(String, LastBeat)> {
        nodes.iter().map(|&(node, counter)| (node.to_owned(), LastBeat::Counted(counter))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_dead_when_its_heartbeat_did_not_change_in_four_replies_over_four_seconds() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        for second in 0..10 {
            let now = start + SECOND * u32::try_from(second).unwrap();
            let found = detector.observe(now, view(&[("still", 7), ("alive", second)]));
            assert_eq!(found, if second >= 4 { view(&[("still", 7)]) } else { Vec::new() }, "after {second} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_replies_together_after_a_pause_prove_no_node_dead() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        for _ in 0..10 {
            assert!(detector.observe(start, view(&[("other", 7)])).is_empty());
        }
        // The late reply resets the detector; the next prompt reply starts a new count.
        detector.reset();
        assert!(detector.observe(start + SAME_BEAT_TIMEOUT * 10, view(&[("other", 7)])).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_being_swept_does_not_count_as_alive() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        let mut row: Vec<_> = (0..48).map(|n| (format!("n{n}"), LastBeat::Counted(7))).collect();
        for second in 0..5 {
            detector.observe(start + SECOND * second, row[..detector.watched()].to_vec());
        }
        assert_eq!(detector.watched(), 48);
        row[0].1 = LastBeat::Dead;
        detector.observe(start + SECOND * 5, row);
        assert_eq!(detector.watched(), 48 * WIDENING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_that_another_node_left_is_finished() {
        let (mut detector, start) = (FailureDetector::default(), Instant::now());
        for second in 0..5 {
            let found = detector.observe(start + SECOND * second, vec![("left".to_owned(), LastBeat::Dead)]);
            assert_eq!(found.len(), usize::from(second == 4));
        }
    }

    /// A cluster of nodes with heartbeats of one second each, as Redis shows them.
    struct Ring {
        /// Place and counter; the key is the order of the ring.
        beats: BTreeMap<(u16, String), u64>,
        alive: BTreeMap<(u16, String), FailureDetector>,
        names: u32,
    }

    impl Ring {
        fn new(nodes: usize) -> Self {
            let mut ring = Self { beats: BTreeMap::new(), alive: BTreeMap::new(), names: 0 };
            (0..nodes).for_each(|_| ring.join());
            ring
        }

        fn join(&mut self) {
            let name = format!("n{}", self.names);
            self.names += 1;
            let place = (crate::keys::Keys::ring_place(&name), name);
            self.beats.insert(place.clone(), 0);
            self.alive.insert(place, FailureDetector::default());
        }

        /// Returns the nodes that follow, as `beat.lua` does.
        fn following(&self, node: &(u16, String), count: usize) -> Vec<(String, LastBeat)> {
            let after = self.beats.range((std::ops::Bound::Excluded(node), std::ops::Bound::Unbounded));
            let before = self.beats.range(..node);
            after.chain(before).take(count).map(|((_, name), beat)| (name.clone(), LastBeat::Counted(*beat))).collect()
        }

        /// Plays a second. Returns the nodes that were declared dead.
        fn second(&mut self, now: Instant) -> Vec<String> {
            let mut dead = Vec::new();
            let mut alive = std::mem::take(&mut self.alive);
            for (node, detector) in &mut alive {
                *self.beats.get_mut(node).unwrap() += 1;
                for (name, _) in detector.observe(now, self.following(node, detector.watched())) {
                    // The sweep removes it.
                    self.beats.remove(&(crate::keys::Keys::ring_place(&name), name.clone()));
                    dead.push(name);
                }
            }
            self.alive = alive;
            dead
        }

        fn watched(&self) -> usize {
            self.alive.values().map(FailureDetector::watched).sum()
        }
    }

    /// Kills some nodes of a ring at once, lets others join, and returns the seconds until all dead
    /// nodes were declared dead.
    fn seconds_until_noticed(nodes: usize, is_killed: impl Fn(usize) -> bool, joins: usize) -> u32 {
        let (mut ring, start) = (Ring::new(nodes), Instant::now());
        for second in 0..10 {
            assert!(ring.second(start + SECOND * second).is_empty(), "all nodes live");
        }
        assert!(ring.watched() <= nodes * WATCHED, "{} of {nodes} nodes", ring.watched());
        let places: Vec<(u16, String)> = ring.alive.keys().cloned().collect();
        let mut killed: Vec<String> = Vec::new();
        for (_, place) in places.into_iter().enumerate().filter(|(index, _)| is_killed(*index)) {
            ring.alive.remove(&place);
            killed.push(place.1);
        }
        (0..joins).for_each(|_| ring.join());
        for second in 1..60 {
            if killed.is_empty() {
                return second - 1;
            }
            for name in ring.second(start + SECOND * (9 + second)) {
                let at = killed.iter().position(|dead| *dead == name);
                killed.swap_remove(at.unwrap_or_else(|| panic!("{name} lives")));
            }
        }
        panic!("{} dead nodes were not noticed", killed.len());
    }

    #[tokio::test(start_paused = true)]
    async fn neighbours_that_die_at_once_are_noticed_within_the_documented_bound() {
        for (dead, bound) in [(1, 6), (3, 6), (4, 9), (48, 9), (49, 12), (700, 12), (998, 18)] {
            let seconds = seconds_until_noticed(1000, |index| index < dead, 0);
            assert!(seconds <= bound, "{dead} neighbours: {seconds} s");
        }
        // The ring has a single node left, and a wrap.
        assert!(seconds_until_noticed(2, |index| index == 0, 0) <= 6);
        assert!(seconds_until_noticed(5, |index| index != 2, 0) <= 9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn every_dead_node_is_noticed_and_no_living_one(
            nodes in 2_usize..120, seed in any::<u64>(), killed in 0_usize..100, joins in 0_usize..20,
        ) {
            let is_killed = |index: usize| {
                let hash = (index as u64 + 1).wrapping_mul(seed | 1).rotate_left(17) % 100;
                index > 0 && usize::try_from(hash).unwrap() < killed
            };
            prop_assert!(seconds_until_noticed(nodes, is_killed, joins) <= 12);
        }
    }
}
