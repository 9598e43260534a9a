//! Where the other nodes take hand-overs: as they say in Redis, remembered while they answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use switchboard_rooms::Rooms;
use tokio::time::Instant;

use switchboard_socketio::PeerDirectory;

/// Addresses remembered at most. A node's name is its own start's, so old ones pile up; forgetting costs a question.
const MOST: usize = 1024;

/// However many wait for a node, Redis is asked about it once in this time.
const LOOK: Duration = Duration::from_secs(1);

/// A node that lives says so every second, so after this many looks in vain it does not. One alone may be Redis' own doing: after a pause it has
/// forgotten what every node said.
const LOOKS: u32 = 3;

/// The nodes that are registered in Redis.
pub struct NodeDirectory {
    rooms: Rooms,
    /// An address holds as long as its node lives: a new start has a new name. Known ones need no Redis.
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    address: String,
    looked: Instant,
    /// Looks in vain since it was last there.
    missed: u32,
}

impl NodeDirectory {
    /// Over the nodes of this installation.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has looked at a known node just now; if not, the caller is to. None if it is not known.
    fn was_looked_at(&self, node: &str) -> Option<bool> {
        let mut known = self.known();
        let node = known.get_mut(node)?;
        let just_now = node.looked.elapsed() < LOOK;
        if !just_now {
            node.looked = Instant::now();
        }
        Some(just_now)
    }

    /// Counts a look in vain, or that it was there; gives whether the node lives.
    fn note(&self, node: &str, there: bool) -> bool {
        let mut known = self.known();
        let Some(seen) = known.get_mut(node) else { return there };
        seen.missed = if there { 0 } else { seen.missed + 1 };
        let lives = seen.missed < LOOKS;
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
            // When Redis cannot be asked the client is told what it would be told of a node that is gone, and comes back.
            let address = self.rooms.address_of(node).await.ok().flatten()?;
            let mut known = self.known();
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(node.to_owned(), Known { address: address.clone(), looked: Instant::now(), missed: 0 });
            Some(address)
        })
    }

    fn is_alive<'a>(&'a self, node: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            if self.was_looked_at(node) == Some(true) {
                return true;
            }
            match self.rooms.address_of(node).await {
                Ok(address) => self.note(node, address.is_some()),
                // Redis does not answer: that says nothing of the node.
                Err(_) => true,
            }
        })
    }

    fn mark_suspect(&self, node: &str) {
        self.known().remove(node);
    }
}
