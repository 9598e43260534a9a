//! The cases of the public Engine.IO v4 and Socket.IO v5 test suites, against the applications of
//! the example `conformance`. Heartbeats are slower than in those suites unless a case is about
//! them, so that a busy machine closes no socket during a test.

use std::time::Duration;

use crate::support::poller::Poller;
use crate::support::{Client, Running, TIMEOUT, config, echo, start_routes};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use switchboard_socketio::TransportConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

const ENGINE: &str = "/engine.io/";
const SOCKET: &str = "/socket.io/";
const BOTH: [&str; 2] = [ENGINE, SOCKET];

async fn serve(config: TransportConfig) -> Running {
    start_routes(config, echo::routes(false)).await
}

async fn poller(running: &Running, path: &str) -> Poller {
    Poller::open_path(running, &format!("{path}?EIO=4&transport=polling")).await.0
}

/// Opens a WebSocket and reads the open packet.
async fn websocket(running: &Running, path: &str) -> Client {
    let mut client = dial(running, path, "EIO=4&transport=websocket").await.unwrap();
    assert!(client.text().await.starts_with("0{"));
    client
}

async fn dial(running: &Running, path: &str, query: &str) -> Result<Client, Error> {
    Client::dial_path(running.address, path, query, &[]).await
}

/// Connects a client to the main namespace and reads its greeting.
async fn connected(running: &Running) -> Client {
    let mut client = websocket(running, SOCKET).await;
    client.send("40").await;
    assert!(client.text().await.starts_with("40{"));
    assert_eq!(client.text().await, r#"42["auth",{}]"#);
    client
}

async fn request(running: &Running, method: Method, path: &str, query: &str) -> StatusCode {
    let url = format!("http://{}{path}?{query}", running.address);
    reqwest::Client::new().request(method, url).send().await.unwrap().status()
}

#[tokio::test]
async fn the_open_packet_has_five_fields_with_the_configured_values() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(300);
    config.timeouts.ping_timeout = Duration::from_millis(200);
    config.limits.max_body = 1_000_000;
    let running = serve(config).await;
    let expected = |sid: &Value, upgrades: Value| {
        assert!(sid.is_string());
        json!({ "sid": sid, "upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000 })
    };
    for path in BOTH {
        let (_, open) = Poller::open_path(&running, &format!("{path}?EIO=4&transport=polling")).await;
        assert_eq!(open, expected(&open["sid"], json!(["websocket"])));
        let mut client = dial(&running, path, "EIO=4&transport=websocket").await.unwrap();
        let open: Value = serde_json::from_str(client.text().await.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(open, expected(&open["sid"], json!([])));
    }
}

#[tokio::test]
async fn unknown_versions_transports_and_methods_are_refused_on_both_transports() {
    let running = serve(config()).await;
    for path in BOTH {
        for query in ["transport=polling", "EIO=abc&transport=polling", "EIO=4", "EIO=4&transport=abc"] {
            assert_eq!(request(&running, Method::GET, path, query).await, 400, "{path}{query}");
        }
        for query in ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc"] {
            assert!(dial(&running, path, query).await.is_err(), "{path}{query}");
        }
        for method in [Method::POST, Method::PUT] {
            assert_eq!(request(&running, method, path, "EIO=4&transport=polling").await, 400, "{path}");
        }
    }
}

#[tokio::test]
async fn a_post_is_answered_ok_and_its_echoes_come_in_one_payload() {
    let running = serve(config()).await;
    for payload in ["4hello", "4test1\u{1e}4test2\u{1e}4test3", "4hello\u{1e}bAQIDBA=="] {
        let poller = poller(&running, ENGINE).await;
        assert_eq!(poller.answer_to_post(payload).await, (StatusCode::OK, "ok".to_owned()));
        assert_eq!(poller.payload().await, payload);
    }
}

#[tokio::test]
async fn a_malformed_post_ends_the_session_before_it_is_answered() {
    let running = serve(config()).await;
    for _ in 0..20 {
        let poller = poller(&running, ENGINE).await;
        assert_eq!(poller.post("abc").await, 400);
        poller.assert_gone().await;
    }
}

#[tokio::test]
async fn a_second_poll_is_refused_and_the_hanging_poll_receives_a_close_packet() {
    let running = serve(config()).await;
    let poller = poller(&running, ENGINE).await;
    let first = poller.hanging().await;
    assert_eq!(poller.t("burst").poll().await.0, 400);
    assert_eq!(first.await.unwrap(), (StatusCode::OK, "1".to_owned()));
    poller.assert_gone().await;
}

#[tokio::test]
async fn a_poll_after_a_cancelled_poll_is_refused() {
    let running = serve(config()).await;
    let poller = poller(&running, ENGINE).await;
    poller.hanging().await.abort();
    assert_eq!(poller.poll().await.0, 400);
}

#[tokio::test]
async fn engine_io_messages_are_echoed_over_websocket_and_a_malformed_one_closes_it() {
    let running = serve(config()).await;
    let mut client = websocket(&running, ENGINE).await;
    client.send("4hello").await;
    assert_eq!(client.text().await, "4hello");
    client.send_binary(&[1, 2, 3, 4]).await;
    assert_eq!(client.binary().await, [1, 2, 3, 4]);
    client.send("abc").await;
    client.closed().await;
}

#[tokio::test]
async fn the_server_pings_repeatedly_on_both_transports() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(50);
    let running = serve(config).await;
    for path in BOTH {
        let poller = poller(&running, path).await;
        let mut client = websocket(&running, path).await;
        for _ in 0..3 {
            assert_eq!(poller.payload().await, "2");
            assert_eq!(poller.post("3").await, 200);
            assert_eq!(client.text().await, "2");
            client.send("3").await;
        }
    }
}

#[tokio::test]
async fn a_client_that_answers_no_ping_in_time_is_closed_on_both_transports() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(100);
    config.timeouts.ping_timeout = Duration::from_millis(1900);
    let whole = config.timeouts.ping_interval + config.timeouts.ping_timeout;
    let running = serve(config).await;
    let (engine_poller, socket_poller) = (poller(&running, ENGINE).await, poller(&running, SOCKET).await);
    let (mut engine_client, mut socket_client) = (websocket(&running, ENGINE).await, websocket(&running, SOCKET).await);
    // No request is made until the timeout has passed, to the millisecond: that is the case under
    // test.
    tokio::time::sleep(whole).await;
    engine_poller.assert_gone().await;
    socket_poller.assert_gone().await;
    engine_client.closed().await;
    socket_client.closed().await;
}

#[tokio::test]
async fn a_close_packet_releases_the_hanging_or_the_next_poll_with_a_noop() {
    let mut config = config();
    config.timeouts.close = TIMEOUT;
    let running = serve(config).await;
    for path in BOTH {
        let hanging = poller(&running, path).await;
        let poll = hanging.hanging().await;
        assert_eq!(hanging.post("1").await, 200);
        assert_eq!(poll.await.unwrap(), (StatusCode::OK, "6".to_owned()));
        hanging.assert_gone().await;

        let late = poller(&running, path).await;
        assert_eq!(late.post("1").await, 200);
        assert_eq!(late.payload().await, "6");
        late.assert_gone().await;

        for _ in 0..20 {
            let both = poller(&running, path).await;
            let (poll, _) = tokio::join!(both.poll(), both.post("1"));
            assert_eq!(poll, (StatusCode::OK, "6".to_owned()));
            both.assert_gone().await;
        }

        let mut client = websocket(&running, path).await;
        client.send("1").await;
        client.closed().await;
    }
}

#[tokio::test]
async fn a_poll_during_the_probe_is_answered_with_a_noop_and_the_session_goes_on_over_websocket() {
    let running = serve(config()).await;
    for path in BOTH {
        let poller = poller(&running, path).await;
        let mut client = dial(&running, path, &poller.upgrade_query()).await.unwrap();
        client.send("2probe").await;
        assert_eq!(client.text().await, "3probe");
        assert_eq!(poller.payload().await, "6");
        client.send("5").await;
        speak(&mut client, path).await;
    }
}

#[tokio::test]
async fn after_an_upgrade_requests_are_refused_further_websockets_are_closed_and_the_session_goes_on() {
    let running = serve(config()).await;
    // A client may wait for the answer to its probe, or send everything without a pause.
    for (path, waits) in [(ENGINE, true), (ENGINE, false), (SOCKET, true), (SOCKET, false)] {
        let poller = poller(&running, path).await;
        let mut client = dial(&running, path, &poller.upgrade_query()).await.unwrap();
        client.send("2probe").await;
        if waits {
            assert_eq!(client.text().await, "3probe");
        }
        client.send("5").await;
        assert_eq!(poller.poll().await.0, 400);
        // The stock server accepts it and closes it.
        let mut second = dial(&running, path, &poller.upgrade_query()).await.unwrap();
        assert_eq!(second.next().await, Some(Message::Close(None)));
        if !waits {
            assert_eq!(client.text().await, "3probe");
        }
        speak(&mut client, path).await;
    }
}

/// Asserts that the session continues over this socket.
async fn speak(client: &mut Client, path: &str) {
    let (sent, answer) = if path == ENGINE { ("4hello", "4hello") } else { ("40", "40{") };
    client.send(sent).await;
    assert!(client.text().await.starts_with(answer));
}

#[tokio::test]
async fn both_namespaces_are_connected_with_and_without_a_payload() {
    let running = serve(config()).await;
    for (connect, reply, greeting) in [
        ("40", "40", r#"42["auth",{}]"#),
        (r#"40{"token":"123"}"#, "40", r#"42["auth",{"token":"123"}]"#),
        ("40/custom,", "40/custom,", r#"42/custom,["auth",{}]"#),
        (r#"40/custom,{"token":"abc"}"#, "40/custom,", r#"42/custom,["auth",{"token":"abc"}]"#),
    ] {
        let mut client = websocket(&running, SOCKET).await;
        client.send(connect).await;
        let answer: Value = serde_json::from_str(client.text().await.strip_prefix(reply).unwrap()).unwrap();
        assert!(answer["sid"].is_string() && answer.as_object().unwrap().len() == 1, "{answer}");
        assert_eq!(client.text().await, greeting);
    }
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_a_missing_or_malformed_connect_closes_the_socket() {
    let running = serve(config()).await;
    let mut client = websocket(&running, SOCKET).await;
    client.send("40/random").await;
    assert_eq!(client.text().await, r#"44/random,{"message":"Invalid namespace"}"#);
    let mut client = websocket(&running, SOCKET).await;
    client.send("4abc").await;
    assert_eq!(client.closed().await, "protocol_error");
    let mut config = config();
    config.timeouts.connect = Duration::from_millis(100);
    let running = serve(config).await;
    assert_eq!(websocket(&running, SOCKET).await.closed().await, "connect_timeout");
}

#[tokio::test]
async fn a_client_that_leaves_the_main_namespace_is_still_pinged() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(200);
    let running = serve(config).await;
    let mut client = connected(&running).await;
    client.send("41").await;
    assert_eq!(client.text().await, "2");
}

#[tokio::test]
async fn a_client_that_leaves_the_custom_namespace_stays_in_the_main_one() {
    let running = serve(config()).await;
    let mut client = connected(&running).await;
    client.send("40/custom").await;
    assert!(client.text().await.starts_with("40/custom,{"));
    assert_eq!(client.text().await, r#"42/custom,["auth",{}]"#);
    client.send("41/custom").await;
    client.send(r#"42["message","message to main namespace"]"#).await;
    assert_eq!(client.text().await, r#"42["message-back","message to main namespace"]"#);
}

#[tokio::test]
async fn events_are_echoed_and_acknowledged_as_text_and_with_attachments() {
    let running = serve(config()).await;
    let mut client = connected(&running).await;
    let two = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    for (sent, answer, attachments) in [
        (
            r#"42["message",1,"2",{"3":[true]}]"#.to_owned(),
            r#"42["message-back",1,"2",{"3":[true]}]"#.to_owned(),
            false,
        ),
        (
            r#"42456["message-with-ack",1,"2",{"3":[false]}]"#.to_owned(),
            r#"43456[1,"2",{"3":[false]}]"#.to_owned(),
            false,
        ),
        (format!(r#"452-["message",{two}]"#), format!(r#"452-["message-back",{two}]"#), true),
        (format!(r#"452-789["message-with-ack",{two}]"#), format!("462-789[{two}]"), true),
    ] {
        client.send(&sent).await;
        let attached: &[[u8; 3]] = if attachments { &[[1, 2, 3], [4, 5, 6]] } else { &[] };
        for bytes in attached {
            client.send_binary(bytes).await;
        }
        assert_eq!(client.text().await, answer);
        for bytes in attached {
            assert_eq!(client.binary().await, bytes);
        }
    }
}

#[tokio::test]
async fn a_malformed_packet_closes_the_connection() {
    let running = serve(config()).await;
    for malformed in ["4abc", "42{}", r#"42abc["message-with-ack",1,"2",{"3":[false]}]"#] {
        let mut client = connected(&running).await;
        client.send(malformed).await;
        assert_eq!(client.closed().await, "protocol_error", "{malformed}");
    }
}
