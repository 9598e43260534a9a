//! Rooms on Redis: what everybody else calls. Each call is one script (or plain reads) in the lane of the room's partition.

mod chat;
mod nodes;
mod orders;
mod outbox;
mod rates;
mod revoked;
mod rooms;
mod seats;
mod stats;
mod survey;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::try_join_all;
use redis::{Cmd, Value, cmd};
use tokio::sync::{oneshot, watch};

use super::call::{Call, Request};
use super::context::Context;
use super::reply::{Words, items, text, unexpected};
use super::topology::Topology;
use super::*;
use crate::conn::RedisUrl;
use switchboard_core::domain::{NodeId, RoomId};

/// Called once with an operation's answer, in the order of the seat's operations. It must not block.
pub type Done = Box<dyn FnOnce(Result<OpReply, StoreError>) + Send>;

/// The store. Cheap to clone; when the last clone is dropped its connections close.
#[derive(Clone)]
pub struct Rooms {
    inner: Arc<Inner>,
}

struct Inner {
    topology: Arc<Topology>,
    context: Arc<Context>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.topology.stop();
    }
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").field("node", &self.inner.context.node).finish_non_exhaustive()
    }
}

impl Rooms {
    /// Connects to Redis. `node` names this process; only `beat` registers it, so an api's pod has a name too.
    ///
    /// # Errors
    /// `Unavailable` when Redis does not answer.
    pub async fn connect(url: &RedisUrl, options: RoomOptions, node: NodeId) -> Result<Self, StoreError> {
        let context = Arc::new(Context::new(options, node));
        let topology = Topology::start(url.clone(), context.clone()).await?;
        let rooms = Self { inner: Arc::new(Inner { topology, context }) };
        rooms.ping().await?;
        Ok(rooms)
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.context().keys.partitions()
    }

    /// The partition of a room.
    #[must_use]
    pub fn partition_of(&self, room: &RoomId) -> Partition {
        self.context().keys.partition_of(room)
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &RoomOptions {
        &self.context().options
    }

    /// Sends an operation; pipelined, and in order for each seat.
    pub fn submit(&self, seat: &Arc<Seat>, op: Op, done: Done) {
        let name = match op.kind {
            OpKind::Relay { .. } => "relay",
            OpKind::Broadcast => "bcast",
            OpKind::Media(_) => "media",
            OpKind::Chat(_) => "chat",
        };
        let topology = Arc::downgrade(&self.inner.topology);
        let answer = move |result: Result<Vec<Value>, StoreError>| {
            let reply = result.and_then(op_reply);
            if let (Ok(OpReply::Logged { id, .. }), Some(topology)) = (&reply, topology.upgrade()) {
                topology.seen_ms.fetch_max(id.ms, Ordering::Relaxed);
            }
            done(reply);
        };
        let request = Request::Op { seat: seat.clone(), op: Box::new(op), number: 0 };
        self.push(Call::new(self.partition_of(&seat.room), name, request, Box::new(answer)));
    }

    /// Changes whenever another server, or another run of one, has taken over partitions. It may lack what was written last: a node then
    /// verifies its seats with `reseat`. (A server that lost everything shows by its epoch, too.)
    #[must_use]
    pub fn takeovers(&self) -> watch::Receiver<u64> {
        self.inner.topology.takeovers.subscribe()
    }

    /// Whether every shard in use answers.
    ///
    /// # Errors
    /// `Unavailable` when one does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let shards = self.inner.topology.queues.one_of_each_lane();
        try_join_all(shards.into_iter().map(|p| self.plain(p, "ping", vec![cmd("PING")]))).await?;
        Ok(())
    }

    /// `noeviction` when every shard has that `maxmemory-policy`, else the first other one: then rooms could vanish, and a node is not
    /// ready.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn policy(&self) -> Result<String, StoreError> {
        let ask = |p| {
            let mut command = cmd("CONFIG");
            command.arg("GET").arg("maxmemory-policy");
            self.plain(p, "config", vec![command])
        };
        let shards = self.inner.topology.queues.one_of_each_lane();
        for answer in try_join_all(shards.into_iter().map(ask)).await? {
            let policy = items(answer.first())?.get(1).and_then(text).ok_or_else(|| unexpected("a policy"))?;
            if policy != "noeviction" {
                return Ok(policy.to_owned());
            }
        }
        Ok("noeviction".to_owned())
    }

    /// How full the fullest shard is, from 0 to 1; 0 where no `maxmemory` is set. A full one refuses every write.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn memory_used_ratio(&self) -> Result<f64, StoreError> {
        let ask = |p| {
            let mut command = cmd("INFO");
            command.arg("memory");
            self.plain(p, "info", vec![command])
        };
        let shards = self.inner.topology.queues.one_of_each_lane();
        let answers = try_join_all(shards.into_iter().map(ask)).await?;
        let used = answers.iter().map(|answer| answer.first().and_then(text).map_or(0.0, used_ratio));
        Ok(used.fold(0.0, f64::max))
    }

    fn context(&self) -> &Context {
        &self.inner.context
    }

    fn push(&self, call: Call) {
        self.inner.topology.queues.push(call);
    }

    /// Sends a call and waits. `shape` may make it a barrier.
    async fn ask(
        &self,
        p: Partition,
        name: &'static str,
        commands: Vec<Cmd>,
        shape: impl FnOnce(Call) -> Call,
    ) -> Result<Vec<Value>, StoreError> {
        let (sender, answer) = oneshot::channel();
        let tell = move |result| {
            // The caller may have gone; the call was made all the same.
            let _ = sender.send(result);
        };
        self.push(shape(Call::new(p, name, Request::Fixed(commands), Box::new(tell))));
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Plain commands, answered one by one.
    async fn plain(&self, p: Partition, name: &'static str, commands: Vec<Cmd>) -> Result<Vec<Value>, StoreError> {
        self.ask(p, name, commands, |call| call).await
    }

    /// One script.
    async fn run(&self, p: Partition, name: &'static str, command: Cmd) -> Result<Words, StoreError> {
        Words::of(self.plain(p, name, vec![command]).await?)
    }
}

/// Reads the answer to `INFO memory`.
fn used_ratio(info: &str) -> f64 {
    let field = |name: &str| -> f64 {
        info.lines().find_map(|line| line.strip_prefix(name)).and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    };
    let most = field("maxmemory:");
    if most > 0.0 { field("used_memory:") / most } else { 0.0 }
}

fn op_reply(values: Vec<Value>) -> Result<OpReply, StoreError> {
    let words = Words::of(values)?;
    Ok(match words.word() {
        "OK" => OpReply::Logged { id: words.id(1)?, duplicate: false },
        "DUP" => match words.text(2)? {
            "" => OpReply::Logged { id: words.id(1)?, duplicate: true },
            note => OpReply::Known { id: words.id(1)?, note: note.into() },
        },
        "NOPEER" => OpReply::NoPeer,
        "DENIED" => OpReply::Denied,
        "OFF" => OpReply::Off(words.text(1)?.into()),
        "FULL" => OpReply::Full,
        // A gap with nothing of the seat's before it: Redis lost operations. The client resumes under a new generation.
        "STALE" | "GAP" => OpReply::Stale,
        _ => return Err(words.unknown()),
    })
}
