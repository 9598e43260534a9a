//! Nodes and rooms as operators see them.

use switchboard_core::domain::RoomId;

use super::RoomPeek;

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSummary {
    /// Name.
    pub name: String,
    /// Number of partitions in which the node is registered.
    pub partitions: u16,
    /// Number of seats that the node serves.
    pub seats: u64,
}

/// An open room.
#[derive(Clone, Debug)]
pub struct RoomSummary {
    /// Room id.
    pub room: RoomId,
    /// State of the room.
    pub peek: RoomPeek,
}

/// `maxmemory-policy` of the shards of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// `noeviction` on each shard.
    NoEviction,
    /// A shard has another policy, so rooms can vanish.
    Evicts(String),
    /// Redis denies the question.
    Unknown,
}
