//! Events about the lobby, roles and moderation, as text; many are templates (see `server_event`).

use serde_json::{Map, Value, json};

use super::server_event::{OPEN_HOST, OPEN_PARTICIPANT, OPEN_PEER, OPEN_ROLE, OPEN_USER, encode};
use crate::domain::{CallType, MediaKind, PeerId, RoomId, RoomMeta};

/// An object, without the fields that are null.
fn object(fields: Value) -> Value {
    match fields {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into(),
        other => other,
    }
}

/// `room:join-request`: somebody waits; the participant is open.
#[must_use]
pub fn join_request_template() -> String {
    encode("room:join-request", &json!({ "participant": OPEN_PARTICIPANT }))
}

/// `room:join-request-cancelled`: somebody waits no more; peer and user are open.
#[must_use]
pub fn join_request_cancelled_template(reason: &str) -> String {
    let fields = json!({ "peerId": OPEN_PEER, "userId": OPEN_USER, "reason": reason });
    encode("room:join-request-cancelled", &fields)
}

/// `room:denied`, for the one who waited.
#[must_use]
pub fn denied(room: &RoomId, reason: Option<&str>) -> String {
    encode("room:denied", &object(json!({ "roomId": room, "reason": reason })))
}

/// `participant:role-changed`; peer, user, role and host are open.
#[must_use]
pub fn role_changed_template() -> String {
    let fields = json!({ "peerId": OPEN_PEER, "userId": OPEN_USER, "role": OPEN_ROLE, "hostId": OPEN_HOST });
    encode("participant:role-changed", &fields)
}

/// `participant:muted`, for the one who was; peer, user and media state are open.
#[must_use]
pub fn muted_template(kind: MediaKind, by: Option<&PeerId>) -> String {
    let fields = json!({
        "peerId": OPEN_PEER, "userId": OPEN_USER, "kind": kind, "by": by, "mediaState": OPEN_PARTICIPANT,
    });
    encode("participant:muted", &object(fields))
}

/// `participant:media-state-changed` of somebody who was muted, for the others; peer, user and media state are open.
#[must_use]
pub fn media_changed_template() -> String {
    let fields = json!({ "userId": OPEN_USER, "peerId": OPEN_PEER, "mediaState": OPEN_PARTICIPANT });
    encode("participant:media-state-changed", &fields)
}

/// `room:kicked`, for the one who was; the peer is open.
#[must_use]
pub fn kicked_template(room: &RoomId, banned: bool, reason: Option<&str>) -> String {
    encode("room:kicked", &object(json!({ "roomId": room, "peerId": OPEN_PEER, "banned": banned, "reason": reason })))
}

/// `room:updated`: the call as it is from now on; the host is open.
#[must_use]
pub fn updated_template(room: &RoomId, meta: &RoomMeta) -> String {
    let fields = json!({
        "roomId": room,
        "name": meta.name,
        "settings": meta.settings,
        "maxParticipants": meta.max_participants,
        "locked": meta.locked,
        "isPrivate": meta.call_type != CallType::Public,
        "hostId": OPEN_HOST,
        "ownerId": meta.host,
        "version": meta.version,
    });
    encode("room:updated", &fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_is_not_in_the_event() {
        let room = RoomId::parse("R").unwrap();
        assert_eq!(denied(&room, None), r#""room:denied",{"roomId":"R"}"#);
        assert!(denied(&room, Some("later")).contains(r#""reason":"later""#));
        assert!(!muted_template(MediaKind::Audio, None).contains("\"by\""));
    }
}
