//! Asks other nodes whether they are healthy, while this node is not.
//!
//! A node that is cut off from Redis must get no new clients while other nodes are healthy. When
//! Redis is away for all nodes, every node stays ready: a load balancer without a ready node would
//! cut off long-polling clients, whose sessions otherwise outlive the outage.

use std::time::Duration;

use futures_util::future::join_all;
use switchboard_core::domain::NodeId;
use switchboard_rooms::Rooms;
use switchboard_socketio::Peers;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Maximum number of peers that a node asks. Without it, 1000 nodes would send a million requests.
const PEERS_MAX: usize = 8;
/// Time between two selections of peers. A node's name is new at each start, so that a rollout
/// replaces all names.
const SELECTION_INTERVAL: Duration = Duration::from_secs(5);

/// Names and addresses of nodes.
type Located = Vec<(String, String)>;

/// The peers that one node asks, and their last response.
#[derive(Debug)]
pub struct PeerHealth {
    peers: Peers,
    rooms: Rooms,
    node: NodeId,
    selected: Located,
    selected_at: Option<Instant>,
    selecting: Option<JoinHandle<Located>>,
    asking: Option<JoinHandle<bool>>,
    /// A peer was healthy when it was asked last.
    any_healthy: bool,
}

impl PeerHealth {
    /// Creates it without peers, for this node.
    #[must_use]
    pub fn new(peers: Peers, rooms: Rooms, node: NodeId) -> Self {
        let selected = Vec::new();
        Self { peers, rooms, node, selected, selected_at: None, selecting: None, asking: None, any_healthy: false }
    }

    /// Records that this node is healthy. Every [`SELECTION_INTERVAL`] it reads the names and the
    /// addresses of some others in Redis, in a task, so that it never waits.
    pub async fn record_healthy(&mut self) {
        self.any_healthy = false;
        // A response that comes now is about an outage that is over.
        self.asking.take().iter().for_each(JoinHandle::abort);
        self.take_selection().await;
        if self.selecting.is_some() || self.selected_at.is_some_and(|at| at.elapsed() < SELECTION_INTERVAL) {
            return;
        }
        self.selected_at = Some(Instant::now());
        let (peers, rooms, node) = (self.peers.clone(), self.rooms.clone(), self.node.clone());
        self.selecting = Some(tokio::spawn(async move {
            // Any of them, so that all are asked equally often. One more, which may be this node.
            let mut names = rooms.sample_nodes(PEERS_MAX + 1).await.unwrap_or_default();
            names.retain(|name| name != node.as_str());
            names.truncate(PEERS_MAX);
            let located = names.into_iter().map(async |name| Some((name.clone(), peers.address(&name).await?)));
            join_all(located).await.into_iter().flatten().collect()
        }));
    }

    /// Returns whether a peer was healthy when it was asked last. Asks again in a task, so that it
    /// never waits for the response.
    pub async fn is_any_healthy(&mut self) -> bool {
        // The lookup may have ended just before Redis went away.
        self.take_selection().await;
        if let Some(any_healthy) = finished(&mut self.asking).await {
            self.any_healthy = any_healthy;
        }
        if self.asking.is_none() {
            let (peers, selected) = (self.peers.clone(), self.selected.clone());
            self.asking = Some(tokio::spawn(async move {
                let responses = selected.iter().map(|(name, address)| peers.is_healthy(name, address));
                join_all(responses).await.contains(&true)
            }));
        }
        self.any_healthy
    }

    async fn take_selection(&mut self) {
        // An empty selection means that Redis went away meanwhile, more likely than all nodes.
        if let Some(selected) = finished(&mut self.selecting).await.filter(|selected| !selected.is_empty()) {
            self.selected = selected;
        }
    }
}

impl Drop for PeerHealth {
    fn drop(&mut self) {
        self.asking.iter().for_each(JoinHandle::abort);
        self.selecting.iter().for_each(JoinHandle::abort);
    }
}

/// Takes the result of a task that has ended.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    task.take_if(|task| task.is_finished())?.await.ok()
}
