//! An application whose events control it, and which reports each session's close reason to the
//! test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use switchboard_socketio::send_queue::{Message, SendQueue};
use switchboard_socketio::{
    Application, CloseReason, ConnectError, ConnectRequest, Connected, DisconnectReason, Event, Namespace,
    NetworkBudget,
};
use tokio::sync::{Notify, mpsc};

pub(crate) const FENCED: DisconnectReason = DisconnectReason::new("fenced", 4001);

pub(crate) struct Probe {
    ended: mpsc::UnboundedSender<CloseReason>,
    /// Ends the event `wait`.
    pub(crate) release: Arc<Notify>,
    /// Packets that a client may send at once, set by the event `burst-<packets>`.
    burst: AtomicU32,
    /// Budget of the last socket that connected, which the event `charge-<tokens>` charges.
    budget: Mutex<Option<NetworkBudget>>,
}

impl Probe {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<CloseReason>) {
        let (ended, endings) = mpsc::unbounded_channel();
        (Arc::new(Self { ended, release: Arc::default(), burst: AtomicU32::new(0), budget: Mutex::default() }), endings)
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
        *self.budget.lock().unwrap() = Some(request.budget);
        // Queued before the reply exists, but must be sent after it.
        request.send_queue.send(event("live")).map_err(|_| ConnectError::invalid_namespace())?;
        tokio::task::yield_now().await;
        let first = match &request.auth {
            Some(auth) if auth.get().contains("pid") => vec![event("missed-1"), event("missed-2")],
            _ => Vec::new(),
        };
        Ok(Connected { session: request.send_queue, sid: "s1".into(), pid: Some("p1".into()), first })
    }

    async fn event(&self, send_queue: &mut SendQueue, received: Event) {
        match received.name() {
            "panic" => panic!("as asked"),
            "wait" => self.release.notified().await,
            "fill" => {
                while send_queue
                    .send(Message::event(&Namespace::default(), "filler", &format!("\"{}\"", "x".repeat(10_000))))
                    .is_ok()
                {}
            }
            name if name.starts_with("fill-") => {
                let filler = Message::event(&Namespace::default(), "filler", &format!("\"{}\"", "x".repeat(10_000)));
                for _ in 0..name["fill-".len()..].parse().unwrap_or(0) {
                    assert!(send_queue.send(filler.clone()).is_ok());
                }
            }
            name if name.starts_with("charge-") => {
                self.budget.lock().unwrap().as_ref().unwrap().charge(name["charge-".len()..].parse().unwrap());
            }
            "close" => send_queue.close(FENCED),
            "kick" => send_queue.disconnect(FENCED),
            "probe" => {
                let (answer, send_queue) = (send_queue.probe(), send_queue.clone());
                tokio::spawn(async move {
                    let name = if answer.await.is_ok() { "alive" } else { "gone" };
                    let _closing = send_queue.send(event(name));
                });
            }
            "typing" => {
                for n in 0..5 {
                    let message = Message::event(&Namespace::default(), "typing", &n.to_string());
                    assert!(send_queue.send(message.superseding(Some("typing"))).is_ok());
                }
            }
            name => {
                if let Some(Ok(burst)) = name.strip_prefix("burst-").map(str::parse) {
                    self.burst.store(burst, Ordering::Relaxed);
                }
            }
        }
        if let Some(id) = received.ack() {
            let _closing = send_queue.ack(id, "\"done\"");
        }
    }

    fn burst(&self, _: &SendQueue) -> u32 {
        self.burst.load(Ordering::Relaxed)
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
