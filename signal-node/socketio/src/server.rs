//! Listens, counts who is connected, and hands each HTTP request to [`http`](super::http).

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::engine::Service;
use super::polling::Exchange;
use super::stall::Stall;
use super::{CloseReason, DisconnectReason, Handshake, TransportConfig, handover, http};
use crate::send_queue::{Delayed, Queue};
use crate::workers::Workers;

/// After an accept that failed for want of descriptors or memory: give some the time to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves Engine.IO on one or more paths.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// Who comes through a listener.
#[derive(Clone, Copy)]
enum Door {
    Clients,
    Peers,
}

/// What every connection needs.
pub(super) struct Shared {
    pub(super) config: Arc<TransportConfig>,
    pub(super) routes: Vec<(String, Arc<dyn Service>)>,
    pub(super) sockets: Sockets,
    /// No new ones are taken.
    refusing: CancellationToken,
    /// What waits for company.
    pub(super) delayed: Arc<Delayed>,
    /// Every session's task.
    pub(super) tasks: TaskTracker,
    /// What the connections are spread over.
    workers: Workers,
}

impl Server {
    /// Serves each path with its service, on these workers; a path is given as `/socket.io/`.
    #[must_use]
    pub fn new(config: TransportConfig, routes: Vec<(String, Arc<dyn Service>)>, workers: Workers) -> Self {
        metrics::gauge!("switchboard_sockets_open").set(0.0);
        let shared = Shared {
            config: Arc::new(config),
            routes,
            sockets: Sockets::default(),
            refusing: CancellationToken::new(),
            delayed: Arc::default(),
            tasks: TaskTracker::new(),
            workers,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Accepts clients until told to stop. Sockets that are open stay so: see [`close_all`](Server::close_all).
    pub async fn run(&self, listener: TcpListener, stop: CancellationToken) {
        self.accept(listener, stop, Door::Clients).await;
    }

    /// Accepts what other nodes hand over until told to stop. This listener is not for clients, who cannot use it either.
    pub async fn run_handovers(&self, listener: TcpListener, stop: CancellationToken) {
        self.accept(listener, stop, Door::Peers).await;
    }

    async fn accept(&self, listener: TcpListener, stop: CancellationToken, door: Door) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
                    let serve = move |stream| serve_connection(shared, stream, peer.ip(), stop, door);
                    self.shared.workers.spread(stream, serve);
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes no new sockets from now on. Those that are open go on, with the requests that carry them.
    pub fn refuse_new(&self) {
        self.shared.refusing.cancel();
    }

    /// How many sockets are open.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.shared.sockets.state().open.len()
    }

    /// Closes every socket, without a Socket.IO DISCONNECT: clients reconnect elsewhere.
    pub fn close_all(&self, reason: DisconnectReason) {
        let queues: Vec<Arc<Queue>> =
            self.shared.sockets.state().open.values().map(|open| Arc::clone(&open.queue)).collect();
        for queue in queues {
            queue.close(CloseReason::ServerClosed(reason));
        }
    }

    /// Waits until no socket is open and each application was told so.
    pub async fn drained(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.tasks.reopen();
    }
}

/// The peer gave up before it was accepted; the listener is well.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

async fn serve_connection(shared: Arc<Shared>, stream: TcpStream, peer: IpAddr, stop: CancellationToken, door: Door) {
    // Small packets are the whole business; without this they wait for acknowledgements.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let patience = shared.config.timeouts.http;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        let stopping = stop.is_cancelled() || shared.refusing.is_cancelled();
        async move {
            Ok::<_, Infallible>(match door {
                Door::Clients => http::respond(&shared, request, peer, stopping).await,
                Door::Peers => handover::receive(&shared, request).await,
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(Stall::new(stream, patience)), service)
        .with_upgrades();
    // A client's broken HTTP is answered or cut by hyper; there is nobody to tell.
    let _ended = connection.await;
}

/// The open sockets: by session id, and how many per address.
#[derive(Debug, Default)]
pub(super) struct Sockets(Mutex<SocketsState>);

/// How a session is reached from outside its task.
#[derive(Debug, Clone)]
struct Open {
    queue: Arc<Queue>,
    /// For HTTP requests, when it was opened by long-polling.
    exchange: Option<Arc<Exchange>>,
}

#[derive(Debug, Default)]
struct SocketsState {
    open: HashMap<Arc<str>, Open>,
    per_address: HashMap<IpAddr, usize>,
}

impl Sockets {
    /// The exchange of a session that was opened by long-polling.
    pub(super) fn exchange(&self, sid: &str) -> Option<Arc<Exchange>> {
        self.state().open.get(sid)?.exchange.clone()
    }

    fn state(&self) -> MutexGuard<'_, SocketsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket's place in [`Sockets`], given back when dropped.
pub(super) struct Place {
    shared: Arc<Shared>,
    sid: Arc<str>,
    address: IpAddr,
}

impl Place {
    /// Takes a place, or none if the address has as many as it may.
    pub(super) fn take(
        shared: &Arc<Shared>,
        handshake: &Handshake,
        queue: &Arc<Queue>,
        exchange: Option<Arc<Exchange>>,
    ) -> Option<Self> {
        let (sid, address) = (&handshake.sid, handshake.address);
        let limit = shared.config.limits.sockets_per_address;
        let mut state = shared.sockets.state();
        if limit > 0 {
            let count = state.per_address.entry(address).or_default();
            if *count >= limit {
                return None;
            }
            *count += 1;
        }
        state.open.insert(Arc::clone(sid), Open { queue: Arc::clone(queue), exchange });
        drop(state);
        metrics::counter!("switchboard_sockets_opened_total").increment(1);
        metrics::gauge!("switchboard_sockets_open").increment(1.0);
        Some(Self { shared: Arc::clone(shared), sid: Arc::clone(sid), address })
    }

    /// Where every session's task is.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.shared.tasks
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.sockets.state();
        state.open.remove(&self.sid);
        if let Some(count) = state.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.per_address.remove(&self.address);
            }
        }
        drop(state);
        metrics::gauge!("switchboard_sockets_open").decrement(1.0);
    }
}
