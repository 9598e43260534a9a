//! A socket that notices silence: the transport of a client that behaves as the stock one.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::packet::Packet;
use super::socket::{Frame, Outbox, Socket};

/// From dialling to Engine.IO's open packet. The stock client waits for 20 s; a load balancer in between has given up on a
/// dead node by then.
const OPEN: Duration = Duration::from_secs(2);
/// Where servers take sockets.
pub(crate) const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// An open Engine.IO session.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    outbox: Outbox,
    /// Silence for this long means that the server is gone.
    patience: Duration,
    heard: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    ping_interval: u64,
    ping_timeout: u64,
}

impl Wire {
    /// Opens a session at `host:port`, within [`OPEN`].
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        timeout(OPEN, Self::handshake(address)).await.context("no open packet in time")?
    }

    async fn handshake(address: &str) -> anyhow::Result<Self> {
        let socket = Socket::open(address, PATH).await?;
        let mut wire = Self { socket, outbox: Outbox::default(), patience: OPEN, heard: Instant::now() };
        let Packet::Open(open) = wire.next().await? else { bail!("the first packet is not open") };
        let open: Open = serde_json::from_str(open)?;
        wire.patience = Duration::from_millis(open.ping_interval + open.ping_timeout);
        Ok(wire)
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, packet: impl AsRef<str>) -> anyhow::Result<()> {
        self.outbox.text(packet.as_ref());
        Ok(self.outbox.flush(&self.socket).await?)
    }

    /// Sends a binary frame.
    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.outbox.binary(&bytes);
        Ok(self.outbox.flush(&self.socket).await?)
    }

    /// The next packet. May be dropped while it waits.
    ///
    /// # Errors
    /// The session is over; the text has the server's close reason, if it gave one.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Packet<'_>> {
        while !self.socket.has_frame()? {
            let more = timeout_at(self.heard + self.patience, self.socket.fill()).await;
            more.map_err(|_| anyhow!("the server went silent"))??;
            self.heard = Instant::now();
        }
        match self.socket.frame()?.context("no frame")? {
            Frame::Text(text) => Packet::parse(text),
            Frame::Close("") => bail!("closed without a reason"),
            Frame::Close(reason) => bail!("closed: {reason}"),
            Frame::Ping(payload) => {
                self.outbox.pong(payload);
                Ok(Packet::Other)
            }
            Frame::Other => Ok(Packet::Other),
        }
    }

    /// Reads until the end; the reason that the server gave for it.
    pub(crate) async fn reason(&mut self) -> String {
        loop {
            if let Err(error) = self.next().await {
                return error.to_string();
            }
        }
    }
}
