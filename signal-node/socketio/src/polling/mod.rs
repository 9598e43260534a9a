//! The long-polling transport: passes packets between a session's task and its HTTP requests.
//!
//! | file | content |
//! |---|---|
//! | `mod` | `PollingTransport`: the end of the session's task |
//! | `session` | `PollingSession`: the end of the HTTP requests, and the shared state |
//! | `latest_poll` | `LatestPoll`: the hanging GET and the response of the last one |
//! | `fingerprint` | `Fingerprint`: recognizes repeated requests |
//! | `payload` | bodies of requests and responses |

mod fingerprint;
mod latest_poll;
mod payload;
mod session;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use switchboard_core::wire::engine_io::Packet;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::bounds::FrameMeter;
use crate::protocol::{CloseReason, Frame, Received};
use crate::websocket::WebSocketTransport;
pub(crate) use fingerprint::Fingerprint;
use latest_poll::LatestPoll;
pub(crate) use session::PollingSession;
use session::{Phase, Upgrade};

/// Maximum number of packets in the response to one GET. python-engineio ends its session when it
/// gets more.
const FRAMES_PER_POLL: usize = 16;

/// The end of a [`PollingSession`] at the session's task.
#[derive(Debug)]
pub(crate) struct PollingTransport {
    session: Arc<PollingSession>,
    /// Fires when the client has not repeated a broken GET in time.
    repeat_timer: Option<Pin<Box<Sleep>>>,
}

impl PollingTransport {
    pub(crate) fn new(session: Arc<PollingSession>) -> Self {
        Self { session, repeat_timer: None }
    }

    /// Returns the next posted packet. Each counts before it is processed.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        meter: &mut FrameMeter,
    ) -> Poll<Result<Received, CloseReason>> {
        ready!(meter.poll_turn(cx));
        self.session.task.register(cx.waker());
        let mut state = self.session.state();
        if let Some(reason) = state.failure {
            return Poll::Ready(Err(reason));
        }
        if let Some(received) = state.post.as_mut().and_then(|post| post.frames.pop_front()) {
            let bytes = received.length();
            meter.read(bytes);
            return Poll::Ready(meter.count(bytes, Instant::now()).map(|()| received));
        }
        meter.end_turn();
        state.answer_post();
        let Some(at) = state.poll.repeat_deadline() else {
            self.repeat_timer = None;
            return Poll::Pending;
        };
        let timer = self.repeat_timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).map(|()| Err(CloseReason::TransportLost))
    }

    /// Returns whether a GET waits for frames.
    pub(crate) fn is_ready(&self) -> bool {
        let state = self.session.state();
        state.poll.is_hanging() && !matches!(state.upgrade, Upgrade::Probing { probed: true })
    }

    /// Queues frames for the next GET.
    pub(crate) fn queue(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.session.state().outgoing.extend(frames);
    }

    /// Returns the number of GETs so far. Each shows that the client has the response of the last.
    pub(crate) fn polls(&self) -> u64 {
        self.session.state().poll.number()
    }

    /// Returns whether a GET has taken all queued frames.
    pub(crate) fn is_flushed(&self) -> bool {
        self.session.state().outgoing.is_empty()
    }

    /// Sets the time until which the client must answer its ping, for requests to check.
    pub(crate) fn set_pong_deadline(&mut self, deadline: Option<Instant>) {
        self.session.state().pong_deadline = deadline;
    }

    /// Answers the hanging GET with queued frames, as many as every client reads.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        self.session.task.register(cx.waker());
        let mut state = self.session.state();
        if let Some(reason) = state.failure {
            return Poll::Ready(Err(reason));
        }
        if state.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if !state.poll.is_hanging() {
            return Poll::Pending;
        }
        let count = state.outgoing.len().min(FRAMES_PER_POLL);
        let frames: Vec<Frame> = state.outgoing.drain(..count).collect();
        if state.outgoing.is_empty() {
            // Frees the memory, so that an idle session holds none.
            state.outgoing = Vec::new();
        }
        Poll::Ready(state.poll.answer(payload::encode(&frames)))
    }

    /// Takes the WebSocket of a finished upgrade, once no posted packet is unread.
    pub(crate) fn take_upgrade(&mut self) -> Option<WebSocketTransport> {
        let mut state = self.session.state();
        if state.post.is_some() || !matches!(state.upgrade, Upgrade::Ready(_)) {
            return None;
        }
        let Upgrade::Ready(mut socket) = std::mem::replace(&mut state.upgrade, Upgrade::Done) else { return None };
        socket.queue(std::mem::take(&mut state.outgoing));
        // From here on, a GET whose connection broke has no effect.
        let _released = state.poll.answer(payload::noop());
        state.poll = LatestPoll::default();
        state.pong_deadline = None;
        Some(*socket)
    }

    /// Sends the queued frames and the end: a close packet, or a noop if the client closed. If no
    /// GET hangs, this waits for the next one; the caller bounds the time. Until then a POST is
    /// accepted and its packets are dropped, because a client whose POST is refused polls no more
    /// and never learns why its session ended. The POST that ended the session is refused.
    pub(crate) async fn close(self, reason: CloseReason) {
        let client_closed = matches!(reason, CloseReason::ClosePacket) || reason.is_intentional();
        let last = if client_closed { Packet::Noop } else { Packet::Close };
        {
            let mut state = self.session.state();
            if client_knows(reason) {
                state.post = None;
            }
            state.accept_post();
            let mut frames = std::mem::take(&mut state.outgoing);
            frames.push(Frame::Text(last.encode().into()));
            let last = payload::encode(&frames);
            // A broken GET cannot deliver it. If the client repeats that GET, it is the next one.
            let hangs = state.poll.is_hanging() && state.poll.repeat_deadline().is_none();
            let sent = hangs && state.poll.answer(last.clone()).is_ok();
            state.phase = if sent || client_knows(reason) { Phase::Closed } else { Phase::Closing(last) };
        }
        self.session.notify();
        self.session.until(|state| matches!(state.phase, Phase::Closed)).await;
    }
}

/// Returns whether the client needs no packet about the end: it is gone, or its request was
/// refused.
fn client_knows(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::TransportLost
            | CloseReason::PingTimeout
            | CloseReason::ProtocolError(_)
            | CloseReason::PayloadTooLarge
            | CloseReason::FrameFlood
    )
}

impl Drop for PollingTransport {
    fn drop(&mut self) {
        let mut state = self.session.state();
        if !matches!(state.upgrade, Upgrade::Done) {
            state.phase = Phase::Closed;
        }
        state.poll = LatestPoll::default();
        state.post = None;
        drop(state);
        self.session.notify();
    }
}
