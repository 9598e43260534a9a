//! The participant of a call who writes down who came and went, and ends the call.

use anyhow::bail;
use serde_json::json;
use tokio::sync::oneshot;

use super::ledger::{Deeds, Ledger};
use crate::client::guest::{Connected, connect};
use crate::client::packet::{PONG, Packet};
use crate::client::socket::{Frame, SendBuffer, Socket};

/// The participant who writes down who came and went, and ends the call.
pub(super) struct Keeper {
    socket: Socket,
    out: SendBuffer,
    ledger: Ledger,
    is_seated: bool,
}

impl Keeper {
    pub(super) async fn join(node: &str, token: &str, room: &str) -> anyhow::Result<Self> {
        let Connected { socket, send_buffer, .. } = connect(node, &json!({ "token": token })).await?;
        let mut keeper = Self { socket, out: send_buffer, ledger: Ledger::default(), is_seated: false };
        keeper.out.text(&format!("420{}", json!(["room:join", { "roomId": room }])));
        while !keeper.is_seated {
            keeper.advance().await?;
        }
        Ok(keeper)
    }

    /// Writes down what happens. Once `finished`, ends the call. Returns what was done in it.
    pub(super) async fn keep(&mut self, mut finished: oneshot::Receiver<()>) -> anyhow::Result<Deeds> {
        let mut ends = false;
        loop {
            if let Some(deeds) = self.ledger.deeds() {
                return Ok(deeds);
            }
            tokio::select! {
                advanced = self.advance() => advanced?,
                _ = &mut finished, if !ends => {
                    ends = true;
                    self.out.text(r#"421["room:end-call",{}]"#);
                }
            }
        }
    }

    /// Sends what is due, and handles what comes next. Cancel safe.
    async fn advance(&mut self) -> anyhow::Result<()> {
        self.out.flush(&self.socket).await?;
        if !self.socket.has_frame()? {
            self.socket.receive().await?;
        }
        while let Some(frame) = self.socket.frame()? {
            let text = match frame {
                Frame::Text(text) => text,
                Frame::Close(reason) => bail!("the client that writes down was closed: {reason}"),
                Frame::Ping(payload) => {
                    self.out.pong(payload);
                    continue;
                }
                Frame::Other => continue,
            };
            match Packet::parse(text)? {
                Packet::Ping => self.out.text(PONG),
                Packet::Event(event) => self.ledger.read(&event)?,
                Packet::Ack { reply, .. } if reply.is_success() => self.is_seated = true,
                Packet::Ack { reply, .. } => bail!("refused: {}", reply.code()),
                Packet::Disconnected => bail!("the client that writes down was disconnected"),
                _ => {}
            }
        }
        Ok(())
    }
}
