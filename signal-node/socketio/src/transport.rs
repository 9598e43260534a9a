//! The transport of an Engine.IO session: WebSocket or long-polling. The session works the same
//! over both.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::bounds::FrameMeter;
use crate::polling::PollingTransport;
use crate::protocol::{CloseReason, Frame, Received};
use crate::websocket::WebSocketTransport;

/// Transport of one session.
#[expect(clippy::large_enum_variant, reason = "most sockets end on WebSocket; a box would be one more allocation each")]
#[derive(Debug)]
pub(crate) enum Transport {
    /// Frames of a WebSocket.
    WebSocket(WebSocketTransport),
    /// Bodies of HTTP requests and responses.
    Polling(PollingTransport),
}

impl Transport {
    /// Returns the next packet or message from the client. Cancel-safe.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        meter: &mut FrameMeter,
    ) -> Poll<Result<Received, CloseReason>> {
        match self {
            Self::WebSocket(socket) => socket.poll_recv(cx, meter),
            Self::Polling(polling) => {
                let received = polling.poll_recv(cx, meter);
                // Packets that were posted before the upgrade come first. No other wake-up follows
                // after the last of them is read, so the upgrade is checked here.
                if received.is_pending() && self.upgrade() { self.poll_recv(cx, meter) } else { received }
            }
        }
    }

    /// Sets the time until which the client must answer its ping; `None` after it has answered.
    pub(crate) fn set_pong_deadline(&mut self, deadline: Option<Instant>) {
        match self {
            // The session's own timer decides, after it has read everything that arrived.
            Self::WebSocket(_) => {}
            Self::Polling(polling) => polling.set_pong_deadline(deadline),
        }
    }

    /// Returns whether the transport accepts more frames now. Otherwise they stay in the send
    /// queue, where a newer message can still replace them.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_ready(),
            Self::Polling(polling) => polling.is_ready(),
        }
    }

    /// Queues frames to send.
    pub(crate) fn queue(&mut self, frames: impl IntoIterator<Item = Frame>) {
        match self {
            Self::WebSocket(socket) => socket.queue(frames),
            Self::Polling(polling) => polling.queue(frames),
        }
    }

    /// Returns a number that changes whenever the client takes something: the bytes that the stream
    /// took, or the number of polls.
    pub(crate) fn progress(&self) -> u64 {
        match self {
            Self::WebSocket(socket) => socket.written_total(),
            Self::Polling(polling) => polling.polls(),
        }
    }

    /// Returns whether all queued frames are sent.
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Self::WebSocket(socket) => socket.is_flushed(),
            Self::Polling(polling) => polling.is_flushed(),
        }
    }

    /// Sends queued frames until the transport blocks.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        match self {
            Self::WebSocket(socket) => socket.poll_flush(cx),
            Self::Polling(polling) => polling.poll_flush(cx),
        }
    }

    /// Moves a long-polling session to its WebSocket, if the client has finished an upgrade.
    pub(crate) fn upgrade(&mut self) -> bool {
        let Self::Polling(polling) = self else { return false };
        let Some(socket) = polling.take_upgrade() else { return false };
        *self = Self::WebSocket(socket);
        true
    }

    /// Sends the queued frames, tells the client the reason, and closes. The caller bounds the
    /// time.
    pub(crate) async fn close(self, reason: CloseReason) {
        match self {
            Self::WebSocket(socket) => socket.close(reason).await,
            Self::Polling(polling) => polling.close(reason).await,
        }
    }
}
