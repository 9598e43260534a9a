//! From dialling to a seat in a room.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::packet::{PONG, Packet};
use super::socket::{Frame, Outbox, Socket};
use super::wire::PATH;

/// How long it may take; nothing here fails for being slow, only for never coming.
const BOUND: Duration = Duration::from_secs(30);

/// Somebody without an account, seated in a public room.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) socket: Socket,
    pub(crate) outbox: Outbox,
    /// Its address in the room.
    pub(crate) peer: String,
    /// What it presents when it comes back; none from a server without connection state recovery.
    pub(crate) pid: Option<String>,
    /// How long it took from the start until the socket was open, CONNECT was accepted, and the seat was given.
    pub(crate) steps: [Duration; 3],
}

/// An open socket whose CONNECT was accepted.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) socket: Socket,
    pub(crate) outbox: Outbox,
    pub(crate) pid: Option<String>,
    /// Events that came before CONNECT's answer: what a resumed session had missed.
    pub(crate) missed: Vec<String>,
    /// How long the opening of the socket took.
    pub(crate) opened: Duration,
}

/// Opens a socket at `host:port` and connects with these credentials.
pub(crate) async fn connect(address: &str, auth: &Value) -> anyhow::Result<Connected> {
    let began = Instant::now();
    let mut socket = Socket::open(address, PATH).await?;
    let opened = began.elapsed();
    let mut outbox = Outbox::default();
    outbox.text(&format!("40{auth}"));
    outbox.flush(&socket).await?;
    let mut missed = Vec::new();
    loop {
        match next(&mut socket).await? {
            Packet::Connected(body) => {
                let body: Value = serde_json::from_str(body)?;
                let pid = body["pid"].as_str().map(str::to_owned);
                return Ok(Connected { socket, outbox, pid, missed, opened });
            }
            Packet::Refused(why) => bail!("CONNECT was refused: {why}"),
            Packet::Event(event) => missed.push(event.text().to_owned()),
            Packet::Ping => outbox.text(PONG),
            _ => {}
        }
    }
}

impl Guest {
    /// Takes a seat by way of the node at `host:port`.
    ///
    /// # Errors
    /// A refusal's text is its code.
    pub(crate) async fn enter(address: &str, room: &str, name: &str) -> anyhow::Result<Self> {
        timeout(BOUND, Self::seat(address, room, name)).await.context("no seat in time")?
    }

    async fn seat(address: &str, room: &str, name: &str) -> anyhow::Result<Self> {
        let began = Instant::now();
        let Connected { mut socket, mut outbox, pid, opened, .. } = connect(address, &json!({})).await?;
        let connected = began.elapsed();
        outbox.text(&format!("420{}", json!(["room:join", { "roomId": room, "guestName": name }])));
        loop {
            outbox.flush(&socket).await?;
            match next(&mut socket).await? {
                Packet::Ack { answer, .. } if answer.is_success() => {
                    let peer = answer.value()?["peerId"].as_str().context("a seat without a peer id")?.to_owned();
                    return Ok(Self { socket, outbox, peer, pid, steps: [opened, connected, began.elapsed()] });
                }
                Packet::Ack { answer, .. } => bail!("{}", answer.code()),
                Packet::Disconnected => bail!("disconnected"),
                Packet::Ping => outbox.text(PONG),
                _ => {}
            }
        }
    }
}

/// The next packet.
async fn next(socket: &mut Socket) -> anyhow::Result<Packet<'_>> {
    while !socket.has_frame()? {
        socket.fill().await?;
    }
    match socket.frame()?.context("no frame")? {
        Frame::Text(text) => Packet::parse(text),
        Frame::Close(reason) => bail!("closed: {reason}"),
        Frame::Ping(_) | Frame::Other => Ok(Packet::Other),
    }
}
