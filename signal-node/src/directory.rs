//! Where the other nodes take hand-overs: as they say in Redis, remembered while they answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use switchboard_common::room::Rooms;

use crate::transport::Directory;

/// Addresses remembered at most. A node's name is its own start's, so old ones pile up; forgetting costs a question.
const MOST: usize = 1024;

/// The nodes that are registered in Redis.
pub struct NodeDirectory {
    rooms: Rooms,
    /// An address holds as long as its node lives: a new start has a new name. Known ones need no Redis.
    known: Mutex<HashMap<String, String>>,
}

impl NodeDirectory {
    /// Over the nodes of this installation.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory for NodeDirectory {
    fn address<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            if let Some(address) = self.known().get(node) {
                return Some(address.clone());
            }
            // When Redis cannot be asked the client is told what it would be told of a node that is gone, and comes back.
            let address = self.rooms.address_of(node).await.ok().flatten()?;
            let mut known = self.known();
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(node.to_owned(), address.clone());
            Some(address)
        })
    }

    fn doubt(&self, node: &str) {
        self.known().remove(node);
    }
}
