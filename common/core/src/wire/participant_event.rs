//! Encodes events about the lobby, roles and moderation. Many are templates: see `server_event`.

use serde_json::{Map, Value, json};

use super::event_kind::EventKind;
use super::server_event::{HOST_MARK, PARTICIPANT_MARK, PEER_MARK, ROLE_MARK, USER_MARK, encode};
use crate::domain::{CallType, MediaKind, PeerId, RoomId, RoomMeta};

/// Returns an object without its null fields.
fn object(fields: Value) -> Value {
    match fields {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into(),
        other => other,
    }
}

/// Encodes `room:join-request`: a participant entered the lobby. Placeholder: participant.
#[must_use]
pub fn join_request_template() -> String {
    encode("room:join-request", &json!({ "participant": PARTICIPANT_MARK }))
}

/// Encodes `room:join-request-cancelled`: a participant left the lobby. Placeholders: peer id, user
/// id.
#[must_use]
pub fn join_request_cancelled_template(reason: &str) -> String {
    let fields = json!({ "peerId": PEER_MARK, "userId": USER_MARK, "reason": reason });
    encode("room:join-request-cancelled", &fields)
}

/// Reason of a `room:denied` that no person decided: the call asks more of newcomers now.
pub const DOOR_CHANGED: &str = "DOOR_CHANGED";

/// Encodes `room:denied`, for the participant who was denied.
#[must_use]
pub fn denied(room: &RoomId, reason: Option<&str>) -> String {
    encode("room:denied", &object(json!({ "roomId": room.name(), "reason": reason })))
}

/// Encodes `participant:role-changed`. Placeholders: peer id, user id, role, host id.
#[must_use]
pub fn role_changed_template() -> String {
    let fields = json!({ "peerId": PEER_MARK, "userId": USER_MARK, "role": ROLE_MARK, "hostId": HOST_MARK });
    encode("participant:role-changed", &fields)
}

/// Encodes `participant:profile-changed`. Placeholders: peer id, user id, user.
#[must_use]
pub fn profile_changed_template() -> String {
    let fields = json!({ "peerId": PEER_MARK, "userId": USER_MARK, "user": PARTICIPANT_MARK });
    encode(EventKind::ProfileChanged.name(), &fields)
}

/// Encodes `participant:permissions-changed`. Placeholders: peer id, user id, permissions.
#[must_use]
pub fn permissions_changed_template() -> String {
    let fields = json!({ "peerId": PEER_MARK, "userId": USER_MARK, "permissions": PARTICIPANT_MARK });
    encode(EventKind::PermissionsChanged.name(), &fields)
}

/// Encodes `participant:muted`, for the muted participant. Placeholders: peer id, user id, media
/// state.
#[must_use]
pub fn muted_template(kind: MediaKind, by: Option<&PeerId>) -> String {
    let fields = json!({
        "peerId": PEER_MARK, "userId": USER_MARK, "kind": kind, "by": by, "mediaState": PARTICIPANT_MARK,
    });
    encode("participant:muted", &object(fields))
}

/// Encodes `participant:hand-changed` of a hand that a moderator lowered. Placeholders: peer id,
/// user id.
#[must_use]
pub fn hand_lowered_template(by: Option<&PeerId>) -> String {
    let fields = json!({ "userId": USER_MARK, "peerId": PEER_MARK, "raised": false, "by": by });
    encode(EventKind::HandChanged.name(), &object(fields))
}

/// Encodes `participant:media-state-changed` of a muted participant, for the other participants.
/// Placeholders: peer id, user id, media state.
#[must_use]
pub fn media_changed_template() -> String {
    let fields = json!({ "userId": USER_MARK, "peerId": PEER_MARK, "mediaState": PARTICIPANT_MARK });
    encode("participant:media-state-changed", &fields)
}

/// Encodes `room:kicked`, for the removed participant. Placeholder: peer id.
#[must_use]
pub fn kicked_template(room: &RoomId, banned: bool, reason: Option<&str>) -> String {
    encode(
        "room:kicked",
        &object(json!({ "roomId": room.name(), "peerId": PEER_MARK, "banned": banned, "reason": reason })),
    )
}

/// Encodes `room:updated`: the call after a change. Placeholder: host id.
#[must_use]
pub fn updated_template(room: &RoomId, meta: &RoomMeta) -> String {
    let fields = json!({
        "roomId": room.name(),
        "name": meta.name,
        "settings": meta.settings,
        "maxParticipants": meta.max_participants,
        "locked": meta.locked,
        "isPrivate": meta.call_type != CallType::Public,
        "hostId": HOST_MARK,
        "ownerId": meta.host,
        "version": meta.version,
    });
    encode("room:updated", &fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_value_is_omitted_from_the_event() {
        let room = RoomId::parse("R").unwrap();
        assert_eq!(denied(&room, None), r#""room:denied",{"roomId":"R"}"#);
        assert!(denied(&room, Some("later")).contains(r#""reason":"later""#));
        assert!(!muted_template(MediaKind::Audio, None).contains("\"by\""));
    }
}
