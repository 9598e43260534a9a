//! Socket.IO over an Engine.IO session: turns packets into calls of the application. The file has
//! more than 400 lines, because one task owns the state of a session.
//!
//! | file | content |
//! |---|---|
//! | `mod` | [`SocketIo`]: decodes packets and calls the application |
//! | `application` | [`Application`] and the values that it exchanges with the server |
//! | `refusal` | `Refusal`: an event that the application does not get |

mod application;
mod refusal;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use switchboard_core::wire::socket_io::{self, EventHead, Packet};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::bounds::{LargeMessagePermit, RateDecision};
use crate::engine::{Engine, EngineEvent, Service};
use crate::protocol::{CloseReason, Event, Frame, Message, Namespace, SkipReason, SkippedMessage};
pub use application::{Application, ConnectError, ConnectRequest, Connected};
use refusal::{Refusal, Target};

/// Serves an [`Application`] over Engine.IO sessions.
#[derive(Debug)]
pub struct SocketIo<A> {
    app: Arc<A>,
}

impl<A: Application> SocketIo<A> {
    /// Creates the service of an application.
    #[must_use]
    pub fn new(app: Arc<A>) -> Self {
        Self { app }
    }
}

impl<A: Application> Service for SocketIo<A> {
    fn serve(&self, mut engine: Engine) -> BoxFuture<'static, ()> {
        let app = Arc::clone(&self.app);
        // This future is the memory of an idle socket, so it is kept small. An `async fn` would
        // store its arguments twice.
        Box::pin(async move {
            // Outside the code that may panic, so that each session gets its last call.
            let mut sessions = Vec::new();
            let mut connection = Connection::new(&*app, &mut engine, &mut sessions);
            let reason = match AssertUnwindSafe(connection.run()).catch_unwind().await {
                Ok(reason) => reason,
                Err(_) => {
                    tracing::error!(engine_sid = &*engine.handshake().sid, "session task panicked");
                    CloseReason::Panic
                }
            };
            if let CloseReason::ProtocolError(rule) = reason {
                tracing::debug!(engine_sid = &*engine.handshake().sid, rule, "client violated the protocol");
            }
            metrics::counter!("switchboard_sockets_closed_total", "reason" => reason.name()).increment(1);
            let end_sessions = async {
                for NamespaceSession { state, .. } in sessions {
                    end_session(&*app, state, reason).await;
                }
            };
            futures_util::future::join(Box::pin(end_sessions), Box::pin(engine.close(reason))).await;
        })
    }
}

/// Makes the last call for a session. Catches a panic, so that the other sessions get their last
/// call.
async fn end_session<A: Application>(app: &A, session: A::Session, reason: CloseReason) {
    if AssertUnwindSafe(app.closed(session, reason)).catch_unwind().await.is_err() {
        tracing::error!(reason = reason.name(), "session end panicked");
    }
}

/// Session of the application in one namespace.
struct NamespaceSession<S> {
    namespace: Namespace,
    state: S,
}

/// Packet whose attachments are not all received.
struct Incomplete {
    /// `None` for a packet that is dropped: an acknowledgement, which this server never asks for,
    /// or a refused event. Its attachments are dropped too.
    event: Option<Event>,
    attachments: Vec<Bytes>,
    missing: usize,
    bytes: usize,
    /// Slot of the attachments, if they are large.
    slot: Option<Box<LargeMessagePermit>>,
}

/// Call to make to the application.
enum Action {
    Connect { namespace: Namespace, auth: Option<Box<RawValue>> },
    Event(Event),
    Leave(Namespace, CloseReason),
}

/// Socket.IO connection of one socket.
struct Connection<'a, A: Application> {
    app: &'a A,
    engine: &'a mut Engine,
    sessions: &'a mut Vec<NamespaceSession<A::Session>>,
    incomplete: Option<Box<Incomplete>>,
}

impl<'a, A: Application> Connection<'a, A> {
    fn new(app: &'a A, engine: &'a mut Engine, sessions: &'a mut Vec<NamespaceSession<A::Session>>) -> Self {
        let mut connection = Self { app, engine, sessions, incomplete: None };
        connection.expect_connect(connection.engine.handshake().opened);
        connection
    }

    async fn run(&mut self) -> CloseReason {
        loop {
            let read = match self.engine.next().await {
                Ok(EngineEvent::Message(Frame::Text(text))) => self.text(&text),
                Ok(EngineEvent::Message(Frame::Binary(bytes))) => self.attachment(Ok(bytes)),
                Ok(EngineEvent::Skipped(skipped)) => self.skipped(&skipped),
                Ok(EngineEvent::Ping) => {
                    self.tick();
                    Ok(None)
                }
                Ok(EngineEvent::Disconnect(namespace, reason)) => {
                    Ok(Some(Action::Leave(namespace, CloseReason::ServerClosed(reason))))
                }
                Ok(EngineEvent::Deadline) => Err(CloseReason::ConnectTimeout),
                Err(reason) => Err(reason),
            };
            let done = match read {
                // Boxed, so that an idle socket does not hold memory for it.
                Ok(Some(action)) => Box::pin(self.perform(action)).await,
                Ok(None) => Ok(()),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = done {
                return reason;
            }
        }
    }

    /// Sets the deadline until which a socket in no namespace must connect to one.
    fn expect_connect(&mut self, since: Instant) {
        let limit = self.engine.config().timeouts.connect;
        self.engine.set_deadline(Some(since + limit));
    }

    /// Sends the events that the application adds to a ping.
    fn tick(&mut self) {
        for session in self.sessions.iter_mut() {
            if let Some(message) = self.app.tick(&mut session.state) {
                // On overflow the engine closes the socket.
                let _closing = self.engine.send_queue(session.namespace.clone()).send(message);
            }
        }
    }

    /// Counts a packet of this many bytes.
    fn count(&self, bytes: usize) -> RateDecision {
        let burst = || self.sessions.iter().map(|session| self.app.burst(&session.state)).max().unwrap_or(0);
        self.engine.budget().count_packet(bytes, burst)
    }

    /// Decodes a packet. Returns the call that it requires, if any.
    fn text(&mut self, text: &Utf8Bytes) -> Result<Option<Action>, CloseReason> {
        if self.incomplete.is_some() {
            return Err(CloseReason::ProtocolError("a packet before the attachments of the last"));
        }
        let decision = self.count(text.len());
        if decision == RateDecision::Close {
            return Err(CloseReason::Flood);
        }
        let limit = self.engine.config().limits.max_attachments;
        // The first byte is Engine.IO's `4`.
        let packet = Packet::decode(text.get(1..).unwrap_or_default(), limit)
            .map_err(|_| CloseReason::ProtocolError("malformed Socket.IO packet"))?;
        match packet {
            Packet::Connect { namespace, payload } => self.check_connect(Namespace::new(namespace), payload, decision),
            Packet::Disconnect { namespace } => {
                Ok(Some(Action::Leave(Namespace::new(namespace), CloseReason::ClientDisconnect)))
            }
            Packet::Event(packet) => {
                let session = self.session(packet.namespace)?;
                let attachments = packet.attachments;
                let event = own(text, session.namespace.clone(), &packet);
                if let RateDecision::Refuse(wait) = decision {
                    metrics::counter!("switchboard_events_rate_limited_total").increment(1);
                    self.refuse(&Target::from(&event), Refusal::RateLimited(wait));
                    self.expect_attachments(None, attachments);
                    return Ok(None);
                }
                if attachments > 0 {
                    self.expect_attachments(Some(event), attachments);
                    return Ok(None);
                }
                Ok(Some(Action::Event(event)))
            }
            Packet::Ack { namespace, attachments, .. } => {
                self.session(namespace)?;
                self.expect_attachments(None, attachments);
                Ok(None)
            }
            Packet::ConnectError { .. } => Err(CloseReason::ProtocolError("a packet that only servers send")),
        }
    }

    /// Checks a CONNECT packet. Refuses it here, or returns the call to the application.
    fn check_connect(
        &self,
        namespace: Namespace,
        payload: Option<&str>,
        decision: RateDecision,
    ) -> Result<Option<Action>, CloseReason> {
        if self.sessions.iter().any(|session| session.namespace == namespace) {
            return Err(CloseReason::ProtocolError("connected twice to a namespace"));
        }
        if matches!(decision, RateDecision::Refuse(_)) {
            // Without a reply, because the stock client does not try again after a refusal. It
            // does after the end of its transport, and keeps its session id.
            metrics::counter!("switchboard_events_rate_limited_total").increment(1);
            return Err(CloseReason::RateLimited);
        }
        if !self.app.serves(namespace.as_str()) {
            self.refuse_connect(&namespace, ConnectError::invalid_namespace());
            return Ok(None);
        }
        // The decoder has checked that this is valid JSON.
        let auth = payload.and_then(|payload| RawValue::from_string(payload.to_owned()).ok());
        Ok(Some(Action::Connect { namespace, auth }))
    }

    fn expect_attachments(&mut self, event: Option<Event>, expected: usize) {
        if expected > 0 {
            let (attachments, missing) = (Vec::new(), expected);
            self.incomplete = Some(Box::new(Incomplete { event, attachments, missing, bytes: 0, slot: None }));
        }
    }

    /// Adds an attachment, or notes that one was skipped. An event whose attachments are too large
    /// together is refused; the rest of them is dropped as it comes.
    fn attachment(&mut self, attachment: Result<Bytes, SkipReason>) -> Result<Option<Action>, CloseReason> {
        let Some(mut incomplete) = self.incomplete.take() else {
            return Err(CloseReason::ProtocolError("an attachment without a packet"));
        };
        let max = self.engine.config().limits.max_payload;
        let kept = attachment.and_then(|bytes| {
            incomplete.bytes = incomplete.bytes.saturating_add(bytes.len());
            self.engine.messages().admit(incomplete.bytes, &mut incomplete.slot).map(|()| bytes)
        });
        match (kept, &incomplete.event) {
            (Ok(bytes), Some(_)) => incomplete.attachments.push(bytes),
            (Err(reason), Some(event)) => {
                self.refuse(&Target::from(event), Refusal::of(reason, max));
                (incomplete.event, incomplete.attachments, incomplete.slot) = (None, Vec::new(), None);
            }
            (_, None) => incomplete.slot = None,
        }
        incomplete.missing -= 1;
        if incomplete.missing > 0 {
            self.incomplete = Some(incomplete);
            return Ok(None);
        }
        let Incomplete { event, attachments, .. } = *incomplete;
        Ok(event.map(|event| Action::Event(Event { attachments, ..event })))
    }

    /// Refuses an event whose message was not kept. It costs as much as a small one, because its
    /// bytes were counted as a frame's, and nothing is stored.
    fn skipped(&mut self, skipped: &SkippedMessage) -> Result<Option<Action>, CloseReason> {
        let Some(head) = &skipped.head else { return self.attachment(Err(skipped.reason)) };
        if self.incomplete.is_some() {
            return Err(CloseReason::ProtocolError("a packet before the attachments of the last"));
        }
        if self.count(0) == RateDecision::Close {
            return Err(CloseReason::Flood);
        }
        let limits = self.engine.config().limits;
        // The first byte is Engine.IO's `4`. Only an event can be refused.
        let head = EventHead::decode(head.get(1..).unwrap_or_default(), limits.max_attachments);
        let head = head.ok_or(CloseReason::PayloadTooLarge)?;
        let namespace = &self.session(head.namespace)?.namespace;
        let target = Target { namespace, ack: head.id, name: &head.name };
        self.refuse(&target, Refusal::of(skipped.reason, limits.max_payload));
        self.expect_attachments(None, head.attachments);
        Ok(None)
    }

    async fn perform(&mut self, action: Action) -> Result<(), CloseReason> {
        match action {
            Action::Connect { namespace, auth } => self.connect(namespace, auth).await,
            Action::Event(event) => self.event(event).await,
            Action::Leave(namespace, reason) => {
                self.leave(&namespace, reason).await;
                // The server also closes the socket of a client that it disconnects from its last
                // namespace.
                if matches!(reason, CloseReason::ServerClosed(_)) && self.sessions.is_empty() {
                    return Err(reason);
                }
            }
        }
        Ok(())
    }

    async fn connect(&mut self, namespace: Namespace, auth: Option<Box<RawValue>>) {
        let request = ConnectRequest {
            namespace: namespace.clone(),
            auth,
            handshake: Arc::clone(self.engine.handshake()),
            send_queue: self.engine.send_queue(namespace.clone()),
            budget: self.engine.budget().clone(),
        };
        // Messages to the new session must not overtake the reply.
        self.engine.hold(true);
        let result = self.engine.during(pin!(self.app.connect(request))).await;
        self.engine.hold(false);
        match result {
            Ok(connected) => {
                let reply = accepted(&namespace, &connected.sid, connected.pid.as_deref());
                self.engine.queue().push_first(connected.first.into_iter().chain([Message::packet(reply)]));
                self.sessions.reserve_exact(1);
                self.sessions.push(NamespaceSession { namespace, state: connected.session });
                self.engine.set_deadline(None);
            }
            Err(error) => self.refuse_connect(&namespace, error),
        }
    }

    async fn event(&mut self, event: Event) {
        // There is no session if the application disconnected it while attachments were in transit.
        if let Some(session) = self.sessions.iter_mut().find(|session| session.namespace == event.namespace) {
            self.engine.during(pin!(self.app.event(&mut session.state, event))).await;
        }
    }

    async fn leave(&mut self, namespace: &Namespace, reason: CloseReason) {
        let Some(at) = self.sessions.iter().position(|session| session.namespace == *namespace) else { return };
        let session = self.sessions.remove(at);
        self.engine.during(pin!(end_session(self.app, session.state, reason))).await;
        if self.sessions.is_empty() {
            self.expect_connect(Instant::now());
        }
    }

    fn session(&self, namespace: &str) -> Result<&NamespaceSession<A::Session>, CloseReason> {
        self.sessions
            .iter()
            .find(|session| session.namespace.as_str() == namespace)
            .ok_or(CloseReason::ProtocolError("a packet for a namespace that is not connected"))
    }

    fn refuse_connect(&self, namespace: &Namespace, error: ConnectError) {
        let payload = json(&error);
        let packet = Packet::ConnectError { namespace: namespace.as_str(), payload: &payload };
        self.engine.send(frame(&packet));
    }

    /// Refuses an event: by its acknowledgement if it asked for one, else by an event `error`.
    fn refuse(&self, target: &Target<'_>, refusal: Refusal) {
        // On overflow the engine closes the socket.
        let _closing = self.engine.send_queue(target.namespace.clone()).send(refusal.message(target));
    }
}

/// Encodes the reply to CONNECT: `40{"sid":..,"pid":..}`.
fn accepted(namespace: &Namespace, sid: &str, pid: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Accepted<'a> {
        sid: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<&'a str>,
    }
    let payload = json(&Accepted { sid, pid });
    format!("4{}", Packet::Connect { namespace: namespace.as_str(), payload: Some(&payload) }.encode())
}

/// Encodes a value as JSON. All keys are strings, so that this cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

fn frame(packet: &Packet<'_>) -> Frame {
    Frame::Text(format!("4{}", packet.encode()).into())
}

/// Builds the event, with the text that it points into.
fn own(text: &Utf8Bytes, namespace: Namespace, packet: &socket_io::Event<'_>) -> Event {
    // The arguments are the end of the text, before white space and the bracket.
    let end = text.trim_end().len().saturating_sub(1);
    let args = text[..end].trim_end().len();
    Event {
        namespace,
        name: packet.name.clone().into_owned(),
        args: args.saturating_sub(packet.args.len())..args,
        text: text.clone(),
        attachments: Vec::new(),
        ack: packet.id,
    }
}
