//! Reasons why the signaling layer closes a socket.
//!
//! The transport has further reasons of its own: heartbeat timeout, limits, protocol errors.

/// Reason why the signaling layer closes a socket.
///
/// Each reason has a name (metric label) and a WebSocket close code, and determines whether the
/// client should reconnect. Codes 4000 to 4999 are private to the application (RFC 6455, section
/// 7.4.2); 1012 and 1013 are in the IANA registry of WebSocket close codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// Another socket has the seat, or the seat was removed. A client that still has this session
    /// reconnects and resumes it.
    Fenced,
    /// The node shuts down. The client reconnects and resumes on another node.
    Draining,
    /// The node has more clients than its share. The client reconnects and resumes on another node.
    Rebalanced,
    /// Redis did not answer while the session was being resumed. The client keeps its state and
    /// tries again.
    Unavailable,
    /// The token or the sign-in session was revoked. A reconnect with it would be refused.
    Revoked,
    /// The host or a moderator removed the participant from the call.
    Removed,
    /// Another socket took over the session. If the client reconnected, the two sockets would take
    /// the session from each other forever.
    Replaced,
    /// The client did not join a room within the join timeout.
    JoinTimeout,
}

impl DisconnectReason {
    /// Returns the stable name for metrics, logs and close frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Draining => "draining",
            Self::Rebalanced => "rebalanced",
            Self::Unavailable => "unavailable",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::JoinTimeout => "join_timeout",
        }
    }

    /// Returns whether the client should reconnect.
    ///
    /// If not, the server sends a Socket.IO DISCONNECT packet first, because the official client
    /// does not reconnect after one.
    #[must_use]
    pub const fn should_reconnect(self) -> bool {
        !matches!(self, Self::Revoked | Self::Removed | Self::Replaced | Self::JoinTimeout)
    }

    /// Returns the WebSocket close code.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Draining | Self::Rebalanced => 1012,
            Self::Unavailable => 1013,
            Self::Fenced => 4000,
            Self::Revoked => 4001,
            Self::Removed => 4002,
            Self::JoinTimeout => 4003,
            Self::Replaced => 4004,
        }
    }
}
