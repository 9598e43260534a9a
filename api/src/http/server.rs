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
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use switchboard_core::client_address::ClientNetwork;
use switchboard_net::{Counts, Full, Permit, WriteTimeoutStream, refuse};
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

/// Serves until `stop` is cancelled, then waits for requests in progress. If the future is dropped,
/// requests in progress still finish on their own tasks.
pub async fn serve(listener: TcpListener, router: Router, bounds: ConnectionBounds, stop: CancellationToken) {
    let open = Arc::new(Counts::new("switchboard_http_connections_open", bounds.total, bounds.per_address));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match open.acquire(ClientNetwork::of(peer.ip())) {
                Ok(permit) => {
                    let stream = WriteTimeoutStream::new(stream, bounds.io_timeout, permit);
                    let peer = PeerAddress(peer.ip());
                    connections.spawn(connection(stream, peer, router.clone(), bounds.io_timeout, stop.clone()));
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
    stream: WriteTimeoutStream<Permit<ClientNetwork>>,
    peer: PeerAddress,
    router: Router,
    limit: Duration,
    stop: CancellationToken,
) {
    // Each answer is one write, so Nagle's algorithm would only delay it. A failure here is
    // harmless.
    let _ = stream.get_ref().set_nodelay(true);
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.map(Body::new)
    });
    let service = TowerToHyperService::new(service.map_err(|never: Infallible| match never {}));
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limit)
            .max_buf_size(BUFFER_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
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
        Some(io::ErrorKind::TimedOut) => "unread",
        _ if error.is_timeout() => "silent",
        _ if error.is_parse() => "malformed",
        _ => "lost",
    }
}
