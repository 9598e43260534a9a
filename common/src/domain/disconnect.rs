//! Why the server closes a socket. Each reason says whether the client should come back.

/// The server's reasons to close a socket; a metric label and, as WebSocket close text, a hint for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The seat was taken over by a newer socket of the same session, or swept: the client resumes if it still lives.
    Fenced,
    /// The node is going away: the client resumes elsewhere.
    Draining,
    /// The client does not read what it is sent; it resumes from the log.
    SlowConsumer,
    /// No packet within pingInterval + pingTimeout.
    PingTimeout,
    /// Never sent CONNECT, or not in time.
    ConnectTimeout,
    /// Sent more than it may, after being told.
    RateLimited,
    /// Sent something that is not Engine.IO or Socket.IO.
    ProtocolError,
    /// Sent a message over the limit of a transport.
    TooLarge,
    /// The token or session was revoked: coming back with it is of no use.
    Revoked,
    /// Removed from the call by host or moderator, or the call ended with the session.
    Removed,
    /// A bug on our side ended this one session.
    Internal,
}

impl DisconnectReason {
    /// The metric label and close text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Draining => "draining",
            Self::SlowConsumer => "slow_consumer",
            Self::PingTimeout => "ping_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::RateLimited => "rate_limited",
            Self::ProtocolError => "protocol_error",
            Self::TooLarge => "too_large",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
            Self::Internal => "internal",
        }
    }

    /// Whether the client should reconnect. When not, it is sent a Socket.IO DISCONNECT first, after which the stock client stays away.
    #[must_use]
    pub const fn should_reconnect(self) -> bool {
        !matches!(self, Self::Revoked | Self::Removed)
    }

    /// The WebSocket close code (RFC 6455, 7.4.1; 4000-4999 are an application's own).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Draining => 1012,
            Self::TooLarge => 1009,
            Self::ProtocolError => 1002,
            Self::Internal => 1011,
            Self::Fenced => 4000,
            Self::SlowConsumer => 4001,
            Self::PingTimeout => 4002,
            Self::ConnectTimeout => 4003,
            Self::RateLimited => 4004,
            Self::Revoked => 4005,
            Self::Removed => 4006,
        }
    }
}
