//! Decides which other nodes are dead, from the heartbeat counters in a reply of Redis.
//!
//! A node is dead when its counter did not change in [`SAME_COUNTER_REPLIES`] consecutive prompt
//! replies over [`SAME_COUNTER_TIMEOUT`] of this node's own monotonic clock. A paused Redis replies
//! late, and late replies are ignored, so that a pause declares no node dead.

use std::collections::HashMap;
use std::time::Duration;

use switchboard_core::domain::NodeId;
use switchboard_rooms::Beat;
use tokio::time::Instant;

/// A reply that took longer does not show which nodes are alive.
pub(super) const PROMPT_REPLY_MAX: Duration = Duration::from_millis(500);
/// Prompt replies in a row that must show the same counter.
const SAME_COUNTER_REPLIES: u32 = 4;
/// Time that these replies must span.
const SAME_COUNTER_TIMEOUT: Duration = Duration::from_secs(4);

/// Counters of the other nodes of one partition.
#[derive(Debug, Default)]
pub(super) struct FailureDetector {
    nodes: HashMap<String, ObservedCounter>,
}

/// Counter of another node, and the time since which it has not changed.
#[derive(Debug)]
struct ObservedCounter {
    counter: u64,
    since: Instant,
    replies: u32,
}

impl FailureDetector {
    /// Returns the nodes that this prompt reply proves dead, with their counters.
    pub(super) fn observe(&mut self, own: &NodeId, beat: &Beat) -> Vec<(String, u64)> {
        let now = Instant::now();
        self.nodes.retain(|node, _| beat.nodes.iter().any(|(known, _)| known == node));
        let mut dead = Vec::new();
        for (node, counter) in beat.nodes.iter().filter(|(node, _)| node != own.as_str()) {
            let first = ObservedCounter { counter: *counter, since: now, replies: 0 };
            let observed = self.nodes.entry(node.clone()).or_insert(first);
            if observed.counter == *counter {
                observed.replies += 1;
                if observed.replies > SAME_COUNTER_REPLIES && now - observed.since >= SAME_COUNTER_TIMEOUT {
                    dead.push((node.clone(), *counter));
                }
            } else {
                *observed = ObservedCounter { counter: *counter, since: now, replies: 1 };
            }
        }
        dead
    }

    /// Forgets all counters, because a reply was late or missing.
    pub(super) fn reset(&mut self) {
        self.nodes.clear();
    }

    /// Names of the other nodes in the last prompt reply.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::membership::BEAT_INTERVAL;

    fn beat(nodes: &[(&str, u64)]) -> Beat {
        let nodes = nodes.iter().map(|&(node, counter)| (node.to_owned(), counter)).collect();
        Beat { receivers: 1, time_ms: 0, epoch: "e".to_owned(), nodes }
    }

    fn own() -> NodeId {
        NodeId::parse("a").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_dead_when_its_counter_did_not_change_in_four_replies_over_four_seconds() {
        let mut detector = FailureDetector::default();
        for second in 0..10 {
            let found = detector.observe(&own(), &beat(&[("a", 1), ("still", 7), ("alive", second)]));
            let expected: &[(String, u64)] = if second >= 4 { &[("still".to_owned(), 7)] } else { &[] };
            assert_eq!(found, expected, "after {second} s");
            tokio::time::advance(BEAT_INTERVAL).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_replies_together_after_a_pause_prove_no_node_dead() {
        let mut detector = FailureDetector::default();
        for _ in 0..10 {
            assert!(detector.observe(&own(), &beat(&[("other", 7)])).is_empty());
        }
        tokio::time::advance(SAME_COUNTER_TIMEOUT * 10).await;
        // The late reply resets the detector; the next prompt reply starts a new count.
        detector.reset();
        assert!(detector.observe(&own(), &beat(&[("other", 7)])).is_empty());
    }
}
