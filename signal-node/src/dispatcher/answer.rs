//! Answers to a client's event: by its acknowledgement when it asked for one, else refusals come as `error`.

use std::borrow::Cow;

use serde_json::json;
use switchboard_core::domain::{Code, Refusal};
use switchboard_core::wire::server_event::encode;

use switchboard_socketio::Event;
use switchboard_socketio::send_queue::{Message, SendQueue};

/// How an event is to be answered.
#[derive(Debug)]
pub(super) struct Asked {
    outbox: SendQueue,
    event: Box<str>,
    ack: Option<u64>,
}

impl Asked {
    pub(super) fn new(outbox: &SendQueue, event: &Event) -> Self {
        Self { outbox: outbox.clone(), event: event.name().into(), ack: event.ack() }
    }

    /// The event's name.
    pub(super) fn event(&self) -> &str {
        &self.event
    }

    /// Yes; `fields` is JSON text of more fields, each with a comma before it.
    pub(super) fn accept(&self, fields: &str) {
        if let Some(id) = self.ack {
            // A closed or overflowing socket is told nothing any more.
            let _closing = self.outbox.ack(id, &yes(fields));
        }
    }

    /// As [`accept`](Asked::accept), with the next message to the client or a moment later.
    pub(super) fn accept_delayed(&self, fields: &str) {
        if let Some(id) = self.ack {
            let _closing = self.outbox.ack_delayed(id, &yes(fields));
        }
    }

    /// No, with a code.
    pub(super) fn refuse(&self, refusal: &Refusal) {
        count(refusal.code);
        let text = match self.ack {
            Some(_) => json!({ "success": false, "code": refusal.code, "message": refusal.message }),
            None => json!({ "message": refusal.message, "code": refusal.code, "event": self.event }),
        };
        let _closing = match self.ack {
            Some(id) => self.outbox.ack(id, &text.to_string()),
            None => self.outbox.send(Message::packet(format!("42[{}]", encode("error", &text)))),
        };
    }

    /// No, told only to who asked: for events that cross with somebody's leaving as a matter of course.
    pub(super) fn refuse_quietly(&self, refusal: &Refusal) {
        if self.ack.is_some() {
            self.refuse(refusal);
        } else {
            count(refusal.code);
        }
    }
}

fn yes(fields: &str) -> Cow<'static, str> {
    match fields {
        "" => Cow::Borrowed(r#"{"success":true}"#),
        fields => Cow::Owned(format!(r#"{{"success":true{fields}}}"#)),
    }
}

fn count(code: Code) {
    metrics::counter!("switchboard_refusals_total", "code" => code.as_str()).increment(1);
}
