//! A seat that this process holds.

use std::sync::atomic::AtomicU64;

use switchboard_core::domain::{Generation, PeerId, RoomId, SessionHandle};

/// A seat that this process holds. Every operation of a seated session names it.
///
/// The generation is a fence: after Redis raised it, operations with this one are answered `Stale`.
/// `op` numbers the operations. Only the lane changes it, when it writes an operation for the first
/// time, so that operations that were never sent leave no hole in the numbers.
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
}

impl Seat {
    /// Creates a seat that has sent no operation.
    #[must_use]
    pub fn new(room: RoomId, peer: PeerId, generation: Generation, handle: SessionHandle) -> Self {
        Self { room, peer, generation, handle, op: AtomicU64::new(0) }
    }
}
