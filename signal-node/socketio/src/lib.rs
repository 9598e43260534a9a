//! Engine.IO v4 and Socket.IO v5 for any [`Application`]: knows packets, heartbeats and limits, and no rooms.

mod app;
mod carrier;
mod close;
mod config;
mod cors;
mod engine;
mod frame;
mod handover;
mod http;
pub mod metric_catalog;
mod peers;
mod polling;
mod rate;
pub mod send_queue;
mod server;
mod socketio;
mod stall;
mod tunnel;
mod websocket;
mod well;
pub mod workers;

pub use app::{Application, ConnectError, ConnectRequest, Connected, Event, Handshake, Namespace, TransportKind};
pub use close::{CloseReason, DisconnectReason};
pub use config::{AllowedOrigins, Limits, Timeouts, TransportConfig};
pub use engine::{Engine, Service, Signal};
pub use peers::{Directory, Peers};
pub use server::Server;
pub use socketio::SocketIo;
