//! Facts about a socket from the HTTP request that opened it.

use std::sync::Arc;

use switchboard_core::client_address::ClientNetwork;

/// Facts about a socket from its opening request. It keeps no text of the client, because it lives
/// as long as the socket.
#[derive(Debug)]
pub struct Handshake {
    /// Engine.IO session id.
    pub sid: Arc<str>,
    /// Network of the client, behind the configured number of trusted proxies.
    pub network: ClientNetwork,
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
