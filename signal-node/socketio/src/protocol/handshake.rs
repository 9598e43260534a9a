//! Facts about a socket from the HTTP request that opened it.

use std::net::IpAddr;
use std::sync::Arc;

/// Facts about a socket from its opening request.
#[derive(Debug)]
pub struct Handshake {
    /// Engine.IO session id.
    pub sid: Arc<str>,
    /// Address of the client, behind the configured number of trusted proxies.
    pub address: IpAddr,
    /// Value of the `Origin` header.
    pub origin: Option<String>,
    /// First 256 bytes of the `User-Agent` header.
    pub user_agent: Option<String>,
    /// Query string, not decoded.
    pub query: String,
    /// Transport that opened the socket.
    pub transport: TransportKind,
}

/// Kind of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// WebSocket frames.
    WebSocket,
    /// HTTP long-polling.
    Polling,
}
