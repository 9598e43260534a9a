//! The part of a call that its room knows. `rooms` stores it and `records` derives it from a
//! record, so it belongs to neither.

use serde::{Deserialize, Serialize};

use super::admission::requires_invitation;
use super::{AccessPolicy, CallId, CallSettings, CallType, UserId};

/// The part of a call that its room knows: field `m` of the room's hash, as JSON. The script `open`
/// writes it when its version is newer than field `mv`. The struct has more than eight fields: one
/// read returns everything that admission and clients need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomMeta {
    /// Id of the call's record.
    pub call_id: CallId,
    /// Title.
    pub name: String,
    /// User who hosts the call.
    pub host: UserId,
    /// Users who may join.
    pub call_type: CallType,
    /// Settings.
    pub settings: CallSettings,
    /// Maximum number of participants at the same time.
    pub max_participants: u32,
    /// New participants are refused.
    #[serde(default)]
    pub locked: bool,
    /// Hash of the passcode (PHC string). Never sent to clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passcode_hash: Option<String>,
    /// Users invited by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invited: Vec<UserId>,
    /// Time of creation: RFC 3339, UTC, with milliseconds.
    pub created_at: String,
    /// Version, raised by every update. Equal to the record's `revision` and to field `mv`.
    pub version: u64,
}

impl RoomMeta {
    /// Returns whether this version asks more of newcomers than `before`: a stricter type, another
    /// passcode, or fewer invited users. Participants in the lobby were let in by `before`, so they
    /// must ask again.
    #[must_use]
    pub fn asks_more_than(&self, before: &Self) -> bool {
        let strictness = |meta: &Self| match meta.call_type {
            CallType::Public => 0,
            _ if requires_invitation(meta.call_type, &meta.invited) => 2,
            CallType::Private | CallType::InvitedOnly => 1,
        };
        let lost_invitation = before.invited.iter().any(|user| !self.invited.contains(user));
        strictness(self) > strictness(before)
            || (self.passcode_hash.is_some() && self.passcode_hash != before.passcode_hash)
            || (lost_invitation && (self.call_type != CallType::Public || self.passcode_hash.is_some()))
    }

    /// Returns the rules of admission.
    #[must_use]
    pub fn access_policy(&self) -> AccessPolicy<'_> {
        AccessPolicy {
            call_type: self.call_type,
            host: &self.host,
            invited: &self.invited,
            has_passcode: self.passcode_hash.is_some(),
            waiting_room: self.settings.waiting_room_enabled,
            auto_admit_guests: self.settings.auto_admit_guests,
        }
    }
}
