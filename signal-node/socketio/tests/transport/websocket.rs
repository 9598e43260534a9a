//! Engine.IO and Socket.IO over WebSocket.

use std::sync::Arc;
use std::time::Duration;

use crate::support::echo::Echo;
use crate::support::probe::FENCED;
use crate::support::{Client, QUERY, TIMEOUT, config, ending, start, start_echo, start_probe};
use switchboard_socketio::{CloseReason, SocketIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

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
    assert_eq!(open["maxPayload"], 1_048_576);
    assert_eq!(open["sid"].as_str().unwrap().len(), 20);
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
async fn a_refused_connect_carries_its_code_and_the_client_may_try_again() {
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
async fn a_protocol_violation_closes_only_its_own_socket() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut bystander = Client::connect(running.address).await;
    for bad in [
        "abc",
        "",
        "4",
        "4abc",
        "2",
        "5",
        "0{}",
        "40",
        "44{}",
        "42",
        "42{}",
        "42[1]",
        r#"42["connect"]"#,
        r#"42["a""#,
        "42/other,[\"a\"]",
        "43[]",
        r#"4511-["a"]"#,
        r#"45["a"]"#,
        r#"451-["a",{"_placeholder":true,"num":3}]"#,
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
async fn a_client_that_answers_pings_stays_connected() {
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
async fn an_unread_pong_behind_a_slow_event_counts() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(50);
    config.timeouts.ping_timeout = Duration::from_millis(50);
    let (running, probe, mut endings) = start_probe(config).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    client.send(r#"427["wait"]"#).await;
    // The ping is sent during the event. The pong stays unread past its deadline.
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
async fn the_last_of_thousands_of_websocket_pings_is_answered_and_the_socket_goes_on() {
    let running = start_echo(config()).await;
    let mut client = Client::connect(running.address).await;
    for number in 0..3000_u32 {
        client.send_message(Message::Ping(number.to_be_bytes().to_vec().into())).await;
    }
    let last = 2999_u32.to_be_bytes();
    while !matches!(client.next().await.expect("a message"), Message::Pong(data) if data[..] == last) {}
    client.assert_alive().await;
}

#[tokio::test]
async fn a_panic_ends_only_its_own_session() {
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
async fn a_newer_message_replaces_an_unsent_one_with_the_same_key() {
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
async fn each_way_to_disconnect_has_its_own_close_reason() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let going_away = CloseFrame { code: 1001.into(), reason: "".into() };
    for (message, reason) in [
        (Message::text("41"), CloseReason::ClientDisconnect),
        (Message::text("1"), CloseReason::ClosePacket),
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
async fn a_client_that_is_probed_is_pinged_at_once_and_is_alive_when_it_answers() {
    let (running, _probe, _endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    for _ in 0..2 {
        client.send(r#"42["probe"]"#).await;
        assert_eq!(client.text().await, "2", "long before the next ping is due");
        client.send("3").await;
        assert_eq!(client.text().await, r#"42["alive"]"#);
    }
    // Any packet is an answer, and one ping is enough while its pong is missing.
    client.send(r#"42["probe"]"#).await;
    assert_eq!(client.text().await, "2");
    client.send(r#"42["probe"]"#).await;
    assert_eq!(client.text().await, r#"42["alive"]"#);
    client.send("3").await;
    assert_eq!(client.text().await, r#"42["alive"]"#);
}

#[tokio::test]
async fn a_client_that_leaves_one_namespace_stays_in_the_other() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    client.send("40/other").await;
    client.send("41").await;
    assert_eq!(ending(&mut endings).await, CloseReason::ClientDisconnect);
    client.send(r#"42/other,5["anything"]"#).await;
    while client.text().await != r#"43/other,5["done"]"# {}
}

#[tokio::test]
async fn the_application_closes_with_and_without_a_disconnect_packet() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    client.send(r#"421["close"]"#).await;
    match client.next().await {
        Some(Message::Close(Some(frame))) => {
            assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "fenced"))
        }
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
    timeout(TIMEOUT, running.server.drained()).await.expect("every task ends");
    assert_eq!(running.server.open_sockets(), 0);
}

#[tokio::test]
async fn a_client_that_recovers_receives_missed_events_before_the_reply_but_not_after_a_disconnect() {
    let running = start(config(), Arc::new(SocketIo::new(Arc::new(Echo::recovering())))).await;
    let (mut client, _) = Client::open(running.address).await;
    client.send("40").await;
    let reply = client.text().await;
    assert_eq!(client.text().await, r#"42["auth",{}]"#);
    let ids: serde_json::Value = serde_json::from_str(&reply[2..]).unwrap();
    let pid = ids["pid"].as_str().unwrap();
    for number in 1..=3 {
        client.send(&format!(r#"42["message",{number}]"#)).await;
        assert_eq!(client.text().await, format!(r#"42["message-back",{number},"{number}"]"#));
    }
    drop(client);

    let back = format!(r#"40{{"pid":"{pid}","offset":"1"}}"#);
    let (mut client, _) = Client::open(running.address).await;
    client.send(&back).await;
    assert_eq!(client.text().await, r#"42["message-back",2,"2"]"#);
    assert_eq!(client.text().await, r#"42["message-back",3,"3"]"#);
    assert_eq!(client.text().await, reply);
    client.send("41").await;
    client.send("40").await;
    assert_ne!(client.text().await, reply);

    let (mut client, _) = Client::open(running.address).await;
    client.send(&back).await;
    let fresh = client.text().await;
    assert!(fresh.starts_with("40{") && !fresh.contains(pid), "{fresh}");
}

#[tokio::test]
async fn the_first_subprotocol_that_a_client_offers_is_answered() {
    let running = start_echo(config()).await;
    // This client, as browsers, fails without an answer to its offer.
    for offer in ["calls.v1", "calls.v1, calls.v2"] {
        let mut client = Client::dial(running.address, QUERY, &[("sec-websocket-protocol", offer)]).await.unwrap();
        assert!(client.text().await.starts_with("0{"));
    }
    let request = format!(
        "GET /socket.io/?{QUERY} HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: first , second"
    );
    let answer = answer_head(running.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("sec-websocket-protocol: first\r\n"), "{answer}");
}

/// Sends an upgrade request and returns the head of the response.
async fn answer_head(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request}\r\nHost: x\r\nConnection: upgrade\r\n\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = timeout(TIMEOUT, stream.read_buf(&mut head)).await.expect("a response").unwrap();
        assert!(read > 0, "the connection has ended");
    }
    String::from_utf8_lossy(&head).into_owned()
}
