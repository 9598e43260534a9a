//! The executor: the one way of requests to Redis, with two implementations.
//!
//! | file | content |
//! |---|---|
//! | `fred` | for api pods: pools of connections of the library `fred` |
//! | [`crate::lanes`] | for nodes: pipelines of our own, in order |
//!
//! Both find the servers in the same way (`lanes::locate`), read error replies in the same way
//! (`lanes::retry`), and use the same address, credentials and certificates (`conn`). So a
//! failover, a moved slot or a refused password looks the same with both. docs/ARCHITECTURE.md
//! gives the measurement, and the reasons why there are two.

mod fred;

use std::sync::Arc;

use switchboard_core::wire::LogId;
use tokio::sync::watch;

use crate::conn::RedisUrl;
use crate::context::Context;
use crate::lanes::{Request, Topology, Traffic};
use crate::{Partition, StoreError};

/// Executes requests on the server that has their partition.
///
/// What a request can rely on:
///
/// - It ends once: with a reply to each of its commands, with the error that Redis replied, or with
///   `Unavailable`.
/// - `Unavailable` after [`LaneOptions::queue_time`](crate::LaneOptions::queue_time), or
///   immediately when [`queue_max`](crate::LaneOptions::queue_max) others wait. It is then unknown
///   whether the request took effect. A request that was never sent is not sent later.
/// - Until then it is sent again whenever the connection is lost, the script is missing, the slot
///   has moved, or the server is loading, demoted or down. So it may take effect twice, and its
///   arguments must make the second time a repetition.
/// - Its commands are executed in order, on one connection.
///
/// What only the lanes give, and a request of a seat needs: the order of a partition's requests,
/// and the answer to a request whose caller was refused. [`Executor::Fred`] refuses such requests.
///
/// An enum and no trait object, so that an event of a node costs no allocation and no dynamic call
/// on its way into the lane.
pub(crate) enum Executor {
    /// Lanes.
    Lanes {
        /// Scripts and small reads.
        requests: Arc<Topology>,
        /// Reads with large answers.
        large_reads: Arc<Topology>,
    },
    /// Pools of `fred`.
    Fred(fred::Pools),
}

impl Executor {
    /// Finds the servers and starts lanes.
    ///
    /// # Errors
    /// `Unavailable`, if no server of a cluster answers with the slot map, or no Sentinel names a
    /// master.
    pub(crate) async fn lanes(url: &RedisUrl, context: &Arc<Context>) -> Result<Self, StoreError> {
        let requests = Topology::start(url.clone(), context.clone(), Traffic::Requests).await?;
        match Topology::start(url.clone(), context.clone(), Traffic::LargeReads).await {
            Ok(large_reads) => Ok(Self::Lanes { requests, large_reads }),
            Err(error) => {
                requests.stop();
                Err(error)
            }
        }
    }

    /// Finds the servers and starts pools of `fred`.
    ///
    /// # Errors
    /// As [`Executor::lanes`]. `Unavailable` too, if a file of the client's certificate cannot be
    /// used.
    pub(crate) async fn fred(url: &RedisUrl, context: &Arc<Context>) -> Result<Self, StoreError> {
        fred::Pools::start(url.clone(), context.clone()).await.map(Self::Fred)
    }

    /// Executes a request. Returns immediately.
    pub(crate) fn push(&self, request: Request) {
        match self {
            Self::Lanes { requests, .. } => requests.queues.push(request),
            Self::Fred(pools) => pools.push(request, Traffic::Requests),
        }
    }

    /// Executes a read whose answer is large, on connections of their own. It may overtake other
    /// requests, and is dropped if its caller is gone before it is sent. Returns immediately.
    pub(crate) fn push_large_read(&self, request: Request) {
        match self {
            Self::Lanes { large_reads, .. } => large_reads.queues.push(request),
            Self::Fred(pools) => pools.push(request, Traffic::LargeReads),
        }
    }

    /// Notes a log id. After a takeover, lanes wait until the Redis clock has passed it. No seat is
    /// given through `fred`, so there is none to note.
    pub(crate) fn saw(&self, id: LogId) {
        if let Self::Lanes { requests, .. } = self {
            requests.saw(id);
        }
    }

    /// Returns the address of Redis.
    pub(crate) fn url(&self) -> &RedisUrl {
        match self {
            Self::Lanes { requests, .. } => &requests.url,
            Self::Fred(pools) => pools.url(),
        }
    }

    /// Returns the data that requests are written with.
    pub(crate) fn context(&self) -> &Context {
        match self {
            Self::Lanes { requests, .. } => requests.context(),
            Self::Fred(pools) => pools.context(),
        }
    }

    /// Returns a count of the times that another server took over partitions. Lanes also count that
    /// a server began again, because nodes must then verify their seats.
    pub(crate) fn takeovers(&self) -> watch::Receiver<u64> {
        match self {
            Self::Lanes { requests, .. } => requests.takeovers.subscribe(),
            Self::Fred(pools) => pools.takeovers(),
        }
    }

    /// Returns a number for each partition: the same for those on the same server.
    pub(crate) fn server_of_each(&self) -> Vec<usize> {
        match self {
            Self::Lanes { requests, .. } => requests.queues.lane_of_each(),
            Self::Fred(pools) => pools.server_of_each(),
        }
    }

    /// Returns one partition of each server in use.
    pub(crate) fn one_of_each_server(&self) -> Vec<Partition> {
        match self {
            Self::Lanes { requests, .. } => requests.queues.one_of_each_lane(),
            Self::Fred(pools) => pools.one_of_each_server(),
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        match self {
            Self::Lanes { requests, large_reads } => {
                requests.stop();
                large_reads.stop();
            }
            // The pools stop when they are dropped.
            Self::Fred(_) => {}
        }
    }
}
