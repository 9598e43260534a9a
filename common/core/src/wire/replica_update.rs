//! Changes that a node applies to its replicas of seats and calls. They come with the events that
//! tell the clients, in the order of the log, after a gap too.

use serde::Deserialize;

use crate::domain::{CallSettings, MediaState, PeerId, Role, UserId};

/// A change of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaUpdate {
    /// `participant:role-changed`
    Role(RoleChanged),
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
    /// Parses an event's text. Returns `None` for events that change no replica.
    #[must_use]
    pub fn of(event: &str) -> Option<Self> {
        // Nearly every event is of another kind, which the name alone shows.
        let (name, fields) = event.strip_prefix('"').and_then(|rest| {
            let end = rest.bytes().take(40).position(|byte| byte == b'"')?;
            Some((&rest[..end], rest.get(end + 2..)?))
        })?;
        match name {
            "participant:role-changed" => serde_json::from_str(fields).ok().map(Self::Role),
            "participant:muted" => serde_json::from_str(fields).ok().map(Self::Muted),
            "room:updated" => serde_json::from_str(fields).ok().map(Self::Updated),
            "room:kicked" | "room:denied" | "room:call-ended" => Some(Self::Farewell),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_that_change_a_replica_are_updates() {
        let role = r#""participant:role-changed",{"peerId":"u#2","userId":"u","role":"moderator","hostId":"h"}"#;
        let changed = RoleChanged { peer_id: PeerId::parse("u#2").unwrap(), role: Role::Moderator };
        assert_eq!(ReplicaUpdate::of(role), Some(ReplicaUpdate::Role(changed)));
        let updated = r#""room:updated",{"roomId":"R","name":"N","settings":{"chatEnabled":false},"maxParticipants":3,"locked":true,"ownerId":"h","version":4}"#;
        assert!(
            matches!(ReplicaUpdate::of(updated), Some(ReplicaUpdate::Updated(updated)) if updated.locked && !updated.settings.chat_enabled)
        );
        assert_eq!(ReplicaUpdate::of(r#""room:kicked",{"roomId":"R","banned":false}"#), Some(ReplicaUpdate::Farewell));
        for other in ["\"chat:message\",{\"room:updated\":1}", "", "\"room:updated", "!admitted", "\"room:updated\",7"]
        {
            assert_eq!(ReplicaUpdate::of(other), None, "{other:?}");
        }
    }
}
