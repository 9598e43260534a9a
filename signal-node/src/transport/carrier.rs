//! What carries an Engine.IO session's packets. The session is the same over each.

use std::task::{Context, Poll};

use super::CloseReason;
use super::websocket::WebSocket;
use crate::outbox::Frame;

/// One way for packets to travel.
#[derive(Debug)]
pub(super) enum Carrier {
    /// Frames of a WebSocket.
    WebSocket(WebSocket),
}

impl Carrier {
    /// The next packet from the client: text, or a binary message. Cancel-safe.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, CloseReason>> {
        match self {
            Self::WebSocket(socket) => socket.poll_recv(cx),
        }
    }

    /// Whether more frames are welcome now; otherwise they wait in the outbox, where they can still coalesce.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_ready(),
        }
    }

    /// Takes frames to send.
    pub(super) fn queue(&mut self, frames: impl IntoIterator<Item = Frame>) {
        match self {
            Self::WebSocket(socket) => socket.queue(frames),
        }
    }

    /// Whether everything taken has left.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_flushed(),
        }
    }

    /// Sends what it can.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        match self {
            Self::WebSocket(socket) => socket.poll_flush(cx),
        }
    }

    /// Sends what is left, tells the client why, and closes.
    pub(super) async fn farewell(self, reason: CloseReason) {
        match self {
            Self::WebSocket(socket) => socket.farewell(reason).await,
        }
    }
}
