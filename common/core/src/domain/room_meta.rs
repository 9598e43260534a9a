//! What a room knows of its call. The store writes it, and a call's record yields it: it belongs to neither.

use serde::{Deserialize, Serialize};

use super::{CallId, CallSettings, CallType, Entrance, UserId};

/// What a room knows of its call: field `m` of the room's hash, as JSON. Written by `open` when `mv` is newer. Over
/// eight fields: it is what the door asks and what a client is told, in one read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomMeta {
    /// The call's record.
    pub call_id: CallId,
    /// The title to show.
    pub name: String,
    /// The user who made the call.
    pub host: UserId,
    /// Who may join.
    pub call_type: CallType,
    /// What is allowed.
    pub settings: CallSettings,
    /// Seats.
    pub max_participants: u32,
    /// Nobody new may join.
    #[serde(default)]
    pub locked: bool,
    /// PHC string; never leaves the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passcode_hash: Option<String>,
    /// Users invited by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invited: Vec<UserId>,
    /// RFC 3339, UTC, milliseconds.
    pub created_at: String,
    /// The record's revision, raised by every update: `mv`.
    pub version: u64,
}

impl RoomMeta {
    /// The rules of the call's door.
    #[must_use]
    pub fn entrance(&self) -> Entrance<'_> {
        Entrance {
            call_type: self.call_type,
            host: &self.host,
            invited: &self.invited,
            has_passcode: self.passcode_hash.is_some(),
            waiting_room: self.settings.waiting_room_enabled,
            auto_admit_guests: self.settings.auto_admit_guests,
        }
    }
}
