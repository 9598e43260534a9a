//! The long-polling carrier: a session's packets, passed between its task and the HTTP requests that carry them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use switchboard_common::wire::engine_io::{Packet, SEPARATOR};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::CloseReason;
use super::http::Refusal;
use super::websocket::WebSocket;
use crate::outbox::Frame;

/// What a poll waits for a probe that is under way.
const SETTLE: Duration = Duration::from_millis(10);

/// Packets in one POST.
const MAX_PACKETS: usize = 4096;

/// Where HTTP requests and the session's task meet.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    state: Mutex<State>,
    session: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    /// The GET that hangs.
    poll: Option<oneshot::Sender<String>>,
    /// The POST being read: its packets, and whom to tell that they were taken.
    posted: Option<Posted>,
    outgoing: Vec<Frame>,
    upgrade: Upgrade,
    /// What a request did that ends the session.
    failed: Option<CloseReason>,
    /// The session has ended.
    over: bool,
}

#[derive(Debug)]
struct Posted {
    frames: VecDeque<Frame>,
    taken: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
enum Upgrade {
    #[default]
    None,
    /// A WebSocket was opened; `probed` once it has answered, when polls are no longer held.
    Probing {
        probed: bool,
    },
    /// For the session's task to take.
    Ready(Box<WebSocket>),
    Done,
}

impl State {
    /// Answers the POST whose packets are all dealt with: what they caused at once is queued, so the next GET has it.
    fn answer_post(&mut self) {
        if let Some(posted) = self.posted.take_if(|posted| posted.frames.is_empty()) {
            // A client that did not wait for the answer has its packets taken all the same.
            let _answered = posted.taken.send(());
        }
    }
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, reason: CloseReason) {
        self.state().failed.get_or_insert(reason);
        self.session.wake();
    }

    /// Serves a GET: gives the payload when there is one.
    ///
    /// # Errors
    /// The session is over, upgraded, or another GET hangs, which ends it.
    pub(super) async fn poll(&self) -> Result<String, Refusal> {
        // A client may finish the upgrade and poll in one go, over two connections: what it finished counts first.
        if matches!(self.state().upgrade, Upgrade::Probing { .. }) {
            sleep(SETTLE).await;
        }
        let (answer, payload) = oneshot::channel();
        {
            let mut state = self.state();
            if state.over {
                return Err(Refusal::UnknownSession);
            }
            match state.upgrade {
                Upgrade::Ready(_) | Upgrade::Done => return Err(Refusal::BadRequest),
                Upgrade::Probing { probed: true } => return Ok(noop()),
                Upgrade::Probing { probed: false } | Upgrade::None => {}
            }
            if state.poll.as_ref().is_some_and(|poll| !poll.is_closed()) {
                drop(state);
                self.fail(CloseReason::ProtocolError("two polls at once"));
                return Err(Refusal::BadRequest);
            }
            state.poll = Some(answer);
        }
        let mut cancelled = Cancelled { exchange: self, armed: true };
        self.session.wake();
        let payload = payload.await;
        cancelled.armed = false;
        payload.map_err(|_| Refusal::UnknownSession)
    }

    /// Serves a POST: returns when the session has taken its packets, so that a client cannot outrun it.
    ///
    /// # Errors
    /// The body is no payload, or another POST is being read: both end the session. Or it is over, or upgraded.
    pub(super) async fn post(&self, body: &str) -> Result<(), Refusal> {
        let frames = match frames(body) {
            Ok(frames) => frames,
            Err(reason) => {
                self.fail(reason);
                return Err(Refusal::BadRequest);
            }
        };
        let (taken, wait) = oneshot::channel();
        {
            let mut state = self.state();
            if state.over {
                return Err(Refusal::UnknownSession);
            }
            if matches!(state.upgrade, Upgrade::Ready(_) | Upgrade::Done) {
                return Err(Refusal::BadRequest);
            }
            if state.posted.is_some() {
                drop(state);
                self.fail(CloseReason::ProtocolError("two posts at once"));
                return Err(Refusal::BadRequest);
            }
            state.posted = Some(Posted { frames, taken });
        }
        self.session.wake();
        wait.await.map_err(|_| Refusal::UnknownSession)
    }

    /// Ends the session for a POST over the maximum payload.
    pub(super) fn too_large(&self) {
        self.fail(CloseReason::PayloadTooLarge);
    }

    /// Reserves the one upgrade.
    ///
    /// # Errors
    /// The session is over, or was or is being upgraded: that one is not disturbed.
    pub(super) fn begin_upgrade(&self) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.over {
            return Err(Refusal::UnknownSession);
        }
        if !matches!(state.upgrade, Upgrade::None) {
            return Err(Refusal::BadRequest);
        }
        state.upgrade = Upgrade::Probing { probed: false };
        Ok(())
    }

    /// The WebSocket has answered the probe: the hanging GET is released, as the client waits for it.
    pub(super) fn probed(&self) {
        let mut state = self.state();
        state.upgrade = Upgrade::Probing { probed: true };
        if state.outgoing.is_empty()
            && let Some(poll) = state.poll.take()
        {
            // A GET that was just cancelled tells so itself.
            let _released = poll.send(noop());
        }
    }

    /// Ends the probe: with a WebSocket the session moves there, without one it stays.
    pub(super) fn end_upgrade(&self, socket: Option<WebSocket>) {
        self.state().upgrade = socket.map_or(Upgrade::None, |socket| Upgrade::Ready(Box::new(socket)));
        self.session.wake();
    }
}

/// Tells the session when the client gives up a GET: what was sent to it is lost, and so is the session.
struct Cancelled<'a> {
    exchange: &'a Exchange,
    armed: bool,
}

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.exchange.fail(CloseReason::TransportLost);
        }
    }
}

fn noop() -> String {
    Packet::Noop.encode()
}

fn frames(body: &str) -> Result<VecDeque<Frame>, CloseReason> {
    let malformed = CloseReason::ProtocolError("malformed Engine.IO payload");
    let mut frames = VecDeque::new();
    for text in body.split(SEPARATOR) {
        if frames.len() == MAX_PACKETS {
            return Err(CloseReason::ProtocolError("too many packets in a payload"));
        }
        frames.push_back(match Packet::decode(text).map_err(|_| malformed)? {
            Packet::Binary(bytes) => Frame::Binary(bytes.into_owned().into()),
            _ => Frame::Text(text.into()),
        });
    }
    Ok(frames)
}

fn payload(frames: &[Frame]) -> String {
    let mut out = String::new();
    for (i, frame) in frames.iter().enumerate() {
        if i > 0 {
            out.push(SEPARATOR);
        }
        match frame {
            Frame::Text(text) => out.push_str(text),
            Frame::Binary(bytes) => Packet::Binary((&**bytes).into()).encode_into(&mut out),
        }
    }
    out
}

/// The session's end of an [`Exchange`].
#[derive(Debug)]
pub(super) struct Polling {
    exchange: Arc<Exchange>,
}

impl Polling {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange }
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
        Poll::Pending
    }

    /// Frames are welcome while a GET waits for them.
    pub(super) fn is_ready(&self) -> bool {
        let state = self.exchange.state();
        state.poll.is_some() && !matches!(state.upgrade, Upgrade::Probing { probed: true })
    }

    pub(super) fn queue(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.exchange.state().outgoing.extend(frames);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.exchange.state().outgoing.is_empty()
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
        let Some(poll) = state.poll.take() else { return Poll::Pending };
        let frames = std::mem::take(&mut state.outgoing);
        match poll.send(payload(&frames)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(Err(CloseReason::TransportLost)),
        }
    }

    /// The WebSocket to go on with, once the upgrade is done and nothing posted waits.
    pub(super) fn take_upgrade(&mut self) -> Option<WebSocket> {
        let mut state = self.exchange.state();
        if state.posted.is_some() || !matches!(state.upgrade, Upgrade::Ready(_)) {
            return None;
        }
        let Upgrade::Ready(mut socket) = std::mem::replace(&mut state.upgrade, Upgrade::Done) else { return None };
        socket.queue(std::mem::take(&mut state.outgoing));
        if let Some(poll) = state.poll.take() {
            // A GET that was just cancelled is of no consequence any more.
            let _released = poll.send(noop());
        }
        Some(*socket)
    }

    /// Releases the hanging GET with what is left and a close, or a noop if it is the client that closed. Later
    /// requests are told that there is no such session.
    pub(super) fn farewell(self, reason: CloseReason) {
        let mut state = self.exchange.state();
        state.over = true;
        state.answer_post();
        let Some(poll) = state.poll.take() else { return };
        let mut frames = std::mem::take(&mut state.outgoing);
        let closed = matches!(reason, CloseReason::ClosePacket) || reason.is_goodbye();
        let last = if closed { Packet::Noop } else { Packet::Close };
        frames.push(Frame::Text(last.encode().into()));
        // A client that has gone is not told.
        let _told = poll.send(payload(&frames));
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        let mut state = self.exchange.state();
        state.over |= !matches!(state.upgrade, Upgrade::Done);
        state.poll = None;
        state.posted = None;
    }
}
