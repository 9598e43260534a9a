//! Subscriptions: the node's own channel in every partition, each on the server that has the
//! partition's slot.
//!
//! | file | content |
//! |---|---|
//! | `reader` | one connection to one server: subscribes, and passes on the messages |
//! | `supervisor` | assigns each partition to the reader of its server |
//!
//! The list of channels is fixed. A reader reports a lost connection, or a channel that Redis took
//! away because its slot moved. The supervisor then has the channel read from the server that has
//! it. A loss that no reader reports is found by the canary of a check.

mod reader;
mod supervisor;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use switchboard_core::domain::NodeId;

use crate::conn::RedisUrl;
use crate::keys::Keys;
use crate::{Partition, RoomOptions, StoreError};
use supervisor::{Resubscribe, Supervisor};

/// How long a connection or a subscription may take.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Event of the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusEvent<'a> {
    /// A script published a message to this node.
    Message {
        /// Partition of the channel.
        partition: Partition,
        /// Envelope.
        message: &'a [u8],
    },
    /// A partition's subscription is lost. Messages may be missed until `Restored`.
    Interrupted {
        /// Partition.
        partition: Partition,
    },
    /// A partition is subscribed again, after `Interrupted`. Comes before any message that follows
    /// the missed ones.
    Restored {
        /// Partition.
        partition: Partition,
        /// Cause of the interruption.
        cause: Cause,
    },
}

/// Cause of a lost subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The connection was lost.
    Reconnected,
    /// Another server has the slot.
    Moved,
    /// The canary did not arrive: [`Bus::resubscribe`].
    Silent,
}

impl Cause {
    /// Returns the name, as metrics show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reconnected => "reconnected",
            Self::Moved => "moved",
            Self::Silent => "silent",
        }
    }
}

/// Called for every event. The events of a partition come in order, one at a time. It must not
/// block.
pub type BusEventHandler = Arc<dyn Fn(BusEvent<'_>) + Send + Sync>;

/// The node's channels.
#[derive(Debug)]
struct Channels {
    names: Vec<String>,
    partitions: HashMap<Vec<u8>, Partition>,
    /// Slot of each channel, for a cluster.
    slots: Vec<u16>,
}

impl Channels {
    fn new(keys: &Keys, node: &NodeId) -> Self {
        let all = || (0..keys.partitions()).map(Partition);
        let names: Vec<String> = all().map(|p| keys.channel(p, node.as_str())).collect();
        let partitions = names.iter().map(|name| name.clone().into_bytes()).zip(all()).collect();
        Self { names, partitions, slots: all().map(|p| keys.slot(p)).collect() }
    }

    fn name(&self, partition: Partition) -> &str {
        &self.names[usize::from(partition.0)]
    }
}

/// The node's subscriptions. They end when this value is dropped.
#[derive(Debug)]
pub struct Bus {
    requests: mpsc::UnboundedSender<Resubscribe>,
    supervisor: JoinHandle<()>,
}

impl Drop for Bus {
    fn drop(&mut self) {
        // The supervisor owns its readers, so they end too.
        self.supervisor.abort();
    }
}

impl Bus {
    /// Subscribes to the node's channel in every partition. Returns when all are subscribed.
    ///
    /// # Errors
    /// `Unavailable`, if that takes longer than 4 s.
    pub async fn start(
        url: &RedisUrl,
        options: &RoomOptions,
        node: &NodeId,
        handler: BusEventHandler,
    ) -> Result<Self, StoreError> {
        let channels = Arc::new(Channels::new(&Keys::new(&options.prefix, options.partitions), node));
        let (requests, requested) = mpsc::unbounded_channel();
        let (ready, mut is_ready) = watch::channel(false);
        let supervisor = Supervisor::new(url.clone(), channels, handler, ready);
        let bus = Self { requests, supervisor: tokio::spawn(supervisor.run(requested)) };
        match timeout(2 * SUBSCRIBE_TIMEOUT, is_ready.wait_for(|ready| *ready)).await {
            Ok(Ok(_)) => Ok(bus),
            _ => Err(StoreError::Unavailable),
        }
    }

    /// Subscribes again to one partition's channel, for a gap that no event announced. Causes
    /// `Interrupted` and `Restored`. If the connection does not answer, a new one is opened.
    ///
    /// # Errors
    /// `Unavailable`, if that takes longer than 4 s. The supervisor repeats the attempt until it
    /// succeeds.
    pub async fn resubscribe(&self, partition: Partition) -> Result<(), StoreError> {
        let (done, is_done) = oneshot::channel();
        let _ends_with_the_process = self.requests.send(Resubscribe { partition, done });
        match timeout(2 * SUBSCRIBE_TIMEOUT, is_done).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::Unavailable),
        }
    }
}
