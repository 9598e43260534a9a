//! HTTP requests that Engine.IO refuses.

use http::StatusCode;

/// Reason why an HTTP request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeError {
    UnknownTransport,
    UnknownSession,
    BadMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    WebSocketVersion,
    /// A WebSocket handshake without `Upgrade`, which a proxy has removed.
    NoUpgrade,
    TooLarge,
    TargetTooLong,
    NodeFull,
    TooManySockets,
    /// Rate of requests of an address, with the seconds until the next one may come.
    TooManyRequests(u64),
    /// Rate of new sockets of an address, with the seconds until the next one may come.
    TooManyHandshakes(u64),
    /// Rate of hand-overs of an address, with the seconds until the next one may come.
    TooManyHandovers(u64),
    PeerBusy,
    TooManyBodies,
    ShuttingDown,
    NotFound,
}

impl HandshakeError {
    /// Returns the HTTP status, the code and the message of the JSON body. The codes are
    /// Engine.IO's own.
    pub(crate) fn parts(self) -> (StatusCode, u8, &'static str) {
        match self {
            Self::UnknownTransport => (StatusCode::BAD_REQUEST, 0, "Transport unknown"),
            Self::UnknownSession => (StatusCode::BAD_REQUEST, 1, "Session ID unknown"),
            Self::BadMethod => (StatusCode::BAD_REQUEST, 2, "Bad handshake method"),
            Self::BadRequest => (StatusCode::BAD_REQUEST, 3, "Bad request"),
            Self::Forbidden => (StatusCode::FORBIDDEN, 4, "Forbidden"),
            Self::UnsupportedVersion => (StatusCode::BAD_REQUEST, 5, "Unsupported protocol version"),
            Self::NoUpgrade => (StatusCode::BAD_REQUEST, 3, "Upgrade header missing"),
            Self::WebSocketVersion => (StatusCode::BAD_REQUEST, 3, "Unsupported WebSocket version"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 3, "Payload too large"),
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, 3, "Request target too long"),
            Self::NodeFull => (StatusCode::SERVICE_UNAVAILABLE, 4, "Too many connections to this node"),
            Self::TooManyRequests(_) => (StatusCode::TOO_MANY_REQUESTS, 4, "Too many requests from this address"),
            Self::TooManyHandshakes(_) => {
                (StatusCode::TOO_MANY_REQUESTS, 4, "Too many new connections from this address")
            }
            Self::TooManyHandovers(_) => {
                (StatusCode::TOO_MANY_REQUESTS, 4, "Too many requests from this address to other nodes")
            }
            Self::PeerBusy => (StatusCode::SERVICE_UNAVAILABLE, 4, "Too many requests to the node of this session"),
            Self::TooManyBodies => (StatusCode::SERVICE_UNAVAILABLE, 4, "Too many large requests at the same time"),
            Self::TooManySockets => (StatusCode::TOO_MANY_REQUESTS, 4, "Too many connections from this address"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, 4, "Shutting down"),
            Self::NotFound => (StatusCode::NOT_FOUND, 3, "Not found"),
        }
    }

    /// Returns the seconds after which the client may try again. `None` if trying again is no use.
    pub(crate) fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooManyRequests(seconds) | Self::TooManyHandshakes(seconds) | Self::TooManyHandovers(seconds) => {
                Some(seconds)
            }
            Self::NodeFull | Self::TooManySockets => Some(5),
            Self::PeerBusy | Self::TooManyBodies | Self::ShuttingDown => Some(1),
            _ => None,
        }
    }
}
