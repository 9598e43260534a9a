//! Pooled connections to the internal ports of other nodes.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use crate::bounds::{Counts, Full as SlotsFull, Permit};
use crate::config::TransportConfig;
use crate::http::BoundedStream;

/// Maximum time to connect to a node. A node that does not accept counts as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of idle connections to one node.
const IDLE_MAX: usize = 64;

/// Connections to other nodes, and slots for concurrent hand-overs to each of them.
pub(crate) struct Handovers {
    client: Client<Connector, Full<Bytes>>,
    slots: Arc<Counts<Arc<str>>>,
}

/// Slot of one hand-over.
pub(super) type HandoverPermit = Permit<Arc<str>>;

impl Handovers {
    /// Creates a pool without connections.
    pub(crate) fn new(config: &TransportConfig) -> Self {
        let limit = config.timeouts.http;
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_MAX)
            // Less than the time after which the other node closes an idle connection.
            .pool_idle_timeout(limit / 2)
            .pool_timer(TokioTimer::new())
            .build(Connector { limit });
        let slots = Counts::new("switchboard_handovers_open", 0, config.admission.handovers_per_peer);
        Self { client, slots: Arc::new(slots) }
    }

    /// Takes a slot for a hand-over to a node. Returns `None` if all its slots are taken.
    pub(super) fn acquire(&self, node: &str) -> Option<HandoverPermit> {
        self.slots.acquire(node.into()).map_err(|_: SlotsFull| ()).ok()
    }

    /// Sends a request. The request has the node's address in its URI. If this future is dropped,
    /// the connection closes, so that the other node drops the request too.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await
    }
}

/// Opens connections whose writes have a timeout.
#[derive(Debug, Clone, Copy)]
struct Connector {
    /// Time for which a write may block.
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<BoundedStream>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = self.limit;
        async move {
            let address = uri.authority().map_or("", |authority| authority.as_str());
            let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(BoundedStream::to_server(stream, limit)))
        }
        .boxed()
    }
}
