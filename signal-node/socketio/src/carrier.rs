//! What carries an Engine.IO session's packets. The session is the same over each.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::CloseReason;
use super::polling::Polling;
use super::websocket::WebSocket;
use crate::send_queue::Frame;

/// One way for packets to travel.
#[derive(Debug)]
pub(super) enum Carrier {
    /// Frames of a WebSocket.
    WebSocket(WebSocket),
    /// The bodies of HTTP requests and responses.
    Polling(Polling),
}

impl Carrier {
    /// The next packet from the client: text, or a binary message. Cancel-safe.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, CloseReason>> {
        match self {
            Self::WebSocket(socket) => socket.poll_recv(cx),
            Self::Polling(polling) => {
                let received = polling.poll_recv(cx);
                // What was posted before the upgrade comes first. Nobody else tells this task that it is all dealt with.
                if received.is_pending() && self.upgrade() { self.poll_recv(cx) } else { received }
            }
        }
    }

    /// Tells who judges a client by the clock when it has to have answered its ping; none when it has.
    pub(super) fn expect_pong(&mut self, by: Option<Instant>) {
        match self {
            // Judged by the session's own clock alone, after everything that arrived was read.
            Self::WebSocket(_) => {}
            Self::Polling(polling) => polling.expect_pong(by),
        }
    }

    /// Whether more frames are welcome now; otherwise they wait in the outbox, where they can still coalesce.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_ready(),
            Self::Polling(polling) => polling.is_ready(),
        }
    }

    /// Takes frames to send.
    pub(super) fn queue(&mut self, frames: impl IntoIterator<Item = Frame>) {
        match self {
            Self::WebSocket(socket) => socket.queue(frames),
            Self::Polling(polling) => polling.queue(frames),
        }
    }

    /// Whether everything taken has left.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_flushed(),
            Self::Polling(polling) => polling.is_flushed(),
        }
    }

    /// Sends what it can.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        match self {
            Self::WebSocket(socket) => socket.poll_flush(cx),
            Self::Polling(polling) => polling.poll_flush(cx),
        }
    }

    /// Moves to the WebSocket that a client on long-polling has upgraded to, if it has.
    pub(super) fn upgrade(&mut self) -> bool {
        let Self::Polling(polling) = self else { return false };
        let Some(socket) = polling.take_upgrade() else { return false };
        *self = Self::WebSocket(socket);
        true
    }

    /// What a client may upgrade to, as the open packet says it.
    pub(super) fn upgrades(&self) -> &'static str {
        match self {
            Self::WebSocket(_) => "[]",
            Self::Polling(_) => r#"["websocket"]"#,
        }
    }

    /// Sends what is left, tells the client why, and closes.
    pub(super) async fn farewell(self, reason: CloseReason) {
        match self {
            Self::WebSocket(socket) => socket.farewell(reason).await,
            Self::Polling(polling) => polling.farewell(reason).await,
        }
    }
}
