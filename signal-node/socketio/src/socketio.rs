//! Socket.IO over an Engine.IO session: packets to calls of the application.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use switchboard_core::wire::socket_io::{self, Packet};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::engine::{Engine, Service, Signal};
use super::rate::{Bucket, Verdict};
use super::{Application, CloseReason, ConnectError, ConnectRequest, Event, Namespace};
use crate::send_queue::{Frame, Message};

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
    fn serve(&self, mut engine: Engine) -> BoxFuture<'static, ()> {
        let app = Arc::clone(&self.app);
        // What is in here is what an idle socket costs, so it is kept small. A function's arguments would be there twice.
        Box::pin(async move {
            // Out of what may panic, so that each gets its last call whatever happens.
            let mut sessions = Vec::new();
            let mut connection = Connection::new(&*app, &mut engine, &mut sessions);
            let reason = match AssertUnwindSafe(connection.run()).catch_unwind().await {
                Ok(reason) => reason,
                Err(_) => {
                    metrics::counter!("switchboard_session_panics_total").increment(1);
                    tracing::error!(engine_sid = &*engine.handshake().sid, "a socket's task panicked");
                    CloseReason::Panic
                }
            };
            if let CloseReason::ProtocolError(rule) = reason {
                tracing::debug!(engine_sid = &*engine.handshake().sid, rule, "a client broke the protocol");
            }
            metrics::counter!("switchboard_sockets_closed_total", "reason" => reason.name()).increment(1);
            let last_calls = async {
                for Session { state, .. } in sessions {
                    close(&*app, state, reason).await;
                }
            };
            futures_util::future::join(Box::pin(last_calls), Box::pin(engine.farewell(reason))).await;
        })
    }
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

/// What the application is to be asked.
enum Task {
    Connect { namespace: Namespace, auth: Option<Box<RawValue>> },
    Event(Event),
    Leave(Namespace, CloseReason),
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

    async fn run(&mut self) -> CloseReason {
        loop {
            let read = match self.engine.next().await {
                Ok(Signal::Message(Frame::Text(text))) => self.text(&text),
                Ok(Signal::Message(Frame::Binary(bytes))) => self.attachment(bytes),
                Ok(Signal::Ping) => {
                    self.tick();
                    Ok(None)
                }
                Ok(Signal::Disconnect(namespace, reason)) => {
                    Ok(Some(Task::Leave(namespace, CloseReason::ServerClosed(reason))))
                }
                Ok(Signal::Deadline) => Err(CloseReason::ConnectTimeout),
                Err(reason) => Err(reason),
            };
            let done = match read {
                // Boxed: an idle socket has no room for it.
                Ok(Some(task)) => Box::pin(self.perform(task)).await,
                Ok(None) => Ok(()),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = done {
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

    /// Reads a packet, and says what is to be done.
    fn text(&mut self, text: &Utf8Bytes) -> Result<Option<Task>, CloseReason> {
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
            Packet::Connect { namespace, payload } => self.ask_to_connect(Namespace::new(namespace), payload, verdict),
            Packet::Disconnect { namespace } => {
                Ok(Some(Task::Leave(Namespace::new(namespace), CloseReason::ClientDisconnect)))
            }
            Packet::Event(packet) => {
                let session = self.session(packet.namespace)?;
                let attachments = packet.attachments;
                let event = own(text, session.namespace.clone(), &packet);
                if verdict == Verdict::Refuse {
                    metrics::counter!("switchboard_events_rate_limited_total").increment(1);
                    self.refuse(&event);
                    self.expect_attachments(None, attachments);
                    return Ok(None);
                }
                if attachments > 0 {
                    self.expect_attachments(Some(event), attachments);
                    return Ok(None);
                }
                Ok(Some(Task::Event(event)))
            }
            Packet::Ack { namespace, attachments, .. } => {
                self.session(namespace)?;
                self.expect_attachments(None, attachments);
                Ok(None)
            }
            Packet::ConnectError { .. } => Err(CloseReason::ProtocolError("a packet that only servers send")),
        }
    }

    fn ask_to_connect(
        &self,
        namespace: Namespace,
        payload: Option<&str>,
        verdict: Verdict,
    ) -> Result<Option<Task>, CloseReason> {
        if self.sessions.iter().any(|session| session.namespace == namespace) {
            return Err(CloseReason::ProtocolError("connected twice to a namespace"));
        }
        if verdict == Verdict::Refuse {
            self.refuse_connect(&namespace, ConnectError::coded("Too many packets", RATE_LIMITED));
            return Ok(None);
        }
        if !self.app.serves(namespace.as_str()) {
            self.refuse_connect(&namespace, ConnectError::invalid_namespace());
            return Ok(None);
        }
        // The decoder has checked it.
        let auth = payload.and_then(|payload| RawValue::from_string(payload.to_owned()).ok());
        Ok(Some(Task::Connect { namespace, auth }))
    }

    fn expect_attachments(&mut self, event: Option<Event>, expected: usize) {
        if expected > 0 {
            self.incomplete = Some(Box::new(Incomplete { event, attachments: Vec::new(), expected, bytes: 0 }));
        }
    }

    fn attachment(&mut self, bytes: Bytes) -> Result<Option<Task>, CloseReason> {
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
            return Ok(None);
        }
        let Incomplete { event, attachments, .. } = *incomplete;
        Ok(event.map(|event| Task::Event(Event { attachments, ..event })))
    }

    async fn perform(&mut self, task: Task) -> Result<(), CloseReason> {
        match task {
            Task::Connect { namespace, auth } => self.connect(namespace, auth).await,
            Task::Event(event) => self.event(event).await,
            Task::Leave(namespace, reason) => {
                self.leave(&namespace, reason).await;
                // Whom the server disconnects from its last namespace it also hangs up on.
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
            outbox: self.engine.outbox(namespace.clone()),
        };
        // What the application sends to its new session must not overtake the reply.
        self.engine.hold(true);
        let result = self.engine.during(pin!(self.app.connect(request))).await;
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
    }

    async fn event(&mut self, event: Event) {
        // Else disconnected by the application while the attachments were on their way.
        if let Some(session) = self.sessions.iter_mut().find(|session| session.namespace == event.namespace) {
            self.engine.during(pin!(self.app.event(&mut session.state, event))).await;
        }
    }

    async fn leave(&mut self, namespace: &Namespace, reason: CloseReason) {
        let Some(at) = self.sessions.iter().position(|session| session.namespace == *namespace) else { return };
        let session = self.sessions.remove(at);
        self.engine.during(pin!(close(self.app, session.state, reason))).await;
        if self.sessions.is_empty() {
            self.expect_connect();
        }
    }

    fn session(&self, namespace: &str) -> Result<&Session<A::Session>, CloseReason> {
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
