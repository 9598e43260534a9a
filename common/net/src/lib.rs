//! Bounds on the TCP connections of clients, and the clients' addresses, for every server; and HTTP
//! to servers that operators name.
//!
//! | file | content |
//! |---|---|
//! | `client_addresses` | `ClientAddresses`: addresses of clients behind proxies |
//! | `listen` | listener whose connections have small buffers in the kernel |
//! | `counts` | `Counts`: open connections and the like, in total and by key |
//! | `metric_catalog` | metrics of this crate |
//! | `connections` | `Connections`: the connections of a server, of which idle ones make room |
//! | `rate_table` | `RateTable`: one rate limit by network, in bounded memory |
//! | `requests` | `Requests`: whether a connection serves a request |
//! | `bounded_stream` | `BoundedStream`: a TCP stream whose reads and writes have timeouts |
//! | `refuse` | tells a client that a bound is reached |
//! | `outbound` | HTTP to other servers: trusted certificates, and causes of failures |

mod bounded_stream;
mod client_addresses;
mod connections;
mod counts;
mod listen;
pub mod metric_catalog;
pub mod outbound;
mod rate_table;
mod refuse;
mod requests;

pub use bounded_stream::{BoundedStream, ConnectionTimeouts, HeadTimeout};
pub use client_addresses::ClientAddresses;
pub use connections::{ConnectionMetrics, ConnectionSlot, Connections};
pub use counts::{Counts, Full, Permit};
pub use listen::listen;
pub use rate_table::RateTable;
pub use refuse::refuse;
pub use requests::{RequestInProgress, Requests, Tracked};
