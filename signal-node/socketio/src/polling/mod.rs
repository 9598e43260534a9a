//! The long-polling carrier: a session's packets, passed between its task and the HTTP requests that carry them.

mod exchange;
mod gets;
mod mark;
mod payload;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use switchboard_core::wire::engine_io::Packet;
use tokio::time::{Instant, Sleep, sleep_until};

use super::CloseReason;
use super::websocket::WebSocket;
use crate::send_queue::Frame;
pub(super) use exchange::Exchange;
use exchange::{Life, Upgrade};
use gets::Gets;

/// The session's end of an [`Exchange`].
#[derive(Debug)]
pub(super) struct Polling {
    exchange: Arc<Exchange>,
    /// Fires when a GET that was given up has not come again.
    given_up: Option<Pin<Box<Sleep>>>,
}

impl Polling {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange, given_up: None }
    }

    /// The next posted packet.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, CloseReason>> {
        self.exchange.session.register(cx.waker());
        let mut state = self.exchange.state();
        if let Some(reason) = state.failed {
            return Poll::Ready(Err(reason));
        }
        if let Some(frame) = state.posted.as_mut().and_then(|posted| posted.frames.pop_front()) {
            return Poll::Ready(Ok(frame));
        }
        state.answer_post();
        let Some(at) = state.gets.given_up() else {
            self.given_up = None;
            return Poll::Pending;
        };
        let timer = self.given_up.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).map(|()| Err(CloseReason::TransportLost))
    }

    /// Frames are welcome while a GET waits for them.
    pub(super) fn is_ready(&self) -> bool {
        let state = self.exchange.state();
        state.gets.is_hanging() && !matches!(state.upgrade, Upgrade::Probing { probed: true })
    }

    pub(super) fn queue(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.exchange.state().outgoing.extend(frames);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.exchange.state().outgoing.is_empty()
    }

    /// Lets requests see by when the client has to answer its ping.
    pub(super) fn expect_pong(&mut self, by: Option<Instant>) {
        self.exchange.state().pong_due = by;
    }

    /// Answers the hanging GET with everything queued.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        self.exchange.session.register(cx.waker());
        let mut state = self.exchange.state();
        if let Some(reason) = state.failed {
            return Poll::Ready(Err(reason));
        }
        if state.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if !state.gets.is_hanging() {
            return Poll::Pending;
        }
        let frames = std::mem::take(&mut state.outgoing);
        Poll::Ready(state.gets.answer(payload::encode(&frames)))
    }

    /// The WebSocket to go on with, once the upgrade is done and nothing posted waits.
    pub(super) fn take_upgrade(&mut self) -> Option<WebSocket> {
        let mut state = self.exchange.state();
        if state.posted.is_some() || !matches!(state.upgrade, Upgrade::Ready(_)) {
            return None;
        }
        let Upgrade::Ready(mut socket) = std::mem::replace(&mut state.upgrade, Upgrade::Done) else { return None };
        socket.queue(std::mem::take(&mut state.outgoing));
        // A GET that was just cancelled is of no consequence any more.
        let _released = state.gets.answer(payload::noop());
        state.gets = Gets::default();
        state.pong_due = None;
        Some(*socket)
    }

    /// Tells a GET what is left, and the end: a close, or a noop if it is the client that closed. When none hangs, the next one is told,
    /// for which the caller bounds the time. All other requests are told that there is no such session.
    pub(super) async fn farewell(self, reason: CloseReason) {
        let closed = matches!(reason, CloseReason::ClosePacket) || reason.is_goodbye();
        let last = if closed { Packet::Noop } else { Packet::Close };
        {
            let mut state = self.exchange.state();
            state.answer_post();
            let mut frames = std::mem::take(&mut state.outgoing);
            frames.push(Frame::Text(last.encode().into()));
            let last = payload::encode(&frames);
            // One that was given up may come again, and is the next one then.
            let hangs = state.gets.is_hanging() && state.gets.given_up().is_none();
            let told = hangs && state.gets.answer(last.clone()).is_ok();
            state.life = if told || is_known(reason) { Life::Over } else { Life::Ending(last) };
        }
        self.exchange.changed();
        self.exchange.until(|state| matches!(state.life, Life::Over)).await;
    }
}

/// Whether the client knows of the end by itself: it is gone, or its request was refused for what it did.
fn is_known(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::TransportLost
            | CloseReason::PingTimeout
            | CloseReason::ProtocolError(_)
            | CloseReason::PayloadTooLarge
    )
}

impl Drop for Polling {
    fn drop(&mut self) {
        let mut state = self.exchange.state();
        if !matches!(state.upgrade, Upgrade::Done) {
            state.life = Life::Over;
        }
        state.gets = Gets::default();
        state.posted = None;
        drop(state);
        self.exchange.changed();
    }
}
