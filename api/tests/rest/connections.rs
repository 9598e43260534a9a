//! Connections of clients that cost more than they should.

use std::net::SocketAddr;
use std::time::Duration;

use api::http::server::serve;
use api::limits::ConnectionBounds;
use axum::Router;
use axum::routing::get;
use switchboard_net::ConnectionTimeouts;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Longest wait of a test.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// More bytes than the buffers of a connection hold.
const LARGE: usize = 32 * 1024 * 1024;
const SHORT: Duration = Duration::from_millis(200);

async fn start(bounds: ConnectionBounds) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let router =
        Router::new().route("/small", get(|| async { "ok" })).route("/large", get(|| async { vec![b'x'; LARGE] }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(serve(listener, router, bounds, stop.clone()));
    (address, stop, serving)
}

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    client
}

fn timeouts(head: Duration, idle: Duration) -> ConnectionTimeouts {
    ConnectionTimeouts { head, idle, write: head }
}

/// Reads an answer to `/small`.
async fn read_answer(client: &mut TcpStream) {
    let mut text = Vec::new();
    while !text.ends_with(b"ok") {
        let read = tokio::time::timeout(WAIT_MAX, client.read_buf(&mut text)).await.expect("an answer").unwrap();
        assert!(read > 0, "the connection has ended");
    }
    assert!(text.starts_with(b"HTTP/1.1 200"));
}

async fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A connection that was reset has ended, too.
    let _ended = tokio::time::timeout(WAIT_MAX, client.read_to_end(&mut all)).await.expect("the connection ends");
    all
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_and_one_that_reads_slowly_is_not() {
    let bounds = ConnectionBounds { total: 0, per_address: 0, timeouts: timeouts(SHORT, SHORT) };
    let (address, stop, serving) = start(bounds).await;
    let mut idle = ask(address, "/large").await;
    let mut slow = ask(address, "/large").await;
    let mut read = 0;
    let mut space = vec![0; 512 * 1024];
    while read < LARGE {
        let got = slow.read(&mut space).await.unwrap();
        assert!(got > 0, "cut after {read} bytes");
        read += got;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Without the time limit, the server would wait for the first client forever.
    stop.cancel();
    tokio::time::timeout(WAIT_MAX, serving).await.expect("both connections have ended").unwrap();
    assert!(read_all(&mut idle).await.len() < LARGE);
}

#[tokio::test]
async fn a_client_that_sends_no_complete_head_is_cut() {
    let bounds = ConnectionBounds { total: 0, per_address: 0, timeouts: timeouts(SHORT, WAIT_MAX) };
    let (address, ..) = start(bounds).await;
    for head in ["", "GET /small HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(read_all(&mut client).await, b"");
    }
    // A later head, too.
    let mut client = ask(address, "/small").await;
    read_answer(&mut client).await;
    client.write_all(b"GET /small").await.unwrap();
    assert_eq!(read_all(&mut client).await, b"");
}

#[tokio::test]
async fn a_connection_between_two_requests_is_kept_for_the_idle_time() {
    let bounds = ConnectionBounds { total: 0, per_address: 0, timeouts: timeouts(SHORT, WAIT_MAX) };
    let (address, ..) = start(bounds).await;
    let mut client = ask(address, "/small").await;
    for _ in 0..2 {
        read_answer(&mut client).await;
        // Longer than a head may take.
        tokio::time::sleep(3 * SHORT).await;
        client.write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    }
    read_answer(&mut client).await;

    let bounds = ConnectionBounds { total: 0, per_address: 0, timeouts: timeouts(WAIT_MAX, SHORT) };
    let (address, ..) = start(bounds).await;
    let mut client = ask(address, "/small").await;
    let text = String::from_utf8(read_all(&mut client).await).unwrap();
    assert!(text.ends_with("ok"), "{text}");
}

#[tokio::test]
async fn connections_above_a_bound_are_refused_at_once_unless_an_idle_one_makes_place() {
    let timeouts = timeouts(WAIT_MAX, WAIT_MAX);
    for (bounds, status) in [
        (ConnectionBounds { total: 0, per_address: 3, timeouts }, "429"),
        (ConnectionBounds { total: 3, per_address: 0, timeouts }, "503"),
    ] {
        let (address, ..) = start(bounds).await;
        // Two are busy: their answers are not read. The third is idle, and makes place for a busy
        // one.
        let _busy = [ask(address, "/large").await, ask(address, "/large").await];
        let mut idle = ask(address, "/small").await;
        read_answer(&mut idle).await;
        let third = accepted(address, "/large").await;
        assert_eq!(read_all(&mut idle).await, b"");
        let mut refused = TcpStream::connect(address).await.unwrap();
        let text = String::from_utf8(read_all(&mut refused).await).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.contains("Retry-After: 5"), "{text}");
        drop(third);
        accepted(address, "/small").await;
    }
}

/// Asks until there is place: the server may notice later than a client that a connection is idle
/// or closed.
async fn accepted(address: SocketAddr, path: &str) -> TcpStream {
    let accepted = async {
        loop {
            let mut first = [0; 12];
            let mut client = ask(address, path).await;
            if client.read_exact(&mut first).await.is_ok() && &first == b"HTTP/1.1 200" {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, accepted).await.expect("an idle or a closed connection makes place")
}
