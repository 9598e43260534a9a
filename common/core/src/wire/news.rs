//! What a node itself must learn from a room's events: it keeps copies of roles, media and the call for its rules, and the log tells when
//! they change, also after a gap.

use serde::Deserialize;

use crate::domain::{CallSettings, MediaState, PeerId, Role, UserId};

/// A change that concerns the copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// `participant:role-changed`
    Role(RoleChanged),
    /// `participant:muted`
    Muted(Muted),
    /// `room:updated`
    Updated(Box<Updated>),
    /// `room:kicked`, `room:denied`, `room:call-ended`: whoever is told so is in no room any more.
    Farewell,
}

/// `participant:role-changed`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleChanged {
    /// Whose.
    pub peer_id: PeerId,
    /// What it is from now on.
    pub role: Role,
}

/// `participant:muted`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Muted {
    /// Who.
    pub peer_id: PeerId,
    /// What is left on.
    pub media_state: MediaState,
}

/// `room:updated`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Updated {
    /// The title.
    pub name: String,
    /// What is allowed.
    pub settings: CallSettings,
    /// Seats.
    pub max_participants: u32,
    /// Nobody new may join.
    pub locked: bool,
    /// Whose call it is.
    pub owner_id: UserId,
    /// The meta's version.
    pub version: u64,
}

impl News {
    /// Reads an event's text; `None` for all that changes no copy.
    #[must_use]
    pub fn of(event: &str) -> Option<Self> {
        // Nearly every event is of another kind: the name alone tells.
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
    fn an_event_is_news_when_it_changes_what_a_node_keeps() {
        let role = r#""participant:role-changed",{"peerId":"u#2","userId":"u","role":"moderator","hostId":"h"}"#;
        let changed = RoleChanged { peer_id: PeerId::parse("u#2").unwrap(), role: Role::Moderator };
        assert_eq!(News::of(role), Some(News::Role(changed)));
        let updated = r#""room:updated",{"roomId":"R","name":"N","settings":{"chatEnabled":false},"maxParticipants":3,"locked":true,"ownerId":"h","version":4}"#;
        assert!(
            matches!(News::of(updated), Some(News::Updated(updated)) if updated.locked && !updated.settings.chat_enabled)
        );
        assert_eq!(News::of(r#""room:kicked",{"roomId":"R","banned":false}"#), Some(News::Farewell));
        for other in ["\"chat:message\",{\"room:updated\":1}", "", "\"room:updated", "!admitted", "\"room:updated\",7"]
        {
            assert_eq!(News::of(other), None, "{other:?}");
        }
    }
}
