//! Why a socket ended: one list of reasons for logs, metrics, close frames and the application.

/// Reason of the application for ending a socket.
///
/// The client sees `code` as the WebSocket close code. `name` is stable, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisconnectReason {
    /// Stable snake_case name.
    pub name: &'static str,
    /// WebSocket close code (RFC 6455, section 7.4).
    pub code: u16,
}

impl DisconnectReason {
    /// Creates a reason.
    #[must_use]
    pub const fn new(name: &'static str, code: u16) -> Self {
        Self { name, code }
    }
}

/// Reason why a session ended. The application receives it with its last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client sent Socket.IO DISCONNECT (`41`). It does not return.
    ClientDisconnect,
    /// The client closed its transport with WebSocket code 1001. A browser does so when its page
    /// reloads, and then the page returns.
    TransportClose,
    /// The client sent an Engine.IO close packet. It may return: the stock client posts this packet
    /// after a failed poll and then resumes. Before it leaves for good, it sends a Socket.IO
    /// DISCONNECT.
    ClosePacket,
    /// The connection broke: end of file, reset, or any other close code.
    TransportLost,
    /// No pong within the ping timeout.
    PingTimeout,
    /// The application ended the session through its send queue.
    ServerClosed(DisconnectReason),
    /// The client broke a protocol. The text names the rule and contains no data of the client.
    ProtocolError(&'static str),
    /// A message was larger than the configured maximum payload.
    PayloadTooLarge,
    /// The client does not read, so that its send queue overflowed.
    SlowConsumer,
    /// The client exceeded its rate and ignored the refusals.
    Flood,
    /// The client connected to a namespace while it, or its network, was over its rate. It may try
    /// again later.
    RateLimited,
    /// The client, or its network, sent more frames, of any kind, than its rate allows.
    FrameFlood,
    /// The client connected to no namespace in time.
    ConnectTimeout,
    /// The code serving this socket panicked.
    Panic,
}

impl CloseReason {
    /// Returns the stable snake_case name, for metrics, logs and the WebSocket close frame.
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
            Self::RateLimited => "rate_limited",
            Self::FrameFlood => "frame_flood",
            Self::ConnectTimeout => "connect_timeout",
            Self::Panic => "internal_error",
        }
    }

    /// Returns whether the client left on purpose: it sent a Socket.IO DISCONNECT. The end of its
    /// transport alone says nothing, because a page that reloads, a proxy and a bad network end it
    /// too.
    #[must_use]
    pub fn is_intentional(self) -> bool {
        matches!(self, Self::ClientDisconnect)
    }

    /// Returns the WebSocket close code to send (RFC 6455, section 7.4).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::ClientDisconnect | Self::TransportClose | Self::ClosePacket | Self::TransportLost => 1000,
            Self::ServerClosed(reason) => reason.code,
            Self::ProtocolError(_) => 1002,
            Self::PingTimeout | Self::SlowConsumer | Self::Flood | Self::FrameFlood | Self::ConnectTimeout => 1008,
            Self::PayloadTooLarge => 1009,
            Self::Panic => 1011,
            Self::RateLimited => 1013,
        }
    }
}
