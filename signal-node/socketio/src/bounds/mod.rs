//! Bounds on the work and the memory that clients can cause. A cost is counted before it is paid.
//! `switchboard_net` counts open sockets, connections, hand-overs and requests.
//!
//! | file | content |
//! |---|---|
//! | `network_budget` | `NetworkBudget`: what a socket and its network may spend |
//! | `packet_rate` | `PacketRate`: rate of the packets of one socket |
//! | `frames` | `FrameMeter`: frames of one socket, in a second and in a turn |
//! | `messages` | `MessageBounds`: sizes of one client's messages, and slots for large ones |

mod frames;
mod messages;
mod network_budget;
mod packet_rate;

pub(crate) use frames::FrameMeter;
pub(crate) use messages::{LargeMessagePermit, MessageBounds, SharedMessageBounds};
pub use network_budget::NetworkBudget;
pub(crate) use network_budget::NetworkRates;
pub(crate) use packet_rate::RateDecision;
pub(crate) use switchboard_core::client_address::ClientNetwork;
pub(crate) use switchboard_net::{ConnectionSlot, Connections, Counts, Full, Permit, RateTable, refuse};
