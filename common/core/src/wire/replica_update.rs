//! Changes that a node applies to its replicas of seats and calls. They come with the events that
//! tell the clients, in the order of the log, after a gap too.

use serde::Deserialize;

use super::event_kind::EventKind;
use crate::domain::{CallPermissions, CallSettings, MediaState, PeerId, PublicUser, Role, UserId};

/// A change of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaUpdate {
    /// `participant:role-changed`
    Role(RoleChanged),
    /// `participant:permissions-changed`
    Permissions(PermissionsChanged),
    /// `participant:profile-changed`
    Profile(Box<ProfileChanged>),
    /// `participant:hand-changed`
    Hand(HandChanged),
    /// `participant:muted`
    Muted(Muted),
    /// `room:updated`
    Updated(Box<Updated>),
    /// `room:kicked`, `room:denied`, `room:call-ended`: the receiver is in no room any more.
    Farewell,
}

/// `participant:role-changed`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleChanged {
    /// Participant whose role changed.
    pub peer_id: PeerId,
    /// The new role.
    pub role: Role,
}

/// `participant:permissions-changed`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionsChanged {
    /// Participant whose permissions changed.
    pub peer_id: PeerId,
    /// All permissions from now on.
    pub permissions: CallPermissions,
}

/// `participant:profile-changed`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileChanged {
    /// Participant whose name or picture changed.
    pub peer_id: PeerId,
    /// The user from now on.
    pub user: PublicUser,
}

/// `participant:hand-changed`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandChanged {
    /// Participant whose hand was raised or lowered.
    pub peer_id: PeerId,
    /// Time at which it was raised; `None` while it is down.
    #[serde(default)]
    pub hand_raised_at: Option<String>,
}

/// `participant:muted`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Muted {
    /// Participant that was muted.
    pub peer_id: PeerId,
    /// Media state after it.
    pub media_state: MediaState,
}

/// `room:updated`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Updated {
    /// Title of the call.
    pub name: String,
    /// Settings of the call.
    pub settings: CallSettings,
    /// Number of seats.
    pub max_participants: u32,
    /// Whether the room is locked for new participants.
    pub locked: bool,
    /// Owner of the call.
    pub owner_id: UserId,
    /// Version of the call's metadata.
    pub version: u64,
}

impl ReplicaUpdate {
    /// Reads the change that an event makes; `None` if it makes none.
    #[must_use]
    pub fn read(kind: EventKind, event: &str) -> Option<Self> {
        if !kind.updates_replica() {
            return None;
        }
        let (_, payload) = event.split_once(',')?;
        match kind {
            EventKind::RoleChanged => serde_json::from_str(payload).ok().map(Self::Role),
            EventKind::PermissionsChanged => serde_json::from_str(payload).ok().map(Self::Permissions),
            EventKind::ProfileChanged => serde_json::from_str(payload).ok().map(Self::Profile),
            EventKind::HandChanged => serde_json::from_str(payload).ok().map(Self::Hand),
            EventKind::Muted => serde_json::from_str(payload).ok().map(Self::Muted),
            EventKind::RoomUpdated => serde_json::from_str(payload).ok().map(Self::Updated),
            EventKind::Kicked | EventKind::Denied | EventKind::CallEnded => Some(Self::Farewell),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_changes_a_replica_is_read_and_no_other() {
        let role = r#""participant:role-changed",{"peerId":"u#2","userId":"u","role":"moderator","hostId":"h"}"#;
        let changed = RoleChanged { peer_id: PeerId::parse("u#2").unwrap(), role: Role::Moderator };
        assert_eq!(ReplicaUpdate::read(EventKind::RoleChanged, role), Some(ReplicaUpdate::Role(changed)));
        let updated = r#""room:updated",{"roomId":"R","name":"N","settings":{"chatEnabled":false},"maxParticipants":3,"locked":true,"ownerId":"h","version":4}"#;
        assert!(matches!(
            ReplicaUpdate::read(EventKind::RoomUpdated, updated),
            Some(ReplicaUpdate::Updated(updated)) if updated.locked && !updated.settings.chat_enabled
        ));
        let kicked = r#""room:kicked",{"roomId":"R","banned":false}"#;
        assert_eq!(ReplicaUpdate::read(EventKind::Kicked, kicked), Some(ReplicaUpdate::Farewell));
        assert_eq!(ReplicaUpdate::read(EventKind::ChatMessage, updated), None, "the kind decides, not the text");
        for malformed in ["", "\"room:updated", "\"room:updated\",7"] {
            assert_eq!(ReplicaUpdate::read(EventKind::RoomUpdated, malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn every_kind_that_updates_a_replica_is_read() {
        for &kind in EventKind::ALL.iter().filter(|kind| kind.updates_replica()) {
            let event = r#""e",{"peerId":"u","user":{"_id":"u","id":"u","name":"N"},"role":"guest","permissions":{"canChat":false},"mediaState":{"videoEnabled":false,"audioEnabled":false,"screenShareEnabled":false},"name":"N","settings":{},"maxParticipants":3,"locked":true,"ownerId":"h","version":4}"#;
            assert!(ReplicaUpdate::read(kind, event).is_some(), "{kind:?}");
        }
    }
}
