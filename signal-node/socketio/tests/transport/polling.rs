//! Long-polling, and the upgrade to WebSocket.

use std::sync::Arc;
use std::time::Duration;

use crate::support::echo::EngineEcho;
use crate::support::poller::Poller;
use crate::support::probe::FENCED;
use crate::support::{Client, Running, TIMEOUT, config, ending, open_sockets, start, start_echo, start_probe};
use reqwest::StatusCode;
use switchboard_socketio::{CloseReason, TransportConfig};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

async fn start_engine(config: TransportConfig) -> Running {
    start(config, Arc::new(EngineEcho)).await
}

#[tokio::test]
async fn the_open_packet_offers_the_upgrade() {
    let running = start_engine(config()).await;
    let (_poller, open) = Poller::open(&running).await;
    assert_eq!(open.as_object().unwrap().len(), 5);
    assert_eq!(open["upgrades"], serde_json::json!(["websocket"]));
}

#[tokio::test]
async fn payloads_carry_text_and_binary_packets() {
    let running = start_engine(config()).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("4hello").await, 200);
    assert_eq!(poller.payload().await, "4hello");
    assert_eq!(poller.post("bAQIDBA==").await, 200);
    assert_eq!(poller.payload().await, "bAQIDBA==");
    let several = "4one\u{1e}4two é\u{1e}bAQ==";
    assert_eq!(poller.post(several).await, 200);
    assert_eq!(poller.payload().await, several, "the echoes of all posted packets come in one payload");
}

#[tokio::test]
async fn a_default_socket_io_session_runs_over_polling() {
    let running = start_echo(config()).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    let mut received = poller.payload().await;
    if !received.contains("42[") {
        received += &poller.payload().await;
    }
    assert!(received.contains("40{\"sid\":\"") && received.contains(r#"42["auth",{}]"#), "{received}");
    assert_eq!(poller.post(r#"421["message-with-ack",1]"#).await, 200);
    assert_eq!(poller.payload().await, "431[1]");
}

#[tokio::test]
async fn a_polling_session_is_pinged_and_closed_when_the_client_does_not_answer() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(50);
    config.timeouts.ping_timeout = Duration::from_millis(100);
    let running = start_engine(config).await;
    let (poller, _) = Poller::open(&running).await;
    for _ in 0..3 {
        assert_eq!(poller.payload().await, "2");
        assert_eq!(poller.post("3").await, 200);
    }
    assert_eq!(poller.payload().await, "2");
    assert_eq!(poller.payload().await, "1");
    poller.assert_gone().await;
}

#[tokio::test]
async fn a_second_poll_while_one_hangs_ends_the_session() {
    let running = start_engine(config()).await;
    let (poller, _) = Poller::open(&running).await;
    let first = poller.hanging().await;
    assert_eq!(poller.poll().await.0, 400);
    assert_eq!(first.await.unwrap(), (StatusCode::OK, "1".to_owned()));
    poller.assert_gone().await;
}

#[tokio::test]
async fn a_cancelled_poll_ends_the_session() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    let mut received = String::new();
    while !received.contains("live") {
        received += &poller.payload().await;
    }
    let hanging = poller.hanging().await;
    hanging.abort();
    assert_eq!(ending(&mut endings).await, CloseReason::TransportLost);
    poller.assert_gone().await;
}

#[tokio::test]
async fn a_posted_close_releases_the_hanging_poll_with_a_noop() {
    let running = start_engine(config()).await;
    let (poller, _) = Poller::open(&running).await;
    let hanging = poller.hanging().await;
    assert_eq!(poller.post("1").await, 200);
    assert_eq!(hanging.await.unwrap(), (StatusCode::OK, "6".to_owned()));
    poller.assert_gone().await;
}

#[tokio::test]
async fn a_malformed_payload_ends_the_session() {
    let running = start_engine(config()).await;
    for bad in [&b"abc"[..], b"", b"4a\x1e", b"\xff\xfe", b"b!!!"] {
        let (poller, _) = Poller::open(&running).await;
        let hanging = poller.hanging().await;
        assert_eq!(poller.post(bad.to_vec()).await, 400, "{bad:?}");
        assert_eq!(hanging.await.unwrap().1, "1", "{bad:?}");
        poller.assert_gone().await;
    }
}

#[tokio::test]
async fn a_post_over_the_maximum_body_is_refused_and_ends_the_session() {
    let (running, _probe, _endings) = start_probe(config()).await;
    let (poller, _) = Poller::open(&running).await;
    let hanging = poller.hanging().await;
    assert_eq!(poller.post("4".repeat(1_100_000)).await, 413);
    assert_eq!(hanging.await.unwrap().1, "1");
}

#[tokio::test]
async fn a_post_holds_as_many_messages_as_a_client_puts_into_it_and_one_that_is_too_large_is_refused_alone() {
    let (running, _probe, _endings) = start_probe(config()).await;
    let (poller, open) = Poller::open(&running).await;
    assert_eq!(open["maxPayload"], 1024 * 1024, "clients fill a body up to this");
    let event = |id: usize, size: usize| format!(r#"42{id}["anything","{}"]"#, "x".repeat(size));
    let mut packets = vec!["40".to_owned()];
    packets.extend((1..=5).map(|id| event(id, 15_000)));
    packets.extend([event(6, 300_000), event(7, 200_000)]);
    // The attachment of an event is too large; the event after it is not.
    packets.push(r#"451-8["attached",{"_placeholder":true,"num":0}]"#.to_owned());
    packets.push(format!("b{}", "AAAA".repeat(90_000)));
    packets.push(event(9, 10));
    assert_eq!(poller.post(packets.join("\u{1e}")).await, 200);
    let mut answers = Vec::new();
    while answers.len() < 9 {
        let payload = poller.payload().await;
        answers.extend(payload.split('\u{1e}').filter(|packet| packet.starts_with("43")).map(str::to_owned));
    }
    for (id, answer) in (1..).zip(&answers) {
        let refused = id == 6 || id == 8;
        let expected =
            if refused { format!(r#"43{id}[{{"code":"PAYLOAD_TOO_LARGE""#) } else { format!(r#"43{id}["done"]"#) };
        assert!(answer.starts_with(&expected), "{answer}");
    }
}

#[tokio::test]
async fn a_response_has_at_most_16_packets_because_python_clients_read_no_more() {
    let running = start_engine(config()).await;
    let (poller, _) = Poller::open(&running).await;
    let sent: Vec<String> = (0..40).map(|number| format!("4{number}")).collect();
    assert_eq!(poller.post(sent.join("\u{1e}")).await, 200);
    let mut received: Vec<String> = Vec::new();
    while received.len() < sent.len() {
        let payload = poller.payload().await;
        let packets: Vec<_> = payload.split('\u{1e}').map(str::to_owned).collect();
        assert!(packets.len() <= 16, "{}", packets.len());
        received.extend(packets);
    }
    assert_eq!(received, sent);
}

#[tokio::test]
async fn an_unknown_session_is_refused_on_every_method_and_transport() {
    let running = start_engine(config()).await;
    let (mut poller, _) = Poller::open(&running).await;
    poller.url = poller.url.replace(&poller.sid, "unknown");
    poller.sid = "unknown".into();
    poller.assert_gone().await;
    assert_eq!(poller.post("4a").await, 400);
    assert!(Client::dial(running.address, &poller.upgrade_query(), &[]).await.is_err());
}

#[tokio::test]
async fn an_upgrade_releases_the_poll_and_the_session_goes_on_over_websocket() {
    let running = start_engine(config()).await;
    let (poller, _) = Poller::open(&running).await;
    let hanging = poller.hanging().await;
    let mut socket = poller.dial_upgrade(&running).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    assert_eq!(hanging.await.unwrap(), (StatusCode::OK, "6".to_owned()));
    // A poll that arrives after the probe must not hang either.
    assert_eq!(poller.payload().await, "6");
    socket.send("5").await;
    socket.send("4hello").await;
    assert_eq!(socket.text().await, "4hello");

    assert_eq!(poller.poll().await.0, 400);
    assert_eq!(poller.post("4a").await, 400);
    assert_eq!(poller.dial_upgrade(&running).await.next().await, Some(Message::Close(None)));
    socket.send("4still here").await;
    assert_eq!(socket.text().await, "4still here");
}

#[tokio::test]
async fn messages_that_were_not_polled_before_the_upgrade_arrive_after_it() {
    let running = start_engine(config()).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("4one\u{1e}4two").await, 200);
    let mut socket = poller.upgrade(&running).await;
    socket.send("4three").await;
    for expected in ["4one", "4two", "4three"] {
        assert_eq!(socket.text().await, expected);
    }
}

#[tokio::test]
async fn a_probe_that_fails_leaves_the_session_on_polling() {
    let running = start_engine(config()).await;
    let (poller, _) = Poller::open(&running).await;
    let mut socket = poller.dial_upgrade(&running).await;
    // During the probe a second WebSocket is closed.
    assert_eq!(poller.dial_upgrade(&running).await.next().await, Some(Message::Close(None)));
    socket.send("nonsense").await;
    socket.closed().await;
    assert_eq!(poller.post("4hello").await, 200);
    assert_eq!(poller.payload().await, "4hello");
    let mut socket = poller.upgrade(&running).await;
    socket.send("4again").await;
    assert_eq!(socket.text().await, "4again");
}

#[tokio::test]
async fn an_upgrade_that_finishes_during_a_post_takes_effect_right_after_it() {
    let (running, probe, mut endings) = start_probe(config()).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    let posting = poller.clone();
    let post = tokio::spawn(async move { posting.post(r#"421["wait"]"#).await });
    let mut socket = poller.upgrade(&running).await;
    // The WebSocket belongs to the session now, which is busy.
    assert_eq!(poller.poll().await.0, 400);
    socket.send(r#"422["anything"]"#).await;
    probe.release.notify_one();
    assert_eq!(post.await.unwrap(), 200);
    let mut received = String::new();
    while !received.contains("432") {
        received += &socket.text().await;
    }
    assert!(received.contains("live") && received.contains("431"), "{received}");
    assert!(endings.try_recv().is_err());
}

#[tokio::test]
async fn a_session_that_ends_during_a_probe_ends_the_probe() {
    let mut config = config();
    // Longer than the timeout of the test.
    config.timeouts.http = 10 * TIMEOUT;
    let (running, _probe, _endings) = start_probe(config).await;
    let (poller, _) = Poller::open(&running).await;
    let mut socket = poller.dial_upgrade(&running).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    running.server.close_all(FENCED);
    socket.closed().await;
}

#[tokio::test]
async fn a_client_that_does_not_poll_when_the_server_disconnects_it_learns_so_by_its_next_poll() {
    let mut config = config();
    config.timeouts.close = TIMEOUT;
    let (running, _probe, mut endings) = start_probe(config).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    assert_eq!(poller.post(r#"42["kick"]"#).await, 200);
    assert_eq!(ending(&mut endings).await, CloseReason::ServerClosed(FENCED));
    let told = poller.payload().await;
    assert!(told.ends_with("41\u{1e}1"), "{told}");
    poller.assert_gone().await;
    timeout(TIMEOUT, running.server.drained()).await.expect("every task ends");
}

#[tokio::test]
async fn a_client_that_posts_while_the_server_disconnects_it_learns_so_by_its_next_poll() {
    let mut config = config();
    // Longer than the timeout of the test.
    config.timeouts.close = 10 * TIMEOUT;
    let (running, _probe, mut endings) = start_probe(config).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    // The second packet is unread when the session ends.
    assert_eq!(poller.post("42[\"kick\"]\u{1e}42[\"anything\"]").await, 200);
    assert_eq!(ending(&mut endings).await, CloseReason::ServerClosed(FENCED));
    assert_eq!(poller.post("3").await, 200);
    let told = poller.payload().await;
    assert!(told.ends_with("41\u{1e}1"), "{told}");
    poller.assert_gone().await;
    timeout(TIMEOUT, running.server.drained()).await.expect("every task ends");
}

#[tokio::test]
async fn a_hanging_poll_receives_a_close_packet_when_the_server_closes_the_session() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    let mut received = String::new();
    while !received.contains("live") {
        received += &poller.payload().await;
    }
    let hanging = poller.hanging().await;
    running.server.close_all(FENCED);
    assert_eq!(hanging.await.unwrap(), (StatusCode::OK, "1".to_owned()));
    assert_eq!(ending(&mut endings).await, CloseReason::ServerClosed(FENCED));
    timeout(TIMEOUT, running.server.drained()).await.expect("every task ends");
}

#[tokio::test]
async fn sessions_that_say_nothing_end_in_time_and_free_their_places() {
    let mut config = config();
    config.timeouts.connect = Duration::from_millis(500);
    config.admission.sockets = 3;
    let (running, _probe, mut endings) = start_probe(config).await;
    let (silent, _) = Poller::open(&running).await;
    let (other, _) = Poller::open(&running).await;
    let (speaks, _) = Poller::open(&running).await;
    assert_eq!(speaks.post("40").await, 200);
    assert_eq!(reqwest::get(silent.url()).await.unwrap().status(), 503, "each has a place");
    open_sockets(&running, 1).await;
    for gone in [silent, other] {
        gone.assert_gone().await;
    }
    assert!(speaks.payload().await.starts_with("40"));
    assert!(endings.try_recv().is_err());
    // The timer starts again for later sessions.
    Poller::open(&running).await;
    Poller::open(&running).await;
    open_sockets(&running, 1).await;
    assert_eq!(speaks.post("41").await, 200);
    assert_eq!(ending(&mut endings).await, CloseReason::ClientDisconnect);
}

#[tokio::test]
async fn requests_that_come_together_wake_a_silent_session_once() {
    let (running, _probe, _endings) = start_probe(config()).await;
    for _ in 0..50 {
        let (poller, _) = Poller::open(&running).await;
        let (polled, posted) = tokio::join!(poller.payload(), poller.post("40"));
        assert!(polled.starts_with("40"), "{polled}");
        assert_eq!(posted, 200);
    }
    assert_eq!(running.server.open_sockets(), 50);
}

#[tokio::test]
async fn a_server_that_closes_all_sockets_ends_silent_sessions_too() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let (silent, _) = Poller::open(&running).await;
    let client = Client::connect(running.address).await;
    running.server.close_all(FENCED);
    timeout(TIMEOUT, running.server.drained()).await.expect("no silent session keeps the server");
    assert_eq!(ending(&mut endings).await, CloseReason::ServerClosed(FENCED));
    assert_eq!(running.server.open_sockets(), 0);
    silent.assert_gone().await;
    drop(client);
}
