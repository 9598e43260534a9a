//! Where the HTTP requests of a session meet its task: their end of it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::super::CloseReason;
use super::super::http::Refusal;
use super::super::websocket::WebSocket;
use super::gets::Gets;
use super::mark::Mark;
use super::payload;
use crate::send_queue::Frame;

/// What a GET waits for a probe that is under way: as a rule the probe is over long before.
const SETTLE: Duration = Duration::from_millis(100);

/// Timers count in milliseconds: a client that comes when its time is over is not told that it came a moment before.
const TICK: Duration = Duration::from_millis(1);

/// Where HTTP requests and the session's task meet.
#[derive(Debug)]
pub(in super::super) struct Exchange {
    /// The `t` of the request that opened the session. A client that goes on with it has the same for all, and so none for any.
    opening: Option<Mark>,
    state: Mutex<State>,
    /// The session's task.
    pub(super) session: AtomicWaker,
    /// Tells requests that the state is another.
    changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) gets: Gets,
    /// The POST being dealt with.
    pub(super) posted: Option<Posted>,
    /// The last POST that was.
    handled: Option<Mark>,
    pub(super) outgoing: Vec<Frame>,
    pub(super) upgrade: Upgrade,
    /// When a client that has not answered a ping by then is gone.
    pub(super) pong_due: Option<Instant>,
    /// What a request did that ends the session.
    pub(super) failed: Option<CloseReason>,
    pub(super) life: Life,
}

/// The packets of a POST, and where its outcome is told: to the request, and to the same again.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) frames: VecDeque<Frame>,
    mark: Option<Mark>,
    dealt_with: watch::Sender<bool>,
}

#[derive(Debug, Default)]
pub(super) enum Upgrade {
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

/// How far the session is.
#[derive(Debug, Default)]
pub(super) enum Life {
    #[default]
    On,
    /// It has ended; the next GET is told with this.
    Ending(Bytes),
    Over,
}

impl State {
    /// Answers the POST whose packets are all dealt with: what they caused at once is queued, so the next GET has it.
    pub(super) fn answer_post(&mut self) {
        if let Some(posted) = self.posted.take_if(|posted| posted.frames.is_empty()) {
            self.handled = posted.mark;
            // A client that did not wait for the answer has its packets taken all the same.
            let _answered = posted.dealt_with.send(true);
        }
    }

    /// Whether requests are still for this session. Judges a silent client by the clock: its task may not have woken yet.
    fn serving(&mut self) -> Result<(), Refusal> {
        let overdue = self.pong_due.is_some_and(|due| due <= Instant::now() + TICK);
        if overdue && self.posted.is_none() {
            self.failed.get_or_insert(CloseReason::PingTimeout);
        }
        if self.failed.is_some() || !matches!(self.life, Life::On) {
            return Err(Refusal::UnknownSession);
        }
        Ok(())
    }

    fn is_upgraded(&self) -> bool {
        matches!(self.upgrade, Upgrade::Ready(_) | Upgrade::Done)
    }
}

impl Exchange {
    /// For a session that was opened by a request with this `t`.
    pub(in super::super) fn new(t: Option<&str>) -> Self {
        Self {
            opening: t.map(|t| Mark::new(t, &[])),
            state: Mutex::default(),
            session: AtomicWaker::new(),
            changed: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the state is as wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&State) -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if wanted(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Wakes who waits with [`until`](Exchange::until).
    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    fn fail(&self, reason: CloseReason) {
        self.state().failed.get_or_insert(reason);
        self.session.wake();
    }

    /// What tells a request with this `t` from others, if anything does.
    fn mark(&self, t: Option<&str>, body: &[u8]) -> Option<Mark> {
        let t = t.filter(|t| self.opening != Some(Mark::new(t, &[])))?;
        Some(Mark::new(t, body))
    }

    /// Serves a GET with this `t`: gives the payload when there is one. The same again gives the same again.
    ///
    /// # Errors
    /// The session is over, upgraded, or another GET hangs, which ends it.
    pub(in super::super) async fn poll(&self, t: Option<&str>) -> Result<Bytes, Refusal> {
        let mark = self.mark(t, &[]);
        // A client may finish the upgrade and poll in one go, over two connections: what it finished counts first.
        let settled = self.until(|state| !matches!(state.upgrade, Upgrade::Probing { .. }));
        let _settled_or_not = timeout(SETTLE, settled).await;
        let begun = {
            let mut state = self.state();
            if let Some(answer) = state.gets.repeated(mark) {
                return Ok(answer);
            }
            if let Life::Ending(last) = &state.life {
                let last = last.clone();
                state.life = Life::Over;
                self.changed();
                return Ok(last);
            }
            state.serving()?;
            match state.upgrade {
                Upgrade::Ready(_) | Upgrade::Done => return Err(Refusal::BadRequest),
                Upgrade::Probing { probed: true } => return Ok(payload::noop()),
                Upgrade::Probing { probed: false } | Upgrade::None => state.gets.begin(mark),
            }
        };
        let (number, answer) = begun.map_err(|reason| {
            self.fail(reason);
            Refusal::BadRequest
        })?;
        let mut cancelled = Cancelled { exchange: self, number: Some(number) };
        self.session.wake();
        let answer = answer.await;
        cancelled.number = None;
        answer.map_err(|_| Refusal::UnknownSession)
    }

    /// Serves a POST with this `t`: returns when the session has dealt with its packets, so that a client cannot outrun it. The same
    /// again is answered and not dealt with again.
    ///
    /// # Errors
    /// The body is no payload, or another POST is being dealt with: both end the session. Or it is over, or upgraded.
    pub(in super::super) async fn post(&self, t: Option<&str>, body: &str) -> Result<(), Refusal> {
        let mark = self.mark(t, body.as_bytes());
        let frames = payload::decode(body);
        let begun = {
            let mut state = self.state();
            state.serving()?;
            if mark.is_some() && mark == state.handled {
                return Ok(());
            }
            match (&state.posted, frames) {
                (Some(posted), _) if mark.is_some() && mark == posted.mark => Ok(posted.dealt_with.subscribe()),
                _ if state.is_upgraded() => return Err(Refusal::BadRequest),
                (_, Err(malformed)) => Err(malformed),
                (Some(_), _) => Err(CloseReason::ProtocolError("two posts at once")),
                (None, Ok(frames)) => {
                    let (dealt_with, outcome) = watch::channel(false);
                    state.posted = Some(Posted { frames, mark, dealt_with });
                    Ok(outcome)
                }
            }
        };
        let mut outcome = begun.map_err(|reason| {
            self.fail(reason);
            Refusal::BadRequest
        })?;
        self.session.wake();
        outcome.wait_for(|dealt_with| *dealt_with).await.map(drop).map_err(|_| Refusal::UnknownSession)
    }

    /// Ends the session for a POST over the maximum payload.
    pub(in super::super) fn too_large(&self) {
        self.fail(CloseReason::PayloadTooLarge);
    }

    /// Reserves the one upgrade.
    ///
    /// # Errors
    /// The session is over, or was or is being upgraded: that one is not disturbed.
    pub(in super::super) fn begin_upgrade(&self) -> Result<(), Refusal> {
        let mut state = self.state();
        state.serving()?;
        if !matches!(state.upgrade, Upgrade::None) {
            return Err(Refusal::BadRequest);
        }
        state.upgrade = Upgrade::Probing { probed: false };
        Ok(())
    }

    /// The WebSocket has answered the probe: the hanging GET is released, as the client waits for it.
    pub(in super::super) fn probed(&self) {
        let mut state = self.state();
        state.upgrade = Upgrade::Probing { probed: true };
        if state.outgoing.is_empty() {
            // A GET that was just cancelled tells so itself.
            let _released = state.gets.answer(payload::noop());
        }
    }

    /// Ends the probe: with a WebSocket the session moves there, without one it stays.
    pub(in super::super) fn end_upgrade(&self, socket: Option<WebSocket>) {
        self.state().upgrade = socket.map_or(Upgrade::None, |socket| Upgrade::Ready(Box::new(socket)));
        self.changed();
        self.session.wake();
    }

    /// Returns when the session has ended.
    pub(in super::super) async fn ended(&self) {
        self.until(|state| !matches!(state.life, Life::On)).await;
    }
}

/// Tells the session when a GET's connection breaks: what was sent to it is lost, unless the same request comes again.
struct Cancelled<'a> {
    exchange: &'a Exchange,
    number: Option<u64>,
}

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.exchange.state();
        if let Err(reason) = state.gets.give_up(number) {
            state.failed.get_or_insert(reason);
        }
        drop(state);
        self.exchange.session.wake();
    }
}
