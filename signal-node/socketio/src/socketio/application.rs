//! The interface of an application.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::bounds::NetworkBudget;
use crate::protocol::{CloseReason, Event, Handshake, Message, Namespace};
use crate::send_queue::SendQueue;

/// Application on Socket.IO. The server calls it, and it sends through each session's
/// [`SendQueue`].
///
/// One task makes all calls for a socket, one after another. A started call is never cancelled: if
/// the socket is lost meanwhile, [`closed`](Application::closed) follows after that call.
pub trait Application: Send + Sync + 'static {
    /// State of the application for one connected namespace of one socket.
    type Session: Send + 'static;

    /// Returns whether this namespace exists. Clients of other namespaces receive `Invalid
    /// namespace`.
    fn serves(&self, namespace: &str) -> bool;

    /// Accepts or refuses a client that connects to a namespace. Messages that this call queues are
    /// sent after the CONNECT reply.
    ///
    /// # Errors
    /// [`ConnectError`]: the client is refused, and may try again on the same socket.
    fn connect(
        &self,
        request: ConnectRequest,
    ) -> impl Future<Output = Result<Connected<Self::Session>, ConnectError>> + Send;

    /// Handles one event. Events come strictly in order: the next frame is read after this call.
    /// Queued messages and pings are sent meanwhile.
    fn event(&self, session: &mut Self::Session, event: Event) -> impl Future<Output = ()> + Send;

    /// Returns the number of packets that an honest client of this session may have to send at the
    /// same time, beyond the rate of a socket. They are earned again in 30 s. The rate of the
    /// client's network stays as it is.
    fn burst(&self, _: &Self::Session) -> u32 {
        0
    }

    /// Returns an event to send with a ping, or `None`. Called for each ping.
    fn tick(&self, session: &mut Self::Session) -> Option<Message>;

    /// Ends a session. This is the last call for each session, even after a panic in the
    /// application.
    fn closed(&self, session: Self::Session, reason: CloseReason) -> impl Future<Output = ()> + Send;
}

/// Request of a client to connect to a namespace.
#[derive(Debug)]
pub struct ConnectRequest {
    /// Namespace, which the application serves.
    pub namespace: Namespace,
    /// CONNECT payload, a JSON object: the client's `auth`, and `pid` and `offset` if it recovers.
    pub auth: Option<Box<RawValue>>,
    /// Facts from the HTTP request that opened the socket.
    pub handshake: Arc<Handshake>,
    /// Queue of messages to this session. Clones belong to the same socket.
    pub send_queue: SendQueue,
    /// Tokens for events that cost more than their packet.
    pub budget: NetworkBudget,
}

/// Acceptance of a [`ConnectRequest`].
#[derive(Debug)]
pub struct Connected<S> {
    /// State of the application for the session.
    pub session: S,
    /// Socket.IO session id, which the client sees.
    pub sid: String,
    /// Private session id with which the client can recover; `None` without recovery.
    pub pid: Option<String>,
    /// Missed events of a recovered session. They are sent before the CONNECT reply, because the
    /// stock client expects that.
    pub first: Vec<Message>,
}

/// Refusal of a [`ConnectRequest`]: `44{"message":..,"data":..}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectError {
    /// Message for people.
    pub message: String,
    /// Data for programs: any JSON, by convention `{"code": ..}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

impl ConnectError {
    /// Creates a refusal with `data: {"code": code}`.
    #[must_use]
    pub fn coded(message: impl Into<String>, code: &str) -> Self {
        Self { message: message.into(), data: Some(serde_json::json!({ "code": code })) }
    }

    /// Creates the refusal of an unknown namespace, with the text of the stock server.
    #[must_use]
    pub fn invalid_namespace() -> Self {
        Self { message: "Invalid namespace".into(), data: None }
    }
}
