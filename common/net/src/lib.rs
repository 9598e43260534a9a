//! Bounds on the TCP connections of clients, and the clients' addresses, for every server.
//!
//! | file | content |
//! |---|---|
//! | `client_addresses` | `ClientAddresses`: addresses of clients behind proxies |
//! | `counts` | `Counts`: open connections and the like, in total and by key |
//! | `metric_catalog` | metrics of this crate |
//! | `refuse` | tells a client that a bound is reached |
//! | `write_timeout` | `WriteTimeoutStream`: a TCP stream whose writes have a timeout |

mod client_addresses;
mod counts;
pub mod metric_catalog;
mod refuse;
mod write_timeout;

pub use client_addresses::ClientAddresses;
pub use counts::{Counts, Full, Permit};
pub use refuse::refuse;
pub use write_timeout::WriteTimeoutStream;
