//! Rooms on Redis: what everybody else calls.

use std::sync::Arc;
use std::time::Duration;

use super::types::*;
use crate::domain::{CallId, NodeId, PeerId, RoomId};
use crate::redis_client::RedisUrl;

/// Called once with an operation's answer, in the order of the seat's operations.
pub type Done = Box<dyn FnOnce(Result<OpReply, StoreError>) + Send>;

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rooms {
    options: Arc<RoomOptions>,
}

impl Rooms {
    /// Connects to Redis.
    ///
    /// # Errors
    /// `Unavailable` when Redis is not there.
    pub async fn connect(url: &RedisUrl, options: RoomOptions, node: NodeId) -> Result<Self, StoreError> {
        let _ = (url, node, options);
        Err(StoreError::Unavailable)
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.options.partitions
    }

    /// The partition of a room.
    #[must_use]
    pub fn partition_of(&self, room: &RoomId) -> Partition {
        let _ = room;
        Partition(0)
    }

    /// Sends an operation; pipelined, and in order for each seat.
    pub fn submit(&self, seat: &Arc<Seat>, op: Op, done: Done) {
        let _ = (seat, op);
        done(Err(StoreError::Unavailable));
    }

    /// Looks at a room without entering it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn door(&self, room: &RoomId) -> Result<Door, StoreError> {
        let _ = (room,);
        Err(StoreError::Unavailable)
    }

    /// Makes sure the room is there, with this meta or a newer one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open(&self, room: &RoomId, meta: &RoomMeta) -> Result<Opened, StoreError> {
        let _ = (room, meta);
        Err(StoreError::Unavailable)
    }

    /// Creates the room unless it exists, and tells the outbox (`details`: JSON of the call's record).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn create(&self, room: &RoomId, meta: &RoomMeta, details: &str) -> Result<Created, StoreError> {
        let _ = (room, meta, details);
        Err(StoreError::Unavailable)
    }

    /// The host ends the call from its seat.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_by(&self, seat: &Arc<Seat>, reason: &str) -> Result<Ended, StoreError> {
        let _ = (seat, reason);
        Err(StoreError::Unavailable)
    }

    /// Ends the call, whoever asks and whether or not the room is in Redis.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end(&self, room: &RoomId, call: &CallId, reason: &str) -> Result<Ended, StoreError> {
        let _ = (room, call, reason);
        Err(StoreError::Unavailable)
    }

    /// The room at this moment; `None` when it is not there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn snapshot(&self, room: &RoomId) -> Result<Option<Snapshot>, StoreError> {
        let _ = (room,);
        Err(StoreError::Unavailable)
    }

    /// What `peer` should have got after `after`; `None` when that is no longer all there: the session must start afresh.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn read(&self, room: &RoomId, peer: &PeerId, after: LogId) -> Result<Option<Vec<LogEntry>>, StoreError> {
        let _ = (room, peer, after);
        Err(StoreError::Unavailable)
    }

    /// Takes a seat.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn join(&self, join: Join) -> Result<Joined, StoreError> {
        let _ = (join,);
        Err(StoreError::Unavailable)
    }

    /// Resumes a seat.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn attach(&self, attach: Attach) -> Result<Attached, StoreError> {
        let _ = (attach,);
        Err(StoreError::Unavailable)
    }

    /// The socket of a seat was lost.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn detach(&self, seat: &Arc<Seat>) -> Result<Left, StoreError> {
        let _ = (seat,);
        Err(StoreError::Unavailable)
    }

    /// Gives up a seat. `reason`: `left`, ...
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn leave(&self, seat: &Arc<Seat>, reason: &str) -> Result<Left, StoreError> {
        let _ = (seat, reason);
        Err(StoreError::Unavailable)
    }

    /// Puts a seat back that Redis may have lost, from this node's copy.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn reseat(&self, seat: &Arc<Seat>, copy: &Reseat, meta: &RoomMeta) -> Result<Reseated, StoreError> {
        let _ = (seat, copy, meta);
        Err(StoreError::Unavailable)
    }

    /// This node lives. `first` registers it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn beat(&self, partition: Partition, counter: u64, first: bool) -> Result<Beaten, StoreError> {
        let _ = (partition, counter, first);
        Err(StoreError::Unavailable)
    }

    /// Declares a node dead whose counter still is `observed`, and turns its seats to `reconnecting`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sweep(&self, partition: Partition, node: &str, observed: u64) -> Result<Sweep, StoreError> {
        let _ = (partition, node, observed);
        Err(StoreError::Unavailable)
    }

    /// Deregisters this node if it holds no seat in the partition; says whether.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn retire(&self, partition: Partition) -> Result<bool, StoreError> {
        let _ = (partition,);
        Err(StoreError::Unavailable)
    }

    /// Ends what is due: seats past their grace, rooms empty for too long. How many.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expire_due(&self, partition: Partition) -> Result<usize, StoreError> {
        let _ = (partition,);
        Err(StoreError::Unavailable)
    }

    /// Takes or renews the lease of a partition's outbox; `false`: another has it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn own(&self, partition: Partition, token: &str, lease: Duration) -> Result<bool, StoreError> {
        let _ = (partition, token, lease);
        Err(StoreError::Unavailable)
    }

    /// Up to `count` facts after `after`, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn facts(
        &self,
        partition: Partition,
        after: Option<LogId>,
        count: usize,
    ) -> Result<Vec<Fact>, StoreError> {
        let _ = (partition, after, count);
        Err(StoreError::Unavailable)
    }

    /// Trims the outbox up to and with `upto`, while the lease holds; `false`: it is lost.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ack(&self, partition: Partition, token: &str, upto: LogId) -> Result<bool, StoreError> {
        let _ = (partition, token, upto);
        Err(StoreError::Unavailable)
    }

    /// Facts that wait.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn outbox_len(&self, partition: Partition) -> Result<u64, StoreError> {
        let _ = (partition,);
        Err(StoreError::Unavailable)
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        Err(StoreError::Unavailable)
    }

    /// The first `maxmemory-policy` found that is not `noeviction`, else that.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn policy(&self) -> Result<String, StoreError> {
        Err(StoreError::Unavailable)
    }
}
