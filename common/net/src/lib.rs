//! Bounds on the TCP connections of clients, for every server.
//!
//! | file | content |
//! |---|---|
//! | `client_network` | `ClientNetwork`: the unit by which addresses are counted |
//! | `counts` | `Counts`: open connections and the like, in total and by key |
//! | `write_timeout` | `WriteTimeoutStream`: a TCP stream whose writes have a timeout |

mod client_network;
mod counts;
mod write_timeout;

pub use client_network::ClientNetwork;
pub use counts::{Counts, Full, Permit};
pub use write_timeout::WriteTimeoutStream;
