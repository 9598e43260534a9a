//! Connections of clients that cost more than they should.

use std::net::SocketAddr;
use std::time::Duration;

use api::http::server::serve;
use api::limits::ConnectionBounds;
use axum::Router;
use axum::routing::get;
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

async fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A connection that was reset has ended, too.
    let _ended = tokio::time::timeout(WAIT_MAX, client.read_to_end(&mut all)).await.expect("the connection ends");
    all
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_and_one_that_reads_slowly_is_not() {
    let bounds = ConnectionBounds { total: 0, per_address: 0, io_timeout: SHORT };
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
    let (address, ..) = start(ConnectionBounds { total: 0, per_address: 0, io_timeout: SHORT }).await;
    for head in ["", "GET /small HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        let _closed_or_408 = read_all(&mut client).await;
    }
    // A connection between two requests is closed as well.
    let mut client = ask(address, "/small").await;
    let text = String::from_utf8(read_all(&mut client).await).unwrap();
    assert!(text.ends_with("ok"), "{text}");
}

#[tokio::test]
async fn connections_above_a_bound_are_refused_at_once_and_a_closed_one_makes_place() {
    let io_timeout = Duration::from_secs(60);
    for (bounds, status) in [
        (ConnectionBounds { total: 0, per_address: 3, io_timeout }, "429"),
        (ConnectionBounds { total: 3, per_address: 0, io_timeout }, "503"),
    ] {
        let (address, ..) = start(bounds).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut client = ask(address, "/small").await;
            let mut first = [0; 12];
            client.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            held.push(client);
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        let text = String::from_utf8(read_all(&mut refused).await).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.contains("Retry-After: 5"), "{text}");
        drop(held.pop());
        let accepted = async {
            loop {
                let mut first = [0; 12];
                let mut client = ask(address, "/small").await;
                if client.read_exact(&mut first).await.is_ok() && &first == b"HTTP/1.1 200" {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, accepted).await.expect("a closed connection makes place");
    }
}
