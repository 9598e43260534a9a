//! Subscriptions: a node's own channel in every partition, on `fred`.

use std::sync::Arc;

use bytes::Bytes;

use super::{Partition, RoomOptions, StoreError};
use crate::domain::NodeId;
use crate::redis_client::RedisUrl;

/// What the subscription tells.
#[derive(Clone, Debug)]
pub enum BusEvent {
    /// Something a script published to this node.
    Message {
        /// On whose channel.
        partition: Partition,
        /// An envelope.
        message: Bytes,
    },
    /// A connection was lost and is back, subscribed again: every partition may have missed something.
    Reconnected,
    /// This process was too slow and messages were dropped: every partition has missed something.
    Lagged,
}

/// Called for every event, in order, by one task; it must not block.
pub type Sink = Arc<dyn Fn(BusEvent) + Send + Sync>;

/// The node's subscriptions. Dropped: they end.
#[derive(Debug)]
pub struct Bus {}

impl Bus {
    /// Subscribes to `node`'s channel in every partition; returns when all are.
    ///
    /// # Errors
    /// `Unavailable` when Redis is not there.
    pub async fn start(url: &RedisUrl, options: &RoomOptions, node: &NodeId, sink: Sink) -> Result<Self, StoreError> {
        let _ = (url, options, node, sink);
        Err(StoreError::Unavailable)
    }

    /// Subscribes again to one partition's channel: for a gap that no event told of.
    ///
    /// # Errors
    /// `Unavailable` when Redis is not there.
    pub async fn resubscribe(&self, partition: Partition) -> Result<(), StoreError> {
        let _ = partition;
        Err(StoreError::Unavailable)
    }
}
