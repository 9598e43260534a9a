//! The echo applications that the public test suites expect. Shared by the tests and the example
//! `conformance`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use switchboard_socketio::send_queue::{Message, SendQueue};
use switchboard_socketio::{
    Application, CloseReason, ConnectError, ConnectRequest, Connected, Engine, EngineEvent, Event, Namespace, Service,
    SocketIo,
};

/// Returns the two applications, at the paths of the public test suites.
pub(crate) fn routes(recovery: bool) -> Vec<(String, Arc<dyn Service>)> {
    let echo = if recovery { Echo::recovering() } else { Echo::default() };
    vec![("/engine.io/".into(), Arc::new(EngineEcho)), ("/socket.io/".into(), Arc::new(SocketIo::new(Arc::new(echo))))]
}

/// Engine.IO application that echoes each message.
#[derive(Debug)]
pub(crate) struct EngineEcho;

impl Service for EngineEcho {
    fn serve(&self, mut engine: Engine) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let reason = loop {
                match engine.next().await {
                    Ok(EngineEvent::Message(frame)) => engine.send(frame),
                    Ok(_) => {}
                    Err(reason) => break reason,
                }
            };
            engine.close(reason).await;
        })
    }
}

/// Socket.IO application: sends `auth` on connect, echoes `message`, acknowledges
/// `message-with-ack`.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// Sessions that can be recovered, by private session id; `None` without recovery.
    recovery: Option<Mutex<HashMap<String, Arc<RecoverableSession>>>>,
}

/// A session that its client can recover, with the messages sent in it.
#[derive(Debug)]
pub(crate) struct RecoverableSession {
    sid: String,
    pid: String,
    sent: Mutex<Vec<Message>>,
}

/// Session of one connected client.
#[derive(Debug)]
pub(crate) struct EchoSession {
    send_queue: SendQueue,
    recoverable: Option<Arc<RecoverableSession>>,
}

impl Echo {
    /// Creates the application with connection state recovery: each echo ends in an offset, its
    /// number.
    pub(crate) fn recovering() -> Self {
        Self { recovery: Some(Mutex::default()) }
    }

    /// Returns the session that this client recovers, with the missed messages; or a new session.
    fn recover(&self, auth: &str) -> (Option<Arc<RecoverableSession>>, Option<Vec<Message>>) {
        let Some(recovery) = &self.recovery else { return (None, None) };
        let mut all = recovery.lock().expect("no holder panics");
        let auth: Value = serde_json::from_str(auth).unwrap_or_default();
        let known = auth["pid"].as_str().and_then(|pid| all.get(pid)).cloned();
        let offset = auth["offset"].as_str().and_then(|offset| offset.parse::<usize>().ok());
        if let Some((recoverable, offset)) = known.zip(offset) {
            let missed = recoverable.sent.lock().expect("no holder panics").get(offset..).map(<[Message]>::to_vec);
            if missed.is_some() {
                return (Some(recoverable), missed);
            }
        }
        let recoverable = Arc::new(RecoverableSession { sid: sid(), pid: sid(), sent: Mutex::default() });
        all.insert(recoverable.pid.clone(), Arc::clone(&recoverable));
        (Some(recoverable), None)
    }
}

impl RecoverableSession {
    /// Numbers a message and stores it.
    fn echo(&self, namespace: &Namespace, args: &str, attachments: &[Bytes]) -> Message {
        let mut sent = self.sent.lock().expect("no holder panics");
        let comma = if args.is_empty() { "" } else { "," };
        let args = format!("{args}{comma}\"{}\"", sent.len() + 1);
        let message = Message::binary_event(namespace, "message-back", &args, attachments);
        sent.push(message.clone());
        message
    }
}

impl Application for Echo {
    type Session = EchoSession;

    fn serves(&self, namespace: &str) -> bool {
        matches!(namespace, "/" | "/custom")
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connected<Self::Session>, ConnectError> {
        let auth = request.auth.as_ref().map_or("{}", |auth| auth.get());
        let (recoverable, missed) = self.recover(auth);
        if missed.is_none() {
            let greeting = Message::event(&request.namespace, "auth", auth);
            request.send_queue.send(greeting).map_err(|_| ConnectError::coded("Too slow", "SLOW"))?;
        }
        Ok(Connected {
            sid: recoverable.as_ref().map_or_else(sid, |recoverable| recoverable.sid.clone()),
            pid: recoverable.as_ref().map(|recoverable| recoverable.pid.clone()),
            session: EchoSession { send_queue: request.send_queue, recoverable },
            first: missed.unwrap_or_default(),
        })
    }

    async fn event(&self, session: &mut EchoSession, event: Event) {
        let attachments: &[Bytes] = event.attachments();
        let message = match (event.name(), event.ack(), &session.recoverable) {
            ("message", _, Some(recoverable)) => recoverable.echo(event.namespace(), event.args(), attachments),
            ("message", _, None) => Message::binary_event(event.namespace(), "message-back", event.args(), attachments),
            ("message-with-ack", Some(id), _) => Message::binary_ack(event.namespace(), id, event.args(), attachments),
            _ => return,
        };
        // The transport closes a client that does not read its echoes.
        let _closing = session.send_queue.send(message);
    }

    fn tick(&self, _: &mut EchoSession) -> Option<Message> {
        None
    }

    async fn closed(&self, session: EchoSession, reason: CloseReason) {
        // A client that left on purpose cannot recover.
        if let (Some(recovery), Some(recoverable), true) =
            (&self.recovery, session.recoverable, reason.is_intentional())
        {
            recovery.lock().expect("no holder panics").remove(&recoverable.pid);
        }
    }
}

fn sid() -> String {
    format!("{:032x}", rand::random::<u128>())
}
