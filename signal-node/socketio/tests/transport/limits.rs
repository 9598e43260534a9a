//! Limits that close a socket or refuse its packets.

use std::time::Duration;

use crate::support::poller::Poller;
use crate::support::{Client, QUERY, TIMEOUT, config, ending, open_sockets, start_echo, start_probe};
use futures_util::{SinkExt as _, StreamExt as _};
use switchboard_core::domain::Rate;
use switchboard_socketio::CloseReason;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// Sends a frame again and again until the server closes. Returns the reason.
async fn flood(client: Client, frame: Frame) -> String {
    let (mut sink, mut stream) = client.split();
    let sending = tokio::spawn(async move { while sink.send(Message::Frame(frame.clone())).await.is_ok() {} });
    let reason = timeout(TIMEOUT, async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.reason.to_string(),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return String::new(),
            }
        }
    });
    let reason = reason.await.expect("the end of the socket");
    sending.abort();
    reason
}

#[tokio::test]
async fn frames_of_every_kind_count_and_a_flood_of_them_closes_the_socket() {
    let mut config = config();
    config.limits.frames_per_second = 10;
    let (running, _probe, mut endings) = start_probe(config).await;
    let data = |text: &'static str, kind, last| Frame::message(text, OpCode::Data(kind), last);
    for frame in [Frame::ping(""), Frame::pong("unsolicited"), data("6", Data::Text, true), data("3", Data::Text, true)]
    {
        flood(Client::connect(running.address).await, frame).await;
        assert_eq!(ending(&mut endings).await, CloseReason::FrameFlood);
    }
    // Empty fragments of a message that never ends.
    let mut client = Client::connect(running.address).await;
    client.send_message(Message::Frame(data("4", Data::Text, false))).await;
    flood(client, data("", Data::Continue, false)).await;
    assert_eq!(ending(&mut endings).await, CloseReason::FrameFlood);
    // The packets of a POST.
    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("40").await, 200);
    assert_eq!(poller.post(["6"; 50].join("\u{1e}")).await, 200);
    assert_eq!(poller.post(["6"; 50].join("\u{1e}")).await, 400);
    assert_eq!(ending(&mut endings).await, CloseReason::FrameFlood);
    poller.assert_gone().await;
}

#[tokio::test]
async fn pings_and_pongs_of_proxies_and_fragments_of_an_honest_client_do_no_harm() {
    let (running, _probe, _endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    for _ in 0..1000 {
        client.send_message(Message::Ping("proxy".into())).await;
        client.send_message(Message::Pong("browser".into())).await;
        client.send("6").await;
    }
    for part in [("421[", Data::Text, false), ("\"anything\"", Data::Continue, false), ("]", Data::Continue, true)] {
        client.send_message(Message::Frame(Frame::message(part.0, OpCode::Data(part.1), part.2))).await;
    }
    loop {
        match client.next().await.expect("the socket goes on") {
            Message::Text(text) if text == r#"431["done"]"# => return,
            Message::Text(_) | Message::Pong(_) => {}
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_pong_behind_many_unread_frames_is_in_time() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(50);
    config.timeouts.ping_timeout = Duration::from_millis(100);
    let (running, probe, mut endings) = start_probe(config).await;
    let mut client = Client::connect(running.address).await;
    // The session reads nothing while its event runs, until long after the pong was due.
    client.send(r#"42["wait"]"#).await;
    while client.text().await != "2" {}
    for _ in 0..500 {
        client.send("6").await;
    }
    client.send("3").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    probe.release.notify_one();
    client.send(r#"421["anything"]"#).await;
    while client.text().await != r#"431["done"]"# {}
    assert!(endings.try_recv().is_err());
}

#[tokio::test]
async fn a_message_over_the_maximum_is_refused_by_name_and_the_socket_goes_on() {
    let (running, _probe, _endings) = start_probe(config()).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    let large = "x".repeat(300_000);
    let two = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    for _ in 0..10 {
        client.send(&format!(r#"421["large","{large}"]"#)).await;
        let answer = client.text().await;
        assert!(
            answer.starts_with(r#"431[{"code":"PAYLOAD_TOO_LARGE""#) && answer.contains(r#""success":false"#),
            "{answer}"
        );
        client.send(&format!(r#"42["large","{large}"]"#)).await;
        let error = client.text().await;
        assert!(error.starts_with(r#"42["error",{"code":"PAYLOAD_TOO_LARGE","event":"large""#), "{error}");
        // The limit counts all attachments of a packet together.
        client.send(&format!(r#"452-2["attached",{two}]"#)).await;
        client.send_binary(&[0; 200_000]).await;
        client.send_binary(&[0; 200_000]).await;
        let answer = client.text().await;
        assert!(answer.starts_with(r#"432[{"code":"PAYLOAD_TOO_LARGE""#), "{answer}");
        client.send(r#"423["small"]"#).await;
        assert_eq!(client.text().await, r#"433["done"]"#);
    }
}

#[tokio::test]
async fn a_message_over_the_further_bound_or_a_large_packet_that_is_no_event_closes_the_socket() {
    let (running, _probe, mut endings) = start_probe(config()).await;
    let large = |prefix: &str, size| format!("{prefix}{}", "x".repeat(size));
    for text in [large(r#"42["a",""#, 1_100_000), large(r#"40{"token":""#, 300_000), large("2", 300_000)] {
        let mut client = Client::connect(running.address).await;
        client.send(&text).await;
        assert_eq!(client.closed().await, "payload_too_large");
        assert_eq!(ending(&mut endings).await, CloseReason::PayloadTooLarge);
    }
}

#[tokio::test]
async fn large_messages_beyond_the_slots_of_an_address_may_be_sent_again_and_small_ones_pass() {
    let mut config = config();
    config.admission.large_messages = 4;
    let (running, _probe, _endings) = start_probe(config).await;
    // An unfinished message takes the one slot of this address.
    let mut first = Client::connect(running.address).await;
    let part = Frame::message(format!(r#"421["large","{}"#, "x".repeat(100_000)), OpCode::Data(Data::Text), false);
    first.send_message(Message::Frame(part)).await;
    first.send_message(Message::Ping("taken".into())).await;
    while first.next().await != Some(Message::Pong("taken".into())) {}

    let mut second = Client::connect(running.address).await;
    assert_eq!(second.text().await, r#"42["live"]"#);
    let event = format!(r#"422["large","{}"]"#, "x".repeat(100_000));
    second.send(&event).await;
    let answer = second.text().await;
    assert!(
        answer.starts_with(r#"432[{"code":"RATE_LIMIT_EXCEEDED""#) && answer.contains(r#""retryAfter":1"#),
        "{answer}"
    );
    second.send(r#"423["small"]"#).await;
    assert_eq!(second.text().await, r#"433["done"]"#);

    let (poller, _) = Poller::open(&running).await;
    assert_eq!(poller.post("6".repeat(100_000)).await, 503);
    assert_eq!(poller.post("40").await, 200, "the session is still open");

    first.send_message(Message::Frame(Frame::message(r#""]"#, OpCode::Data(Data::Continue), true))).await;
    assert_eq!(first.text().await, r#"431["done"]"#);
    second.send(&event).await;
    assert_eq!(second.text().await, r#"432["done"]"#);
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
async fn packets_that_the_application_expects_at_once_pass_beyond_the_rate_and_are_no_flood() {
    let mut config = config();
    config.limits.events_per_second = 10;
    let (running, _probe, _endings) = start_probe(config).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    // The CONNECT packet and 19 events are the rate's own burst.
    client.send(r#"421["burst-500"]"#).await;
    assert_eq!(client.text().await, r#"431["done"]"#);
    for id in 2..=500 {
        client.send(&format!(r#"42{id}["anything"]"#)).await;
    }
    for id in 2..=500 {
        assert_eq!(client.text().await, format!(r#"43{id}["done"]"#));
    }
    // A client that goes on without a pause is refused, and closed after as many again.
    for _ in 0..500 {
        client.send(r#"42["anything"]"#).await;
    }
    client.send(r#"42501["anything"]"#).await;
    loop {
        let text = client.text().await;
        if text.starts_with("43501") {
            assert!(text.contains("RATE_LIMIT_EXCEEDED") && text.contains("retryAfter"), "{text}");
            break;
        }
    }
}

#[tokio::test]
async fn events_of_all_sockets_of_an_address_count_together_and_the_sockets_stay_open() {
    let mut config = config();
    // Two CONNECT packets and two events.
    config.admission.events = Rate::parse("4/3600").unwrap();
    let (running, _probe, _endings) = start_probe(config).await;
    let mut clients = [Client::connect(running.address).await, Client::connect(running.address).await];
    for client in &mut clients {
        client.send(r#"42["anything"]"#).await;
    }
    for client in &mut clients {
        client.send(r#"421["anything"]"#).await;
        loop {
            let text = client.text().await;
            if text.starts_with("43") {
                assert!(text.starts_with(r#"431[{"code":"RATE_LIMIT_EXCEEDED""#), "{text}");
                assert!(text.contains(r#""retryAfter":900"#), "the address gets one packet in 900 s: {text}");
                break;
            }
            assert!(!text.contains("RATE_LIMIT_EXCEEDED"), "the first event of each socket passes: {text}");
        }
    }
    assert_eq!(running.server.open_sockets(), 2);
}

#[tokio::test]
async fn a_charge_refuses_the_next_packets_of_the_address_and_a_connect_ends_without_a_refusal() {
    let mut config = config();
    config.admission.events = Rate::parse("10/3600").unwrap();
    let (running, _probe, mut endings) = start_probe(config).await;
    let (mut late, _) = Client::open(running.address).await;
    let (poller, _) = Poller::open(&running).await;
    let mut client = Client::connect(running.address).await;
    assert_eq!(client.text().await, r#"42["live"]"#);
    client.send(r#"421["charge-12"]"#).await;
    assert_eq!(client.text().await, r#"431["done"]"#);
    client.send(r#"422["anything"]"#).await;
    let refusal = client.text().await;
    assert!(refusal.starts_with(r#"432[{"code":"RATE_LIMIT_EXCEEDED""#), "{refusal}");
    // 2 packets and 12 tokens of 10, and the packet itself: 5 tokens of 360 s each.
    assert!(refusal.contains(r#""retryAfter":1800"#), "{refusal}");
    // The stock client comes back by itself after the end of its transport, not after a refusal.
    late.send("40").await;
    assert_eq!(late.closed().await, "rate_limited");
    assert_eq!(poller.post("40").await, 200);
    assert_eq!(poller.payload().await, "1", "a close packet");
    open_sockets(&running, 1).await;
    assert!(endings.try_recv().is_err(), "neither had a session");
}

#[tokio::test]
async fn the_frames_of_all_sockets_of_an_address_count_together() {
    let mut config = config();
    config.limits.frames_per_second = 0;
    config.admission.frames = Rate::parse("500/3600").unwrap();
    let (running, _probe, mut endings) = start_probe(config).await;
    let mut clients = [Client::connect(running.address).await, Client::connect(running.address).await];
    for client in &mut clients {
        for _ in 0..200 {
            client.send("6").await;
        }
        client.send(r#"421["anything"]"#).await;
        while client.text().await != r#"431["done"]"# {}
    }
    let [first, _second] = clients;
    flood(first, Frame::ping("")).await;
    assert_eq!(ending(&mut endings).await, CloseReason::FrameFlood);
    let third = Client::dial(running.address, QUERY, &[]).await.unwrap();
    flood(third, Frame::ping("")).await;
    // The socket that sends nothing stays.
    open_sockets(&running, 1).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_between_two_pings_is_closed_and_one_that_reads_is_not() {
    let mut config = config();
    config.timeouts.ping_interval = Duration::from_millis(200);
    config.limits.send_queue_bytes = 1 << 30;
    config.limits.send_queue_messages = 100_000;
    let (running, _probe, mut endings) = start_probe(config).await;
    let mut reader = Client::connect(running.address).await;
    let mut client = Client::connect(running.address).await;
    // More than the buffers of both ends hold.
    for client in [&mut reader, &mut client] {
        client.send(r#"42["fill-3000"]"#).await;
    }
    // It answers every ping, and reads none.
    let (mut sink, unread) = client.split();
    let pongs = tokio::spawn(async move {
        while sink.send(Message::text("3")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let reads = tokio::spawn(async move {
        let mut pings = 0;
        while pings < 5 {
            if reader.text().await == "2" {
                pings += 1;
                reader.send("3").await;
            }
        }
        reader
    });
    assert_eq!(ending(&mut endings).await, CloseReason::SlowConsumer);
    let mut reader = timeout(TIMEOUT, reads).await.expect("five pings").unwrap();
    reader.send(r#"421["anything"]"#).await;
    while reader.text().await != r#"431["done"]"# {}
    pongs.abort();
    drop(unread);
}
