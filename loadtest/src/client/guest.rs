//! A guest: dialing, CONNECT and join; at Centrifugo, connect and subscriptions.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::centrifugo;
use super::engine_session::PATH;
use super::packet::{PONG, Packet};
use super::protocol::Protocol;
use super::route::Route;
use super::socket::{Frame, SendBuffer, Socket};

/// Time limit of a join. A slow join is allowed; only a missing one fails.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A guest without an account, seated in a public room.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) socket: Socket,
    pub(crate) send_buffer: SendBuffer,
    /// Peer id in the room.
    pub(crate) peer_id: String,
    /// Private session id, presented on reconnect; `None` from a server without connection state
    /// recovery.
    pub(crate) pid: Option<String>,
    /// Time from the start until the socket is open, CONNECT is accepted, and the seat is taken.
    pub(crate) timings: [Duration; 3],
    pub(crate) protocol: Protocol,
}

/// An open socket whose CONNECT was accepted.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) socket: Socket,
    pub(crate) send_buffer: SendBuffer,
    pub(crate) pid: Option<String>,
    /// Events received before the answer to CONNECT: the missed events of a resumed session.
    pub(crate) missed_events: Vec<String>,
    /// Time to open the socket.
    pub(crate) open_time: Duration,
}

/// Opens a socket at `host:port` and sends CONNECT with these credentials.
pub(crate) async fn connect(route: impl Into<Route<'_>>, auth: &Value) -> anyhow::Result<Connected> {
    let started = Instant::now();
    let mut socket = Socket::open(route, PATH).await?;
    let open_time = started.elapsed();
    let mut send_buffer = SendBuffer::default();
    send_buffer.text(&format!("40{auth}"));
    send_buffer.flush(&socket).await?;
    let mut missed_events = Vec::new();
    loop {
        match next_packet(&mut socket).await? {
            Packet::Connected(body) => {
                let body: Value = serde_json::from_str(body)?;
                let pid = body["pid"].as_str().map(str::to_owned);
                return Ok(Connected { socket, send_buffer, pid, missed_events, open_time });
            }
            Packet::Refused(reason) => bail!("CONNECT was refused: {reason}"),
            Packet::Event(event) => missed_events.push(event.text().to_owned()),
            Packet::Ping => send_buffer.text(PONG),
            _ => {}
        }
    }
}

impl Guest {
    /// Joins a room through the node at `host:port`.
    ///
    /// # Errors
    /// When the join is refused (the text is the refusal code), when the socket is lost, or after
    /// [`JOIN_TIMEOUT`].
    pub(crate) async fn join(route: impl Into<Route<'_>>, room: &str, name: &str) -> anyhow::Result<Self> {
        Self::join_with(route, &json!({}), &json!({ "roomId": room, "guestName": name })).await
    }

    /// As [`Guest::join`], through a node of this protocol.
    pub(crate) async fn join_over(protocol: Protocol, node: &str, room: &str, name: &str) -> anyhow::Result<Self> {
        match protocol {
            Protocol::SocketIo => Self::join(node, room, name).await,
            Protocol::Centrifugo => {
                timeout(JOIN_TIMEOUT, Self::subscribe(node, room)).await.context("no subscription within 30 s")?
            }
        }
    }

    /// As [`Guest::join`], with these credentials and fields of `room:join`.
    pub(crate) async fn join_with(route: impl Into<Route<'_>>, auth: &Value, fields: &Value) -> anyhow::Result<Self> {
        timeout(JOIN_TIMEOUT, Self::seat(route.into(), auth, fields)).await.context("no seat within 30 s")?
    }

    async fn seat(route: Route<'_>, auth: &Value, fields: &Value) -> anyhow::Result<Self> {
        let started = Instant::now();
        let Connected { mut socket, mut send_buffer, pid, open_time, .. } = connect(route, auth).await?;
        let connect_time = started.elapsed();
        send_buffer.text(&format!("420{}", json!(["room:join", fields])));
        loop {
            send_buffer.flush(&socket).await?;
            match next_packet(&mut socket).await? {
                Packet::Ack { reply, .. } if reply.is_success() => {
                    let peer_id =
                        reply.value()?["peerId"].as_str().context("the join reply has no peer id")?.to_owned();
                    return Ok(Self {
                        socket,
                        send_buffer,
                        peer_id,
                        pid,
                        timings: [open_time, connect_time, started.elapsed()],
                        protocol: Protocol::SocketIo,
                    });
                }
                Packet::Ack { reply, .. } => bail!("{}", reply.code()),
                Packet::Disconnected => bail!("disconnected"),
                Packet::Ping => send_buffer.text(PONG),
                _ => {}
            }
        }
    }

    async fn subscribe(node: &str, room: &str) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut socket = Socket::open(node, centrifugo::PATH).await?;
        let open_time = started.elapsed();
        let mut send_buffer = SendBuffer::default();
        send_buffer.text(centrifugo::CONNECT);
        send_buffer.flush(&socket).await?;
        let peer_id = centrifugo::client_id(next_text(&mut socket).await?)?;
        let connect_time = started.elapsed();
        send_buffer.text(&centrifugo::subscribe(room, &peer_id));
        send_buffer.flush(&socket).await?;
        let mut subscribed = 0;
        while subscribed < centrifugo::SUBSCRIPTIONS {
            for line in next_text(&mut socket).await?.lines() {
                subscribed += usize::from(centrifugo::is_subscribed(line)?);
            }
        }
        let timings = [open_time, connect_time, started.elapsed()];
        Ok(Self { socket, send_buffer, peer_id, pid: None, timings, protocol: Protocol::Centrifugo })
    }
}

/// Returns the next packet.
async fn next_packet(socket: &mut Socket) -> anyhow::Result<Packet<'_>> {
    Packet::parse(next_text(socket).await?)
}

/// Returns the text of the next frame; empty when the frame has none.
async fn next_text(socket: &mut Socket) -> anyhow::Result<&str> {
    while !socket.has_frame()? {
        socket.receive().await?;
    }
    match socket.frame()?.context("the frame is incomplete")? {
        Frame::Text(text) => Ok(text),
        Frame::Close(reason) => bail!("closed: {reason}"),
        Frame::Ping(_) | Frame::Other => Ok(""),
    }
}
