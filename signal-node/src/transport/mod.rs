//! Engine.IO v4 and Socket.IO v5 for any [`Application`]: knows packets, heartbeats and limits, and no rooms.

mod app;
mod close;
mod config;

pub use app::{
    Application, ConnectError, ConnectRequest, Connected, Event, Handshake, Namespace, TransportKind,
};
pub use close::{CloseReason, DisconnectReason};
pub use config::{AllowedOrigins, Limits, Timeouts, TransportConfig};
