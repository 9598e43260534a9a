//! Settings of the transport. Where a comment says so, 0 switches a limit off.

use std::sync::Arc;
use std::time::Duration;

use switchboard_core::client_address::TrustedProxies;
use switchboard_core::domain::Rate;

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
    /// Returns these origins and those for which `more` returns true.
    #[must_use]
    pub fn or(self, more: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Matching(allows) => Self::Matching(Arc::new(move |origin| allows(origin) || more(origin))),
        }
    }

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
    /// Maximum time for the head of an HTTP request, for its body, and for a write that blocks.
    pub http: Duration,
    /// Maximum time between two requests on a connection. It must be longer than a load balancer
    /// keeps an idle connection; otherwise the balancer sends requests on connections that close.
    pub keep_alive: Duration,
    /// Time in which a closing socket sends its queued messages.
    pub close: Duration,
}

/// Bounds on the resources of one client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of bytes of one incoming message. A larger one, up to `max_body`, is skipped
    /// and refused.
    pub max_payload: usize,
    /// Maximum number of bytes of the body of one POST, which clients fill with messages. Clients
    /// learn it as `maxPayload`. A message that is larger than this ends the session.
    pub max_body: usize,
    /// Maximum number of binary attachments of one packet.
    pub max_attachments: usize,
    /// Maximum number of bytes in the send queue of one socket.
    pub send_queue_bytes: usize,
    /// Maximum number of messages in the send queue of one socket.
    pub send_queue_messages: usize,
    /// Maximum number of bytes in all send queues, without the first 16 KiB of each; 0 is off.
    pub send_queues_bytes: usize,
    /// Packets per second and socket, with twice as many in a burst; 0 is off.
    pub events_per_second: u32,
    /// Frames per second and socket, with eight times as many in a burst; 0 is off. Pings, pongs,
    /// noops and fragments count too, and each full 4 KiB of a frame counts as one more.
    pub frames_per_second: u32,
}

/// Bounds on sockets, connections and requests, for the node and by client address. Addresses are
/// counted by IPv4 address or IPv6 /64.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionLimits {
    /// Maximum number of open sockets; 0 is off.
    pub sockets: usize,
    /// Maximum number of open sockets per client address; 0 is off.
    pub sockets_per_address: usize,
    /// Maximum number of TCP connections of clients; 0 is off.
    pub connections: usize,
    /// Maximum number of TCP connections per address; 0 is off. Not applied behind trusted proxies,
    /// because a connection's address is then a proxy's.
    pub connections_per_address: usize,
    /// Rate of HTTP requests per client address.
    pub requests: Option<Rate>,
    /// Rate of new sockets per client address.
    pub handshakes: Option<Rate>,
    /// Rate of Socket.IO packets per client address, of all its sockets together.
    pub events: Option<Rate>,
    /// Rate of frames of any kind per client address, of all its sockets together. Each full 4 KiB
    /// of a frame counts as one more.
    pub frames: Option<Rate>,
    /// Rate of requests per client address that are handed over to other nodes.
    pub handovers: Option<Rate>,
    /// Maximum number of concurrent hand-overs to one other node; 0 is off.
    pub handovers_per_peer: usize,
    /// Maximum number of messages and bodies over 64 KiB that are received at the same time, a
    /// quarter of them from one client address; 0 is off.
    pub large_messages: usize,
}

/// All settings of the transport.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// Origins from which a browser may connect.
    pub allowed_origins: AllowedOrigins,
    /// Proxies whose word about a client's address is trusted.
    pub proxies: TrustedProxies,
    /// Interval of pings, and timeouts.
    pub timeouts: Timeouts,
    /// Bounds on the resources of one client.
    pub limits: Limits,
    /// Bounds on sockets, connections and requests.
    pub admission: AdmissionLimits,
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
            keep_alive: Duration::from_secs(130),
            close: Duration::from_secs(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: 256 * 1024,
            max_body: 1024 * 1024,
            max_attachments: 10,
            send_queue_bytes: 1024 * 1024,
            send_queue_messages: 4096,
            send_queues_bytes: 0,
            events_per_second: 100,
            frames_per_second: 1000,
        }
    }
}

impl Default for AdmissionLimits {
    /// All bounds are off.
    fn default() -> Self {
        Self {
            sockets: 0,
            sockets_per_address: 0,
            connections: 0,
            connections_per_address: 0,
            requests: None,
            handshakes: None,
            events: None,
            frames: None,
            handovers: None,
            handovers_per_peer: 0,
            large_messages: 0,
        }
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            allowed_origins: AllowedOrigins::Any,
            proxies: TrustedProxies::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            admission: AdmissionLimits::default(),
            peers: None,
        }
    }
}
