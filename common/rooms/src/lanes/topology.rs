//! Which server has which partition, and a lane for each server.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::failovers;
use super::lane;
use super::locate::{locate, search_order};
use super::queues::Queues;
use crate::conn::{Deployment, RedisUrl};
use crate::context::Context;
use crate::{LogId, Partition, StoreError};

/// Minimum time between two searches for the servers, so that lanes that fail together search once.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_millis(20);
/// Time between two checks for late requests.
const LATE_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Requests that share connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Scripts and small reads.
    Requests,
    /// Reads whose answers are large: logs, chat histories, all seats of a room.
    LargeReads,
}

impl Traffic {
    /// Returns the maximum number of requests in one pipeline. Many share the system calls. Of
    /// large reads only a few are sent together, because a pipeline's answers come together.
    const fn pipeline_max(self) -> usize {
        match self {
            Self::Requests => 512,
            Self::LargeReads => 4,
        }
    }
}

/// Host and port of a server.
pub(crate) type Address = (String, u16);

/// The lanes and their queues.
pub(crate) struct Topology {
    pub(crate) url: RedisUrl,
    pub(super) context: Arc<Context>,
    pub(crate) queues: Queues,
    traffic: Traffic,
    /// Highest time of a log id seen, in ms. After a takeover, a lane waits until the Redis clock
    /// has passed it.
    pub(super) seen_ms: AtomicU64,
    /// Number of times that another server, or another run of one, took over partitions.
    pub(crate) takeovers: watch::Sender<u64>,
    lanes: Mutex<Vec<Address>>,
    tasks: Mutex<Vec<AbortHandle>>,
    refreshed: tokio::sync::Mutex<Option<Instant>>,
}

impl Topology {
    /// Finds the servers and starts the lanes.
    ///
    /// # Errors
    /// `Unavailable`, if no server of a cluster answers with the slot map, or no Sentinel names a
    /// master.
    pub(crate) async fn start(url: RedisUrl, context: Arc<Context>, traffic: Traffic) -> Result<Arc<Self>, StoreError> {
        let (max, pipeline_max) = (context.options.lanes.queue_max, traffic.pipeline_max());
        let queues = Queues::new(context.keys.partitions(), max, pipeline_max);
        let servers = locate(&url, url.hosts(), &slots(&context)).await.ok_or(StoreError::Unavailable)?;
        let first = servers[0].clone();
        let topology = Arc::new(Self {
            url,
            context,
            queues,
            traffic,
            seen_ms: AtomicU64::new(0),
            takeovers: watch::Sender::new(0),
            lanes: Mutex::new(vec![first.clone()]),
            tasks: Mutex::new(Vec::new()),
            refreshed: tokio::sync::Mutex::new(None),
        });
        topology.apply(&servers);
        topology.spawn_lane(0, first);
        topology.follow_failovers();
        let checks = tokio::spawn(refuse_late_requests(topology.clone()));
        lock(&topology.tasks).push(checks.abort_handle());
        Ok(topology)
    }

    /// Finds the master again after each failover that a Sentinel announces.
    fn follow_failovers(self: &Arc<Self>) {
        let topology = Arc::downgrade(self);
        let announced = move |sentinel: Address| -> BoxFuture<'static, ()> {
            let topology = topology.upgrade();
            Box::pin(async move {
                if let Some(topology) = topology {
                    topology.refresh(&sentinel).await;
                }
            })
        };
        lock(&self.tasks).extend(failovers::follow_all(&self.url, announced));
    }

    /// Returns whether the partitions are in the slots of a Redis Cluster.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.url.deployment(), Deployment::Cluster)
    }

    /// Returns the data that requests are written with.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Notes a log id. After a takeover, lanes wait until the Redis clock has passed it.
    pub(crate) fn saw(&self, id: LogId) {
        self.seen_ms.fetch_max(id.ms, Ordering::Relaxed);
    }

    /// Ends every task. Requests that wait are dropped.
    pub(crate) fn stop(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }

    /// Finds the servers again, asking `suspect` last, and assigns each partition to the lane of
    /// its server. Returns whether they were found.
    pub(super) async fn refresh(self: &Arc<Self>, suspect: &Address) -> bool {
        if *self.url.deployment() == Deployment::Standalone {
            return true;
        }
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < REFRESH_INTERVAL) {
            return true;
        }
        // Servers without a partition come last, because they may be gone and would have to be
        // waited for.
        let lanes = lock(&self.lanes).clone();
        let serving = self.queues.lanes_in_use().into_iter().map(|lane| &lanes[lane]);
        let known = search_order(serving.chain(self.url.hosts()).chain(&lanes), suspect);
        let Some(servers) = locate(&self.url, &known, &slots(&self.context)).await else { return false };
        self.apply(&servers);
        *refreshed = Some(Instant::now());
        true
    }

    /// Assigns each partition to the lane of its server.
    fn apply(self: &Arc<Self>, servers: &[Address]) {
        let owners: Vec<usize> = servers.iter().map(|address| self.lane_of(address)).collect();
        if self.queues.assign(&owners) {
            self.count_takeover();
        }
    }

    /// Counts a takeover: another server, or another run of one, serves from now on. It may lack
    /// the last writes of its predecessor.
    pub(super) fn count_takeover(&self) {
        if self.traffic == Traffic::LargeReads {
            // The other lanes count it.
            return;
        }
        metrics::counter!("switchboard_redis_takeovers_total").increment(1);
        self.takeovers.send_modify(|count| *count += 1);
    }

    fn lane_of(self: &Arc<Self>, address: &Address) -> usize {
        let mut lanes = lock(&self.lanes);
        if let Some(lane) = lanes.iter().position(|known| known == address) {
            return lane;
        }
        lanes.push(address.clone());
        drop(lanes);
        let lane = self.queues.add_lane();
        self.spawn_lane(lane, address.clone());
        lane
    }

    fn spawn_lane(self: &Arc<Self>, lane: usize, address: Address) {
        // Boxed, because the type is recursive: a lane refreshes the topology, which spawns lanes.
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(lane::run(self.clone(), lane, address));
        let task = tokio::spawn(task);
        lock(&self.tasks).push(task.abort_handle());
    }
}

/// Returns the slot of each partition.
pub(crate) fn slots(context: &Context) -> Vec<u16> {
    let keys = &context.keys;
    (0..keys.partitions()).map(|p| keys.slot(Partition(p))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses requests that wait too long, also while their lane cannot connect.
async fn refuse_late_requests(topology: Arc<Topology>) {
    let limit = topology.context.options.lanes.queue_time;
    let mut ticks = tokio::time::interval(LATE_CHECK_INTERVAL);
    loop {
        ticks.tick().await;
        if let Some(moment) = Instant::now().checked_sub(limit) {
            topology.queues.refuse_older_than(moment);
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        let depth = topology.queues.waiting() as f64;
        match topology.traffic {
            Traffic::Requests => metrics::gauge!("switchboard_redis_lane_queue_depth").set(depth),
            Traffic::LargeReads => metrics::gauge!("switchboard_redis_read_lane_queue_depth").set(depth),
        }
    }
}
