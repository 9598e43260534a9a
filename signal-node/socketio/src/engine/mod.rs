//! An Engine.IO session: heartbeat, send queue and packets, over either transport.
//!
//! One task serves a socket and drives its session. No other task runs for the socket.
//!
//! | file | content |
//! |---|---|
//! | `mod` | [`Engine`], [`Service`], [`EngineEvent`] |
//! | `timer` | `SessionTimer`: pings, overdue pongs and the deadline |

mod timer;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use switchboard_core::wire::engine_io::Packet;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::bounds::{FrameMeter, MessageBounds, NetworkBudget};
use crate::config::{Timeouts, TransportConfig};
use crate::protocol::{
    CloseReason, DisconnectReason, Frame, Handshake, Namespace, Received, SkipReason, SkippedMessage, TransportKind,
};
use crate::send_queue::{Control, Queue, SendQueue};
use crate::transport::Transport;
use timer::{SessionTimer, TimerEvent};

/// Service on Engine.IO sessions: Socket.IO, or another protocol that exchanges messages.
pub trait Service: Send + Sync + 'static {
    /// Serves one session until it ends. The last call must be [`Engine::close`].
    fn serve(&self, engine: Engine) -> BoxFuture<'static, ()>;
}

/// Event of an [`Engine`] for its service.
#[derive(Debug)]
pub enum EngineEvent {
    /// A message. A text message is the whole packet, whose first byte is Engine.IO's type.
    Message(Frame),
    /// A message that was too large, or came while too many large ones did. The service may refuse
    /// it.
    Skipped(SkippedMessage),
    /// A ping was queued. A message that is sent now leaves in the same write.
    Ping,
    /// The application disconnected a namespace.
    Disconnect(Namespace, DisconnectReason),
    /// The time of [`Engine::set_deadline`] has passed.
    Deadline,
}

/// One Engine.IO session. All its state is here, in more than eight fields, because one task owns
/// it.
#[derive(Debug)]
pub struct Engine {
    transport: Transport,
    queue: Arc<Queue>,
    /// Bytes taken from the queue that are not written yet.
    in_flight: usize,
    /// Nothing is taken from the queue, because messages may still be put first.
    held: bool,
    failed: Option<CloseReason>,
    /// Progress of the transport at the last ping, if bytes waited to be written then.
    unread_since: Option<u64>,
    /// The application waits for the client's next packet.
    probing: bool,
    meter: FrameMeter,
    timer: SessionTimer,
    handshake: Arc<Handshake>,
    config: Arc<TransportConfig>,
    /// Bounds on the client's messages.
    messages: MessageBounds,
    /// What the client may spend.
    budget: NetworkBudget,
}

impl Engine {
    /// Creates a session over an open transport. It sends nothing before its first ping.
    pub(crate) fn new(
        transport: Transport,
        queue: Arc<Queue>,
        handshake: Arc<Handshake>,
        config: Arc<TransportConfig>,
        messages: MessageBounds,
        budget: NetworkBudget,
    ) -> Self {
        let timer = SessionTimer::new(handshake.opened, config.timeouts);
        let meter = FrameMeter::new(config.limits.frames_per_second, Some(budget.clone()));
        Self {
            transport,
            queue,
            in_flight: 0,
            held: false,
            failed: None,
            unread_since: None,
            probing: false,
            meter,
            timer,
            handshake,
            config,
            messages,
            budget,
        }
    }

    /// Returns what the client may spend.
    pub(crate) fn budget(&self) -> &NetworkBudget {
        &self.budget
    }

    /// Queues the open packet.
    pub(crate) fn open(&mut self) {
        self.transport.queue([Frame::Text(open_packet(&self.handshake, &self.config).into())]);
    }

    /// Returns the facts from the request that opened the session.
    #[must_use]
    pub fn handshake(&self) -> &Arc<Handshake> {
        &self.handshake
    }

    /// Returns the settings of the transport.
    #[must_use]
    pub fn config(&self) -> &Arc<TransportConfig> {
        &self.config
    }

    /// Returns the bounds on the client's messages.
    pub(crate) fn messages(&self) -> &MessageBounds {
        &self.messages
    }

    /// Returns a handle that sends to this session in a namespace.
    #[must_use]
    pub fn send_queue(&self, namespace: Namespace) -> SendQueue {
        SendQueue::new(Arc::clone(&self.queue), namespace)
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Queues an encoded message. If it does not fit, [`next`](Engine::next) returns the error.
    pub fn send(&self, frame: Frame) {
        let _the_session_is_closing = self.queue.push_frame(frame);
    }

    /// Stops or resumes the sending of queued messages.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Sets or clears the time at which [`next`](Engine::next) returns [`EngineEvent::Deadline`].
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        self.timer.set_deadline(at);
    }

    /// Waits for the next event, and sends and pings meanwhile. Cancel-safe.
    ///
    /// # Errors
    /// Reason why the session has ended.
    pub async fn next(&mut self) -> Result<EngineEvent, CloseReason> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Runs a future while sending and pinging continue. Nothing is received meanwhile.
    pub async fn during<F: Future>(&mut self, mut future: Pin<&mut F>) -> F::Output {
        let output = poll_fn(|cx| {
            let output = future.as_mut().poll(cx);
            if output.is_pending() {
                self.poll_background(cx);
            }
            output
        })
        .await;
        // Events that came due meanwhile are due now.
        self.timer.arm();
        output
    }

    /// Sends the queued messages, tells the client the reason, and closes. All of it takes at most
    /// the configured close timeout.
    pub async fn close(mut self, reason: CloseReason) {
        let limit = self.config.timeouts.close;
        self.transport.queue(self.queue.take());
        self.queue.close(reason);
        // The socket closes even if the client does not read in time.
        let _sent_or_not = tokio::time::timeout(limit, self.transport.close(reason)).await;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<EngineEvent, CloseReason>> {
        if let Err(reason) = self.poll_output(cx) {
            return Poll::Ready(Err(reason));
        }
        match self.queue.control() {
            Some(Control::Close(reason)) => return Poll::Ready(Err(reason)),
            Some(Control::Disconnect(namespace, reason)) => {
                return Poll::Ready(Ok(EngineEvent::Disconnect(namespace, reason)));
            }
            Some(Control::Probe) => {
                self.probing = true;
                if self.timer.ping_now() {
                    self.ping();
                }
                // Sends the ping.
                return self.poll_next(cx);
            }
            None => {}
        }
        let overdue = match self.timer.poll(cx) {
            Some(TimerEvent::Ping) => {
                self.ping();
                return Poll::Ready(self.failed.map_or(Ok(EngineEvent::Ping), Err));
            }
            Some(TimerEvent::Deadline) => return Poll::Ready(Ok(EngineEvent::Deadline)),
            Some(TimerEvent::PongOverdue) => true,
            None => false,
        };
        loop {
            let frame = match self.transport.poll_recv(cx, &mut self.meter) {
                Poll::Ready(Ok(Received::Frame(frame))) => frame,
                Poll::Ready(Ok(Received::Skipped(skipped))) => return Poll::Ready(skip(skipped)),
                Poll::Ready(Err(reason)) => return Poll::Ready(Err(reason)),
                // More may be unread. The task is already woken for its next turn.
                Poll::Pending if self.meter.has_yielded() => return Poll::Pending,
                // The pong is missing only if nothing is left to read.
                Poll::Pending if overdue && self.timer.is_awaiting_pong() => {
                    return Poll::Ready(Err(CloseReason::PingTimeout));
                }
                // The pong was unread. Poll the timer again, so that it wakes this task.
                Poll::Pending if overdue => return self.poll_next(cx),
                Poll::Pending => return Poll::Pending,
            };
            if std::mem::take(&mut self.probing) {
                self.queue.answer_probe();
            }
            let Frame::Text(text) = &frame else { return Poll::Ready(Ok(EngineEvent::Message(frame))) };
            match Packet::decode(text) {
                Ok(Packet::Message(_)) => return Poll::Ready(Ok(EngineEvent::Message(frame))),
                Ok(Packet::Pong(_)) => {
                    self.timer.pong();
                    self.transport.set_pong_deadline(None);
                }
                Ok(Packet::Noop) => {}
                Ok(Packet::Close) => return Poll::Ready(Err(CloseReason::ClosePacket)),
                Ok(_) => return Poll::Ready(Err(CloseReason::ProtocolError("unexpected Engine.IO packet"))),
                Err(_) => return Poll::Ready(Err(CloseReason::ProtocolError("malformed Engine.IO packet"))),
            }
        }
    }

    /// Sends and pings while the service is busy. Keeps a failure for the next call.
    fn poll_background(&mut self, cx: &mut Context<'_>) {
        if self.poll_output(cx).is_err() {
            return;
        }
        // An overdue pong and the deadline wait for `next`: a pong may be unread, and the service
        // handles the deadline.
        while self.timer.poll_ping(cx) {
            self.ping();
            let _kept_in_failed = self.poll_output(cx);
        }
    }

    /// Pings the client. A client that has read nothing since the last ping, although bytes waited
    /// for it, holds memory that all sockets share: its session fails as that of a slow consumer.
    fn ping(&mut self) {
        let progress = self.transport.progress();
        let waits = self.queue.queued_bytes() > 0;
        if waits && self.unread_since == Some(progress) {
            metrics::counter!("switchboard_send_queue_overflows_total").increment(1);
            self.failed.get_or_insert(CloseReason::SlowConsumer);
        }
        self.unread_since = waits.then_some(progress);
        self.transport.queue([Frame::Text(Utf8Bytes::from_static("2"))]);
        self.transport.set_pong_deadline(Some(self.timer.heartbeat()));
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        if let Some(reason) = self.failed {
            return Err(reason);
        }
        self.queue.watch(cx);
        // Upgrades from long-polling as soon as that is possible.
        let _moved = self.transport.upgrade();
        loop {
            if let Poll::Ready(Err(reason)) = self.transport.poll_flush(cx) {
                self.failed = Some(reason);
                return Err(reason);
            }
            if self.transport.is_flushed() && self.in_flight > 0 {
                self.queue.written(std::mem::take(&mut self.in_flight));
            }
            if self.held || !self.transport.is_ready() {
                return Ok(());
            }
            let Poll::Ready(frames) = self.queue.poll_frames(cx) else { return Ok(()) };
            self.in_flight += frames.iter().map(|frame| frame.bytes().len()).sum::<usize>();
            self.transport.queue(frames);
        }
    }
}

/// Returns the open packet, the first one of a session.
pub(crate) fn open_packet(handshake: &Handshake, config: &TransportConfig) -> String {
    let Timeouts { ping_interval, ping_timeout, .. } = config.timeouts;
    let upgrades = match handshake.transport {
        TransportKind::WebSocket => "[]",
        TransportKind::Polling => r#"["websocket"]"#,
    };
    format!(
        r#"0{{"sid":"{}","upgrades":{upgrades},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
        handshake.sid,
        ping_interval.as_millis(),
        ping_timeout.as_millis(),
        config.limits.max_body,
    )
}

/// Returns the event of a skipped message. A skipped packet of another kind ends the session: no
/// client sends one that large.
fn skip(skipped: SkippedMessage) -> Result<EngineEvent, CloseReason> {
    match &skipped.head {
        Some(head) if !head.starts_with('4') => Err(CloseReason::PayloadTooLarge),
        _ => {
            let reason = match skipped.reason {
                SkipReason::TooLarge => "too_large",
                SkipReason::Busy => "busy",
            };
            metrics::counter!("switchboard_messages_skipped_total", "reason" => reason).increment(1);
            Ok(EngineEvent::Skipped(skipped))
        }
    }
}
