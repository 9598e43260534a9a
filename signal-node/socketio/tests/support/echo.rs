//! The echo applications that the public protocol suites expect: shared by the tests and the conformance example.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use switchboard_socketio::send_queue::{Message, SendQueue};
use switchboard_socketio::{
    Application, CloseReason, ConnectError, ConnectRequest, Connected, Engine, Event, Namespace, Service, Signal,
    SocketIo,
};

/// The two applications, where the public suites look for them.
pub(crate) fn routes(recovery: bool) -> Vec<(String, Arc<dyn Service>)> {
    let echo = if recovery { Echo::recovering() } else { Echo::default() };
    vec![("/engine.io/".into(), Arc::new(EngineEcho)), ("/socket.io/".into(), Arc::new(SocketIo::new(Arc::new(echo))))]
}

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
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// What a client can recover, by private session id; none when nothing can be recovered.
    recovery: Option<Mutex<HashMap<String, Arc<Past>>>>,
}

/// What was sent in a session whose client may come back.
#[derive(Debug)]
pub(crate) struct Past {
    sid: String,
    pid: String,
    sent: Mutex<Vec<Message>>,
}

/// One connected client.
#[derive(Debug)]
pub(crate) struct Session {
    outbox: SendQueue,
    past: Option<Arc<Past>>,
}

impl Echo {
    /// With connection state recovery: echoes end in an offset, which is their number.
    pub(crate) fn recovering() -> Self {
        Self { recovery: Some(Mutex::default()) }
    }

    /// The session that this client recovers, and what it missed; or a new one.
    fn past(&self, auth: &str) -> (Option<Arc<Past>>, Option<Vec<Message>>) {
        let Some(recovery) = &self.recovery else { return (None, None) };
        let mut all = recovery.lock().expect("nobody panics with it");
        let auth: Value = serde_json::from_str(auth).unwrap_or_default();
        let known = auth["pid"].as_str().and_then(|pid| all.get(pid)).cloned();
        let offset = auth["offset"].as_str().and_then(|offset| offset.parse::<usize>().ok());
        if let Some((past, offset)) = known.zip(offset) {
            let missed = past.sent.lock().expect("nobody panics with it").get(offset..).map(<[Message]>::to_vec);
            if missed.is_some() {
                return (Some(past), missed);
            }
        }
        let past = Arc::new(Past { sid: sid(), pid: sid(), sent: Mutex::default() });
        all.insert(past.pid.clone(), Arc::clone(&past));
        (Some(past), None)
    }
}

impl Past {
    /// Numbers a message and remembers it.
    fn echo(&self, namespace: &Namespace, args: &str, attachments: &[Bytes]) -> Message {
        let mut sent = self.sent.lock().expect("nobody panics with it");
        let comma = if args.is_empty() { "" } else { "," };
        let args = format!("{args}{comma}\"{}\"", sent.len() + 1);
        let message = Message::binary_event(namespace, "message-back", &args, attachments);
        sent.push(message.clone());
        message
    }
}

impl Application for Echo {
    type Session = Session;

    fn serves(&self, namespace: &str) -> bool {
        matches!(namespace, "/" | "/custom")
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connected<Self::Session>, ConnectError> {
        let auth = request.auth.as_ref().map_or("{}", |auth| auth.get());
        let (past, missed) = self.past(auth);
        if missed.is_none() {
            let greeting = Message::event(&request.namespace, "auth", auth);
            request.outbox.send(greeting).map_err(|_| ConnectError::coded("Too slow", "SLOW"))?;
        }
        Ok(Connected {
            sid: past.as_ref().map_or_else(sid, |past| past.sid.clone()),
            pid: past.as_ref().map(|past| past.pid.clone()),
            session: Session { outbox: request.outbox, past },
            first: missed.unwrap_or_default(),
        })
    }

    async fn event(&self, session: &mut Session, event: Event) {
        let attachments: &[Bytes] = event.attachments();
        let message = match (event.name(), event.ack(), &session.past) {
            ("message", _, Some(past)) => past.echo(event.namespace(), event.args(), attachments),
            ("message", _, None) => Message::binary_event(event.namespace(), "message-back", event.args(), attachments),
            ("message-with-ack", Some(id), _) => Message::binary_ack(event.namespace(), id, event.args(), attachments),
            _ => return,
        };
        // A client that does not read its echoes is closed by the transport.
        let _closing = session.outbox.send(message);
    }

    fn tick(&self, _: &mut Session) -> Option<Message> {
        None
    }

    async fn closed(&self, session: Session, reason: CloseReason) {
        // Who says goodbye has nothing to recover.
        if let (Some(recovery), Some(past), true) = (&self.recovery, session.past, reason.is_goodbye()) {
            recovery.lock().expect("nobody panics with it").remove(&past.pid);
        }
    }
}

fn sid() -> String {
    format!("{:032x}", rand::random::<u128>())
}
