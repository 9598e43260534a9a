//! The echo applications that the public protocol suites expect: shared by the tests and the conformance example.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use signal_node::outbox::Message;
use signal_node::transport::{
    Application, CloseReason, ConnectError, ConnectRequest, Connected, Engine, Event, Service, Signal,
};

/// Engine.IO: every message comes back.
#[derive(Debug)]
pub(crate) struct EngineEcho;

impl Service for EngineEcho {
    fn serve(&self, mut engine: Engine) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let reason = loop {
                match engine.next().await {
                    Ok(Signal::Message(frame)) => engine.send(frame),
                    Ok(_) => {}
                    Err(reason) => break reason,
                }
            };
            engine.farewell(reason).await;
        })
    }
}

/// Socket.IO: `auth` on connect, `message` comes back, `message-with-ack` is acknowledged.
#[derive(Debug)]
pub(crate) struct Echo;

impl Application for Echo {
    type Session = signal_node::outbox::Outbox;

    fn serves(&self, namespace: &str) -> bool {
        matches!(namespace, "/" | "/custom")
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connected<Self::Session>, ConnectError> {
        let auth = request.auth.as_ref().map_or("{}", |auth| auth.get());
        let greeting = Message::event(&request.namespace, "auth", auth);
        request.outbox.send(greeting).map_err(|_| ConnectError::coded("Too slow", "SLOW"))?;
        Ok(Connected { session: request.outbox, sid: sid(), pid: None, first: Vec::new() })
    }

    async fn event(&self, outbox: &mut Self::Session, event: Event) {
        let attachments: &[Bytes] = event.attachments();
        let message = match (event.name(), event.ack()) {
            ("message", _) => Message::binary_event(event.namespace(), "message-back", event.args(), attachments),
            ("message-with-ack", Some(id)) => Message::binary_ack(event.namespace(), id, event.args(), attachments),
            _ => return,
        };
        // A client that does not read its echoes is closed by the transport.
        let _closing = outbox.send(message);
    }

    fn tick(&self, _: &mut Self::Session) -> Option<Message> {
        None
    }

    async fn closed(&self, _: Self::Session, _: CloseReason) {}
}

fn sid() -> String {
    format!("{:032x}", rand::random::<u128>())
}
