//! Clients that misbehave. Only they may be closed, and with a reason.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::Fault;
use super::look::seated;
use crate::client::api::Host;
use crate::client::packet::{PONG, Packet};
use crate::client::wire::Wire;

/// How long a server may take to close somebody.
const CLOSED: Duration = Duration::from_secs(30);
/// Half-open handshakes, and how many of them a short run makes.
const HALF_OPEN: usize = 10_000;
const HALF_OPEN_SHORT: usize = 500;

/// Misbehaves; what did not hold, one text each.
pub(super) async fn abuse(fault: Fault, nodes: &[String], host: &Host, short: bool) -> anyhow::Result<Vec<String>> {
    match fault {
        Fault::Deaf => deaf(nodes, &host.call(100).await?).await,
        Fault::Flood => flood(nodes, &host.call(100).await?).await,
        Fault::Garbage => garbage(nodes).await,
        _ => half_open(nodes, if short { HALF_OPEN_SHORT } else { HALF_OPEN }).await,
    }
}

/// Between two texts of 48 KiB, each of which counts as seven packets of the hundred a second that a socket may send.
const UNDER_THE_RATE: Duration = Duration::from_millis(75);

/// Talked to until more waits for it than the node keeps: it is closed, its talkative peer is not.
async fn deaf(nodes: &[String], room: &str) -> anyhow::Result<Vec<String>> {
    let (mut deaf, answer) = seated(nodes, room, "Deaf").await?;
    let to = answer["peerId"].as_str().context("no peer id")?.to_owned();
    let (mut talker, _) = seated(nodes, room, "Talker").await?;
    let text = "x".repeat(48 * 1024);
    let begun = Instant::now();
    let mut told = false;
    // The kernel's buffers take some megabytes, the node's own one more.
    for id in 1.. {
        let event = json!(["webrtc:data-channel", { "to": to, "message": text, "type": "text" }]);
        talker.send(format!("42{id}{event}")).await.context("the talker was closed")?;
        loop {
            match timeout(CLOSED, talker.next()).await.context("the talker got no answer")?? {
                Packet::Ack { id: answered, .. } if answered == id => break,
                Packet::Ping => talker.send(PONG).await?,
                Packet::Event(event) if event.name() == "participant:connection-changed" => {
                    told |= event.payload()?["state"] == "reconnecting";
                }
                _ => {}
            }
        }
        if told || begun.elapsed() > CLOSED {
            break;
        }
        sleep(UNDER_THE_RATE).await;
    }
    if !told {
        return Ok(vec!["a client that did not read was not closed".into()]);
    }
    // What the kernel kept may still be read; then it ends.
    Ok(Vec::from_iter(timeout(CLOSED, deaf.reason()).await.is_err().then(|| "a deaf client's socket stayed".into())))
}

/// Sends without waiting for anything: refused, and then closed for it.
async fn flood(nodes: &[String], room: &str) -> anyhow::Result<Vec<String>> {
    let (mut wire, _) = seated(nodes, room, "Flood").await?;
    for number in 0..20_000 {
        if wire.send(format!(r#"42["chat:typing",{{"isTyping":true,"n":{number}}}]"#)).await.is_err() {
            break;
        }
    }
    let reason = timeout(CLOSED, wire.reason()).await;
    // A reset in the middle of its own sending may cost it the close frame.
    Ok(Vec::from_iter(reason.is_err().then(|| "a flooding client was not closed".into())))
}

/// Several sorts of nonsense: each closes the socket that sent it, and says so.
async fn garbage(nodes: &[String]) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for nonsense in ["", "9", "4", "42", "42[", "4{}", "45-[", "451-[\"a\"]", "\u{1e}\u{1e}", "40/\u{0},{"] {
        let mut wire = Wire::open(&nodes[0]).await?;
        wire.send("40{}").await?;
        wire.send(nonsense).await?;
        // Some are only half of something: a binary frame where none belongs decides it.
        let _closed_already = wire.send_bytes(vec![0xff; 64]).await;
        match timeout(CLOSED, wire.reason()).await {
            Ok(reason) if reason.starts_with("closed: ") => {}
            Ok(reason) => wrong.push(format!("{nonsense:?} was closed without a reason: {reason}")),
            Err(_) => wrong.push(format!("{nonsense:?} was not closed")),
        }
    }
    Ok(wrong)
}

/// Many connections that never finish their request: each is closed in time.
async fn half_open(nodes: &[String], count: usize) -> anyhow::Result<Vec<String>> {
    let mut streams = Vec::new();
    for index in 0..count {
        let mut stream = TcpStream::connect(&nodes[index % nodes.len()]).await?;
        stream.write_all(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nX-").await?;
        streams.push(stream);
    }
    let mut open = 0;
    let deadline = Instant::now() + CLOSED;
    for mut stream in streams {
        let rest = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut answer = Vec::new();
        // Closed by an end of file or a reset: both will do.
        open += usize::from(timeout(rest, stream.read_to_end(&mut answer)).await.is_err());
    }
    Ok(Vec::from_iter((open > 0).then(|| format!("{open} half-open handshakes were not closed"))))
}
