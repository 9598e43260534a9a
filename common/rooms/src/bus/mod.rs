//! Subscriptions: a node's own channel in every partition, each on the server that has the partition's slot.
//!
//! | file | what |
//! |---|---|
//! | `reader` | one connection to one server: subscribes, and hands over what is published |
//! | `supervisor` | which partition is read from which server |
//!
//! The list of channels is fixed. A reader tells what it lost: its connection, or a channel that Redis took away because its slot
//! moved. The supervisor then has it read again, wherever it is by then. What nobody tells of, the canary of `beat` finds.

mod reader;
mod supervisor;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::keys::Keys;
use super::{Partition, RoomOptions, StoreError};
use crate::conn::RedisUrl;
use supervisor::{Request, Supervisor};
use switchboard_core::domain::NodeId;

/// How long a connection, or a subscription, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// What the subscription tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusEvent<'a> {
    /// Something a script published to this node.
    Message {
        /// On whose channel.
        partition: Partition,
        /// An envelope.
        message: &'a [u8],
    },
    /// A partition's subscription was lost: something may have been missed, and more may be, until `Restored`.
    Interrupted {
        /// Whose.
        partition: Partition,
    },
    /// A partition is subscribed to again, after `Interrupted`. Comes before any message that follows what was missed.
    Restored {
        /// Whose.
        partition: Partition,
        /// Why it was not.
        cause: Cause,
    },
}

/// Why a subscription was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The connection was.
    Reconnected,
    /// Another server has the slot.
    Moved,
    /// It was doubted: [`Bus::resubscribe`].
    Silent,
}

impl Cause {
    /// Its name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reconnected => "reconnected",
            Self::Moved => "moved",
            Self::Silent => "silent",
        }
    }
}

/// Called for every event; those of a partition in order, and never two of it at once. It must not block.
pub type Sink = Arc<dyn Fn(BusEvent<'_>) + Send + Sync>;

/// The names of the channels.
#[derive(Debug)]
struct Channels {
    names: Vec<String>,
    partitions: HashMap<Vec<u8>, Partition>,
    /// The slot of each, on a cluster.
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

/// The node's subscriptions. Dropped, they end.
#[derive(Debug)]
pub struct Bus {
    requests: mpsc::UnboundedSender<Request>,
    supervisor: JoinHandle<()>,
}

impl Drop for Bus {
    fn drop(&mut self) {
        // Its readers end with it.
        self.supervisor.abort();
    }
}

impl Bus {
    /// Subscribes to `node`'s channel in every partition; returns when all are.
    ///
    /// # Errors
    /// `Unavailable` when Redis is not there.
    pub async fn start(url: &RedisUrl, options: &RoomOptions, node: &NodeId, sink: Sink) -> Result<Self, StoreError> {
        let channels = Arc::new(Channels::new(&Keys::new(&options.prefix, options.partitions), node));
        let (requests, asked) = mpsc::unbounded_channel();
        let (ready, mut is_ready) = watch::channel(false);
        let supervisor = Supervisor::new(url.clone(), channels, sink, ready);
        let bus = Self { requests, supervisor: tokio::spawn(supervisor.run(asked)) };
        match timeout(2 * PATIENCE, is_ready.wait_for(|ready| *ready)).await {
            Ok(Ok(_)) => Ok(bus),
            _ => Err(StoreError::Unavailable),
        }
    }

    /// Subscribes again to one partition's channel: for a gap that no event told of. That is told as `Interrupted` and `Restored`. A
    /// connection on which nothing comes of it is made anew.
    ///
    /// # Errors
    /// `Unavailable` when that did not succeed yet; it is not given up.
    pub async fn resubscribe(&self, partition: Partition) -> Result<(), StoreError> {
        let (done, is_done) = oneshot::channel();
        let _ends_with_the_process = self.requests.send(Request { partition, done });
        match timeout(2 * PATIENCE, is_done).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::Unavailable),
        }
    }
}
