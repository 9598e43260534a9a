//! The slot map: which server has which partition, and a lane for each server.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{Value, cmd};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::lane;
use super::queues::Queues;
use crate::conn::connection::{Connection, ConnectionError};
use crate::conn::{Purpose, RedisUrl};
use crate::context::Context;
use crate::{LogId, Partition, StoreError};

/// How long one server may take to answer with the slot map, before the next one is asked.
const SLOT_MAP_TIMEOUT: Duration = Duration::from_millis(500);
/// Minimum time between two reads of the slot map, so that lanes that fail together read it once.
const REFRESH_INTERVAL: Duration = Duration::from_millis(20);
/// Time between two checks for late requests.
const LATE_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Requests that a topology is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneUse {
    /// Scripts and small reads.
    Requests,
    /// Reads whose answers are large: logs, chat histories, all seats of a room.
    LargeReads,
}

impl LaneUse {
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
    pub(super) url: RedisUrl,
    pub(super) context: Arc<Context>,
    pub(crate) queues: Queues,
    lane_use: LaneUse,
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
    /// Reads the slot map and starts the lanes.
    ///
    /// # Errors
    /// `Unavailable`, if no server of a cluster answers with the slot map.
    pub(crate) async fn start(
        url: RedisUrl,
        context: Arc<Context>,
        lane_use: LaneUse,
    ) -> Result<Arc<Self>, StoreError> {
        let (max, pipeline_max) = (context.options.lanes.queue_max, lane_use.pipeline_max());
        let queues = Queues::new(context.keys.partitions(), max, pipeline_max);
        let first = url.hosts()[0].clone();
        let topology = Arc::new(Self {
            url,
            context,
            queues,
            lane_use,
            seen_ms: AtomicU64::new(0),
            takeovers: watch::Sender::new(0),
            lanes: Mutex::new(vec![first.clone()]),
            tasks: Mutex::new(Vec::new()),
            refreshed: tokio::sync::Mutex::new(None),
        });
        if topology.url.is_cluster() && !topology.refresh(&first).await {
            topology.stop();
            return Err(StoreError::Unavailable);
        }
        topology.spawn_lane(0, first);
        let checks = tokio::spawn(refuse_late_requests(topology.clone()));
        lock(&topology.tasks).push(checks.abort_handle());
        Ok(topology)
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

    /// Reads the cluster's slot map, from `suspect` last, and assigns each partition to the lane of
    /// its server. Returns whether a server answered.
    pub(super) async fn refresh(self: &Arc<Self>, suspect: &Address) -> bool {
        if !self.url.is_cluster() {
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
        let mut known: Vec<Address> = Vec::new();
        for address in serving.chain(self.url.hosts()).chain(&lanes) {
            if !known.contains(address) {
                known.push(address.clone());
            }
        }
        known.sort_by_key(|address| address == suspect);
        let keys = &self.context.keys;
        let slots: Vec<u16> = (0..keys.partitions()).map(|p| keys.slot(Partition(p))).collect();
        let Some(servers) = slot_map(&self.url, &known, &slots).await else { return false };
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
        if self.lane_use == LaneUse::LargeReads {
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
        match topology.lane_use {
            LaneUse::Requests => metrics::gauge!("switchboard_redis_lane_queue_depth").set(depth),
            LaneUse::LargeReads => metrics::gauge!("switchboard_redis_read_lane_queue_depth").set(depth),
        }
    }
}

/// Returns the server of each of these slots. A standalone Redis has all. In a cluster, the first
/// of the `known` servers decides whose slot map has all of them; `None` if there is none.
pub(crate) async fn slot_map(url: &RedisUrl, known: &[Address], slots: &[u16]) -> Option<Vec<Address>> {
    if !url.is_cluster() {
        return Some(vec![url.hosts()[0].clone(); slots.len()]);
    }
    for address in known {
        let answer = tokio::time::timeout(SLOT_MAP_TIMEOUT, read_slots(url, address)).await;
        let map = match answer.unwrap_or_else(|late| Err(std::io::Error::from(late).into())) {
            Ok(map) => map,
            Err(error) => {
                url.failed(Purpose::SlotMap, address, &error);
                continue;
            }
        };
        url.recovered(Purpose::SlotMap, address);
        let server = |slot: &u16| map.iter().find(|(first, last, _)| (first..=last).contains(&slot));
        let servers: Option<Vec<Address>> =
            slots.iter().map(|slot| server(slot).map(|(_, _, address)| address.clone())).collect();
        if servers.is_some() {
            return servers;
        }
    }
    None
}

async fn read_slots(url: &RedisUrl, address: &Address) -> Result<Vec<(u16, u16, Address)>, ConnectionError> {
    let mut connection = Connection::open(url, &address.0, address.1).await?;
    let reply = connection.query(cmd("CLUSTER").arg("SLOTS")).await?;
    if matches!(reply, Value::ServerError(_)) {
        return Err(ConnectionError::refused("CLUSTER SLOTS", &reply));
    }
    Ok(parse_slots(&reply, &address.0))
}

/// Reads the reply to `CLUSTER SLOTS`: first slot, last slot, master. A server that does not know
/// its own host leaves it empty; then it is the host that was `asked`.
fn parse_slots(reply: &Value, asked: &str) -> Vec<(u16, u16, Address)> {
    let range = |value: &Value| {
        let Value::Array(fields) = value else { return None };
        let (Value::Int(first), Value::Int(last), Value::Array(master)) =
            (fields.first()?, fields.get(1)?, fields.get(2)?)
        else {
            return None;
        };
        let host = match master.first()? {
            Value::BulkString(host) if !host.is_empty() && host != b"?" => String::from_utf8(host.clone()).ok()?,
            _ => asked.to_owned(),
        };
        let Value::Int(port) = master.get(1)? else { return None };
        Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, (host, u16::try_from(*port).ok()?)))
    };
    match reply {
        Value::Array(ranges) => ranges.iter().filter_map(range).collect(),
        _ => Vec::new(),
    }
}
