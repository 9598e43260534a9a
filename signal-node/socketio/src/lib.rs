//! An Engine.IO v4 and Socket.IO v5 server for any [`Application`]. It handles packets, heartbeats,
//! limits and both transports. It knows no rooms and no users.
//!
//! From the bottom to the top; a file imports only from files above it in this table (`lib`
//! excepted):
//!
//! | file | content |
//! |---|---|
//! | `protocol/` | shared values: [`Frame`], [`Message`], [`Event`], [`Namespace`], [`Handshake`], [`CloseReason`] |
//! | `metric_catalog` | catalog of the metrics |
//! | `cluster/` | [`Peers`]: signatures and health checks between nodes behind one address |
//! | `config` | [`TransportConfig`], [`Timeouts`], [`Limits`], [`AdmissionLimits`], [`AllowedOrigins`] |
//! | `bounds/` | counts and rates of what clients cause |
//! | `send_queue/` | [`SendQueue`]: bounded queue of messages to one client |
//! | `websocket/` | WebSocket transport |
//! | `polling/` | long-polling transport |
//! | `transport` | one of both transports, and the upgrade between them |
//! | `engine/` | [`Engine`]: an Engine.IO session; [`Service`] |
//! | `socketio/` | [`SocketIo`]: Socket.IO on a session; [`Application`] |
//! | `workers` | [`Workers`](workers::Workers): one runtime per core |
//! | `registry` | the open sockets |
//! | `http/` | responses, CORS, HTTP upgrade, requests of open sessions |
//! | `handover/` | hand-over of requests to the node of their session |
//! | `server/` | [`SocketServer`]: listens, routes and opens sessions |
//!
//! # Example
//!
//! A server that sends each event back and acknowledges it:
//!
//! ```
//! use std::sync::Arc;
//!
//! use switchboard_socketio::workers::Workers;
//! use switchboard_socketio::{
//!     Application, CloseReason, ConnectError, ConnectRequest, Connected, Event, Message, SendQueue, SocketIo,
//!     SocketServer, TransportConfig,
//! };
//! use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//!
//! struct Echo;
//!
//! impl Application for Echo {
//!     type Session = SendQueue;
//!
//!     fn serves(&self, namespace: &str) -> bool {
//!         namespace == "/"
//!     }
//!
//!     async fn connect(&self, request: ConnectRequest) -> Result<Connected<SendQueue>, ConnectError> {
//!         let sid = request.handshake.sid.to_string();
//!         Ok(Connected { session: request.send_queue, sid, pid: None, first: Vec::new() })
//!     }
//!
//!     async fn event(&self, session: &mut SendQueue, event: Event) {
//!         // An error means that the socket is closing; `closed` follows.
//!         let _closing = session.send(Message::event(event.namespace(), event.name(), event.args()));
//!         if let Some(id) = event.ack() {
//!             let _closing = session.ack(id, "");
//!         }
//!     }
//!
//!     fn tick(&self, _: &mut SendQueue) -> Option<Message> {
//!         None
//!     }
//!
//!     async fn closed(&self, _: SendQueue, reason: CloseReason) {
//!         println!("closed: {}", reason.name());
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let routes = vec![("/socket.io/".to_owned(), Arc::new(SocketIo::new(Arc::new(Echo))) as _)];
//! let server = SocketServer::new(TransportConfig::default(), routes, Workers::start(1)?);
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let stop = CancellationToken::new();
//! # stop.cancel();
//! server.run(listener, stop).await;
//! # Ok(())
//! # }
//! ```

mod bounds;
mod cluster;
mod config;
mod engine;
mod handover;
mod http;
pub mod metric_catalog;
mod polling;
mod protocol;
mod registry;
pub mod send_queue;
mod server;
mod socketio;
mod transport;
mod websocket;
pub mod workers;

pub use bounds::NetworkBudget;
pub use cluster::{PeerDirectory, Peers};
pub use config::{AdmissionLimits, AllowedOrigins, Limits, Timeouts, TransportConfig};
pub use engine::{Engine, EngineEvent, Service};
pub use protocol::{
    CloseReason, DisconnectReason, Event, Frame, Handshake, Message, Namespace, RequestExtras, SkipReason,
    SkippedMessage, TransportKind,
};
pub use send_queue::{SendError, SendQueue};
pub use server::SocketServer;
pub use socketio::{Application, ConnectError, ConnectRequest, Connected, SocketIo};
