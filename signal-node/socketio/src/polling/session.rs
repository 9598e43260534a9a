//! The state of a long-polling session that its task and its HTTP requests share.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::fingerprint::Fingerprint;
use super::latest_poll::LatestPoll;
use super::payload;
use crate::bounds::MessageBounds;
use crate::protocol::{CloseReason, Frame, HandshakeError, Received};
use crate::websocket::WebSocketTransport;

/// Maximum time that a GET waits for a running upgrade probe. Most probes finish much sooner.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);

/// Resolution of timers. A client whose time ends within this is already overdue, so that it does
/// not find its session open up to 1 ms too long.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);

/// State of a long-polling session, shared by its task and its HTTP requests.
#[derive(Debug)]
pub(crate) struct PollingSession {
    /// Fingerprint of the `t` in the opening request. A client that sends the same `t` again sends
    /// it in every request, so that it identifies none of them.
    opening: Option<Fingerprint>,
    /// Bounds on the messages of the client.
    messages: MessageBounds,
    state: Mutex<State>,
    /// The session's task.
    pub(super) task: AtomicWaker,
    /// Notifies requests of a changed state.
    changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) poll: LatestPoll,
    /// POST whose packets the session's task is reading.
    pub(super) post: Option<PendingPost>,
    /// The last POST that the task has finished.
    last_post: Option<Fingerprint>,
    pub(super) outgoing: Vec<Frame>,
    pub(super) upgrade: Upgrade,
    /// Time at which a client without a pong has timed out.
    pub(super) pong_deadline: Option<Instant>,
    /// Failure of a request that ends the session.
    pub(super) failure: Option<CloseReason>,
    pub(super) phase: Phase,
}

/// Packets of a POST that are not all read. The request and its repetitions wait for the result.
#[derive(Debug)]
pub(super) struct PendingPost {
    pub(super) frames: VecDeque<Received>,
    fingerprint: Option<Fingerprint>,
    finished: watch::Sender<bool>,
}

/// Progress of the upgrade to WebSocket.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    #[default]
    None,
    /// A WebSocket is open. `probed` is true after it has answered the probe; polls do not hang
    /// from then on.
    Probing {
        probed: bool,
    },
    /// The WebSocket waits for the session's task.
    Ready(Box<WebSocketTransport>),
    Done,
}

/// Phase of the session.
#[derive(Debug, Default)]
pub(super) enum Phase {
    #[default]
    Open,
    /// The session has ended. The next GET receives this payload.
    Closing(Bytes),
    Closed,
}

impl State {
    /// Answers the POST once all its packets are read. Replies to them are queued by then, so that
    /// the next GET returns them.
    pub(super) fn answer_post(&mut self) {
        if self.post.as_ref().is_some_and(|post| post.frames.is_empty()) {
            self.accept_post();
        }
    }

    /// Answers the POST, whether or not its packets are read.
    pub(super) fn accept_post(&mut self) {
        if let Some(post) = self.post.take() {
            self.last_post = post.fingerprint;
            // The packets count even if the client has closed the request's connection.
            let _answered_or_gone = post.finished.send(true);
        }
    }

    /// Checks that the session accepts requests. Checks the pong deadline too, because the
    /// session's task may not have woken yet.
    fn check_open(&mut self) -> Result<(), HandshakeError> {
        let overdue = self.pong_deadline.is_some_and(|deadline| deadline <= Instant::now() + TIMER_RESOLUTION);
        if overdue && self.post.is_none() {
            self.failure.get_or_insert(CloseReason::PingTimeout);
        }
        if self.failure.is_some() || !matches!(self.phase, Phase::Open) {
            return Err(HandshakeError::UnknownSession);
        }
        Ok(())
    }

    fn is_upgraded(&self) -> bool {
        matches!(self.upgrade, Upgrade::Ready(_) | Upgrade::Done)
    }
}

impl PollingSession {
    /// Creates the state of a session whose opening request had this fingerprint.
    pub(crate) fn new(opening: Option<Fingerprint>, messages: MessageBounds) -> Self {
        Self { messages, opening, state: Mutex::default(), task: AtomicWaker::new(), changed: Notify::new() }
    }

    /// Returns the bounds on the messages of the client.
    pub(crate) fn messages(&self) -> &MessageBounds {
        &self.messages
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the state satisfies `condition`.
    pub(super) async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if condition(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Wakes the callers of [`until`](PollingSession::until).
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    fn fail(&self, reason: CloseReason) {
        self.state().failure.get_or_insert(reason);
        self.task.wake();
    }

    /// Returns the fingerprint of a request with this `t`, unless `t` identifies no request.
    fn fingerprint(&self, t: Option<&str>, body: &[u8]) -> Option<Fingerprint> {
        let t = t.filter(|t| self.opening != Some(Fingerprint::new(t, &[])))?;
        Some(Fingerprint::new(t, body))
    }

    /// Serves a GET with this `t`. Returns the payload as soon as there is one. A repeated GET
    /// receives the same payload.
    ///
    /// # Errors
    /// The session has ended or is upgraded. Or another GET hangs, which ends the session.
    pub(crate) async fn poll(&self, t: Option<&str>) -> Result<Bytes, HandshakeError> {
        let fingerprint = self.fingerprint(t, &[]);
        // A client may finish the upgrade and poll at the same time, over two connections. The
        // upgrade is processed first.
        let settled = self.until(|state| !matches!(state.upgrade, Upgrade::Probing { .. }));
        let _settled_or_not = timeout(PROBE_TIMEOUT, settled).await;
        let begun = {
            let mut state = self.state();
            if let Some(response) = state.poll.repeated_response(fingerprint) {
                return Ok(response);
            }
            if let Phase::Closing(last) = &state.phase {
                let last = last.clone();
                state.phase = Phase::Closed;
                self.notify();
                return Ok(last);
            }
            state.check_open()?;
            match state.upgrade {
                Upgrade::Ready(_) | Upgrade::Done => return Err(HandshakeError::BadRequest),
                Upgrade::Probing { probed: true } => return Ok(payload::noop()),
                Upgrade::Probing { probed: false } | Upgrade::None => state.poll.begin(fingerprint),
            }
        };
        let (number, response) = begun.map_err(|reason| {
            self.fail(reason);
            HandshakeError::BadRequest
        })?;
        let mut guard = PollGuard { session: self, number: Some(number) };
        self.task.wake();
        let response = response.await;
        guard.number = None;
        response.map_err(|_| HandshakeError::UnknownSession)
    }

    /// Serves a POST with this `t`. Returns after the session's task has read all packets, so that
    /// a client cannot send faster than they are processed. A repeated POST is answered but not
    /// processed again; so is one to a session that waits for the GET that tells its end.
    ///
    /// # Errors
    /// The body is malformed or another POST is pending; both end the session. Or the session has
    /// ended or is upgraded.
    pub(crate) async fn post(&self, t: Option<&str>, body: &str) -> Result<(), HandshakeError> {
        let fingerprint = self.fingerprint(t, body.as_bytes());
        let frames = payload::decode(body, self.messages.max());
        let begun = {
            let mut state = self.state();
            if matches!(state.phase, Phase::Closing(_)) {
                return Ok(());
            }
            state.check_open()?;
            if fingerprint.is_some() && fingerprint == state.last_post {
                return Ok(());
            }
            match (&state.post, frames) {
                (Some(post), _) if fingerprint.is_some() && fingerprint == post.fingerprint => {
                    Ok(post.finished.subscribe())
                }
                _ if state.is_upgraded() => return Err(HandshakeError::BadRequest),
                (_, Err(malformed)) => Err(malformed),
                (Some(_), _) => Err(CloseReason::ProtocolError("two posts at the same time")),
                (None, Ok(frames)) => {
                    let (finished, result) = watch::channel(false);
                    state.post = Some(PendingPost { frames, fingerprint, finished });
                    Ok(result)
                }
            }
        };
        let mut result = begun.map_err(|reason| {
            self.fail(reason);
            HandshakeError::BadRequest
        })?;
        self.task.wake();
        result.wait_for(|finished| *finished).await.map(drop).map_err(|_| HandshakeError::UnknownSession)
    }

    /// Ends the session, because the body of a POST was too large.
    pub(crate) fn payload_too_large(&self) {
        self.fail(CloseReason::PayloadTooLarge);
    }

    /// Reserves the one upgrade of the session. Returns false if the session is upgraded, or has a
    /// running upgrade, which continues.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) fn begin_upgrade(&self) -> Result<bool, HandshakeError> {
        let mut state = self.state();
        state.check_open()?;
        let begins = matches!(state.upgrade, Upgrade::None);
        if begins {
            state.upgrade = Upgrade::Probing { probed: false };
        }
        Ok(begins)
    }

    /// Releases the hanging GET after the WebSocket has answered the probe, because the client
    /// waits for that.
    pub(crate) fn probe_answered(&self) {
        let mut state = self.state();
        state.upgrade = Upgrade::Probing { probed: true };
        if state.outgoing.is_empty() {
            // A GET whose connection broke reports so itself.
            let _released = state.poll.answer(payload::noop());
        }
    }

    /// Ends the probe. With a WebSocket the session moves to it; without one the session stays on
    /// long-polling.
    pub(crate) fn end_upgrade(&self, socket: Option<WebSocketTransport>) {
        self.state().upgrade = socket.map_or(Upgrade::None, |socket| Upgrade::Ready(Box::new(socket)));
        self.notify();
        self.task.wake();
    }

    /// Waits until the session has ended.
    pub(crate) async fn ended(&self) {
        self.until(|state| !matches!(state.phase, Phase::Open)).await;
    }
}

/// Reports to the session when the connection of a GET breaks. Its response is lost, unless the
/// client repeats the request.
struct PollGuard<'a> {
    session: &'a PollingSession,
    /// Number of the poll. `None` after it was answered.
    number: Option<u64>,
}

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.session.state();
        if let Err(reason) = state.poll.disconnected(number) {
            state.failure.get_or_insert(reason);
        }
        drop(state);
        self.session.task.wake();
    }
}
