//! What the transport asks of an application, and what it hands over.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::CloseReason;
use crate::send_queue::{Message, SendQueue};

/// An application on Socket.IO. The transport calls it; it answers through each session's [`SendQueue`].
///
/// Per Engine.IO socket all calls come from one task, one after the other. A call that was begun is never
/// cancelled: a socket lost meanwhile is told by [`closed`](Application::closed) after it.
pub trait Application: Send + Sync + 'static {
    /// What the application keeps for one connected namespace of one socket.
    type Session: Send + 'static;

    /// Whether this namespace exists. Others are refused with `Invalid namespace`.
    fn serves(&self, namespace: &str) -> bool;

    /// CONNECT to a namespace. What it queues on the outbox meanwhile is sent after the CONNECT reply.
    fn connect(
        &self,
        request: ConnectRequest,
    ) -> impl Future<Output = Result<Connected<Self::Session>, ConnectError>> + Send;

    /// One EVENT, strictly in order. The next frame is not read before this is ready, while the outbox and
    /// the heartbeat go on.
    fn event(&self, session: &mut Self::Session, event: Event) -> impl Future<Output = ()> + Send;

    /// Called with each ping: an event to send along, or none.
    fn tick(&self, session: &mut Self::Session) -> Option<Message>;

    /// The last call for a session, however it ended, a panic in its own code included.
    fn closed(&self, session: Self::Session, reason: CloseReason) -> impl Future<Output = ()> + Send;
}

/// A client asks to connect to a namespace.
#[derive(Debug)]
pub struct ConnectRequest {
    /// The namespace, one that the application serves.
    pub namespace: Namespace,
    /// The CONNECT payload, a JSON object: the client's `auth`, and `pid` and `offset` when it recovers.
    pub auth: Option<Box<RawValue>>,
    /// The HTTP request that opened the socket.
    pub handshake: Arc<Handshake>,
    /// Where this session's messages go. Clones reach the same socket.
    pub outbox: SendQueue,
}

/// What is known of a socket from its opening request.
#[derive(Debug)]
pub struct Handshake {
    /// The Engine.IO session id.
    pub sid: Arc<str>,
    /// The client's address, behind the configured number of trusted proxies.
    pub address: IpAddr,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// The `User-Agent` header, at most 256 bytes of it.
    pub user_agent: Option<String>,
    /// The query string as it came.
    pub query: String,
    /// The transport that the socket was opened with.
    pub transport: TransportKind,
}

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// WebSocket frames.
    WebSocket,
    /// HTTP long-polling.
    Polling,
}

/// The answer to an accepted [`ConnectRequest`].
#[derive(Debug)]
pub struct Connected<S> {
    /// The application's state for it.
    pub session: S,
    /// The Socket.IO session id, shown to the client.
    pub sid: String,
    /// The private session id that lets the client recover, or none.
    pub pid: Option<String>,
    /// Missed events of a recovered session: sent before the CONNECT reply, as the stock client expects.
    pub first: Vec<Message>,
}

/// The answer to a refused [`ConnectRequest`]: `44{"message":..,"data":..}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectError {
    /// For people.
    pub message: String,
    /// For programs: any JSON, by convention `{"code": ..}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

impl ConnectError {
    /// A refusal with `data: {"code": code}`.
    #[must_use]
    pub fn coded(message: impl Into<String>, code: &str) -> Self {
        Self { message: message.into(), data: Some(serde_json::json!({ "code": code })) }
    }

    /// The namespace does not exist; the text is the stock server's.
    #[must_use]
    pub fn invalid_namespace() -> Self {
        Self { message: "Invalid namespace".into(), data: None }
    }
}

/// The name of a namespace. The main one, `/`, costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Namespace(Option<Arc<str>>);

impl Namespace {
    /// A namespace by its name, which starts with `/`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self((name != "/").then(|| name.into()))
    }

    /// The name, `/` for the main one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }
}

/// One EVENT of a client. Holds the received text and points into it: nothing is parsed twice.
#[derive(Debug, Clone)]
pub struct Event {
    pub(super) namespace: Namespace,
    pub(super) name: String,
    pub(super) text: Utf8Bytes,
    /// What follows the name, in `text`.
    pub(super) args: Range<usize>,
    pub(super) attachments: Vec<Bytes>,
    pub(super) ack: Option<u64>,
}

impl Event {
    /// The namespace it was sent in.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The event's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The JSON text of the arguments after the name, comma-separated and without brackets; known to be valid.
    #[must_use]
    pub fn args(&self) -> &str {
        &self.text[self.args.clone()]
    }

    /// The arguments after the name, each as raw JSON.
    #[must_use]
    pub fn arguments(&self) -> Vec<&RawValue> {
        let mut arguments = Vec::new();
        let mut rest = self.args();
        // Read one value at a time: the text is a sequence of values, known to be valid, between commas.
        loop {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
            let Some(Ok(value)) = values.next() else { return arguments };
            arguments.push(value);
            let end = values.byte_offset();
            rest = rest[end..].trim_start().strip_prefix(',').unwrap_or_default();
        }
    }

    /// The binary attachments, in the order of their placeholders' numbers.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The id to acknowledge with, if the client asked for it.
    #[must_use]
    pub fn ack(&self) -> Option<u64> {
        self.ack
    }
}
