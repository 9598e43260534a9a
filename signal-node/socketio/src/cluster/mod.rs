//! The nodes that share one public address.
//!
//! | file | content |
//! |---|---|
//! | `peers` | [`Peers`]: signed session ids and signed requests between nodes; [`PeerDirectory`] |
//! | `health` | health checks between nodes |

mod health;
mod peers;

pub(crate) use health::HEALTH_PATH;
pub(crate) use peers::{FORWARDED_HEADERS, SIGNATURE_HEADER, random_sid};
pub use peers::{PeerDirectory, Peers};
