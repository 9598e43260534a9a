//! The attacks.
//!
//! | file | what it spends |
//! |---|---|
//! | `sockets` | handshakes, frames and packets of sessions |
//! | `rooms` | seats, relays, history and figures of rooms |
//! | `lobbies` | lobbies and their hosts |
//! | `accounts` | accounts, passwords, passcodes and names |
//! | `reads` | REST requests without a password |
//! | `connections` | TCP connections that do nothing |
//! | `controls` | no request to the servers: measures the delay of the shared machine |

pub(super) mod accounts;
pub(super) mod connections;
pub(super) mod controls;
pub(super) mod lobbies;
pub(super) mod reads;
pub(super) mod rooms;
pub(super) mod sockets;

use std::time::Duration;

use tokio::time::sleep;

/// Pause of a stranger whose connection was refused or cut. Without it the strangers would only
/// measure how fast the kernel refuses.
const REDIAL_PAUSE: Duration = Duration::from_millis(5);

/// Waits before the next dial.
async fn pause() {
    sleep(REDIAL_PAUSE).await;
}
