//! Participants of a call, in its record.

use serde::{Deserialize, Serialize};

use super::bson::{id, maybe_date, number, or_default};
use switchboard_core::domain::{Role, Timestamp, UserId};

/// One user of a call, over all stays.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantRecord {
    /// User id: an ObjectId, or the text of a guest's id.
    #[serde(rename = "userId", with = "id")]
    pub user: UserId,
    /// Name of a guest. Users have their name in `users`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Last role.
    #[serde(default = "participant")]
    pub role: Role,
    /// Time of the first join; `None` before it.
    #[serde(with = "maybe_date", default)]
    pub joined_at: Option<Timestamp>,
    /// Time of the last leave; `None` while the user is in the call.
    #[serde(with = "maybe_date", default)]
    pub left_at: Option<Timestamp>,
    /// Whether the user is in the call.
    #[serde(default, deserialize_with = "or_default")]
    pub is_connected: bool,
    /// Join id of the latest stay.
    #[serde(default)]
    pub connection_id: Option<String>,
    /// Time in the call, kept by the recorder. Records of the Node service have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceRecord>,
}

/// Time of one user in a call, over all stays and devices. Time on two devices at once counts once.
/// A reconnect within the grace period does not end a stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceRecord {
    /// Join ids of the open stays.
    #[serde(default, deserialize_with = "or_default")]
    pub open: Vec<String>,
    /// Time since which at least one stay is open.
    #[serde(with = "maybe_date", default)]
    pub since: Option<Timestamp>,
    /// Time in the call before `since`, in milliseconds.
    #[serde(default, deserialize_with = "number")]
    pub connected_ms: i64,
}

impl ParticipantRecord {
    /// Creates the entry of a user who has not joined yet.
    #[must_use]
    pub const fn expected(user: UserId, role: Role) -> Self {
        Self {
            user,
            name: None,
            role,
            joined_at: None,
            left_at: None,
            is_connected: false,
            connection_id: None,
            presence: None,
        }
    }

    /// Returns the time in the call in milliseconds. For a user who is in the call, the time counts
    /// until `until`.
    #[must_use]
    pub fn connected_ms(&self, until: Timestamp) -> i64 {
        let span = |from: Timestamp, to: Timestamp| to.0.saturating_sub(from.0).max(0);
        match (&self.presence, self.joined_at) {
            (Some(presence), _) => presence.connected_ms + presence.since.map_or(0, |since| span(since, until)),
            (None, Some(joined)) => span(joined, self.left_at.unwrap_or(until)),
            (None, None) => 0,
        }
    }
}

/// Public part of a user's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// `_id`.
    #[serde(rename = "_id", with = "id")]
    pub id: UserId,
    /// Display name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Address of a picture.
    #[serde(default)]
    pub avatar: Option<String>,
}

const fn participant() -> Role {
    Role::Participant
}
