//! The store: [`Rooms`]. Each method is one script or plain reads, on the server of the room's
//! partition. It turns its arguments into a script's struct and the reply into a value.
//!
//! | file | content |
//! |---|---|
//! | `apps` | participants and rooms of apps |
//! | `chat` | chat history, ephemeral events, events of an app's backend |
//! | `claim` | seats that Redis gave and no session has taken over yet |
//! | `inspection` | nodes and rooms for operators |
//! | `large_rooms` | rooms that are known to be large |
//! | `log_pages` | a room's log, read in pages |
//! | `members` | seats: join, attach, detach, leave, reseat |
//! | `moderation` | commands of hosts, moderators and operators |
//! | `nodes` | heartbeats, sweeps, deadlines, addresses |
//! | `outbox` | facts and the lease of their owner |
//! | `rates` | requests against rates |
//! | `revoked` | revoked sign-ins |
//! | `room_log` | a room's log as a node has read it, and the part for each session |
//! | `rooms` | rooms as a whole: peek, open, read, end |

mod apps;
mod chat;
mod claim;
mod inspection;
mod large_rooms;
mod log_pages;
mod members;
mod moderation;
mod nodes;
mod outbox;
mod rates;
mod revoked;
mod room_log;
mod rooms;

pub use room_log::RoomLog;

use std::sync::Arc;

use futures_util::future::try_join_all;
use redis::{Cmd, Value, cmd};
use switchboard_core::domain::{NodeId, RoomId};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot, watch};
use tokio::time::timeout;

use self::large_rooms::LargeRooms;
use crate::conn::connection::is_denial;
use crate::conn::{OptionalCommand, RedisUrl};
use crate::context::Context;
use crate::executor::Executor;
use crate::lanes::{Commands, Payload, Request};
use crate::scripts::{Reply, ScriptArguments, operation_reply};
use crate::values::text;
use crate::{EvictionPolicy, Op, OpKind, OpReply, Partition, RoomOptions, Seat, StoreError};

/// Sessions of this node that read a room's log at the same time, because they resume. Each holds a
/// page of 128 KiB and at most 1 MiB of missed events.
const REPLAYS_IN_FLIGHT_MAX: usize = 64;

/// Called once with an operation's reply, in the order of the seat's operations. It must not block.
pub type OnReply = Box<dyn FnOnce(Result<OpReply, StoreError>) + Send>;

/// The store. Cheap to clone. Its connections close when the last clone is dropped.
#[derive(Clone)]
pub struct Rooms {
    inner: Arc<Inner>,
}

struct Inner {
    executor: Arc<Executor>,
    context: Arc<Context>,
    large_rooms: LargeRooms,
    /// Permits to read a log for a session that resumes.
    replays: Semaphore,
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").field("node", &self.inner.context.node).finish_non_exhaustive()
    }
}

impl Rooms {
    /// Connects to Redis as nodes do, by lanes. `node` names this process; only `beat` and
    /// `check_node` register a node.
    ///
    /// # Errors
    /// `Unavailable`, if Redis does not answer.
    pub async fn connect(url: &RedisUrl, options: RoomOptions, node: NodeId) -> Result<Self, StoreError> {
        let context = Arc::new(Context::new(options, node));
        Self::with(Executor::lanes(url, &context).await?, context).await
    }

    /// Connects to Redis as api pods do, by the library `fred`. Methods that take, keep, use or
    /// free a seat for a session answer `Unexpected`, because they need lanes.
    ///
    /// # Errors
    /// `Unavailable`, if Redis does not answer.
    pub async fn connect_with_fred(url: &RedisUrl, options: RoomOptions, node: NodeId) -> Result<Self, StoreError> {
        let context = Arc::new(Context::new(options, node));
        Self::with(Executor::fred(url, &context).await?, context).await
    }

    async fn with(executor: Executor, context: Arc<Context>) -> Result<Self, StoreError> {
        let (executor, large_rooms) = (Arc::new(executor), LargeRooms::default());
        let replays = Semaphore::new(REPLAYS_IN_FLIGHT_MAX);
        let rooms = Self { inner: Arc::new(Inner { executor, context, large_rooms, replays }) };
        rooms.ping().await?;
        Ok(rooms)
    }

    /// Returns the number of partitions.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.context().keys.partitions()
    }

    /// Returns the partition of a room.
    #[must_use]
    pub fn partition_of(&self, room: &RoomId) -> Partition {
        self.context().keys.partition_of(room)
    }

    /// Returns the partition of what is counted for a subject.
    pub(crate) fn partition_of_subject(&self, subject: &str) -> Partition {
        self.context().keys.partition_of_subject(subject)
    }

    /// Returns the options of the store.
    #[must_use]
    pub fn options(&self) -> &RoomOptions {
        &self.context().options
    }

    /// Sends an operation, pipelined and in order for each seat, and returns immediately.
    pub fn submit(&self, seat: &Arc<Seat>, op: Op, on_reply: OnReply) {
        let name = match op.kind {
            OpKind::Relay { .. } => "relay",
            OpKind::Broadcast => "bcast",
            OpKind::Media(_) => "media",
            OpKind::Hand { .. } => "hand",
            OpKind::Chat(_) => "chat",
        };
        let executor = Arc::downgrade(&self.inner.executor);
        let answer = move |result: Result<Vec<Value>, StoreError>| {
            let reply = result.and_then(|answers| operation_reply(&Reply::from_answers(answers)?));
            if let (Ok(OpReply::Logged { id, .. }), Some(executor)) = (&reply, executor.upgrade()) {
                executor.saw(*id);
            }
            on_reply(reply);
        };
        let payload = Payload::Operation { seat: seat.clone(), op: Box::new(op), number: None };
        self.push(Request::new(self.partition_of(&seat.room), name, payload, Box::new(answer)));
    }

    /// Returns a count that changes when another server, or another run of one, takes over
    /// partitions. That server may lack the last writes, so the node verifies its seats with
    /// `reseat`. A server that lost all data also shows a new epoch. With `fred`, another run of
    /// the same server is not counted.
    #[must_use]
    pub fn takeovers(&self) -> watch::Receiver<u64> {
        self.inner.executor.takeovers()
    }

    /// Returns the lane of each partition, or the pool with `fred`. Partitions with the same lane
    /// are on the same server, as far as this process knows.
    #[must_use]
    pub fn lanes(&self) -> Vec<usize> {
        self.inner.executor.server_of_each()
    }

    /// Asks every shard in use for a reply.
    ///
    /// # Errors
    /// `Unavailable`, if one does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask_shards("ping", &cmd("PING")).await.map(drop)
    }

    /// Returns the `maxmemory-policy` of the shards: the first that may lose rooms, if one does. A
    /// node with such a policy is not ready.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn eviction_policy(&self) -> Result<EvictionPolicy, StoreError> {
        let Some(answers) = self.memory_info().await? else { return Ok(EvictionPolicy::Unknown) };
        for answer in &answers {
            match text(answer).and_then(|info| info_field(info, "maxmemory_policy:")) {
                Some("noeviction") => {}
                Some(other) => return Ok(EvictionPolicy::Evicts(other.to_owned())),
                None => {
                    let reason = "INFO memory has no maxmemory_policy";
                    self.inner.executor.url().denied(OptionalCommand::InfoMemory, reason);
                    return Ok(EvictionPolicy::Unknown);
                }
            }
        }
        Ok(EvictionPolicy::NoEviction)
    }

    /// Returns the used share of `maxmemory` of the fullest shard, from 0 to 1; 0 without a
    /// `maxmemory`. A full shard refuses every write. `None` if Redis denies the question.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn memory_used_ratio(&self) -> Result<Option<f64>, StoreError> {
        let Some(answers) = self.memory_info().await? else { return Ok(None) };
        let used = answers.iter().map(|answer| text(answer).map_or(0.0, used_ratio));
        Ok(Some(used.fold(0.0, f64::max)))
    }

    /// Returns `INFO memory` of every shard in use. `None` if Redis denies it: then it is not asked
    /// again before this process restarts, so that no probe causes an error each second.
    async fn memory_info(&self) -> Result<Option<Vec<Value>>, StoreError> {
        let url = self.inner.executor.url();
        if url.is_denied(OptionalCommand::InfoMemory) {
            return Ok(None);
        }
        match self.ask_shards("info", cmd("INFO").arg("memory")).await {
            Err(StoreError::Unexpected(reason)) if is_denial(&reason) => {
                url.denied(OptionalCommand::InfoMemory, &reason);
                Ok(None)
            }
            answers => answers.map(Some),
        }
    }

    /// Sends a command to every shard in use. Returns one answer for each.
    async fn ask_shards(&self, name: &'static str, command: &Cmd) -> Result<Vec<Value>, StoreError> {
        let shards = self.inner.executor.one_of_each_server();
        let commands = std::slice::from_ref(command);
        let answers = try_join_all(shards.into_iter().map(|p| self.plain(p, name, commands))).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    fn context(&self) -> &Context {
        &self.inner.context
    }

    fn large_rooms(&self) -> &LargeRooms {
        &self.inner.large_rooms
    }

    /// Waits for a permit to read a log for a session that resumes.
    ///
    /// # Errors
    /// `Unavailable`, if there is none within the time that a request may wait for Redis.
    async fn replay_permit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let limit = self.options().lanes.queue_time;
        match timeout(limit, self.inner.replays.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                metrics::counter!("switchboard_replays_refused_total").increment(1);
                Err(StoreError::Unavailable)
            }
        }
    }

    fn push(&self, request: Request) {
        self.inner.executor.push(request);
    }

    /// Sends a request and waits for its replies. `shape` may make the request wait for operations.
    async fn ask(
        &self,
        p: Partition,
        name: &'static str,
        commands: Commands,
        shape: impl FnOnce(Request) -> Request,
    ) -> Result<Vec<Value>, StoreError> {
        let (sender, answer) = oneshot::channel();
        let on_answer = move |result| {
            // The caller may be gone. The request takes effect all the same.
            let _ = sender.send(result);
        };
        self.push(shape(Request::new(p, name, Payload::Commands(commands), Box::new(on_answer))));
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Sends plain commands. Returns one answer for each.
    async fn plain(&self, p: Partition, name: &'static str, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        self.ask(p, name, commands.iter().collect(), |request| request).await
    }

    /// Sends plain commands whose answers are large, on connections of their own. They may overtake
    /// requests whose answers were not waited for. A caller that is dropped takes its waiting
    /// request out of the queue. Returns one answer for each.
    async fn read_large(&self, p: Partition, name: &'static str, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        let (sender, answer) = oneshot::channel();
        let on_answer = move |result| {
            // The caller may be gone.
            let _ = sender.send(result);
        };
        let payload = Payload::Commands(commands.iter().collect());
        // Dropped with this future, and with it the request if it still waits.
        let caller = Arc::new(());
        let request = Request::new(p, name, payload, Box::new(on_answer)).read_for(&caller);
        self.inner.executor.push_large_read(request);
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Runs a script.
    async fn run<S: ScriptArguments>(&self, p: Partition, script: &S) -> Result<S::Reply, StoreError> {
        self.run_shaped(p, script, |request| request).await
    }

    /// Runs a script after the seat's operations.
    async fn run_after<S: ScriptArguments>(
        &self,
        p: Partition,
        script: &S,
        seat: &Arc<Seat>,
    ) -> Result<S::Reply, StoreError> {
        self.run_shaped(p, script, |request| request.after_operations_of(seat)).await
    }

    async fn run_shaped<S: ScriptArguments>(
        &self,
        p: Partition,
        script: &S,
        shape: impl FnOnce(Request) -> Request,
    ) -> Result<S::Reply, StoreError> {
        let commands = Commands::script(self.context(), script);
        S::parse(&Reply::from_answers(self.ask(p, S::SCRIPT.name(), commands, shape).await?)?)
    }
}

/// Returns the used share of `maxmemory` in a reply to `INFO memory`.
fn used_ratio(info: &str) -> f64 {
    let field = |name: &str| -> f64 { info_field(info, name).and_then(|value| value.parse().ok()).unwrap_or(0.0) };
    let max = field("maxmemory:");
    if max > 0.0 { field("used_memory:") / max } else { 0.0 }
}

/// Returns a field of a reply to `INFO`. `name` ends with a colon.
fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn random_hex() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Returns the present time of this process, for display only. Decisions use the Redis clock.
fn rfc3339_now() -> Result<String, StoreError> {
    OffsetDateTime::now_utc()
        .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"))
        .map_err(|_| StoreError::expected("a time that can be written"))
}
