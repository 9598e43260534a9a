//! Replies to a client's event: its acknowledgement if the client asked for one. Otherwise refusals
//! are sent as the event `error`.

use std::borrow::Cow;

use serde_json::json;
use switchboard_core::domain::{Code, Refusal};
use switchboard_core::wire::server_event::encode;
use switchboard_socketio::Event;
use switchboard_socketio::send_queue::{Message, SendQueue};

/// Replies to one event.
#[derive(Debug)]
pub(super) struct Responder {
    send_queue: SendQueue,
    event: Box<str>,
    ack: Option<u64>,
}

impl Responder {
    pub(super) fn new(send_queue: &SendQueue, event: &Event) -> Self {
        Self { send_queue: send_queue.clone(), event: event.name().into(), ack: event.ack() }
    }

    /// Name of the event.
    pub(super) fn event(&self) -> &str {
        &self.event
    }

    /// Acknowledges success. `fields` is JSON text of further fields, each after a comma.
    pub(super) fn accept(&self, fields: &str) {
        if let Some(id) = self.ack {
            // A queue that is closed or overflows needs no reply: its client is on its way out.
            let _closing = self.send_queue.ack(id, &success(fields));
        }
    }

    /// Acknowledges success with the next message to the client, or 2 to 3 ms later.
    pub(super) fn accept_delayed(&self, fields: &str) {
        if let Some(id) = self.ack {
            let _closing = self.send_queue.ack_delayed(id, &success(fields));
        }
    }

    /// Refuses the event.
    pub(super) fn refuse(&self, refusal: &Refusal) {
        count(refusal.code);
        let mut text = match self.ack {
            Some(_) => json!({ "success": false, "code": refusal.code, "message": refusal.message }),
            None => json!({ "message": refusal.message, "code": refusal.code, "event": self.event }),
        };
        if let Some(seconds) = refusal.retry_after {
            text["retryAfter"] = seconds.get().into();
        }
        let _closing = match self.ack {
            Some(id) => self.send_queue.ack(id, &text.to_string()),
            None => self.send_queue.send(Message::packet(format!("42[{}]", encode("error", &text)))),
        };
    }

    /// Refuses the event only in an acknowledgement: for events that often cross with a departure.
    pub(super) fn refuse_in_ack(&self, refusal: &Refusal) {
        if self.ack.is_some() {
            self.refuse(refusal);
        } else {
            count(refusal.code);
        }
    }
}

fn success(fields: &str) -> Cow<'static, str> {
    match fields {
        "" => Cow::Borrowed(r#"{"success":true}"#),
        fields => Cow::Owned(format!(r#"{{"success":true{fields}}}"#)),
    }
}

fn count(code: Code) {
    metrics::counter!("switchboard_refusals_total", "code" => code.as_str()).increment(1);
}
