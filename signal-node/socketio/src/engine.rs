//! An Engine.IO session: heartbeat, outbox and packets, over whatever carries them.
//!
//! It is driven by the one task that serves the socket: nothing runs besides it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use switchboard_core::wire::engine_io::Packet;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::carrier::Carrier;
use super::{CloseReason, DisconnectReason, Handshake, Namespace, Timeouts, TransportConfig};
use crate::send_queue::{Control, Frame, Queue, SendQueue};

/// What serves Engine.IO sessions: Socket.IO, or anything else that exchanges messages.
pub trait Service: Send + Sync + 'static {
    /// Serves one session to its end; ends with [`Engine::farewell`].
    fn serve(&self, engine: Engine) -> BoxFuture<'static, ()>;
}

/// What an [`Engine`] has for its service.
#[derive(Debug)]
pub enum Signal {
    /// A message: for text the packet as it came, whose first byte is Engine.IO's type.
    Message(Frame),
    /// A ping was queued: what is sent now travels with it.
    Ping,
    /// The application disconnected a namespace.
    Disconnect(Namespace, DisconnectReason),
    /// The time given to [`Engine::set_deadline`] is over.
    Deadline,
}

/// One Engine.IO session.
#[derive(Debug)]
pub struct Engine {
    carrier: Carrier,
    queue: Arc<Queue>,
    /// Bytes taken from the queue that have not left.
    in_flight: usize,
    /// Nothing is taken from the queue: its order is about to be decided.
    held: bool,
    failed: Option<CloseReason>,
    clock: Clock,
    handshake: Arc<Handshake>,
    config: Arc<TransportConfig>,
}

impl Engine {
    /// A session over a carrier that is open. Sends nothing by itself before its first ping.
    pub(super) fn new(
        carrier: Carrier,
        queue: Arc<Queue>,
        handshake: Arc<Handshake>,
        config: Arc<TransportConfig>,
    ) -> Self {
        let clock = Clock::new(config.timeouts);
        Self { carrier, queue, in_flight: 0, held: false, failed: None, clock, handshake, config }
    }

    /// Queues the open packet.
    pub(super) fn open(&mut self) {
        let Timeouts { ping_interval, ping_timeout, .. } = self.config.timeouts;
        let open = format!(
            r#"0{{"sid":"{}","upgrades":{},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            self.handshake.sid,
            self.carrier.upgrades(),
            ping_interval.as_millis(),
            ping_timeout.as_millis(),
            self.config.limits.max_payload,
        );
        self.carrier.queue([Frame::Text(open.into())]);
    }

    /// The request that opened it.
    #[must_use]
    pub fn handshake(&self) -> &Arc<Handshake> {
        &self.handshake
    }

    /// The transport's settings.
    #[must_use]
    pub fn config(&self) -> &Arc<TransportConfig> {
        &self.config
    }

    /// A handle that sends to this session in a namespace.
    #[must_use]
    pub fn outbox(&self, namespace: Namespace) -> SendQueue {
        SendQueue::new(Arc::clone(&self.queue), namespace)
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Queues a message as it is. When it does not fit, [`next`](Engine::next) says so.
    pub fn send(&self, frame: Frame) {
        let _the_session_is_closing = self.queue.push_frame(frame);
    }

    /// Keeps what is queued from being sent.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Sets or clears a time at which [`next`](Engine::next) gives [`Signal::Deadline`].
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        self.clock.deadline = at;
        self.clock.arm();
    }

    /// The next thing to deal with; sends and pings meanwhile. Cancel-safe.
    ///
    /// # Errors
    /// Why the session is over.
    pub async fn next(&mut self) -> Result<Signal, CloseReason> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits for something else while sending and pinging go on; nothing is received meanwhile.
    pub async fn during<F: Future>(&mut self, mut future: Pin<&mut F>) -> F::Output {
        let output = poll_fn(|cx| {
            let output = future.as_mut().poll(cx);
            if output.is_pending() {
                self.poll_background(cx);
            }
            output
        })
        .await;
        // Whatever came due meanwhile comes due now.
        self.clock.arm();
        output
    }

    /// Sends what is left, tells the client why, and closes: all within the configured time.
    pub async fn farewell(mut self, reason: CloseReason) {
        let limit = self.config.timeouts.farewell;
        self.carrier.queue(self.queue.take());
        self.queue.close(reason);
        // A client that does not read it in time is not told; the socket is gone either way.
        let _told_or_not = tokio::time::timeout(limit, self.carrier.farewell(reason)).await;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Signal, CloseReason>> {
        if let Err(reason) = self.poll_output(cx) {
            return Poll::Ready(Err(reason));
        }
        match self.queue.control() {
            Some(Control::Close(reason)) => return Poll::Ready(Err(reason)),
            Some(Control::Disconnect(namespace, reason)) => {
                return Poll::Ready(Ok(Signal::Disconnect(namespace, reason)));
            }
            None => {}
        }
        let silent = match self.clock.poll(cx) {
            Some(Tick::Ping) => {
                self.ping();
                return Poll::Ready(Ok(Signal::Ping));
            }
            Some(Tick::Deadline) => return Poll::Ready(Ok(Signal::Deadline)),
            Some(Tick::Silent) => true,
            None => false,
        };
        loop {
            let frame = match self.carrier.poll_recv(cx) {
                Poll::Ready(Ok(frame)) => frame,
                Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
                // Only when nothing is left to read is the client known to be silent.
                Poll::Pending if silent && self.clock.is_awaiting_pong() => {
                    return Poll::Ready(Err(CloseReason::PingTimeout));
                }
                // The pong was there after all: look at the clock again, so that it wakes this task.
                Poll::Pending if silent => return self.poll_next(cx),
                Poll::Pending => return Poll::Pending,
            };
            let Frame::Text(text) = &frame else { return Poll::Ready(Ok(Signal::Message(frame))) };
            match Packet::decode(text) {
                Ok(Packet::Message(_)) => return Poll::Ready(Ok(Signal::Message(frame))),
                Ok(Packet::Pong(_)) => {
                    self.clock.pong();
                    self.carrier.expect_pong(None);
                }
                Ok(Packet::Noop) => {}
                Ok(Packet::Close) => return Poll::Ready(Err(CloseReason::ClosePacket)),
                Ok(_) => return Poll::Ready(Err(CloseReason::ProtocolError("unexpected Engine.IO packet"))),
                Err(_) => return Poll::Ready(Err(CloseReason::ProtocolError("malformed Engine.IO packet"))),
            }
        }
    }

    /// What goes on while the service is busy: a failure is kept for the next call.
    fn poll_background(&mut self, cx: &mut Context<'_>) {
        if self.poll_output(cx).is_err() {
            return;
        }
        // Silence cannot be judged while nothing is read, and the deadline is the service's: both wait for `next`.
        while self.clock.poll_ping(cx) {
            self.ping();
            let _kept_in_failed = self.poll_output(cx);
        }
    }

    fn ping(&mut self) {
        self.carrier.queue([Frame::Text(Utf8Bytes::from_static("2"))]);
        self.carrier.expect_pong(Some(self.clock.heartbeat));
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        if let Some(reason) = self.failed {
            return Err(reason);
        }
        self.queue.watch(cx);
        // From polling, as soon as nothing stands in its way.
        let _moved = self.carrier.upgrade();
        loop {
            if let Poll::Ready(Err(reason)) = self.carrier.poll_flush(cx) {
                self.failed = Some(reason);
                return Err(reason);
            }
            if self.carrier.is_flushed() && self.in_flight > 0 {
                self.queue.written(std::mem::take(&mut self.in_flight));
            }
            if self.held || !self.carrier.is_ready() {
                return Ok(());
            }
            let Poll::Ready(frames) = self.queue.poll_frames(cx) else { return Ok(()) };
            self.in_flight += frames.iter().map(|frame| frame.bytes().len()).sum::<usize>();
            self.carrier.queue(frames);
        }
    }
}

/// What a [`Clock`] says is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tick {
    Ping,
    Silent,
    Deadline,
}

/// The one timer of a session. It is moved only when it fires, not with each pong.
#[derive(Debug)]
struct Clock {
    timer: Pin<Box<Sleep>>,
    ping_interval: Duration,
    ping_timeout: Duration,
    awaiting_pong: bool,
    /// When to ping, or when its pong is overdue.
    heartbeat: Instant,
    deadline: Option<Instant>,
}

impl Clock {
    fn new(Timeouts { ping_interval, ping_timeout, .. }: Timeouts) -> Self {
        let heartbeat = Instant::now() + ping_interval;
        Self {
            timer: Box::pin(tokio::time::sleep_until(heartbeat)),
            ping_interval,
            ping_timeout,
            awaiting_pong: false,
            heartbeat,
            deadline: None,
        }
    }

    fn is_awaiting_pong(&self) -> bool {
        self.awaiting_pong
    }

    fn pong(&mut self) {
        if self.awaiting_pong {
            self.awaiting_pong = false;
            self.heartbeat = Instant::now() + self.ping_interval;
            self.arm();
        }
    }

    /// Makes the timer fire no later than what is next.
    fn arm(&mut self) {
        let next = self.deadline.map_or(self.heartbeat, |deadline| deadline.min(self.heartbeat));
        if self.timer.is_elapsed() || next < self.timer.deadline() {
            self.timer.as_mut().reset(next);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Tick> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.ping_is_due(now) {
                return Some(Tick::Ping);
            }
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                self.deadline = None;
                self.arm();
                return Some(Tick::Deadline);
            }
            if self.awaiting_pong && self.heartbeat <= now {
                // Stays due: it is for the caller to find out whether a pong waits unread.
                return Some(Tick::Silent);
            }
            self.arm();
        }
        None
    }

    /// As [`poll`](Clock::poll), for pings alone.
    fn poll_ping(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.ping_is_due(now) {
                return true;
            }
            let next = [Some(self.heartbeat), self.deadline].into_iter().flatten().filter(|at| *at > now).min();
            let Some(next) = next else { return false };
            self.timer.as_mut().reset(next);
        }
        false
    }

    fn ping_is_due(&mut self, now: Instant) -> bool {
        let due = !self.awaiting_pong && self.heartbeat <= now;
        if due {
            self.awaiting_pong = true;
            // From when it was due, so that a dead client is found in time; but a late ping gets time for its answer.
            let limit = self.ping_timeout;
            self.heartbeat = (self.heartbeat + limit).max(now + limit / 2);
            self.arm();
        }
        due
    }
}
