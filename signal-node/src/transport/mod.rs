//! Engine.IO v4 and Socket.IO v5 for any [`Application`]: knows packets, heartbeats and limits, and no rooms.

mod app;
mod carrier;
mod close;
mod config;
mod engine;
mod frame;
mod http;
mod polling;
mod rate;
mod server;
mod socketio;
mod websocket;

pub use app::{Application, ConnectError, ConnectRequest, Connected, Event, Handshake, Namespace, TransportKind};
pub use close::{CloseReason, DisconnectReason};
pub use config::{AllowedOrigins, Limits, Timeouts, TransportConfig};
pub use engine::{Engine, Service, Signal};
pub use server::Server;
pub use socketio::SocketIo;
