//! Encodes events that the server sends.
//!
//! An event is text: the content of the Socket.IO packet's array, `"name",{...}`. It is encoded
//! once for all recipients. The node that delivers it adds the packet's frame and the offset.
//!
//! Some values are known only inside a Redis script, for example the peer id of a new participant.
//! For these, the event is a template: the value is a string of one control character, which JSON
//! encodes as `"\u0001"` with its quotes. The script replaces that text. User input cannot forge a
//! placeholder: names and metadata with control characters are refused, and JSON encoding doubles a
//! backslash in the input.

use serde::Serialize;

use super::event_kind::EventKind;
use crate::domain::{CallPermissions, ConnectionState, MediaState, PeerId, PublicUser, Role, UserId};

/// Placeholder of the peer id in a template's JSON. The quotes are part of it: without them, a
/// user's name could contain the same text.
pub const PEER_PLACEHOLDER: &str = r#""\u0001""#;
/// Placeholder of the user id in a template's JSON, with its quotes.
pub const USER_PLACEHOLDER: &str = r#""\u0002""#;
/// Placeholder of the participant (in `participant:muted`: of the media state, in
/// `participant:permissions-changed`: of the permissions, in `participant:profile-changed`: of the
/// user) in a template's JSON, with its quotes.
pub const PARTICIPANT_PLACEHOLDER: &str = r#""\u0003""#;
/// Placeholder of the media state in a template's JSON, with its quotes.
pub const MEDIA_PLACEHOLDER: &str = r#""\u0004""#;

/// Placeholder of the time at which a hand was raised in a template's JSON, with its quotes.
pub const HAND_PLACEHOLDER: &str = r#""\u0007""#;

pub(super) const PEER_MARK: &str = "\u{1}";
pub(super) const USER_MARK: &str = "\u{2}";
pub(super) const PARTICIPANT_MARK: &str = "\u{3}";
pub(super) const MEDIA_MARK: &str = "\u{4}";
pub(super) const ROLE_MARK: &str = "\u{5}";
pub(super) const HOST_MARK: &str = "\u{6}";
const HAND_MARK: &str = "\u{7}";
const PROFILE_MARK: &str = "\u{0}";

/// Serialises `value` as JSON. This cannot fail for the types here, because they have string keys
/// and finite numbers only; `null` is the fallback.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// Encodes an event as `"name",{payload}`.
#[must_use]
pub fn encode(name: &str, payload: &impl Serialize) -> String {
    format!("\"{name}\",{}", json(payload))
}

/// New participant, for [`participant_template`].
#[derive(Clone, Copy, Debug)]
pub struct Joiner<'a> {
    /// Public profile of the user or guest.
    pub user: &'a PublicUser,
    /// Role in the call.
    pub role: Role,
    /// Permissions of the user of an app; `None` for accounts and guests.
    pub permissions: Option<CallPermissions>,
    /// Media that are on.
    pub media: MediaState,
    /// Connected, or waiting in the lobby.
    pub state: ConnectionState,
    /// Time of the join: RFC 3339, UTC, with milliseconds.
    pub joined_at: &'a str,
    /// Node that serves the participant.
    pub node: &'a str,
    /// Socket.IO id of the participant's session.
    pub socket_id: &'a str,
}

/// Encodes a new participant. Placeholder: peer id.
#[must_use]
pub fn participant_template(joiner: &Joiner<'_>) -> String {
    // The struct has more than eight fields, because it mirrors `domain::Participant`.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Template<'a> {
        peer_id: &'a str,
        user_id: &'a UserId,
        role: Role,
        #[serde(skip_serializing_if = "Option::is_none")]
        permissions: Option<CallPermissions>,
        media_state: MediaState,
        is_connected: bool,
        connection_state: ConnectionState,
        joined_at: &'a str,
        node: &'a str,
        socket_id: &'a str,
        // Last: scripts replace the first match of a field, and an app chooses the metadata.
        user: &'a PublicUser,
    }
    json(&Template {
        peer_id: PEER_MARK,
        user_id: &joiner.user.id,
        role: joiner.role,
        permissions: joiner.permissions,
        media_state: joiner.media,
        is_connected: joiner.state != ConnectionState::Reconnecting,
        connection_state: joiner.state,
        joined_at: joiner.joined_at,
        node: joiner.node,
        socket_id: joiner.socket_id,
        user: joiner.user,
    })
}

/// Encodes `room:user-joined`. Placeholder: participant.
#[must_use]
pub fn user_joined_template(user: &PublicUser) -> String {
    user_joined(user)
}

/// Encodes `room:user-joined` of a user whose profile the script changes. Placeholders: user,
/// participant.
#[must_use]
pub fn changed_user_joined_template() -> String {
    user_joined(&PROFILE_MARK)
}

fn user_joined(user: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Template<'a, U> {
        user: &'a U,
        participant: &'a str,
    }
    encode("room:user-joined", &Template { user, participant: PARTICIPANT_MARK })
}

/// Encodes `room:user-left`. Placeholders: peer id, user id, participant.
#[must_use]
pub fn user_left_template(reason: &str) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Template<'a> {
        user_id: &'a str,
        peer_id: &'a str,
        participant: &'a str,
        reason: &'a str,
    }
    let open = Template { user_id: USER_MARK, peer_id: PEER_MARK, participant: PARTICIPANT_MARK, reason };
    encode("room:user-left", &open)
}

/// Encodes `participant:connection-changed` of a participant who lost the socket. Placeholders:
/// peer id, user id.
#[must_use]
pub fn reconnecting_template() -> String {
    connection_changed_template(ConnectionState::Reconnecting, None, None)
}

/// Encodes `participant:connection-changed` of a participant who is back. Placeholders: peer id,
/// user id. `node` serves the participant from now on. `socket_id` is the Socket.IO id: another one
/// than before means a new page or app, which has none of the former WebRTC connections.
#[must_use]
pub fn connected_template(node: &str, socket_id: &str) -> String {
    connection_changed_template(ConnectionState::Connected, Some(node), Some(socket_id))
}

fn connection_changed_template(state: ConnectionState, node: Option<&str>, socket_id: Option<&str>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Template<'a> {
        peer_id: &'a str,
        user_id: &'a str,
        state: ConnectionState,
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        socket_id: Option<&'a str>,
    }
    let fields = Template { peer_id: PEER_MARK, user_id: USER_MARK, state, node, socket_id };
    encode("participant:connection-changed", &fields)
}

/// Encodes `participant:media-state-changed`. Placeholder: media state.
#[must_use]
pub fn media_changed_template(user: &UserId, peer: &PeerId) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Template<'a> {
        user_id: &'a UserId,
        peer_id: &'a PeerId,
        media_state: &'a str,
    }
    encode(EventKind::MediaChanged.name(), &Template { user_id: user, peer_id: peer, media_state: MEDIA_MARK })
}

/// Encodes `participant:screen-share-changed`.
#[must_use]
pub fn screen_share_changed(user: &PublicUser, peer: &PeerId, enabled: bool) -> String {
    let payload = serde_json::json!({ "userId": user.id, "peerId": peer, "enabled": enabled, "user": user });
    encode(EventKind::ScreenShareChanged.name(), &payload)
}

/// Encodes `participant:hand-changed` of a raised hand. Placeholder: the time, because a hand that
/// is up already keeps its time.
#[must_use]
pub fn hand_raised_template(user: &UserId, peer: &PeerId) -> String {
    let fields = serde_json::json!({ "userId": user, "peerId": peer, "raised": true, "handRaisedAt": HAND_MARK });
    encode(EventKind::HandChanged.name(), &fields)
}

/// Encodes `participant:hand-changed` of a hand that its participant lowered.
#[must_use]
pub fn hand_lowered(user: &UserId, peer: &PeerId) -> String {
    let fields = serde_json::json!({ "userId": user, "peerId": peer, "raised": false });
    encode(EventKind::HandChanged.name(), &fields)
}

/// Encodes `participant:reaction`.
#[must_use]
pub fn reaction(user: &UserId, peer: &PeerId, emoji: &str) -> String {
    let fields = serde_json::json!({ "userId": user, "peerId": peer, "emoji": emoji });
    encode(EventKind::Reaction.name(), &fields)
}

/// Encodes `server:event`, an event of the backend of an app. `data` is JSON. `at`: RFC 3339, UTC,
/// with milliseconds.
#[must_use]
pub fn of_server(id: &str, name: &str, data: Option<&serde_json::Value>, at: &str) -> String {
    #[derive(Serialize)]
    struct Event<'a> {
        id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a serde_json::Value>,
        timestamp: &'a str,
    }
    encode(EventKind::ServerEvent.name(), &Event { id, name, data, timestamp: at })
}

/// Encodes `chat:typing`.
#[must_use]
pub fn typing(from: &PeerId, user: &PublicUser, is_typing: bool) -> String {
    encode(EventKind::ChatTyping.name(), &serde_json::json!({ "from": from, "fromUser": user, "isTyping": is_typing }))
}

/// Returns the coalescing key of an event that reports a current state; `None` for other events.
///
/// An event replaces an earlier queued event with the same key, so that a slow client gets only the
/// latest state. The key is the event's name and the peer id.
#[must_use]
pub fn coalescing_key(kind: EventKind, event: &str) -> Option<String> {
    let field = match kind {
        EventKind::MediaChanged | EventKind::ScreenShareChanged | EventKind::HandChanged => "\"peerId\":\"",
        EventKind::ChatTyping => "\"from\":\"",
        _ => return None,
    };
    // Inside a JSON string the quotes are escaped, so this can only match the field itself.
    let peer = event.split_once(field)?.1.split('"').next()?;
    Some(format!("{} {peer}", kind.name()))
}

/// Encodes `room:call-ended`.
#[must_use]
pub fn call_ended(room: &crate::domain::RoomId, reason: &str) -> String {
    encode("room:call-ended", &serde_json::json!({ "roomId": room.name(), "reason": reason }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_filled_template_is_a_valid_event() {
        let user = PublicUser::new(UserId::parse("guest-0123456789abcdef").unwrap(), "A \"\\u0001\"".to_owned(), None);
        let participant = participant_template(&Joiner {
            user: &user,
            role: Role::Guest,
            permissions: None,
            media: MediaState::default(),
            state: ConnectionState::Connected,
            joined_at: "2026-01-01T00:00:00.000Z",
            node: "n1",
            socket_id: "0123456789abcdef0123",
        });
        let participant = participant.replace(PEER_PLACEHOLDER, "\"u#2\"");
        let event = user_joined_template(&user).replace(PARTICIPANT_PLACEHOLDER, &participant);
        let value: serde_json::Value = serde_json::from_str(&format!("[{event}]")).unwrap();
        assert_eq!(value[0], "room:user-joined");
        assert_eq!(value[1]["participant"]["peerId"], "u#2");
        assert_eq!(value[1]["participant"]["user"]["name"], "A \"\\u0001\"");
    }

    #[test]
    fn every_template_contains_its_placeholders() {
        let left = user_left_template("left");
        assert!(
            left.contains(PEER_PLACEHOLDER)
                && left.contains(USER_PLACEHOLDER)
                && left.contains(PARTICIPANT_PLACEHOLDER)
        );
        let changed = reconnecting_template();
        assert!(
            changed.contains(PEER_PLACEHOLDER)
                && changed.contains(USER_PLACEHOLDER)
                && !changed.contains(PARTICIPANT_PLACEHOLDER)
        );
    }

    #[test]
    fn a_state_event_has_the_same_key_only_as_events_of_its_kind_for_the_same_peer() {
        let (user, peer) = (UserId::parse("u").unwrap(), PeerId::parse("u#2").unwrap());
        // A name that contains the fields of another peer.
        let forger = PublicUser::new(user.clone(), r#"x","peerId":"v","from":"v"#.to_owned(), None);
        let media = coalescing_key(EventKind::MediaChanged, &media_changed_template(&user, &peer));
        assert_eq!(media.unwrap(), "participant:media-state-changed u#2");
        let share = coalescing_key(EventKind::ScreenShareChanged, &screen_share_changed(&forger, &peer, true));
        assert_eq!(share.unwrap(), "participant:screen-share-changed u#2");
        let typing = typing(&peer, &forger, true);
        assert_eq!(coalescing_key(EventKind::ChatTyping, &typing).unwrap(), "chat:typing u#2");
        assert_eq!(coalescing_key(EventKind::ChatMessage, &typing), None, "the kind decides, not the text");
    }
}
