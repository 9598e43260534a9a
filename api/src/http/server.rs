//! Accepts connections and serves requests on them. Unlike axum's own loop, it bounds the number of
//! connections, in total and by address, the time for a request's head, the time between two
//! requests, and the time for which a client may leave an answer unread.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use switchboard_core::client_address::ClientNetwork;
use switchboard_net::{BoundedStream, ConnectionMetrics, Connections, Full, HeadTimeout, Requests, refuse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::limits::{ConnectionBounds, PeerAddress};

/// Maximum number of bytes that a connection buffers. A request's head has to fit.
const BUFFER_MAX: usize = 64 * 1024;
/// Pause after `accept` failed (for example without free file descriptors), so that the loop does
/// not spin.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

const CONNECTION_METRICS: ConnectionMetrics = ConnectionMetrics {
    open: "switchboard_http_connections_open",
    replaced: "switchboard_http_connections_replaced_total",
};

/// Serves until `stop` is cancelled, then waits for requests in progress. If the future is dropped,
/// requests in progress still finish on their own tasks.
pub async fn serve(listener: TcpListener, router: Router, bounds: ConnectionBounds, stop: CancellationToken) {
    let open = Arc::new(Connections::new(CONNECTION_METRICS, bounds.total, bounds.per_address));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match open.admit(ClientNetwork::of(peer.ip())) {
                Ok(slot) => {
                    let requests = Requests::default();
                    let stream = BoundedStream::of_client(stream, bounds.timeouts, requests.clone(), Some(slot));
                    let peer = PeerAddress(peer.ip());
                    connections.spawn(connection(stream, peer, router.clone(), requests, stop.clone()));
                }
                Err(full) => {
                    let reason = match full {
                        Full::Total => "pod",
                        Full::Key => "address",
                    };
                    metrics::counter!("switchboard_http_connections_refused_total", "reason" => reason).increment(1);
                    refuse(&stream, full);
                }
            },
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: BoundedStream<ClientNetwork>,
    peer: PeerAddress,
    router: Router,
    requests: Requests,
    stop: CancellationToken,
) {
    // Each answer is one write, so Nagle's algorithm would only delay it. A failure here is
    // harmless.
    let _ = stream.get_ref().set_nodelay(true);
    let router = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.map(Body::new)
    });
    let router = TowerToHyperService::new(router.map_err(|never: Infallible| match never {}));
    let service = service_fn(move |request: Request<Incoming>| {
        let (in_progress, answered) = (requests.begin(), router.call(request));
        async move { answered.await.map(|response| in_progress.until_sent(response)) }
    });
    let mut connection =
        std::pin::pin!(http1::Builder::new().max_buf_size(BUFFER_MAX).serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Errors of a connection are counted and not logged, because clients cause them.
    if let Err(error) = ended {
        metrics::counter!("switchboard_http_connections_cut_total", "reason" => reason(&error)).increment(1);
    }
}

/// Returns the metric label of a connection's error.
fn reason(error: &hyper::Error) -> &'static str {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match cause {
        Some(io::ErrorKind::TimedOut) if is_head_timeout(error) => "silent",
        Some(io::ErrorKind::TimedOut) => "unread",
        _ if error.is_parse() => "malformed",
        _ => "lost",
    }
}

fn is_head_timeout(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    cause.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<HeadTimeout>())
}
