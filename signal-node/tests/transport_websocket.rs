//! The transport over WebSocket, with small applications on it: no room in sight.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use signal_node::transport::{AllowedOrigins, CloseReason, SocketIo, TransportConfig};
use support::probe::{FENCED, Probe};
use support::{Client, PATIENCE, Running, config, start, start_echo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

const QUERY: &str = "EIO=4&transport=websocket";

async fn start_probe(config: TransportConfig) -> (Running, Arc<Probe>, UnboundedReceiver<CloseReason>) {
    let (probe, endings) = Probe::new();
    let running = start(config, Arc::new(SocketIo::new(Arc::clone(&probe)))).await;
    (running, probe, endings)
}

async fn ending(endings: &mut UnboundedReceiver<CloseReason>) -> CloseReason {
    timeout(PATIENCE, endings.recv()).await.expect("an ending").expect("the application lives")
}

async fn refused(running: &Running, query: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
    match Client::dial(running.address, query, headers).await {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8(body).unwrap())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Sends a request and gives the whole answer.
async fn http(running: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let request = format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

#[tokio::test]
async fn the_open_packet_has_exactly_the_five_fields() {
    let running = start_echo(config()).await;
    let (_client, open) = Client::open(running.address).await;
    let open = open.as_object().unwrap();
    let mut names: Vec<&str> = open.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]);
    assert_eq!(open["upgrades"], serde_json::json!([]));
    assert_eq!(open["pingInterval"], 25000);
    assert_eq!(open["pingTimeout"], 20000);
    assert_eq!(open["maxPayload"], 65536);
    assert_eq!(open["sid"].as_str().unwrap().len(), 20);
}

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
    assert!(http(&running, &format!("POST /socket.io/?{QUERY} HTTP/1.1\r\nContent-Length: 0")).await.contains("\"code\":2"));
    assert!(http(&running, &format!("GET /socket.io/?{QUERY} HTTP/1.1")).await.contains("\"code\":3"));
    assert!(http(&running, "GET /elsewhere HTTP/1.1").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn only_listed_origins_may_open_a_socket() {
    let mut config = config();
    config.allowed_origins = AllowedOrigins::List(vec!["https://app.example".into()]);
    let running = start_echo(config).await;
    assert_eq!(refused(&running, QUERY, &[("origin", "https://evil.example")]).await.0, 403);
    assert!(Client::dial(running.address, QUERY, &[("origin", "https://app.example")]).await.is_ok());
    assert!(Client::dial(running.address, QUERY, &[]).await.is_ok());
}

#[tokio::test]
async fn an_address_opens_as_many_sockets_as_it_may_and_closing_one_makes_room() {
    let mut config = config();
    config.limits.sockets_per_address = 2;
    let (running, _probe, mut endings) = start_probe(config).await;
    let mut first = Client::connect(running.address).await;
    let _second = Client::connect(running.address).await;
    assert_eq!(refused(&running, QUERY, &[]).await.0, 429);
    first.send_message(Message::Close(None)).await;
    ending(&mut endings).await;
    let again = timeout(PATIENCE, async {
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
async fn events_are_echoed_and_acknowledged_in_both_namespaces_with_attachments() {
    let running = start_echo(config()).await;
    let (mut client, _) = Client::open(running.address).await;
    client.send(r#"40{"token":"abc"}"#).await;
    assert!(client.text().await.starts_with("40{\"sid\":\""));
    assert_eq!(client.text().await, r#"42["auth",{"token":"abc"}]"#);
    client.send("40/custom,").await;
    assert!(client.text().await.starts_with("40/custom,{\"sid\":\""));
    assert_eq!(client.text().await, r#"42/custom,["auth",{}]"#);

    client.send(r#"42["message",1,"2",{"3":[true]}]"#).await;
    assert_eq!(client.text().await, r#"42["message-back",1,"2",{"3":[true]}]"#);
    client.send(r#"42456["message-with-ack",1,"2",{"3":[false]}]"#).await;
    assert_eq!(client.text().await, r#"43456[1,"2",{"3":[false]}]"#);
    client.send(r#"42/custom,7["message-with-ack"]"#).await;
    assert_eq!(client.text().await, "43/custom,7[]");

    let args = r#"{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]"#;
    client.send(&format!(r#"452-["message",{args}]"#)).await;
    client.send_binary(&[1, 2]).await;
    client.send_binary(&[3]).await;
    assert_eq!(client.text().await, format!(r#"452-["message-back",{args}]"#));
    assert_eq!(client.binary().await, [1, 2]);
    assert_eq!(client.binary().await, [3]);
    client.send(&format!(r#"452-789["message-with-ack",{args}]"#)).await;
    client.send_binary(&[4]).await;
    client.send_binary(&[]).await;
    assert_eq!(client.text().await, format!("462-789[{args}]"));
    assert_eq!(client.binary().await, [4]);
    assert_eq!(client.binary().await, [0u8; 0]);
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_socket_goes_on() {
    let running = start_echo(config()).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["auth",{}]"#);
    client.send("40/random").await;
    assert_eq!(client.text().await, r#"44/random,{"message":"Invalid namespace"}"#);
    client.assert_alive().await;
}

#[tokio::test]
async fn a_refused_connect_tells_its_code_and_the_client_may_try_again() {
    let (running, _probe, _endings) = start_probe(config()).await;
    let (mut client, _) = Client::open(running.address).await;
    client.send(r#"40{"token":"refuse"}"#).await;
    assert_eq!(client.text().await, r#"44{"message":"Who are you","data":{"code":"TOKEN_INVALID"}}"#);
    client.send("40").await;
    assert_eq!(client.text().await, r#"40{"sid":"s1","pid":"p1"}"#);
}

#[tokio::test]
async fn missed_events_come_before_the_connect_reply_and_live_ones_after() {
    let (running, _probe, _endings) = start_probe(config()).await;
    let (mut client, _) = Client::open(running.address).await;
    client.send(r#"40{"pid":"p1","offset":"1-0"}"#).await;
    assert_eq!(client.text().await, r#"42["missed-1"]"#);
    assert_eq!(client.text().await, r#"42["missed-2"]"#);
    assert_eq!(client.text().await, r#"40{"sid":"s1","pid":"p1"}"#);
    assert_eq!(client.text().await, r#"42["live"]"#);
}

#[tokio::test]
async fn whatever_breaks_a_protocol_closes_that_socket_alone() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut bystander = Client::connect(running.address).await;
    for bad in [
        "abc", "", "4", "4abc", "2", "5", "0{}", "40", "44{}", "42", "42{}", "42[1]", r#"42["connect"]"#,
        r#"42["a""#, "42/other,[\"a\"]", "43[]", r#"4511-["a"]"#, r#"45["a"]"#, r#"451-["a",{"_placeholder":true,"num":3}]"#,
        "40[]",
    ] {
        let mut client = Client::connect(running.address).await;
        client.send(bad).await;
        assert_eq!(client.closed().await, "protocol_error", "{bad}");
        assert!(matches!(ending(&mut endings).await, CloseReason::ProtocolError(_)), "{bad}");
    }
    for unconnected in [r#"42["a"]"#, "431[]", "44{}"] {
        let (mut client, _) = Client::open(running.address).await;
        client.send(unconnected).await;
        assert_eq!(client.closed().await, "protocol_error", "{unconnected}");
    }
    let mut client = Client::connect(running.address).await;
    client.send_binary(&[1]).await;
    assert_eq!(client.closed().await, "protocol_error");
    let mut client = Client::connect(running.address).await;
    client.send(r#"451-["a",{"_placeholder":true,"num":0}]"#).await;
    client.send(r#"42["b"]"#).await;
    assert_eq!(client.closed().await, "protocol_error");
    assert_eq!(bystander.text().await, r#"42["live"]"#);
    bystander.send(r#"421["anything"]"#).await;
    assert_eq!(bystander.text().await, r#"431["done"]"#);
}

#[tokio::test]
async fn a_message_over_the_maximum_payload_closes_the_socket() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    client.send(&format!(r#"42["a","{}"]"#, "x".repeat(70_000))).await;
    assert_eq!(client.closed().await, "payload_too_large");
    assert_eq!(ending(&mut endings).await, CloseReason::PayloadTooLarge);
    // In attachments, none too large by itself, it is as much too large.
    let mut client = Client::connect(running.address).await;
    client.send(r#"452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#).await;
    client.send_binary(&[0; 40_000]).await;
    client.send_binary(&[0; 40_000]).await;
    assert_eq!(client.closed().await, "payload_too_large");
}

#[tokio::test]
async fn the_server_pings_and_a_client_that_answers_stays() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(50);
    let (running, _probe, _endings) = start_probe(config).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    for _ in 0..5 {
        assert_eq!(client.text().await, "2");
        assert_eq!(client.text().await, r#"42["tick"]"#);
        client.send("3").await;
    }
    client.send(r#"421["anything"]"#).await;
    while client.text().await != r#"431["done"]"# {}
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(50);
    config.timeouts.ping_timeout = Duration::from_millis(50);
    let (running, _probe, mut endings) = start_probe(config).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.closed().await, "ping_timeout");
    assert_eq!(ending(&mut endings).await, CloseReason::PingTimeout);
}

#[tokio::test]
async fn a_pong_waiting_behind_a_slow_event_counts() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(50);
    config.timeouts.ping_timeout = Duration::from_millis(50);
    let (running, probe, mut endings) = start_probe(config).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    client.send(r#"427["wait"]"#).await;
    // The ping comes although the event is not done, and its answer stays unread past its time.
    while client.text().await != "2" {}
    client.send("3").await;
    assert!(timeout(Duration::from_millis(150), endings.recv()).await.is_err());
    probe.release.notify_one();
    loop {
        match client.text().await.as_str() {
            r#"437["done"]"# => break,
            "2" => client.send("3").await,
            _ => {}
        }
    }
    assert!(endings.try_recv().is_err());
}

#[tokio::test]
async fn a_socket_that_never_connects_is_closed() {
    let mut config = config();
    config.timeouts.connect = Duration::from_millis(50);
    let running = start_echo(config).await;
    let (mut client, _) = Client::open(running.address).await;
    assert_eq!(client.closed().await, "connect_timeout");
}

#[tokio::test]
async fn a_panic_in_one_session_ends_that_session_only() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut bystander = Client::connect(running.address).await;
    let mut client = Client::connect(running.address).await;
    client.send(r#"42["panic"]"#).await;
    assert_eq!(client.closed().await, "internal_error");
    assert_eq!(ending(&mut endings).await, CloseReason::Panic);
    assert_eq!(bystander.text().await, r#"42["live"]"#);
    bystander.send(r#"421["anything"]"#).await;
    assert_eq!(bystander.text().await, r#"431["done"]"#);
    assert!(Client::dial(running.address, QUERY, &[]).await.is_ok());
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
async fn an_unsent_message_is_replaced_by_a_newer_one_of_its_key() {
    let (running, _probe, _endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    client.send(r#"421["typing"]"#).await;
    let mut received = Vec::new();
    loop {
        let text = client.text().await;
        if text == r#"431["done"]"# {
            break;
        }
        received.push(text);
    }
    assert_eq!(received.last().map(String::as_str), Some(r#"42["typing",4]"#));
    assert!(received.len() < 5, "nothing was replaced: {received:?}");
}

#[tokio::test]
async fn too_many_events_are_refused_by_name_and_a_flood_is_closed() {
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
            assert!(text.starts_with(r#"431[{"code":"RATE_LIMIT_EXCEEDED""#) && text.contains(r#""success":false"#), "{text}");
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
async fn how_the_client_ends_is_told_apart() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let going_away = CloseFrame { code: 1001.into(), reason: "".into() };
    for (message, reason) in [
        (Message::text("41"), CloseReason::ClientDisconnect),
        (Message::text("1"), CloseReason::TransportClose),
        (Message::Close(Some(going_away)), CloseReason::TransportClose),
        (Message::Close(None), CloseReason::TransportLost),
    ] {
        let mut client = Client::connect(running.address).await;
        client.send_message(message).await;
        assert_eq!(ending(&mut endings).await, reason);
    }
    drop(Client::connect(running.address).await);
    assert_eq!(ending(&mut endings).await, CloseReason::TransportLost);
}

#[tokio::test]
async fn leaving_one_namespace_keeps_the_other() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    client.send("40/other").await;
    client.send("41").await;
    assert_eq!(ending(&mut endings).await, CloseReason::ClientDisconnect);
    client.send(r#"42/other,5["anything"]"#).await;
    while client.text().await != r#"43/other,5["done"]"# {}
}

#[tokio::test]
async fn the_application_closes_with_and_without_a_goodbye() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    client.send(r#"421["close"]"#).await;
    match client.next().await {
        Some(Message::Close(Some(frame))) => assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "fenced")),
        other => panic!("expected a close without a packet before, got {other:?}"),
    }
    assert_eq!(ending(&mut endings).await, CloseReason::ServerClosed(FENCED));

    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    client.send(r#"42["kick"]"#).await;
    assert_eq!(client.text().await, "41");
    assert_eq!(client.closed().await, "fenced");
    assert_eq!(ending(&mut endings).await, CloseReason::ServerClosed(FENCED));
}

#[tokio::test]
async fn a_stopped_server_keeps_its_sockets_until_they_are_closed() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    running.stop.cancel();
    client.send(r#"421["anything"]"#).await;
    while client.text().await != r#"431["done"]"# {}
    assert_eq!(running.server.open_sockets(), 1);
    running.server.close_all(FENCED);
    assert_eq!(client.closed().await, "fenced");
    assert_eq!(ending(&mut endings).await, CloseReason::ServerClosed(FENCED));
    timeout(PATIENCE, running.server.drained()).await.expect("every task ends");
    assert_eq!(running.server.open_sockets(), 0);
}

#[tokio::test]
async fn a_handshake_that_never_finishes_is_cut() {
    let mut config = config();
    config.timeouts.http_head = Duration::from_millis(50);
    let running = start_echo(config).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHost:").await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the end").unwrap();
}
