//! Faults by misbehaving clients. The server may close only the misbehaving client, and must give a
//! reason.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::Fault;
use super::observer::join_room;
use crate::client::api::Account;
use crate::client::engine_session::EngineSession;
use crate::client::packet::{PONG, Packet};

/// Time limit for the server to close a misbehaving client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Half-open handshakes in a full run and in a short run.
const HALF_OPEN_COUNT: usize = 10_000;
const HALF_OPEN_COUNT_SHORT: usize = 500;

/// Injects the fault. Returns one text for each violated guarantee.
pub(super) async fn run(fault: Fault, nodes: &[String], account: &Account, short: bool) -> anyhow::Result<Vec<String>> {
    match fault {
        Fault::StalledReader => stalled_reader(nodes, &account.create_call(100).await?).await,
        Fault::Flood => flood(nodes, &account.create_call(100).await?).await,
        Fault::MalformedPackets => malformed_packets(nodes).await,
        _ => half_open(nodes, if short { HALF_OPEN_COUNT_SHORT } else { HALF_OPEN_COUNT }).await,
    }
}

/// Pause between two messages of 48 KiB. Each counts as seven packets, and a socket may send 100
/// packets a second.
const SEND_INTERVAL: Duration = Duration::from_millis(75);

/// Sends to a client that does not read until the node's send queue for it is full. The node must
/// close the client that does not read, and must keep the sender.
async fn stalled_reader(nodes: &[String], room: &str) -> anyhow::Result<Vec<String>> {
    let (mut reader, reply) = join_room(nodes, room, "Reader").await?;
    let to = reply["peerId"].as_str().context("the join reply has no peer id")?.to_owned();
    let (mut sender, _) = join_room(nodes, room, "Sender").await?;
    let text = "x".repeat(48 * 1024);
    let started = Instant::now();
    let mut detached = false;
    // The kernel buffers some megabytes and the node one more.
    for id in 1.. {
        let event = json!(["webrtc:data-channel", { "to": to, "message": text, "type": "text" }]);
        sender.send(format!("42{id}{event}")).await.context("the sender was closed")?;
        loop {
            match timeout(CLOSE_TIMEOUT, sender.next()).await.context("the sender got no acknowledgement")?? {
                Packet::Ack { id: answered, .. } if answered == id => break,
                Packet::Ping => sender.send(PONG).await?,
                Packet::Event(event) if event.name() == "participant:connection-changed" => {
                    detached |= event.payload()?["state"] == "reconnecting";
                }
                _ => {}
            }
        }
        if detached || started.elapsed() > CLOSE_TIMEOUT {
            break;
        }
        sleep(SEND_INTERVAL).await;
    }
    if !detached {
        return Ok(vec!["a client that does not read was not detached".into()]);
    }
    // The client can still read data from the kernel's buffers before the end of the stream.
    Ok(Vec::from_iter(
        timeout(CLOSE_TIMEOUT, reader.wait_closed())
            .await
            .is_err()
            .then(|| "the socket of a client that does not read was not closed".into()),
    ))
}

/// Sends without waiting for acknowledgements. The node must refuse events and then close the
/// socket.
async fn flood(nodes: &[String], room: &str) -> anyhow::Result<Vec<String>> {
    let (mut session, _) = join_room(nodes, room, "Flood").await?;
    for number in 0..20_000 {
        if session.send(format!(r#"42["chat:typing",{{"isTyping":true,"n":{number}}}]"#)).await.is_err() {
            break;
        }
    }
    let reason = timeout(CLOSE_TIMEOUT, session.wait_closed()).await;
    // A TCP reset while the client is sending can discard the close frame.
    Ok(Vec::from_iter(reason.is_err().then(|| "a flooding client was not closed".into())))
}

/// Sends several malformed packets. The node must close each socket with a reason.
async fn malformed_packets(nodes: &[String]) -> anyhow::Result<Vec<String>> {
    let mut violations = Vec::new();
    for packet in ["", "9", "4", "42", "42[", "4{}", "45-[", "451-[\"a\"]", "\u{1e}\u{1e}", "40/\u{0},{"] {
        let mut session = EngineSession::open(&nodes[0]).await?;
        session.send("40{}").await?;
        session.send(packet).await?;
        // Some of these packets are only incomplete; the unexpected binary frame is an error in
        // every case.
        let _closed_already = session.send_bytes(vec![0xff; 64]).await;
        match timeout(CLOSE_TIMEOUT, session.wait_closed()).await {
            Ok(reason) if reason.starts_with("closed: ") => {}
            Ok(reason) => violations.push(format!("{packet:?} was closed without a reason: {reason}")),
            Err(_) => violations.push(format!("{packet:?} was not closed")),
        }
    }
    Ok(violations)
}

/// Opens connections that never finish their HTTP request. The node must close each within the time
/// limit.
async fn half_open(nodes: &[String], count: usize) -> anyhow::Result<Vec<String>> {
    let mut streams = Vec::new();
    for index in 0..count {
        let mut stream = TcpStream::connect(&nodes[index % nodes.len()]).await?;
        stream.write_all(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nX-").await?;
        streams.push(stream);
    }
    let mut open = 0;
    let deadline = Instant::now() + CLOSE_TIMEOUT;
    for mut stream in streams {
        let remaining = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut response = Vec::new();
        // An end of file and a reset both count as closed.
        open += usize::from(timeout(remaining, stream.read_to_end(&mut response)).await.is_err());
    }
    Ok(Vec::from_iter((open > 0).then(|| format!("{open} half-open handshakes were not closed"))))
}
