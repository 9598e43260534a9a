//! Settings of the transport. Where a comment says so, 0 switches a limit off.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Peers;

/// Web origins whose pages may connect. A request without an `Origin` header does not come from a
/// browser, and is always allowed.
#[derive(Clone)]
pub enum AllowedOrigins {
    /// All origins.
    Any,
    /// Origins for which the function returns true. It gets the text of the header, such as
    /// `https://app.example`.
    Matching(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl AllowedOrigins {
    /// Exactly these origins, as browsers send them.
    pub fn list(origins: impl IntoIterator<Item = String>) -> Self {
        let origins: Vec<String> = origins.into_iter().collect();
        Self::Matching(Arc::new(move |origin| origins.iter().any(|allowed| allowed == origin)))
    }
}

impl std::fmt::Debug for AllowedOrigins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Any => "Any",
            Self::Matching(_) => "Matching",
        })
    }
}

/// Interval of pings, and timeouts.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Time between a pong and the next ping.
    pub ping_interval: Duration,
    /// Time between a ping and its pong. After it the session is closed.
    pub ping_timeout: Duration,
    /// Time in which a client must connect to a namespace. After it the socket is closed.
    pub connect: Duration,
    /// Time for the head of an HTTP request, time for its body, and time for which a write may
    /// block.
    pub http: Duration,
    /// Time in which a closing socket sends its queued messages.
    pub close: Duration,
}

/// Bounds on the resources of one client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of bytes of one incoming message.
    pub max_payload: usize,
    /// Maximum number of binary attachments of one packet.
    pub max_attachments: usize,
    /// Maximum number of bytes in the send queue of one socket.
    pub send_queue_bytes: usize,
    /// Maximum number of messages in the send queue of one socket.
    pub send_queue_messages: usize,
    /// Packets per second and socket, with twice as many in a burst; 0 is off.
    pub events_per_second: u32,
    /// Maximum number of open sockets per client address; 0 is off.
    pub sockets_per_address: usize,
}

/// All settings of the transport.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// Origins from which a browser may connect.
    pub allowed_origins: AllowedOrigins,
    /// Number of trusted proxies whose `X-Forwarded-For` entry counts; 0 trusts none.
    pub trusted_hops: usize,
    /// Interval of pings, and timeouts.
    pub timeouts: Timeouts,
    /// Bounds on the resources of one client.
    pub limits: Limits,
    /// The other nodes behind the same public address; `None` if this is the only node.
    pub peers: Option<Peers>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect: Duration::from_secs(45),
            http: Duration::from_secs(10),
            close: Duration::from_secs(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: 64 * 1024,
            max_attachments: 10,
            send_queue_bytes: 1024 * 1024,
            send_queue_messages: 4096,
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
