//! Requests through the library `fred`: a pool of connections to each server.
//!
//! | file | content |
//! |---|---|
//! | `server` | the connections to one server, and why they fail |
//! | `attempt` | one attempt to execute a request; arguments and replies in `fred`'s types |
//!
//! `fred` connects, authenticates, encrypts, pipelines, and connects again. The servers are found
//! by `lanes::locate`, and a pool has one server, because `fred`'s own clients of a cluster and of
//! Sentinels give less than api pods need:
//!
//! - Its cluster client connects to every master before it sends anything. While one master is
//!   down, it would refuse the requests to all.
//! - Its Sentinel client takes the word of the first Sentinel that answers. One that was cut off
//!   would name the old master for ever. It also needs more rights than we ask of operators.
//!
//! A request is sent again by this module and not by `fred` (`max_command_attempts` is 1): only
//! this module knows how long the caller waits, and which error replies say that the request was
//! not executed.

mod attempt;
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use self::attempt::{Arguments, Failure, Lost, failure, loads};
use self::server::Server;
use crate::conn::connection::ConnectionError;
use crate::conn::{Deployment, Purpose, RedisUrl};
use crate::context::Context;
use crate::lanes::{
    Address, BACKOFF_MAX, BACKOFF_MIN, REFRESH_INTERVAL, Request, RetryReason, SLOT_MOVE_INTERVAL, Traffic, follow_all,
    locate, search_order, slots,
};
use crate::{Partition, StoreError};

/// Maximum number of reports of a server that does not serve which wait for a search. More say
/// nothing new.
const SUSPECTS_MAX: usize = 16;

/// The pools. They close when the value is dropped. Requests in progress end within
/// [`LaneOptions::queue_time`](crate::LaneOptions::queue_time).
pub(crate) struct Pools {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

struct Shared {
    url: RedisUrl,
    context: Arc<Context>,
    /// Number of requests without an outcome.
    waiting: AtomicUsize,
    map: RwLock<Map>,
    /// Held while the map is made anew, because that awaits.
    changing: tokio::sync::Mutex<()>,
    /// Servers that did not serve.
    suspects: mpsc::Sender<Address>,
    takeovers: watch::Sender<u64>,
}

/// Which server has which partition.
#[derive(Clone, Default)]
struct Map {
    servers: Vec<Arc<Server>>,
    /// Index of the server of each partition.
    owners: Vec<usize>,
}

impl Pools {
    /// Finds the servers and starts to connect to them.
    ///
    /// # Errors
    /// `Unavailable`, if the servers are not found, or a file of the client's certificate cannot be
    /// used.
    pub(super) async fn start(url: RedisUrl, context: Arc<Context>) -> Result<Self, StoreError> {
        let found = locate(&url, url.hosts(), &slots(&context)).await.ok_or(StoreError::Unavailable)?;
        let (suspects, reports) = mpsc::channel(SUSPECTS_MAX);
        let shared = Arc::new(Shared {
            url,
            context,
            waiting: AtomicUsize::new(0),
            map: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            suspects,
            takeovers: watch::Sender::new(0),
        });
        if !shared.assign(&found).await {
            return Err(StoreError::Unavailable);
        }
        let weak = Arc::downgrade(&shared);
        let announced = move |sentinel: Address| -> BoxFuture<'static, ()> {
            if let Some(shared) = weak.upgrade() {
                shared.suspect(&sentinel);
            }
            Box::pin(async {})
        };
        let mut tasks = follow_all(&shared.url, announced);
        tasks.push(tokio::spawn(search(shared.clone(), reports)).abort_handle());
        Ok(Self { shared, tasks })
    }

    /// Executes a request in a task of its own.
    pub(super) fn push(&self, request: Request, traffic: Traffic) {
        let Some(commands) = request.arguments() else {
            request.finish(Err(StoreError::Unexpected("requests of a seat need lanes".to_owned())));
            return;
        };
        let Some(place) = Place::take(&self.shared, traffic) else {
            request.finish(Err(refusal("full")));
            return;
        };
        tokio::spawn(async move {
            let mut request = request;
            let outcome = place.shared.execute(&mut request, &commands, traffic).await;
            // The place is free when the caller goes on.
            drop(place);
            match outcome {
                Some(outcome) => request.finish(outcome),
                None => request.count_abandoned(),
            }
        });
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.shared.url
    }

    pub(super) fn context(&self) -> &Context {
        &self.shared.context
    }

    pub(super) fn takeovers(&self) -> watch::Receiver<u64> {
        self.shared.takeovers.subscribe()
    }

    pub(super) fn server_of_each(&self) -> Vec<usize> {
        self.shared.map().owners
    }

    pub(super) fn one_of_each_server(&self) -> Vec<Partition> {
        let Map { servers, owners } = self.shared.map();
        let first = |server| owners.iter().position(|&owner| owner == server);
        let first = (0..servers.len()).filter_map(first).filter_map(|partition| u16::try_from(partition).ok());
        first.map(Partition).collect()
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// One of the [`LaneOptions::queue_max`](crate::LaneOptions::queue_max) places for requests.
struct Place {
    shared: Arc<Shared>,
    depth: metrics::Gauge,
}

impl Place {
    fn take(shared: &Arc<Shared>, traffic: Traffic) -> Option<Self> {
        let depth = match traffic {
            Traffic::Requests => metrics::gauge!("switchboard_redis_lane_queue_depth"),
            Traffic::LargeReads => metrics::gauge!("switchboard_redis_read_lane_queue_depth"),
        };
        depth.increment(1.0);
        let place = Self { shared: shared.clone(), depth };
        let waiting = shared.waiting.fetch_add(1, Ordering::Relaxed);
        (waiting < shared.context.options.lanes.queue_max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        self.depth.decrement(1.0);
    }
}

impl Shared {
    /// Makes attempts until the request has an outcome, or its time is over. `None` if its caller
    /// is gone.
    async fn execute(
        &self,
        request: &mut Request,
        commands: &[Arguments],
        traffic: Traffic,
    ) -> Option<Result<Vec<redis::Value>, StoreError>> {
        let deadline = Instant::now() + self.queue_time();
        let mut backoff = BACKOFF_MIN;
        loop {
            if request.is_abandoned() {
                return None;
            }
            let server = self.server_of(request.partition);
            let reason = match self.attempt(&server, commands, traffic, deadline).await {
                Ok(values) => match failure(&values) {
                    None => {
                        count(request, "answered");
                        return Some(Ok(values));
                    }
                    Some(Failure::Final(error)) => {
                        count(request, "error");
                        return Some(Err(error));
                    }
                    Some(Failure::Retry(reason, cause)) => {
                        if let Some(cause) = cause {
                            self.url.failed(Purpose::Requests, &server.address, &cause);
                        }
                        reason
                    }
                },
                // The server logs why its connections fail.
                Err(_) => RetryReason::NotServing,
            };
            let mut next_backoff = || {
                let pause = backoff;
                backoff = (pause * 2).min(BACKOFF_MAX);
                pause
            };
            let pause = match reason {
                RetryReason::NoScript => {
                    let loaded = self.load(&server, commands, traffic, deadline).await;
                    if loaded { Duration::ZERO } else { next_backoff() }
                }
                RetryReason::SlotMoving => SLOT_MOVE_INTERVAL,
                RetryReason::SlotMoved => {
                    self.suspect(&server.address);
                    SLOT_MOVE_INTERVAL
                }
                RetryReason::RefusedNow => next_backoff(),
                RetryReason::NotServing => {
                    self.suspect(&server.address);
                    next_backoff()
                }
            };
            drop(server);
            if Instant::now() + pause >= deadline {
                return Some(Err(refusal("late")));
            }
            count(request, "repeated");
            sleep(pause).await;
        }
    }

    /// Sends the commands once. Waits for a connection, because `fred` keeps commands without a
    /// bound while it has none.
    async fn attempt(
        &self,
        server: &Server,
        commands: &[Arguments],
        traffic: Traffic,
        deadline: Instant,
    ) -> Result<Vec<redis::Value>, Lost> {
        let client = timeout_at(deadline, server.client(traffic)).await.map_err(|_| Lost)?;
        let started = Instant::now();
        let sent = attempt::send(client, commands, deadline.saturating_duration_since(started)).await;
        metrics::histogram!("switchboard_redis_pipeline_seconds").record(started.elapsed().as_secs_f64());
        sent
    }

    /// Loads the scripts that the commands run. Returns whether Redis has loaded them.
    async fn load(&self, server: &Server, commands: &[Arguments], traffic: Traffic, deadline: Instant) -> bool {
        let loads = loads(commands, &self.context.hashes);
        let Ok(replies) = self.attempt(server, &loads, traffic, deadline).await else { return false };
        let refused = replies.iter().find(|reply| matches!(reply, redis::Value::ServerError(_)));
        if let Some(reply) = refused {
            let cause = ConnectionError::refused("SCRIPT LOAD", reply);
            self.url.failed(Purpose::Requests, &server.address, &cause);
        }
        refused.is_none()
    }

    fn queue_time(&self) -> Duration {
        self.context.options.lanes.queue_time
    }

    fn map(&self) -> Map {
        // No code under the lock panics half-way through a change.
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn server_of(&self, partition: Partition) -> Arc<Server> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.servers[map.owners[usize::from(partition.0)]].clone()
    }

    /// Reports a server that does not serve, or a Sentinel that announced a failover.
    fn suspect(&self, address: &Address) {
        // A full channel has enough reports for a search.
        let _ = self.suspects.try_send(address.clone());
    }

    /// Assigns each partition to its server. Connects to new servers, and closes the connections to
    /// those without a partition. Returns whether it could: the certificates may be unreadable.
    async fn assign(self: &Arc<Self>, addresses: &[Address]) -> bool {
        let _changing = self.changing.lock().await;
        let before = self.map();
        let mut after = Map::default();
        for address in addresses {
            let known = after.servers.iter().position(|server| server.address == *address);
            let owner = match known {
                Some(owner) => owner,
                None => {
                    let kept = before.servers.iter().find(|server| server.address == *address);
                    let server = match kept {
                        Some(server) => server.clone(),
                        None => match Server::start(self, address).await {
                            Some(server) => server,
                            None => return false,
                        },
                    };
                    after.servers.push(server);
                    after.servers.len() - 1
                }
            };
            after.owners.push(owner);
        }
        let servers = |map: &Map| -> Vec<Address> {
            map.owners.iter().map(|&owner| map.servers[owner].address.clone()).collect()
        };
        if !before.owners.is_empty() && servers(&before) != servers(&after) {
            metrics::counter!("switchboard_redis_takeovers_total").increment(1);
            self.takeovers.send_modify(|count| *count += 1);
        }
        self.set_map(after);
        true
    }

    /// Replaces the connections to a server, if it still has a partition.
    async fn replace(self: &Arc<Self>, address: &Address) {
        let _changing = self.changing.lock().await;
        let mut map = self.map();
        let Some(server) = map.servers.iter_mut().find(|server| server.address == *address) else { return };
        if let Some(replacement) = Server::start(self, address).await {
            *server = replacement;
            self.set_map(map);
        }
    }

    fn set_map(&self, map: Map) {
        let before = std::mem::replace(&mut *self.map.write().unwrap_or_else(PoisonError::into_inner), map);
        // Outside of the lock.
        drop(before);
    }
}

/// Finds the servers again after each report. One search at a time, so that many requests that fail
/// together search once.
async fn search(shared: Arc<Shared>, mut reports: mpsc::Receiver<Address>) {
    while let Some(suspect) = reports.recv().await {
        if *shared.url.deployment() != Deployment::Standalone {
            let serving = shared.map().servers;
            let serving = serving.iter().map(|server| &server.address);
            let known = search_order(serving.chain(shared.url.hosts()), &suspect);
            if let Some(found) = locate(&shared.url, &known, &slots(&shared.context)).await {
                shared.assign(&found).await;
            }
        }
        while reports.try_recv().is_ok() {}
        sleep(REFRESH_INTERVAL).await;
    }
}

fn count(request: &Request, outcome: &'static str) {
    metrics::counter!("switchboard_redis_calls_total", "script" => request.name, "outcome" => outcome).increment(1);
}

/// Counts a refusal.
fn refusal(reason: &'static str) -> StoreError {
    metrics::counter!("switchboard_redis_lane_refused_total", "reason" => reason).increment(1);
    StoreError::Unavailable
}
