//! Types of the events that webhooks report (`docs/PROTOCOL.md`, "Webhooks").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Type of an event of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum WebhookEvent {
    /// The first participant joined, in each period.
    #[serde(rename = "call.started")]
    CallStarted,
    /// The room closed empty before the call had taken place.
    #[serde(rename = "call.emptied")]
    CallEmptied,
    /// The call ended.
    #[serde(rename = "call.ended")]
    CallEnded,
    /// The host reopened the call after its end.
    #[serde(rename = "call.reopened")]
    CallReopened,
    /// The call was changed while its room was open.
    #[serde(rename = "call.updated")]
    CallUpdated,
    /// A participant took a seat.
    #[serde(rename = "participant.joined")]
    ParticipantJoined,
    /// A participant's seat is free again.
    #[serde(rename = "participant.left")]
    ParticipantLeft,
    /// A participant has another role.
    #[serde(rename = "participant.role_changed")]
    ParticipantRoleChanged,
    /// A participant in the lobby was refused.
    #[serde(rename = "participant.denied")]
    ParticipantDenied,
    /// A message in a call whose chat is recorded.
    #[serde(rename = "chat.message")]
    ChatMessage,
}

impl WebhookEvent {
    /// All types.
    pub const ALL: [Self; 10] = [
        Self::CallStarted,
        Self::CallEmptied,
        Self::CallEnded,
        Self::CallReopened,
        Self::CallUpdated,
        Self::ParticipantJoined,
        Self::ParticipantLeft,
        Self::ParticipantRoleChanged,
        Self::ParticipantDenied,
        Self::ChatMessage,
    ];

    /// Types that an endpoint gets without asking for them: those of every earlier version.
    pub const DEFAULT: [Self; 6] = [
        Self::CallStarted,
        Self::CallEmptied,
        Self::CallEnded,
        Self::CallReopened,
        Self::ParticipantJoined,
        Self::ParticipantLeft,
    ];

    /// Returns the text on the wire and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallStarted => "call.started",
            Self::CallEmptied => "call.emptied",
            Self::CallEnded => "call.ended",
            Self::CallReopened => "call.reopened",
            Self::CallUpdated => "call.updated",
            Self::ParticipantJoined => "participant.joined",
            Self::ParticipantLeft => "participant.left",
            Self::ParticipantRoleChanged => "participant.role_changed",
            Self::ParticipantDenied => "participant.denied",
            Self::ChatMessage => "chat.message",
        }
    }

    /// Parses the output of `as_str`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::domain::WebhookId;

    #[test]
    fn a_type_has_one_text_in_records_and_on_the_wire() {
        for event in WebhookEvent::ALL {
            assert_eq!(WebhookEvent::parse(event.as_str()), Some(event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
        assert_eq!(WebhookEvent::parse("ping"), None);
    }

    #[test]
    fn the_id_of_an_apps_endpoint_differs_from_that_of_a_url_of_the_deployment() {
        let id = WebhookId::from_random([7; 20]);
        assert!(id.is_of_app() && WebhookId::parse(id.as_str()).unwrap() == id);
        assert!(!WebhookId::parse("0123456789abcdef").unwrap().is_of_app());
    }
}
