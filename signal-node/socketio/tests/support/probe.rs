//! An application that does what its events say, and tells the test how each session ended.

use std::sync::Arc;

use switchboard_socketio::send_queue::{Message, SendQueue};
use switchboard_socketio::{
    Application, CloseReason, ConnectError, ConnectRequest, Connected, DisconnectReason, Event, Namespace,
};
use tokio::sync::{Notify, mpsc};

pub(crate) const FENCED: DisconnectReason = DisconnectReason::new("fenced", 4001);

pub(crate) struct Probe {
    ended: mpsc::UnboundedSender<CloseReason>,
    /// What the event `wait` waits for.
    pub(crate) release: Arc<Notify>,
}

impl Probe {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<CloseReason>) {
        let (ended, endings) = mpsc::unbounded_channel();
        (Arc::new(Self { ended, release: Arc::default() }), endings)
    }
}

impl Application for Probe {
    type Session = SendQueue;

    fn serves(&self, _: &str) -> bool {
        true
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Connected<SendQueue>, ConnectError> {
        if let Some(auth) = &request.auth
            && auth.get().contains("refuse")
        {
            return Err(ConnectError::coded("Who are you", "TOKEN_INVALID"));
        }
        // Queued before the reply exists; must come after it.
        request.outbox.send(event("live")).map_err(|_| ConnectError::invalid_namespace())?;
        tokio::task::yield_now().await;
        let first = match &request.auth {
            Some(auth) if auth.get().contains("pid") => vec![event("missed-1"), event("missed-2")],
            _ => Vec::new(),
        };
        Ok(Connected { session: request.outbox, sid: "s1".into(), pid: Some("p1".into()), first })
    }

    async fn event(&self, outbox: &mut SendQueue, received: Event) {
        match received.name() {
            "panic" => panic!("as asked"),
            "wait" => self.release.notified().await,
            "fill" => {
                while outbox
                    .send(Message::event(&Namespace::default(), "filler", &format!("\"{}\"", "x".repeat(10_000))))
                    .is_ok()
                {}
            }
            "close" => outbox.close(FENCED),
            "kick" => outbox.disconnect(FENCED),
            "typing" => {
                for n in 0..5 {
                    let message = Message::event(&Namespace::default(), "typing", &n.to_string());
                    assert!(outbox.send(message.superseding(Some("typing"))).is_ok());
                }
            }
            _ => {}
        }
        if let Some(id) = received.ack() {
            let _closing = outbox.ack(id, "\"done\"");
        }
    }

    fn tick(&self, _: &mut SendQueue) -> Option<Message> {
        Some(event("tick"))
    }

    async fn closed(&self, _: SendQueue, reason: CloseReason) {
        let _the_test_has_seen_enough = self.ended.send(reason);
    }
}

fn event(name: &str) -> Message {
    Message::event(&Namespace::default(), name, "")
}
