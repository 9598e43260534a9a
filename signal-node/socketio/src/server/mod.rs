//! The server: accepts connections and routes their requests.
//!
//! | file | content |
//! |---|---|
//! | `mod` | [`SocketServer`]: accepts, drains and closes |
//! | `context` | `ServerContext`: state that all connections share |
//! | `routes` | routes the HTTP requests of clients |
//! | `open` | opens sessions and starts their tasks |

mod context;
mod open;
mod routes;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use switchboard_net::{ConnectionTimeouts, Requests};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::bounds::{ClientNetwork, ConnectionSlot, Full, refuse};
use crate::config::{Timeouts, TransportConfig};
use crate::engine::Service;
use crate::handover;
use crate::http::BoundedStream;
use crate::protocol::DisconnectReason;
use crate::workers::Workers;
use context::ServerContext;

/// Pause after an accept that failed because file descriptors or memory ran out, so that some
/// become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Size of the buffer for the head of an HTTP request.
const REQUEST_BUFFER_SIZE: usize = 16 * 1024;

/// Engine.IO server on one or more paths. Clones share their sockets.
#[derive(Clone)]
pub struct SocketServer {
    context: Arc<ServerContext>,
    /// Cancelled when no new sockets are accepted.
    refusing: CancellationToken,
    workers: Workers,
}

/// Users of a listener.
#[derive(Clone, Copy)]
enum ListenerKind {
    Clients,
    Peers,
}

impl SocketServer {
    /// Creates a server that serves each path with its service, on these workers. Paths have the
    /// form `/socket.io/`.
    #[must_use]
    pub fn new(config: TransportConfig, routes: Vec<(String, Arc<dyn Service>)>, workers: Workers) -> Self {
        let context = Arc::new(ServerContext::new(config, routes, workers.clone()));
        Self { context, refusing: CancellationToken::new(), workers }
    }

    /// Accepts clients until `stop` is cancelled. Open sockets stay open; see
    /// [`close_all`](SocketServer::close_all).
    pub async fn run(&self, listener: TcpListener, stop: CancellationToken) {
        self.accept(listener, stop, ListenerKind::Clients).await;
    }

    /// Accepts requests of other nodes until `stop` is cancelled: hand-overs and health checks.
    /// Clients cannot use this listener, because each request needs a signature.
    pub async fn run_handovers(&self, listener: TcpListener, stop: CancellationToken) {
        self.accept(listener, stop, ListenerKind::Peers).await;
    }

    async fn accept(&self, listener: TcpListener, stop: CancellationToken, kind: ListenerKind) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let slot = match self.admit(peer.ip(), kind) {
                        Ok(slot) => slot,
                        Err(full) => {
                            refuse_connection(&stream, full);
                            continue;
                        }
                    };
                    let (server, stop) = (self.clone(), stop.clone());
                    let serve = move |stream| server.serve_connection(stream, slot, peer.ip(), stop, kind);
                    self.workers.spread(stream, serve);
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes a slot for a connection of a client. Connections of nodes need none: clients cannot
    /// reach their listener.
    fn admit(&self, peer: IpAddr, kind: ListenerKind) -> Result<Option<ConnectionSlot<ClientNetwork>>, Full> {
        match kind {
            ListenerKind::Clients => self.context.connections.admit(ClientNetwork::of(peer)).map(Some),
            ListenerKind::Peers => Ok(None),
        }
    }

    async fn serve_connection(
        self,
        stream: TcpStream,
        slot: Option<ConnectionSlot<ClientNetwork>>,
        peer: IpAddr,
        stop: CancellationToken,
        kind: ListenerKind,
    ) {
        // Most packets are small. With Nagle's algorithm they would wait for acknowledgements.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Self { context, refusing, .. } = self;
        let Timeouts { http, keep_alive, .. } = context.config.timeouts;
        let timeouts = ConnectionTimeouts { head: http, idle: keep_alive, write: http };
        let requests = Requests::default();
        let stream = BoundedStream::of_client(stream, timeouts, requests.clone(), slot);
        let service = service_fn(move |request| {
            let (context, in_progress) = (Arc::clone(&context), requests.begin());
            let stopping = stop.is_cancelled() || refusing.is_cancelled();
            async move {
                let response = match kind {
                    ListenerKind::Clients => routes::respond(&context, request, peer, stopping).await,
                    ListenerKind::Peers => {
                        handover::receive(&context.config, |sid| context.session(sid), request).await
                    }
                };
                Ok::<_, Infallible>(in_progress.until_sent(response))
            }
        });
        // The stream bounds the time for a head, and the time that a connection is idle.
        let connection = http1::Builder::new()
            .max_buf_size(REQUEST_BUFFER_SIZE)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // hyper answers or cuts malformed HTTP. An error here needs no action.
        let _ended = connection.await;
    }

    /// Refuses new sockets from now on. Open sockets and their requests continue.
    pub fn refuse_new(&self) {
        self.refusing.cancel();
    }

    /// Returns the number of open sockets.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.context.sockets.len()
    }

    /// Closes all sockets without a Socket.IO DISCONNECT, so that clients reconnect to another
    /// node.
    pub fn close_all(&self, reason: DisconnectReason) {
        self.context.sockets.close_all(reason);
    }

    /// Waits until no socket is open and the application has received its last call for each.
    pub async fn drained(&self) {
        let tasks = self.context.sockets.tasks();
        tasks.close();
        tasks.wait().await;
        tasks.reopen();
    }
}

/// Counts and refuses a connection over a bound.
fn refuse_connection(stream: &TcpStream, full: Full) {
    let reason = match full {
        Full::Total => "node",
        Full::Key => "address",
    };
    metrics::counter!("switchboard_connections_refused_total", "reason" => reason).increment(1);
    refuse(stream, full);
}

/// Returns whether an accept failed because the client aborted its connection. The listener works.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
