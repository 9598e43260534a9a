//! Socket.IO over an Engine.IO session: packets to calls of the application.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use switchboard_common::wire::socket_io::{self, Packet};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::engine::{Engine, Service, Signal};
use super::rate::{Bucket, Verdict};
use super::{Application, CloseReason, ConnectError, ConnectRequest, Event, Namespace};
use crate::outbox::{Frame, Message};

/// Serves an [`Application`].
#[derive(Debug)]
pub struct SocketIo<A> {
    app: Arc<A>,
}

impl<A: Application> SocketIo<A> {
    /// The application to serve.
    #[must_use]
    pub fn new(app: Arc<A>) -> Self {
        Self { app }
    }
}

impl<A: Application> Service for SocketIo<A> {
    fn serve(&self, engine: Engine) -> BoxFuture<'static, ()> {
        Box::pin(serve(Arc::clone(&self.app), engine))
    }
}

/// The sessions are kept out of what may panic, so that each gets its last call whatever happens.
async fn serve<A: Application>(app: Arc<A>, mut engine: Engine) {
    let mut sessions = Vec::new();
    let connection = Connection::new(&*app, &mut engine, &mut sessions);
    let reason = match AssertUnwindSafe(connection.run()).catch_unwind().await {
        Ok(reason) => reason,
        Err(_) => {
            metrics::counter!("switchboard_session_panics_total").increment(1);
            tracing::error!(engine_sid = engine.handshake().sid, "a socket's task panicked");
            CloseReason::Panic
        }
    };
    if let CloseReason::ProtocolError(rule) = reason {
        tracing::debug!(engine_sid = engine.handshake().sid, rule, "a client broke the protocol");
    }
    metrics::counter!("switchboard_sockets_closed_total", "reason" => reason.name()).increment(1);
    let last_calls = async {
        for Session { state, .. } in sessions {
            close(&*app, state, reason).await;
        }
    };
    futures_util::future::join(Box::pin(last_calls), Box::pin(engine.farewell(reason))).await;
}

/// The last call for a session; a panic in it is nobody else's.
async fn close<A: Application>(app: &A, session: A::Session, reason: CloseReason) {
    if AssertUnwindSafe(app.closed(session, reason)).catch_unwind().await.is_err() {
        metrics::counter!("switchboard_session_panics_total").increment(1);
        tracing::error!(reason = reason.name(), "the end of a session panicked");
    }
}

struct Session<S> {
    namespace: Namespace,
    state: S,
}

/// A packet whose attachments have not all come.
struct Incomplete {
    /// None for an acknowledgement: the server asks for none, so it has nobody to go to.
    event: Option<Event>,
    attachments: Vec<Bytes>,
    expected: usize,
    bytes: usize,
}

struct Connection<'a, A: Application> {
    app: &'a A,
    engine: &'a mut Engine,
    sessions: &'a mut Vec<Session<A::Session>>,
    incomplete: Option<Box<Incomplete>>,
    bucket: Option<Bucket>,
}

impl<'a, A: Application> Connection<'a, A> {
    fn new(app: &'a A, engine: &'a mut Engine, sessions: &'a mut Vec<Session<A::Session>>) -> Self {
        let bucket = Bucket::new(engine.config().limits.events_per_second, Instant::now());
        let mut connection = Self { app, engine, sessions, incomplete: None, bucket };
        connection.expect_connect();
        connection
    }

    async fn run(mut self) -> CloseReason {
        loop {
            let step = match self.engine.next().await {
                Ok(Signal::Message(Frame::Text(text))) => self.text(text).await,
                Ok(Signal::Message(Frame::Binary(bytes))) => self.attachment(bytes).await,
                Ok(Signal::Ping) => {
                    self.tick();
                    Ok(())
                }
                Ok(Signal::Disconnect(namespace, reason)) => {
                    self.leave(&namespace, CloseReason::ServerClosed(reason)).await;
                    if self.sessions.is_empty() { Err(CloseReason::ServerClosed(reason)) } else { Ok(()) }
                }
                Ok(Signal::Deadline) => Err(CloseReason::ConnectTimeout),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = step {
                return reason;
            }
        }
    }

    /// A socket in no namespace has to connect to one in time.
    fn expect_connect(&mut self) {
        let limit = self.engine.config().timeouts.connect;
        self.engine.set_deadline(Some(Instant::now() + limit));
    }

    fn tick(&mut self) {
        for session in self.sessions.iter_mut() {
            if let Some(message) = self.app.tick(&mut session.state) {
                // On overflow the engine closes the socket by itself.
                let _closing = self.engine.outbox(session.namespace.clone()).send(message);
            }
        }
    }

    async fn text(&mut self, text: Utf8Bytes) -> Result<(), CloseReason> {
        if self.incomplete.is_some() {
            return Err(CloseReason::ProtocolError("a packet before the attachments of the last"));
        }
        let verdict = self.bucket.as_mut().map_or(Verdict::Pass, |bucket| bucket.take(Instant::now(), text.len()));
        if verdict == Verdict::Close {
            return Err(CloseReason::Flood);
        }
        let limit = self.engine.config().limits.max_attachments;
        // The first byte is Engine.IO's `4`.
        let packet = Packet::decode(text.get(1..).unwrap_or_default(), limit)
            .map_err(|_| CloseReason::ProtocolError("malformed Socket.IO packet"))?;
        match packet {
            Packet::Connect { namespace, payload } => {
                let namespace = Namespace::new(namespace);
                self.connect(namespace, payload, verdict).await
            }
            Packet::Disconnect { namespace } => {
                let namespace = Namespace::new(namespace);
                self.leave(&namespace, CloseReason::ClientDisconnect).await;
                Ok(())
            }
            Packet::Event(packet) => {
                let session = self.session(packet.namespace)?;
                let attachments = packet.attachments;
                let event = own(&text, session.namespace.clone(), &packet);
                if verdict == Verdict::Refuse {
                    metrics::counter!("switchboard_events_rate_limited_total").increment(1);
                    self.refuse(&event);
                    return self.expect_attachments(None, attachments);
                }
                if attachments > 0 {
                    return self.expect_attachments(Some(event), attachments);
                }
                self.event(event).await
            }
            Packet::Ack { namespace, attachments, .. } => {
                self.session(namespace)?;
                self.expect_attachments(None, attachments)
            }
            Packet::ConnectError { .. } => Err(CloseReason::ProtocolError("a packet that only servers send")),
        }
    }

    async fn connect(
        &mut self,
        namespace: Namespace,
        payload: Option<&str>,
        verdict: Verdict,
    ) -> Result<(), CloseReason> {
        if self.sessions.iter().any(|session| session.namespace == namespace) {
            return Err(CloseReason::ProtocolError("connected twice to a namespace"));
        }
        if verdict == Verdict::Refuse {
            self.refuse_connect(&namespace, ConnectError::coded("Too many packets", RATE_LIMITED));
            return Ok(());
        }
        if !self.app.serves(namespace.as_str()) {
            self.refuse_connect(&namespace, ConnectError::invalid_namespace());
            return Ok(());
        }
        let request = ConnectRequest {
            namespace: namespace.clone(),
            // The decoder has checked it.
            auth: payload.and_then(|payload| RawValue::from_string(payload.to_owned()).ok()),
            handshake: Arc::clone(self.engine.handshake()),
            outbox: self.engine.outbox(namespace.clone()),
        };
        // What the application sends to its new session must not overtake the reply.
        self.engine.hold(true);
        let result = self.engine.during(Box::pin(self.app.connect(request))).await;
        self.engine.hold(false);
        match result {
            Ok(connected) => {
                let reply = accepted(&namespace, &connected.sid, connected.pid.as_deref());
                self.engine.queue().push_first(connected.first.into_iter().chain([Message::packet(reply)]));
                self.sessions.reserve_exact(1);
                self.sessions.push(Session { namespace, state: connected.session });
                self.engine.set_deadline(None);
            }
            Err(error) => self.refuse_connect(&namespace, error),
        }
        Ok(())
    }

    async fn event(&mut self, event: Event) -> Result<(), CloseReason> {
        let namespace = event.namespace.clone();
        let Some(session) = self.sessions.iter_mut().find(|session| session.namespace == namespace) else {
            // Disconnected by the application while the attachments were on their way.
            return Ok(());
        };
        self.engine.during(Box::pin(self.app.event(&mut session.state, event))).await;
        Ok(())
    }

    fn expect_attachments(&mut self, event: Option<Event>, expected: usize) -> Result<(), CloseReason> {
        if expected > 0 {
            self.incomplete = Some(Box::new(Incomplete { event, attachments: Vec::new(), expected, bytes: 0 }));
        }
        Ok(())
    }

    async fn attachment(&mut self, bytes: Bytes) -> Result<(), CloseReason> {
        let Some(mut incomplete) = self.incomplete.take() else {
            return Err(CloseReason::ProtocolError("an attachment of no packet"));
        };
        incomplete.bytes += bytes.len();
        if incomplete.bytes > self.engine.config().limits.max_payload {
            return Err(CloseReason::PayloadTooLarge);
        }
        incomplete.attachments.push(bytes);
        if incomplete.attachments.len() < incomplete.expected {
            self.incomplete = Some(incomplete);
            return Ok(());
        }
        match incomplete.event {
            Some(event) => self.event(Event { attachments: incomplete.attachments, ..event }).await,
            None => Ok(()),
        }
    }

    fn session(&self, namespace: &str) -> Result<&Session<A::Session>, CloseReason> {
        self.sessions
            .iter()
            .find(|session| session.namespace.as_str() == namespace)
            .ok_or(CloseReason::ProtocolError("a packet for a namespace that is not connected"))
    }

    async fn leave(&mut self, namespace: &Namespace, reason: CloseReason) {
        let Some(at) = self.sessions.iter().position(|session| session.namespace == *namespace) else { return };
        let session = self.sessions.remove(at);
        self.engine.during(Box::pin(close(self.app, session.state, reason))).await;
        if self.sessions.is_empty() {
            self.expect_connect();
        }
    }

    fn refuse_connect(&self, namespace: &Namespace, error: ConnectError) {
        let payload = json(&error);
        let packet = Packet::ConnectError { namespace: namespace.as_str(), payload: &payload };
        self.engine.send(frame(&packet));
    }

    fn refuse(&self, event: &Event) {
        let outbox = self.engine.outbox(event.namespace.clone());
        let mut refusal = serde_json::json!({ "code": RATE_LIMITED, "message": "Too many events" });
        let message = if let Some(id) = event.ack {
            refusal["success"] = false.into();
            Message::ack(&event.namespace, id, &refusal.to_string())
        } else {
            refusal["event"] = event.name.clone().into();
            Message::event(&event.namespace, "error", &refusal.to_string())
        };
        // On overflow the engine closes the socket by itself.
        let _closing = outbox.send(message);
    }
}

const RATE_LIMITED: &str = "RATE_LIMIT_EXCEEDED";

/// The reply to CONNECT: `40{"sid":..,"pid":..}`.
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

/// The text of a value that has only string keys, which JSON can always say.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

fn frame(packet: &Packet<'_>) -> Frame {
    Frame::Text(format!("4{}", packet.encode()).into())
}

/// The event with the text it points into.
fn own(text: &Utf8Bytes, namespace: Namespace, packet: &socket_io::Event<'_>) -> Event {
    // The arguments are the text's end but for white space and the bracket.
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
