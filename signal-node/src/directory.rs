//! Addresses at which other nodes take hand-overs: read from Redis, and kept while the nodes live.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use switchboard_rooms::Rooms;
use switchboard_socketio::PeerDirectory;
use tokio::time::Instant;

/// Addresses kept at most. A node's name is new at each start, so that old names pile up. Above the
/// limit all are forgotten, which costs one lookup each.
const ADDRESSES_MAX: usize = 1024;

/// Time between two lookups of a node, however many hand-overs wait for it.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// Lookups in a row without an address after which a node counts as dead. A node renews its address
/// each second. One miss may be due to Redis, which after a pause has let all addresses expire.
const MISSES_MAX: u32 = 3;

/// Directory of the nodes of this installation.
pub struct NodeDirectory {
    rooms: Rooms,
    /// An address holds as long as its node lives, because a new start has a new name. Known
    /// addresses need no Redis.
    known: Mutex<HashMap<String, KnownNode>>,
}

struct KnownNode {
    address: String,
    looked_up: Instant,
    /// Lookups without an address since the last one with it.
    misses: u32,
}

impl NodeDirectory {
    /// Creates an empty directory.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, KnownNode>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a known node was looked up less than [`LOOKUP_INTERVAL`] ago; if not, the
    /// caller must look it up. `None` if the node is not known.
    fn was_looked_up(&self, node: &str) -> Option<bool> {
        let mut known = self.known();
        let node = known.get_mut(node)?;
        let recent = node.looked_up.elapsed() < LOOKUP_INTERVAL;
        if !recent {
            node.looked_up = Instant::now();
        }
        Some(recent)
    }

    /// Records whether a lookup found the address. Returns whether the node counts as alive.
    fn record_lookup(&self, node: &str, found: bool) -> bool {
        let mut known = self.known();
        let Some(seen) = known.get_mut(node) else { return found };
        seen.misses = if found { 0 } else { seen.misses + 1 };
        let lives = seen.misses < MISSES_MAX;
        if !lives {
            known.remove(node);
        }
        lives
    }
}

impl PeerDirectory for NodeDirectory {
    fn address<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            if let Some(known) = self.known().get(node) {
                return Some(known.address.clone());
            }
            // While Redis is away the client gets the same response as for a dead node, and
            // reconnects.
            let address = self.rooms.address_of(node).await.ok().flatten()?;
            let mut known = self.known();
            if known.len() >= ADDRESSES_MAX {
                known.clear();
            }
            let node_seen = KnownNode { address: address.clone(), looked_up: Instant::now(), misses: 0 };
            known.insert(node.to_owned(), node_seen);
            Some(address)
        })
    }

    fn is_alive<'a>(&'a self, node: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            if self.was_looked_up(node) == Some(true) {
                return true;
            }
            match self.rooms.address_of(node).await {
                Ok(address) => self.record_lookup(node, address.is_some()),
                // Redis does not reply, so it is unknown whether the node is alive.
                Err(_) => true,
            }
        })
    }

    fn mark_suspect(&self, node: &str) {
        self.known().remove(node);
    }
}
