//! Refused handshakes, and limits that close a socket.

use std::time::Duration;

use crate::support::{Client, QUERY, TIMEOUT, config, ending, http, refused, start_echo, start_probe};
use switchboard_socketio::{AllowedOrigins, CloseReason};
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
    config.limits.sockets_per_address = 2;
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

#[tokio::test]
async fn a_message_over_the_maximum_payload_closes_the_socket() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    client.send(&format!(r#"42["a","{}"]"#, "x".repeat(70_000))).await;
    assert_eq!(client.closed().await, "payload_too_large");
    assert_eq!(ending(&mut endings).await, CloseReason::PayloadTooLarge);
    // The limit counts all attachments of a packet together.
    let mut client = Client::connect(running.address).await;
    client.send(r#"452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#).await;
    client.send_binary(&[0; 40_000]).await;
    client.send_binary(&[0; 40_000]).await;
    assert_eq!(client.closed().await, "payload_too_large");
}

#[tokio::test]
async fn a_socket_that_connects_to_no_namespace_is_closed() {
    let mut config = config();
    config.timeouts.connect = Duration::from_millis(50);
    let running = start_echo(config).await;
    let (mut client, _) = Client::open(running.address).await;
    assert_eq!(client.closed().await, "connect_timeout");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_as_a_slow_consumer() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    client.send(r#"42["fill"]"#).await;
    assert_eq!(ending(&mut endings).await, CloseReason::SlowConsumer);
    client.closed().await;
}

#[tokio::test]
async fn events_over_the_rate_are_refused_by_name_and_a_flood_closes_the_socket() {
    let mut config = config();
    config.limits.events_per_second = 10;
    let (running, _probe, mut endings) = start_probe(config).await;
    let mut client = Client::connect(running.address).await;
    for _ in 0..25 {
        client.send(r#"42["anything"]"#).await;
    }
    client.send(r#"421["anything"]"#).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    let error = client.text().await;
    assert!(error.starts_with(r#"42["error",{"code":"RATE_LIMIT_EXCEEDED","event":"anything""#), "{error}");
    loop {
        let text = client.text().await;
        if text.starts_with("43") {
            assert!(
                text.starts_with(r#"431[{"code":"RATE_LIMIT_EXCEEDED""#) && text.contains(r#""success":false"#),
                "{text}"
            );
            break;
        }
    }
    for _ in 0..100 {
        client.send(r#"42["anything"]"#).await;
    }
    assert_eq!(client.closed().await, "flood");
    assert_eq!(ending(&mut endings).await, CloseReason::Flood);
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
