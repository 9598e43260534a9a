//! Who is in a call, as its record tells it, and how long.

use serde::{Deserialize, Serialize};

use super::stored::{id, maybe_date, number, or_default};
use switchboard_core::domain::{Role, Timestamp, UserId};

/// One user of a call, over all of its presences.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantRecord {
    /// An ObjectId, or a guest's id as text.
    #[serde(rename = "userId", with = "id")]
    pub user: UserId,
    /// A guest's name, who has no record of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its role when last seen.
    #[serde(default = "participant")]
    pub role: Role,
    /// When it first came; none until it has.
    #[serde(with = "maybe_date", default)]
    pub joined_at: Option<Timestamp>,
    /// When it last left; none while it is there.
    #[serde(with = "maybe_date", default)]
    pub left_at: Option<Timestamp>,
    /// Whether it is there.
    #[serde(default, deserialize_with = "or_default")]
    pub is_connected: bool,
    /// The join id of its latest presence.
    #[serde(default)]
    pub connection_id: Option<String>,
    /// What the recorder sums its time up with; the Node service kept none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceRecord>,
}

/// How long somebody was there, over all stays and devices. Of two devices at once the time counts once; a reconnect within the grace
/// ends no stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceRecord {
    /// The join ids of the stays that are open.
    #[serde(default, deserialize_with = "or_default")]
    pub open: Vec<String>,
    /// Since when at least one is.
    #[serde(with = "maybe_date", default)]
    pub since: Option<Timestamp>,
    /// Milliseconds before that.
    #[serde(default, deserialize_with = "number")]
    pub connected_ms: i64,
}

impl ParticipantRecord {
    /// Somebody who has not come yet.
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

    /// Milliseconds that it was there, until `until` if it still is.
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

/// The public part of a user's document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PersonRecord {
    /// `_id`.
    #[serde(rename = "_id", with = "id")]
    pub id: UserId,
    /// The name to show.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// A picture's address.
    #[serde(default)]
    pub avatar: Option<String>,
}

const fn participant() -> Role {
    Role::Participant
}
