//! Bounds on the TCP connections of clients, for every server.
//!
//! | file | content |
//! |---|---|
//! | `counts` | `Counts`: open connections and the like, in total and by key |
//! | `refuse` | tells a client that a bound is reached |
//! | `write_timeout` | `WriteTimeoutStream`: a TCP stream whose writes have a timeout |

mod counts;
mod refuse;
mod write_timeout;

pub use counts::{Counts, Full, Permit};
pub use refuse::refuse;
pub use write_timeout::WriteTimeoutStream;
