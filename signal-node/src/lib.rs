//! A signaling node.

pub mod outbox;
pub mod transport;
