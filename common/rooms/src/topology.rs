//! Which server serves which partition: the slot map, kept by us, and a lane for each server.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{Value, cmd};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::context::Context;
use super::lane;
use super::queues::Queues;
use super::{Partition, StoreError};
use crate::conn::RedisUrl;
use crate::conn::connection::{Connection, ConnectionError};

/// How long one server may take to tell the slot map before the next is asked.
const ASK: Duration = Duration::from_millis(500);
/// Lanes that fail together ask once.
const FRESH: Duration = Duration::from_millis(20);
/// How often calls are looked over for being late.
const CLOCK: Duration = Duration::from_millis(50);

/// A server's host and port.
pub(super) type Address = (String, u16);

/// The lanes and the queues they serve.
pub(super) struct Topology {
    pub(super) url: RedisUrl,
    pub(super) context: Arc<Context>,
    pub(super) queues: Queues,
    /// The highest millisecond of a log id seen: after a role change a lane waits until Redis' clock is past it.
    pub(super) seen_ms: AtomicU64,
    /// Counts the times that another server, or another run of it, took over partitions.
    pub(super) takeovers: watch::Sender<u64>,
    lanes: Mutex<Vec<Address>>,
    tasks: Mutex<Vec<AbortHandle>>,
    refreshed: tokio::sync::Mutex<Option<Instant>>,
}

impl Topology {
    /// Learns the slot map and starts the lanes.
    ///
    /// # Errors
    /// `Unavailable` when no server of a cluster tells its map.
    pub(super) async fn start(url: RedisUrl, context: Arc<Context>) -> Result<Arc<Self>, StoreError> {
        let queues = Queues::new(context.keys.partitions(), context.options.lanes.queue_max);
        let first = url.hosts()[0].clone();
        let topology = Arc::new(Self {
            url,
            context,
            queues,
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
        let clock = tokio::spawn(keep_time(topology.clone()));
        lock(&topology.tasks).push(clock.abort_handle());
        Ok(topology)
    }

    /// Ends every task. Calls that wait are forgotten with their callers.
    pub(super) fn stop(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }

    /// Asks the cluster for its slot map, `suspect` last, and gives each partition to the lane of its server. `false`: none told.
    pub(super) async fn refresh(self: &Arc<Self>, suspect: &Address) -> bool {
        if !self.url.is_cluster() {
            return true;
        }
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < FRESH) {
            return true;
        }
        // Those that served once come after all others: they may be gone, and each would be waited for.
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

    /// Gives each partition to the lane of its server.
    fn apply(self: &Arc<Self>, servers: &[Address]) {
        let owners: Vec<usize> = servers.iter().map(|address| self.lane_of(address)).collect();
        if self.queues.assign(&owners) {
            self.taken_over();
        }
    }

    /// Another server, or another run of one, serves from now on: it may lack what its predecessor wrote last.
    pub(super) fn taken_over(&self) {
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
        // Boxed here, where it is known to be `Send`: a lane refreshes the topology, which spawns lanes.
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(lane::run(self.clone(), lane, address));
        let task = tokio::spawn(task);
        lock(&self.tasks).push(task.abort_handle());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses what waits too long, whatever the lanes are waiting for.
async fn keep_time(topology: Arc<Topology>) {
    let late = topology.context.options.lanes.queue_time;
    let mut ticks = tokio::time::interval(CLOCK);
    loop {
        ticks.tick().await;
        if let Some(moment) = Instant::now().checked_sub(late) {
            topology.queues.refuse_older_than(moment);
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("switchboard_redis_lane_queue_depth").set(topology.queues.waiting() as f64);
    }
}

/// The server of each of these slots: of a standalone Redis the only one; of a cluster as the first of `known` says that tells a map
/// with all of them.
pub(super) async fn slot_map(url: &RedisUrl, known: &[Address], slots: &[u16]) -> Option<Vec<Address>> {
    if !url.is_cluster() {
        return Some(vec![url.hosts()[0].clone(); slots.len()]);
    }
    for address in known {
        let Ok(Ok(map)) = tokio::time::timeout(ASK, ask_slots(url, address)).await else { continue };
        let server = |slot: &u16| map.iter().find(|(first, last, _)| (first..=last).contains(&slot));
        let servers: Option<Vec<Address>> =
            slots.iter().map(|slot| server(slot).map(|(_, _, address)| address.clone())).collect();
        if servers.is_some() {
            return servers;
        }
    }
    None
}

async fn ask_slots(url: &RedisUrl, address: &Address) -> Result<Vec<(u16, u16, Address)>, ConnectionError> {
    let mut connection = Connection::open(url, &address.0, address.1).await?;
    let reply = connection.query(cmd("CLUSTER").arg("SLOTS")).await?;
    Ok(parse_slots(&reply, &address.0))
}

/// Reads `CLUSTER SLOTS`: first slot, last slot, master. A server that does not know its own host leaves it empty: it is `asked`.
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
