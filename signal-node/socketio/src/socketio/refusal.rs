//! Refusals of events that the application does not get.

use std::time::Duration;

use serde_json::json;
use switchboard_core::domain::whole_seconds;

use crate::protocol::{Event, Message, Namespace, SkipReason};

/// Code of packets that exceed a rate.
const RATE_LIMITED: &str = "RATE_LIMIT_EXCEEDED";

/// Code of packets that are too large.
const TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";

/// Time after which a large message may be sent again that came while too many large ones did.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// Reason why an event is refused.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// The client exceeds a rate. The event may be sent again after this time.
    RateLimited(Duration),
    /// The event is larger than this many bytes.
    TooLarge(usize),
}

/// Event that is refused.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) namespace: &'a Namespace,
    /// Id of the acknowledgement, if the client asked for one.
    pub(super) ack: Option<u64>,
    pub(super) name: &'a str,
}

impl<'a> From<&'a Event> for Target<'a> {
    fn from(event: &'a Event) -> Self {
        Self { namespace: &event.namespace, ack: event.ack, name: &event.name }
    }
}

impl Refusal {
    /// Creates the refusal of an event that was skipped. Messages may have `max` bytes.
    pub(super) fn of(reason: SkipReason, max: usize) -> Self {
        match reason {
            SkipReason::TooLarge => Self::TooLarge(max),
            SkipReason::Busy => Self::RateLimited(BUSY_WAIT),
        }
    }

    /// Encodes the acknowledgement, or the event `error` without one.
    pub(super) fn message(self, target: &Target<'_>) -> Message {
        let mut refusal = match self {
            Self::RateLimited(wait) => json!({
                "code": RATE_LIMITED, "message": "Too many events", "retryAfter": whole_seconds(wait),
            }),
            Self::TooLarge(max) => json!({
                "code": TOO_LARGE, "message": format!("A message must be at most {max} bytes"),
            }),
        };
        if let Some(id) = target.ack {
            refusal["success"] = false.into();
            Message::ack(target.namespace, id, &refusal.to_string())
        } else {
            refusal["event"] = target.name.into();
            Message::event(target.namespace, "error", &refusal.to_string())
        }
    }
}
