//! Delivers the events of rooms to the sessions of this node.
//!
//! | file | content |
//! |---|---|
//! | `subscription` | entry point: passes each message of the bus to `catch_up` or `hub` |
//! | `hub` | sessions by partition and room; finds the receivers of an envelope |
//! | `session_link` | one session in a room: lock and send queue around `session_state` |
//! | `session_state` | pure: which events a session gets, in which order; when to read the log |
//! | `incoming` | events on their way to a session, from an envelope or from the log |
//! | `replica` | this node's copy of a seat and of its call |
//! | `catch_up` | reads room logs after a subscription gap, an admission or a repeated join |
//! | `joined_snapshot` | makes `room:joined` from the room as Redis has it |
//! | `mutation` | the rules by name, which tests switch off |
//! | `simulator` | tests: this code and the real scripts under random faults |
//! | `room_reads` | reads of large rooms that entering sessions share |
//! | `packets` | Socket.IO packets of events; closing a client's connection |
//!
//! An event goes through the files in this order: `subscription`, `catch_up`, `hub`,
//! `session_link`, `session_state`, `packets`. `catch_up` imports all others; `packets` and
//! `replica` import none.

mod catch_up;
mod hub;
mod incoming;
mod joined_snapshot;
mod mutation;
mod packets;
mod replica;
mod room_reads;
mod session_link;
mod session_state;
mod subscription;

pub use catch_up::{CatchUp, ReadPermits};
pub use hub::{Canary, Hub};
pub use joined_snapshot::{JoinedPayload, JoinedSnapshot, SharedSnapshot, acknowledged_fields};
pub use packets::{close, packet, transport_reason};
pub use replica::SeatReplica;
pub use room_reads::RoomReads;
pub use session_link::{CatchUpRequest, SessionLink};
pub use session_state::DeliveryStart;
pub use subscription::sink;

#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;
