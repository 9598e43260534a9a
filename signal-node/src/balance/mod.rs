//! Moves clients from a node with more than its share to the others, as a drain does but at a small
//! and steady rate. So a node that was added, or restarted, takes load off the others.
//!
//! | file | content |
//! |---|---|
//! | `mod` | the loop: telling loads, choosing sessions, closing their connections |
//! | `moved` | the clients that were moved a moment ago, and which of them came back |
//! | `share` | pure: how many sessions this node has above its share |
//!
//! A moved client resumes on the node that the load balancer gives it, and misses no event.

mod moved;
mod share;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use switchboard_core::domain::{DisconnectReason, NodeId};
use switchboard_rooms::{Loads, NodeLoad, Partition, Rooms};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::delivery::{Hub, SessionLink};
use crate::health::NodeHealth;
use moved::MovedClients;
use share::{Advice, Share};

/// Time between two steps. Each closes a few connections.
const STEP_INTERVAL: Duration = Duration::from_secs(1);
/// Exchanges in a row without a new load from a node, after which the node does not count.
const SILENT_EXCHANGES_MAX: u32 = 3;
/// The same, after which its load is removed from Redis.
const FORGOTTEN_EXCHANGES: u32 = 24;
/// Time after a resume in which a session is not moved, so that nobody is moved twice in a row.
const REST_AFTER_RESUME: Duration = Duration::from_secs(300);

/// Keeps the load of one node near the mean of all nodes.
#[derive(Debug)]
pub struct Balancer {
    /// This node.
    pub node: NodeId,
    /// Room state, where the loads are.
    pub rooms: Rooms,
    /// Sessions of this node.
    pub hub: Arc<Hub>,
    /// A node that is not ready tells no load and moves nobody.
    pub health: NodeHealth,
    /// `REBALANCE`: whether the node moves sessions unasked.
    pub automatic: bool,
}

/// Loads of the other nodes, from exchange to exchange.
#[derive(Debug, Default)]
struct OtherNodes(HashMap<String, OtherNode>);

#[derive(Clone, Copy, Debug)]
struct OtherNode {
    count: u64,
    sessions: usize,
    /// Exchanges in which the count stayed the same.
    silent: u32,
}

impl OtherNodes {
    /// Takes the result of an exchange. Returns the names that can be removed from Redis.
    fn observe(&mut self, node: &NodeId, loads: Vec<NodeLoad>) -> Vec<String> {
        let mut known = HashMap::new();
        for NodeLoad { name, count, sessions } in loads.into_iter().filter(|load| load.name != node.as_str()) {
            let silent = match self.0.get(&name) {
                Some(before) if before.count == count => before.silent + 1,
                _ => 0,
            };
            known.insert(name, OtherNode { count, sessions, silent });
        }
        self.0 = known;
        self.0.iter().filter(|(_, other)| other.silent >= FORGOTTEN_EXCHANGES).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the numbers of sessions of the nodes that live.
    fn sessions(&self) -> impl Iterator<Item = usize> {
        self.0.values().filter(|other| other.silent < SILENT_EXCHANGES_MAX).map(|other| other.sessions)
    }
}

impl Balancer {
    /// Works until `stop`, then withdraws the load of this node.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(STEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut share, mut others) = (Share::new(self.automatic), OtherNodes::default());
        let (mut request, mut exchanged, mut moved) = (None, None::<(Instant, usize)>, MovedClients::default());
        for step in 0_u64.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            if !self.health.is_ready() {
                others = OtherNodes::default();
                share.rest();
                continue;
            }
            let own = self.session_count();
            // Until the next exchange, the loads of the last one are used. Steps are not exact.
            let slack = STEP_INTERVAL / 2;
            if exchanged.is_none_or(|(at, nodes)| at.elapsed() + slack >= Loads::exchange_interval(nodes)) {
                match self.rooms.exchange_loads(step, own).await {
                    Ok(told) => {
                        // The first one is from before this node's start.
                        if request.replace(told.request.clone()).is_some_and(|known| known != told.request) {
                            share.ask();
                        }
                        share.told(own);
                        exchanged = Some((Instant::now(), told.nodes.len()));
                        let forgotten = others.observe(&self.node, told.nodes);
                        // Another node removes them, or the next exchange does.
                        let _removed_or_later = self.rooms.forget_loads(&forgotten).await;
                    }
                    // Without news, the loads are too old to act on, until the next exchange.
                    Err(_) => {
                        (others, exchanged) = (OtherNodes::default(), Some((Instant::now(), 0)));
                        share.rest();
                        continue;
                    }
                }
            }
            share.returned(moved.take_returned(|| self.sessions()));
            match share.advise(own, others.sessions()) {
                Advice::Stay => {}
                Advice::Move(count) => share.moved(move_sessions(&self.sessions(), count, &mut moved)),
                Advice::GiveUp => {
                    metrics::counter!("switchboard_rebalance_given_up_total").increment(1);
                    tracing::warn!(
                        sessions = own,
                        "moved clients come back to this node: the load balancer does not use the other nodes"
                    );
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            metrics::gauge!("switchboard_sessions_above_share").set(share.above() as f64);
        }
        // The other nodes do not count a node that is silent.
        let _withdrawn_or_later = self.rooms.forget_loads(&[self.node.to_string()]).await;
    }

    fn session_count(&self) -> usize {
        (0..self.rooms.partitions()).map(|p| self.hub.session_count(Partition(p))).sum()
    }

    fn sessions(&self) -> Vec<Arc<SessionLink>> {
        (0..self.rooms.partitions()).flat_map(|p| self.hub.links(Partition(p))).collect()
    }
}

/// Closes the connections of at most `count` sessions that have not just resumed, in different
/// places of the list, so that a room does not lose all its sockets together. Returns their number.
fn move_sessions(sessions: &[Arc<SessionLink>], count: usize, clients: &mut MovedClients) -> usize {
    let movable: Vec<_> = sessions.iter().filter(|link| link.may_move(REST_AFTER_RESUME)).collect();
    let Some(stride) = movable.len().checked_div(count) else { return 0 };
    let offset = rand::random_range(0..stride.max(1));
    let mut moved = 0_usize;
    for link in movable.iter().skip(offset).step_by(stride.max(1)).take(count) {
        clients.insert(link);
        link.close(DisconnectReason::Rebalanced);
        moved += 1;
    }
    metrics::counter!("switchboard_rebalanced_sessions_total").increment(moved as u64);
    moved
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_node_counts_while_its_count_changes_and_is_forgotten_later() {
        let own = NodeId::parse("n1").unwrap();
        let load = |name: &str, count, sessions| NodeLoad { name: name.to_owned(), count, sessions };
        let mut others = OtherNodes::default();
        for exchange in 0..u64::from(FORGOTTEN_EXCHANGES) {
            let loads = vec![load("n1", exchange, 9), load("n2", exchange, 4), load("n3", 0, 100)];
            assert!(others.observe(&own, loads).is_empty());
            let mut sessions: Vec<usize> = others.sessions().collect();
            sessions.sort_unstable();
            let dead = exchange >= u64::from(SILENT_EXCHANGES_MAX);
            assert_eq!(sessions, if dead { vec![4] } else { vec![4, 100] }, "exchange {exchange}");
        }
        assert_eq!(others.observe(&own, vec![load("n2", 99, 4), load("n3", 0, 100)]), ["n3"]);
    }
}
