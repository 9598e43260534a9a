//! The transport's settings. Zero switches a limit off where it says so.

use std::time::Duration;

use super::Peers;

/// Which origins a browser may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Every origin.
    Any,
    /// Exactly these, as browsers send them (`https://app.example`). A request without `Origin` is no browser's and passes.
    List(Vec<String>),
}

/// How often a socket pings, and how long it waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Between a pong and the next ping.
    pub ping_interval: Duration,
    /// From a ping to its pong.
    pub ping_timeout: Duration,
    /// A socket without any connected namespace is closed after this.
    pub connect: Duration,
    /// An HTTP request's head must be there by then, and then its body; and of an answer something must be taken.
    pub http: Duration,
    /// What is left to send at the end is sent within this.
    pub farewell: Duration,
}

/// Bounds on what one client may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one incoming message.
    pub max_payload: usize,
    /// Binary attachments of one packet.
    pub max_attachments: usize,
    /// Bytes waiting to be sent to one socket.
    pub outbox_bytes: usize,
    /// Messages waiting to be sent to one socket.
    pub outbox_messages: usize,
    /// Packets per second per socket, with twice as many in a burst; 0 is off.
    pub events_per_second: u32,
    /// Open sockets per client address; 0 is off.
    pub sockets_per_address: usize,
}

/// Everything the transport is told.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// Who may connect from a browser.
    pub allowed_origins: AllowedOrigins,
    /// Proxies in front whose `X-Forwarded-For` entry is believed; 0 believes none.
    pub trusted_hops: usize,
    /// Times.
    pub timeouts: Timeouts,
    /// Bounds.
    pub limits: Limits,
    /// The other nodes behind the same address, if there are any.
    pub peers: Option<Peers>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect: Duration::from_secs(45),
            http: Duration::from_secs(10),
            farewell: Duration::from_secs(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: 64 * 1024,
            max_attachments: 10,
            outbox_bytes: 1024 * 1024,
            outbox_messages: 4096,
            events_per_second: 100,
            sockets_per_address: 0,
        }
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            allowed_origins: AllowedOrigins::Any,
            trusted_hops: 0,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            peers: None,
        }
    }
}
