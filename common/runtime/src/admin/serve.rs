//! Accepts connections to the admin listener. A client that is slow or idle costs a connection for
//! a bounded time, and any number of connections cannot keep a probe from its answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Maximum number of connections. For a further one, the oldest is cut, so that a probe always
/// connects.
const CONNECTIONS_MAX: usize = 64;
/// Pause after an accept that failed, for example without free file descriptors.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// Time for the head of a request, and time between two requests.
    pub(super) head: Duration,
    /// Time after which a connection takes no more requests.
    pub(super) lifetime: Duration,
    /// Time for the last response after that.
    pub(super) last_response: Duration,
}

/// Deadlines of the admin listener. A scraper opens a new connection each minute.
pub(super) const DEADLINES: Deadlines = Deadlines {
    head: Duration::from_secs(10),
    lifetime: Duration::from_secs(60),
    last_response: Duration::from_secs(10),
};

/// Serves until `stop` is cancelled, then waits for the last responses.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, deadlines: Deadlines) {
    let (tasks, mut open) = (TaskTracker::new(), VecDeque::<AbortHandle>::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() == CONNECTIONS_MAX
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                open.push_back(tasks.spawn(connection(stream, router.clone(), stop.clone(), deadlines)).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(ACCEPT_RETRY_PAUSE).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken, deadlines: Deadlines) {
    let service = router.map_request(|request: Request<Incoming>| request.map(Body::new));
    let service = TowerToHyperService::new(service.map_err(|never: Infallible| match never {}));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadlines.head)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // hyper answers or cuts malformed HTTP. An error needs no action.
        _ended = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = sleep(deadlines.lifetime) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _sent_or_cut = timeout(deadlines.last_response, connection).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Maximum time that a test waits.
    const TIMEOUT: Duration = Duration::from_secs(20);

    async fn start(deadlines: Deadlines) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new().route("/livez", get(|| async { "ok\n" })).route(
            "/large",
            get(|| async {
                // More than the buffers of a connection hold.
                vec![b'x'; 64 * 1024 * 1024]
            }),
        );
        tokio::spawn(serve(listener, router, stop.clone(), deadlines));
        (address, stop)
    }

    async fn connect(address: SocketAddr, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }

    /// Reads until the connection is cut.
    async fn rest(mut stream: TcpStream) -> String {
        let mut rest = Vec::new();
        // A connection that is cut with unread bytes ends in an error.
        let _ended = timeout(TIMEOUT, stream.read_to_end(&mut rest)).await.expect("the end of the connection");
        String::from_utf8(rest).unwrap()
    }

    #[tokio::test]
    async fn a_connection_without_a_whole_request_is_cut() {
        let (address, stop) = start(Deadlines { head: Duration::from_millis(50), ..DEADLINES }).await;
        let _stop = stop.drop_guard();
        rest(connect(address, "").await).await;
        rest(connect(address, "GET /livez HTTP/1.1\r\nHost:").await).await;
        // Between two requests too.
        let answer = rest(connect(address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_response_is_cut() {
        let short = Duration::from_millis(50);
        let (address, stop) = start(Deadlines { lifetime: short, last_response: short, ..DEADLINES }).await;
        let _stop = stop.drop_guard();
        let stalled = connect(address, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let cut = timeout(TIMEOUT, async {
            // A write fails once the server has closed the connection.
            while stalled.try_write(b"x").is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        });
        cut.await.expect("the end of the connection");
    }

    #[tokio::test]
    async fn a_probe_is_answered_while_others_hold_all_connections() {
        let (address, stop) = start(DEADLINES).await;
        let _stop = stop.drop_guard();
        let mut held = Vec::new();
        for _ in 0..2 * CONNECTIONS_MAX {
            held.push(connect(address, "GET /livez").await);
        }
        let probe = connect(address, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(rest(probe).await.ends_with("ok\n"));
    }

    #[tokio::test]
    async fn a_stopped_listener_waits_for_no_idle_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, Router::new(), stop.clone(), DEADLINES));
        let _idle = connect(address, "").await;
        stop.cancel();
        timeout(TIMEOUT, serving).await.expect("the end").unwrap();
    }
}
