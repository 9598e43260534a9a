//! Engine.IO session that detects silence of the server, for clients that reconnect.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::packet::Packet;
use super::route::Route;
use super::socket::{Frame, SendBuffer, Socket};

/// Time limit from dialing to Engine.IO's open packet. The official client waits for 20 s; a load
/// balancer gives up on a dead node before that.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of characters before the id of the node in a session id.
const NODE_OFFSET: usize = 40;
/// Path and query of the Socket.IO endpoint.
pub(crate) const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// An open Engine.IO session.
#[derive(Debug)]
pub(crate) struct EngineSession {
    socket: Socket,
    send_buffer: SendBuffer,
    /// Id of the session's node, from the session id; empty if it names none.
    pub(crate) node: String,
    /// Silence after which the server counts as gone.
    silence_timeout: Duration,
    last_received: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    sid: String,
    ping_interval: u64,
    ping_timeout: u64,
}

impl EngineSession {
    /// Opens a session at `host:port`, within [`OPEN_TIMEOUT`].
    pub(crate) async fn open(route: impl Into<Route<'_>>) -> anyhow::Result<Self> {
        timeout(OPEN_TIMEOUT, Self::handshake(route.into())).await.context("no open packet within 2 s")?
    }

    async fn handshake(route: Route<'_>) -> anyhow::Result<Self> {
        let socket = Socket::open(route, PATH).await?;
        let mut session = Self {
            socket,
            send_buffer: SendBuffer::default(),
            node: String::new(),
            silence_timeout: OPEN_TIMEOUT,
            last_received: Instant::now(),
        };
        let Packet::Open(open) = session.next().await? else { bail!("the first packet is not open") };
        let open: Open = serde_json::from_str(open)?;
        session.node = open.sid.get(NODE_OFFSET..).unwrap_or_default().to_owned();
        session.silence_timeout = Duration::from_millis(open.ping_interval + open.ping_timeout);
        Ok(session)
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, packet: impl AsRef<str>) -> anyhow::Result<()> {
        self.send_buffer.text(packet.as_ref());
        Ok(self.send_buffer.flush(&self.socket).await?)
    }

    /// Sends a binary frame.
    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.send_buffer.binary(&bytes);
        Ok(self.send_buffer.flush(&self.socket).await?)
    }

    /// Returns the next packet. Cancel safe.
    ///
    /// # Errors
    /// When the session is over; the text has the server's close reason, if any.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Packet<'_>> {
        while !self.socket.has_frame()? {
            let received = timeout_at(self.last_received + self.silence_timeout, self.socket.receive()).await;
            received.map_err(|_| anyhow!("the server sent no heartbeat in time"))??;
            self.last_received = Instant::now();
        }
        match self.socket.frame()?.context("the frame is incomplete")? {
            Frame::Text(text) => Packet::parse(text),
            Frame::Close("") => bail!("closed without a reason"),
            Frame::Close(reason) => bail!("closed: {reason}"),
            Frame::Ping(payload) => {
                self.send_buffer.pong(payload);
                Ok(Packet::Other)
            }
            Frame::Other => Ok(Packet::Other),
        }
    }

    /// Reads until the session ends. Returns the server's reason.
    pub(crate) async fn wait_closed(&mut self) -> String {
        loop {
            if let Err(error) = self.next().await {
                return error.to_string();
            }
        }
    }
}
