//! Event for an endpoint of webhooks, in the forms in which records store and return it.

use mongodb::bson::{Document, deserialize_from_document};
use serde::{Deserialize, Serialize};

use super::RecordsError;
use super::bson::{date, maybe_date, maybe_number, number};
use switchboard_core::domain::{CallId, Timestamp};

/// State of a delivery that waits and has no queue yet.
pub(super) const PENDING: &str = "pending";

/// Event for one endpoint. The struct has more than eight fields: it is the document, field by
/// field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// `<endpoint>/<event id>`.
    #[serde(rename = "_id")]
    pub id: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// Permanent unique id of the event.
    pub event_id: String,
    /// Type of the event.
    pub event: String,
    /// Call of the event. Events of one call are delivered in order.
    pub call_id: String,
    /// Position among the events of the call, as text that sorts in order.
    pub order: String,
    /// Body of the request; the same bytes in every attempt.
    pub body: String,
    /// Number of attempts so far.
    #[serde(deserialize_with = "number")]
    pub attempts: u32,
    /// Time of the event.
    #[serde(with = "date")]
    pub created_at: Timestamp,
    /// Time of the last order to send the event again.
    #[serde(with = "maybe_date", default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
}

/// State of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// The receiver has not accepted the event yet.
    Waiting,
    /// The receiver accepted the event.
    Delivered,
    /// Attempts failed for too long, and ended.
    Failed,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Failed];

    /// Returns the text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// Returns the texts in documents.
    pub(super) const fn stored(self) -> &'static [&'static str] {
        match self {
            Self::Waiting => &["waiting", PENDING],
            Self::Delivered => &["delivered"],
            Self::Failed => &["given_up"],
        }
    }

    fn read(text: &str) -> Self {
        let known = Self::ALL.into_iter().find(|state| state.stored().contains(&text));
        known.unwrap_or(Self::Waiting)
    }
}

/// Outcome of a request to a receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// HTTP status of the answer; `None` without an answer.
    pub status: Option<u16>,
    /// Why the event is not accepted; `None` if it is.
    pub problem: Option<String>,
}

/// Delivery without its body, for operators. The struct has more than eight fields: each is one of
/// the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Permanent unique id of the event.
    pub event_id: String,
    /// Type of the event.
    pub event: String,
    /// Call of the event.
    pub call_id: String,
    /// State.
    pub state: DeliveryState,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Time of the event.
    pub created_at: Timestamp,
    /// Time of the last attempt.
    pub tried_at: Option<Timestamp>,
    /// HTTP status of the last answer.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub problem: Option<String>,
    /// Position in a list.
    pub position: DeliveryPosition,
}

/// Position of a delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPosition {
    pub(super) order: String,
    pub(super) event_id: String,
}

impl DeliveryPosition {
    /// Returns the cursor.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{}/{}", self.order, self.event_id)
    }

    /// Reads a cursor. `None` for any other text.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let (order, event_id) = text.split_once('/')?;
        Some(Self { order: order.to_owned(), event_id: event_id.to_owned() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    event_id: String,
    event: String,
    call_id: String,
    order: String,
    state: String,
    #[serde(deserialize_with = "number")]
    attempts: u32,
    #[serde(with = "date")]
    created_at: Timestamp,
    #[serde(with = "maybe_date", default)]
    tried_at: Option<Timestamp>,
    #[serde(deserialize_with = "maybe_number", default)]
    status: Option<i64>,
    #[serde(default)]
    problem: Option<String>,
}

impl DeliveryRecord {
    /// Reads a document.
    pub(super) fn read(document: Document) -> Result<Self, RecordsError> {
        Ok(deserialize_from_document::<Stored>(document)?.into())
    }
}

impl From<Stored> for DeliveryRecord {
    fn from(stored: Stored) -> Self {
        Self {
            position: DeliveryPosition { order: stored.order, event_id: stored.event_id.clone() },
            event_id: stored.event_id,
            event: stored.event,
            call_id: stored.call_id,
            state: DeliveryState::read(&stored.state),
            attempts: stored.attempts,
            created_at: stored.created_at,
            tried_at: stored.tried_at,
            status: stored.status.and_then(|status| u16::try_from(status).ok()),
            problem: stored.problem,
        }
    }
}

/// Deliveries of an endpoint to list.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryFilter<'a> {
    /// Endpoint.
    pub endpoint: &'a str,
    /// State; `None` is any.
    pub state: Option<DeliveryState>,
    /// Call; `None` is any.
    pub call: Option<&'a CallId>,
}

/// Outcome of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver accepted the event.
    Delivered,
    /// The attempt failed; another one follows.
    Postponed,
    /// Attempts failed for too long; no further one follows.
    Failed,
}

/// Numbers of deliveries of an endpoint, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Not delivered yet.
    pub waiting: u64,
    /// Delivered.
    pub delivered: u64,
    /// Attempts ended.
    pub failed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stored_state_is_read_back_and_a_cursor_too() {
        for state in DeliveryState::ALL {
            assert!(state.stored().iter().all(|text| DeliveryState::read(text) == state), "{state:?}");
        }
        let position = DeliveryPosition { order: "7-0".to_owned(), event_id: "3:7-0:started".to_owned() };
        assert_eq!(DeliveryPosition::decode(&position.encode()), Some(position));
        assert_eq!(DeliveryPosition::decode("x"), None);
    }
}
