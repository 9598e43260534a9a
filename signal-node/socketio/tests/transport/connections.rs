//! Refused handshakes and requests, and bounds on TCP connections.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{Client, QUERY, TIMEOUT, config, ending, http, refused, start_echo, start_probe};
use switchboard_core::client_address::TrustedProxies;
use switchboard_core::domain::Rate;
use switchboard_socketio::{AllowedOrigins, Timeouts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn bad_handshakes_are_refused_with_engine_ios_own_codes() {
    let running = start_echo(config()).await;
    for (query, code) in [
        ("EIO=4&transport=abc", 0),
        ("EIO=4", 0),
        ("EIO=4&transport=websocket&sid=unknown", 1),
        ("EIO=3&transport=websocket", 5),
        ("transport=websocket", 5),
    ] {
        let (status, body) = refused(&running, query, &[]).await;
        assert_eq!(status, 400, "{query}");
        assert!(body.starts_with(&format!("{{\"code\":{code},\"message\":\"")), "{query}: {body}");
    }
    assert!(
        http(&running, &format!("POST /socket.io/?{QUERY} HTTP/1.1\r\nContent-Length: 0")).await.contains("\"code\":2")
    );
    assert!(http(&running, &format!("GET /socket.io/?{QUERY} HTTP/1.1")).await.contains("\"code\":3"));
    assert!(http(&running, "GET /elsewhere HTTP/1.1").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_websocket_handshake_that_is_no_valid_one_is_refused_with_its_reason() {
    let running = start_echo(config()).await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let handshake = |fields: &str| format!("GET /socket.io/?{QUERY} HTTP/1.1\r\n{fields}");
    let answer = http(&running, &handshake(&format!("Upgrade: websocket\r\n{key}\r\nSec-WebSocket-Version: 8"))).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("Unsupported WebSocket version"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
    let answer = http(&running, &handshake(&format!("{key}\r\nSec-WebSocket-Version: 13"))).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("Upgrade header missing"), "{answer}");
}

#[tokio::test]
async fn only_listed_origins_may_open_a_socket() {
    let mut config = config();
    config.allowed_origins = AllowedOrigins::list(["https://app.example".into()]);
    let running = start_echo(config).await;
    assert_eq!(refused(&running, QUERY, &[("origin", "https://evil.example")]).await.0, 403);
    assert!(Client::dial(running.address, QUERY, &[("origin", "https://app.example")]).await.is_ok());
    assert!(Client::dial(running.address, QUERY, &[]).await.is_ok());
}

#[tokio::test]
async fn an_address_opens_no_more_sockets_than_the_limit_and_closing_one_frees_its_slot() {
    let mut config = config();
    config.admission.sockets_per_address = 2;
    let (running, _probe, mut endings) = start_probe(config).await;
    let mut first = Client::connect(running.address).await;
    let _second = Client::connect(running.address).await;
    assert_eq!(refused(&running, QUERY, &[]).await.0, 429);
    first.send_message(Message::Close(None)).await;
    ending(&mut endings).await;
    let again = timeout(TIMEOUT, async {
        loop {
            if let Ok(client) = Client::dial(running.address, QUERY, &[]).await {
                return client;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(again.await.is_ok());
}

/// Opens a session by long-polling and returns the whole response.
const POLLING: &str = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1";

#[tokio::test]
async fn a_node_opens_no_more_sockets_than_its_limit_and_says_when_to_try_again() {
    let mut config = config();
    config.admission.sockets = 2;
    let (running, _probe, mut endings) = start_probe(config).await;
    let mut first = Client::connect(running.address).await;
    assert!(http(&running, POLLING).await.starts_with("HTTP/1.1 200"));
    let full = http(&running, POLLING).await;
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("retry-after: 5"), "{full}");
    assert!(full.ends_with(r#"{"code":4,"message":"Too many connections to this node"}"#), "{full}");
    assert_eq!(refused(&running, QUERY, &[]).await.0, 503);
    assert_eq!(running.server.open_sockets(), 2);
    first.send_message(Message::Close(None)).await;
    ending(&mut endings).await;
    let again = timeout(TIMEOUT, async { while !http(&running, POLLING).await.starts_with("HTTP/1.1 200") {} });
    assert!(again.await.is_ok());
}

#[tokio::test]
async fn an_address_opens_no_more_sockets_than_its_rate_and_requests_of_open_ones_go_on() {
    let mut config = config();
    config.admission.handshakes = Rate::parse("2/3600").unwrap();
    let running = start_echo(config).await;
    let mut client = Client::connect(running.address).await;
    assert!(http(&running, POLLING).await.starts_with("HTTP/1.1 200"));
    let refusal = http(&running, POLLING).await;
    assert!(refusal.starts_with("HTTP/1.1 429") && refusal.contains("retry-after: 1800"), "{refusal}");
    assert_eq!(refused(&running, QUERY, &[]).await.0, 429);
    assert_eq!(running.server.open_sockets(), 2, "a refused handshake leaves nothing behind");
    client.assert_alive().await;
}

#[tokio::test]
async fn requests_over_the_rate_of_an_address_are_refused_before_they_are_looked_at() {
    let mut config = config();
    config.admission.requests = Rate::parse("2/3600").unwrap();
    let running = start_echo(config).await;
    for _ in 0..2 {
        assert!(http(&running, "GET /elsewhere HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    }
    let refusal = http(&running, "GET /elsewhere HTTP/1.1").await;
    assert!(refusal.starts_with("HTTP/1.1 429") && refusal.contains("retry-after: 1800"), "{refusal}");
}

#[tokio::test]
async fn clients_behind_a_balancer_have_rates_of_their_own_however_it_writes_their_addresses() {
    let mut config = config();
    config.admission.requests = Rate::parse("1/3600").unwrap();
    config.proxies = TrustedProxies::hops(1);
    let running = start_echo(config).await;
    let ask = async |forwarded: &str| {
        let response = http(&running, &format!("GET /elsewhere HTTP/1.1\r\nX-Forwarded-For: {forwarded}")).await;
        response["HTTP/1.1 ".len()..][..3].to_owned()
    };
    for client in ["192.0.2.1:4711", "[2001:db8:1::7]:4711", "\"[2001:db8:2::7]\"", "6.6.6.6, 192.0.2.2,", "unknown"] {
        assert_eq!((ask(client).await.as_str(), ask(client).await.as_str()), ("404", "429"), "{client}");
    }
    assert_eq!(ask("_hidden").await, "429", "clients that the proxy hides share one count");
}

#[tokio::test]
async fn connections_over_the_bounds_are_refused_and_the_end_of_one_frees_its_slot() {
    for (connections, per_address, status) in [(2, 0, "503"), (0, 2, "429")] {
        let mut config = config();
        config.admission.connections = connections;
        config.admission.connections_per_address = per_address;
        let (running, _probe, _endings) = start_probe(config).await;
        let mut socket = Client::connect(running.address).await;
        let idle = TcpStream::connect(running.address).await.unwrap();
        let mut third = TcpStream::connect(running.address).await.unwrap();
        let mut answer = String::new();
        timeout(TIMEOUT, third.read_to_string(&mut answer)).await.expect("the end").unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains("Retry-After: 5"), "{answer}");
        drop(idle);
        let again = timeout(TIMEOUT, async {
            loop {
                if Client::dial(running.address, QUERY, &[]).await.is_ok() {
                    return;
                }
            }
        });
        assert!(again.await.is_ok(), "the slot of the closed connection is free");
        socket.send(r#"421["anything"]"#).await;
        while socket.text().await != r#"431["done"]"# {}
    }
}

#[tokio::test]
async fn a_connection_that_sends_no_request_or_no_whole_head_is_cut() {
    let mut config = config();
    config.timeouts.http = Duration::from_millis(50);
    let running = start_echo(config).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let mut rest = Vec::new();
    timeout(TIMEOUT, silent.read_to_end(&mut rest)).await.expect("the end").unwrap();
    // The head of a later request too: it has as much time as the first one.
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(format!("{POLLING}\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    first_line(&mut slow, "HTTP/1.1 200").await;
    slow.write_all(b"GET /").await.unwrap();
    timeout(TIMEOUT, slow.read_to_end(&mut rest)).await.expect("the end").unwrap();
}

/// Reads the beginning of a response.
async fn first_line(stream: &mut TcpStream, expected: &str) {
    let mut space = [0; 1024];
    let read = timeout(TIMEOUT, stream.read(&mut space)).await.expect("a response").unwrap();
    let text = String::from_utf8_lossy(&space[..read]).into_owned();
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test]
async fn a_connection_between_two_requests_stays_open_for_longer_than_a_head_may_take() {
    assert!(Timeouts::default().keep_alive >= Duration::from_secs(75), "longer than load balancers keep one");
    let mut config = config();
    config.timeouts.http = Duration::from_millis(100);
    config.timeouts.keep_alive = TIMEOUT;
    let running = start_echo(config).await;
    let mut kept = TcpStream::connect(running.address).await.unwrap();
    for _ in 0..3 {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        first_line(&mut kept, "HTTP/1.1 200").await;
        // Several times the time that a head may take.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let mut config = crate::support::config();
    config.timeouts.keep_alive = Duration::from_millis(50);
    let running = start_echo(config).await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    timeout(TIMEOUT, idle.read_to_end(&mut rest)).await.expect("the end").unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn at_a_bound_idle_connections_make_room_for_new_ones() {
    for (connections, per_address) in [(2, 0), (0, 2)] {
        let mut config = config();
        config.admission.connections = connections;
        config.admission.connections_per_address = per_address;
        let running = start_echo(config).await;
        let mut kept = Vec::new();
        for _ in 0..4 {
            kept.push(timeout(TIMEOUT, accepted(running.address)).await.expect("an idle connection makes room"));
        }
        // Which of them is idle for the longest time is not the test's to know on a busy machine.
        let mut answered = 0;
        for stream in &mut kept {
            let _sent_or_closed = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let mut begin = [0; 12];
            let read = timeout(TIMEOUT, stream.read_exact(&mut begin)).await.expect("an answer or the end");
            answered += usize::from(read.is_ok() && &begin == b"HTTP/1.1 200");
        }
        assert_eq!(answered, 2, "two have made room, and two are open");
    }
}

/// Sends a request until there is room: the server may notice later than a client that a connection
/// is idle.
async fn accepted(address: SocketAddr) -> TcpStream {
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _sent_or_refused = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut begin = [0; 12];
        if stream.read_exact(&mut begin).await.is_ok() && &begin == b"HTTP/1.1 200" {
            // The rest of the response is short, and has come with its beginning.
            let _rest = stream.read(&mut [0; 1024]).await.unwrap();
            return stream;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_root_answers_health_checks_until_the_server_stops() {
    let running = start_echo(config()).await;
    for method in ["GET", "HEAD"] {
        let answer = http(&running, &format!("{method} / HTTP/1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("content-type: text/plain"), "{answer}");
        assert_eq!(answer.ends_with("Socket.IO server\n"), method == "GET", "{answer}");
    }
    assert!(http(&running, "POST / HTTP/1.1\r\nContent-Length: 0").await.starts_with("HTTP/1.1 404"));
    running.server.refuse_new();
    assert!(http(&running, "GET / HTTP/1.1").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_request_target_that_no_client_needs_is_refused() {
    let running = start_echo(config()).await;
    let padded = |length: usize| {
        let target = "/socket.io/?EIO=4&transport=polling&pad=";
        format!("GET {target}{} HTTP/1.1", "x".repeat(length - target.len()))
    };
    assert!(http(&running, &padded(2048)).await.starts_with("HTTP/1.1 200"));
    assert!(http(&running, &padded(2049)).await.starts_with("HTTP/1.1 414"));
}

#[tokio::test]
async fn no_browser_guesses_the_type_of_a_response() {
    let running = start_echo(config()).await;
    for request in [POLLING, "GET /elsewhere HTTP/1.1", "OPTIONS /socket.io/ HTTP/1.1"] {
        let answer = http(&running, request).await;
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    }
}

#[tokio::test]
async fn an_unfinished_http_request_is_cut() {
    let mut config = config();
    config.timeouts.http = Duration::from_millis(50);
    let running = start_echo(config).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHost:").await.unwrap();
    let mut rest = Vec::new();
    timeout(TIMEOUT, stream.read_to_end(&mut rest)).await.expect("the end").unwrap();
}

#[tokio::test]
async fn a_server_that_refuses_new_sockets_keeps_those_it_has() {
    let running = start_echo(config()).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["auth",{}]"#);
    running.server.refuse_new();
    assert_eq!(refused(&running, QUERY, &[]).await.0, 503);
    assert_eq!(refused(&running, "EIO=4&transport=polling", &[]).await.0, 503);
    client.send(r#"42["message","still here"]"#).await;
    assert_eq!(client.text().await, r#"42["message-back","still here"]"#);
}
