//! Apps: customers of one deployment, each with users and calls of its own. The backend of an app
//! authenticates with API keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Permission of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum AppScope {
    /// Read calls and their participants.
    #[serde(rename = "calls:read")]
    CallsRead,
    /// Create, change, end and delete calls.
    #[serde(rename = "calls:write")]
    CallsWrite,
    /// Mute, remove, ban and admit participants, change them, and send them events.
    #[serde(rename = "participants:write")]
    ParticipantsWrite,
    /// Sign tokens of users.
    #[serde(rename = "tokens:mint")]
    TokensMint,
}

impl AppScope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::CallsRead, Self::CallsWrite, Self::ParticipantsWrite, Self::TokensMint];

    /// Returns the text on the wire and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallsRead => "calls:read",
            Self::CallsWrite => "calls:write",
            Self::ParticipantsWrite => "participants:write",
            Self::TokensMint => "tokens:mint",
        }
    }

    /// Parses the output of `as_str`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// Permissions of the bearer of a user token in a call, besides the rights of the role. Everything
/// is allowed by default.
///
/// The rules ask it at each event. Media go from client to client, so nobody can be kept from
/// receiving them, and a participant cannot be hidden: there are no permissions for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CallPermissions {
    /// Switch camera and microphone on.
    pub can_publish: bool,
    /// Share the screen.
    pub can_share_screen: bool,
    /// Send chat messages.
    pub can_chat: bool,
}

impl Default for CallPermissions {
    fn default() -> Self {
        Self { can_publish: true, can_share_screen: true, can_chat: true }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::domain::{AppId, AppKeyId};

    #[test]
    fn a_scope_has_one_text_in_records_and_on_the_wire() {
        for scope in AppScope::ALL {
            assert_eq!(AppScope::parse(scope.as_str()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert_eq!(AppScope::parse("calls"), None);
    }

    #[test]
    fn a_generated_key_id_is_read_back_and_other_texts_are_not_key_ids() {
        let id = AppKeyId::from_random([7; 20]);
        assert_eq!(AppKeyId::read(id.as_str()), Some(id));
        for bad in ["", "sbk_", "sbk_abc", "videocall-api", "sbk_ABCDEFGHIJKLMNOPQRST", "sbk_abcdefghij_bcdefghij"] {
            assert_eq!(AppKeyId::read(bad), None, "{bad}");
        }
        assert!(AppId::default().is_default() && !AppId::from_random([0; 12]).is_default());
    }
}
