//! Why a socket ended: the one vocabulary for logs, metrics, close frames and the application.

/// Why the application itself ends a socket.
///
/// `code` is the WebSocket close code that the client sees; `name` is stable, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisconnectReason {
    /// Stable snake_case name.
    pub name: &'static str,
    /// WebSocket close code (RFC 6455, section 7.4).
    pub code: u16,
}

impl DisconnectReason {
    /// A reason of the application's own.
    #[must_use]
    pub const fn new(name: &'static str, code: u16) -> Self {
        Self { name, code }
    }
}

/// How a session ended. Handed to [`Application::closed`](super::Application::closed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client sent Socket.IO DISCONNECT (`41`): it means to go.
    ClientDisconnect,
    /// The client closed its transport on purpose: WebSocket code 1001.
    TransportClose,
    /// The client sent an Engine.IO close packet. That is no goodbye: the stock client posts one after a poll that failed,
    /// and then comes back to resume; when it means to go, it says so in Socket.IO first.
    ClosePacket,
    /// The transport went away without a goodbye: end of file, reset, or any other close code.
    TransportLost,
    /// No pong within the ping timeout.
    PingTimeout,
    /// The application ended it, through its outbox.
    ServerClosed(DisconnectReason),
    /// The client broke a protocol; the text says which rule, and holds nothing the client sent.
    ProtocolError(&'static str),
    /// A message was larger than the configured maximum payload.
    PayloadTooLarge,
    /// The client does not read: its outbox overflowed.
    SlowConsumer,
    /// The client went on sending after it was refused for its rate.
    Flood,
    /// No namespace was connected in time.
    ConnectTimeout,
    /// The code serving this socket panicked.
    Panic,
}

impl CloseReason {
    /// Stable snake_case name, for metrics, logs and the WebSocket close frame.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientDisconnect => "client_disconnect",
            Self::TransportClose => "transport_close",
            Self::ClosePacket => "close_packet",
            Self::TransportLost => "transport_lost",
            Self::PingTimeout => "ping_timeout",
            Self::ServerClosed(reason) => reason.name,
            Self::ProtocolError(_) => "protocol_error",
            Self::PayloadTooLarge => "payload_too_large",
            Self::SlowConsumer => "slow_consumer",
            Self::Flood => "flood",
            Self::ConnectTimeout => "connect_timeout",
            Self::Panic => "internal_error",
        }
    }

    /// The client said goodbye: it is not coming back to this session.
    #[must_use]
    pub fn is_goodbye(self) -> bool {
        matches!(self, Self::ClientDisconnect | Self::TransportClose)
    }

    /// WebSocket close code to send (RFC 6455, section 7.4).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::ClientDisconnect | Self::TransportClose | Self::ClosePacket | Self::TransportLost => 1000,
            Self::ServerClosed(reason) => reason.code,
            Self::ProtocolError(_) => 1002,
            Self::PingTimeout | Self::SlowConsumer | Self::Flood | Self::ConnectTimeout => 1008,
            Self::PayloadTooLarge => 1009,
            Self::Panic => 1011,
        }
    }
}
