//! Why the signaling itself ends a socket, besides the transport's own reasons (heartbeats, limits, broken protocols).

/// The reasons. Each is a metric label, a WebSocket close code (RFC 6455, 7.4.2: 4000-4999 are an application's own), and says
/// whether the client should come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The seat is another socket's by now, or was swept: whoever still has this session resumes it.
    Fenced,
    /// The node is going away: the client resumes on another.
    Draining,
    /// Redis did not answer while the session was being resumed: the client keeps what it has and tries again.
    Unavailable,
    /// The token or session was revoked: coming back with it is of no use.
    Revoked,
    /// Removed from the call by host or moderator.
    Removed,
    /// Another socket has taken the session over: two of them would take it from each other for ever.
    Replaced,
    /// In no room for too long: a socket that nobody uses.
    JoinTimeout,
}

impl DisconnectReason {
    /// Stable name, for metrics, logs and close frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::JoinTimeout => "join_timeout",
        }
    }

    /// Whether the client should reconnect. When not, it is sent a Socket.IO DISCONNECT first, after which the stock client
    /// stays away.
    #[must_use]
    pub const fn should_reconnect(self) -> bool {
        !matches!(self, Self::Revoked | Self::Removed | Self::Replaced | Self::JoinTimeout)
    }

    /// The WebSocket close code.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Draining => 1012,
            Self::Unavailable => 1013,
            Self::Fenced => 4000,
            Self::Revoked => 4001,
            Self::Removed => 4002,
            Self::JoinTimeout => 4003,
            Self::Replaced => 4004,
        }
    }
}
