//! Bounds on the work and the memory that clients can cause. A cost is counted before it is paid.
//!
//! | file | content |
//! |---|---|
//! | `network` | `ClientNetwork`: the unit by which addresses are counted |
//! | `counts` | `Counts`: open sockets, connections or hand-overs, in total and by key |
//! | `rate_table` | `RateTable`: one rate limit by network, in bounded memory |
//! | `frames` | `FrameMeter`: frames of one socket, in a second and in a turn |

mod counts;
mod frames;
mod network;
mod rate_table;

pub(crate) use counts::{Counts, Full, Permit};
pub(crate) use frames::FrameMeter;
pub(crate) use network::ClientNetwork;
pub(crate) use rate_table::RateTable;
