//! A seat that this process holds.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use switchboard_core::domain::{Generation, PeerId, RoomId, SessionHandle};

/// A seat that this process holds. Every operation of a seated session names it. The generation is
/// a fence: after Redis raised it, operations with the old one get `Stale`. `op` numbers the
/// operations. Only the lane changes it, when it writes an operation for the first time, so that
/// operations that were never sent leave no missing number.
#[derive(Debug)]
pub struct Seat {
    /// Room.
    pub room: RoomId,
    /// Peer id of the participant.
    pub peer: PeerId,
    /// Generation that join or attach gave.
    pub generation: Generation,
    /// Session that holds the seat, within this node.
    pub handle: SessionHandle,
    /// Number of the last operation that was written to Redis.
    pub op: AtomicU64,
    /// Bytes of the operations that were written since the last one that trims the log.
    untrimmed: AtomicU64,
}

/// Number of an operation, and its part in keeping the log within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OperationNumber {
    /// Number.
    pub(crate) number: u64,
    /// Bytes that the seat has sent since it last trimmed the log, if this operation trims it.
    pub(crate) bytes_to_trim: Option<u64>,
}

/// Number of operations of a seat after which the log is trimmed.
const OPERATIONS_PER_TRIM: u64 = 32;
/// Bytes of operations of a seat after which the log is trimmed.
const BYTES_PER_TRIM: u64 = 64 * 1024;

/// Returns the Socket.IO id of the session with this hashed private id. It is the same after each
/// resume, and does not reveal the private id.
#[must_use]
pub fn socket_id(pid: &str) -> String {
    hex::encode(&Sha256::digest(format!("sid:{pid}"))[..10])
}

impl Seat {
    /// Creates a seat that has sent no operation.
    #[must_use]
    pub fn new(room: RoomId, peer: PeerId, generation: Generation, handle: SessionHandle) -> Self {
        Self { room, peer, generation, handle, op: AtomicU64::new(0), untrimmed: AtomicU64::new(0) }
    }

    /// Numbers the next operation, which takes this number of bytes in the log. Which operations
    /// trim the log depends on the generation, so that many seats do not trim together. Only the
    /// lane calls this.
    pub(crate) fn next_operation(&self, bytes: usize) -> OperationNumber {
        let number = self.op.fetch_add(1, Ordering::Relaxed) + 1;
        let sent = self.untrimmed.load(Ordering::Relaxed) + bytes as u64;
        let trims = (self.generation + number).is_multiple_of(OPERATIONS_PER_TRIM) || sent >= BYTES_PER_TRIM;
        self.untrimmed.store(if trims { 0 } else { sent }, Ordering::Relaxed);
        OperationNumber { number, bytes_to_trim: trims.then_some(sent) }
    }
}
