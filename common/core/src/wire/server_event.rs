//! Events that the server sends, as text: the inside of the Socket.IO array, `"name",{...}`, to which a node adds the
//! packet's frame and the offset. Encoded once, then only passed on.
//!
//! Some facts only a script knows: the peer id that a join is given, the participant who is removed. For those the text is a
//! template: the whole value is one control character, which JSON writes as `"\u0001"`, quotes included; a text that spells that
//! out has its backslash doubled, so no name can forge it. A script replaces it.

use serde::Serialize;

use crate::domain::{ConnectionState, MediaState, PeerId, PublicUser, Role, UserId};

/// How the open peer id looks in a template's JSON, quotes included (without them a name could spell it).
pub const PEER: &str = r#""\u0001""#;
/// How the open user id looks in a template's JSON, quotes included.
pub const USER: &str = r#""\u0002""#;
/// How the open participant (or media state) looks in a template's JSON, quotes included.
pub const PARTICIPANT: &str = r#""\u0003""#;
/// How the open media state looks in a template's JSON, quotes included.
pub const MEDIA: &str = r#""\u0004""#;

pub(super) const OPEN_PEER: &str = "\u{1}";
pub(super) const OPEN_USER: &str = "\u{2}";
pub(super) const OPEN_PARTICIPANT: &str = "\u{3}";
pub(super) const OPEN_MEDIA: &str = "\u{4}";
pub(super) const OPEN_ROLE: &str = "\u{5}";
pub(super) const OPEN_HOST: &str = "\u{6}";

/// The JSON of one of our own values, which have string keys and finite numbers: nothing that JSON cannot hold.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// `"name",{payload}`.
#[must_use]
pub fn encode(name: &str, payload: &impl Serialize) -> String {
    format!("\"{name}\",{}", json(payload))
}

/// A participant as it is about to come: what [`participant_template`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct Comer<'a> {
    /// Who.
    pub user: &'a PublicUser,
    /// As what.
    pub role: Role,
    /// With which media.
    pub media: MediaState,
    /// Connected, or waiting in the lobby.
    pub state: ConnectionState,
    /// RFC 3339, UTC, milliseconds.
    pub joined_at: &'a str,
    /// The node that serves it.
    pub node: &'a str,
}

/// The JSON of a participant about to come; its peer id is open.
#[must_use]
pub fn participant_template(comer: &Comer<'_>) -> String {
    // Over eight fields: it is `domain::Participant` with placeholders, and where it sits.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Template<'a> {
        peer_id: &'a str,
        user_id: &'a UserId,
        user: &'a PublicUser,
        role: Role,
        media_state: MediaState,
        is_connected: bool,
        connection_state: ConnectionState,
        joined_at: &'a str,
        node: &'a str,
    }
    json(&Template {
        peer_id: OPEN_PEER,
        user_id: &comer.user.id,
        user: comer.user,
        role: comer.role,
        media_state: comer.media,
        is_connected: comer.state != ConnectionState::Reconnecting,
        connection_state: comer.state,
        joined_at: comer.joined_at,
        node: comer.node,
    })
}

/// `room:user-joined`; the participant is open.
#[must_use]
pub fn user_joined_template(user: &PublicUser) -> String {
    #[derive(Serialize)]
    struct Template<'a> {
        user: &'a PublicUser,
        participant: &'a str,
    }
    encode("room:user-joined", &Template { user, participant: OPEN_PARTICIPANT })
}

/// `room:user-left`; peer, user and participant are open.
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
    let open = Template { user_id: OPEN_USER, peer_id: OPEN_PEER, participant: OPEN_PARTICIPANT, reason };
    encode("room:user-left", &open)
}

/// `participant:connection-changed`; peer and user are open. `node`: who serves it from now on.
#[must_use]
pub fn connection_changed_template(state: ConnectionState, node: Option<&str>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Template<'a> {
        peer_id: &'a str,
        user_id: &'a str,
        state: ConnectionState,
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<&'a str>,
    }
    encode("participant:connection-changed", &Template { peer_id: OPEN_PEER, user_id: OPEN_USER, state, node })
}

/// `participant:media-state-changed`; the state is open.
#[must_use]
pub fn media_changed_template(user: &UserId, peer: &PeerId) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Template<'a> {
        user_id: &'a UserId,
        peer_id: &'a PeerId,
        media_state: &'a str,
    }
    encode(MEDIA_CHANGED, &Template { user_id: user, peer_id: peer, media_state: OPEN_MEDIA })
}

/// `participant:screen-share-changed`
#[must_use]
pub fn screen_share_changed(user: &PublicUser, peer: &PeerId, enabled: bool) -> String {
    let payload = serde_json::json!({ "userId": user.id, "peerId": peer, "enabled": enabled, "user": user });
    encode(SCREEN_SHARE_CHANGED, &payload)
}

/// `chat:typing`
#[must_use]
pub fn typing(from: &PeerId, user: &PublicUser, is_typing: bool) -> String {
    encode(TYPING, &serde_json::json!({ "from": from, "fromUser": user, "isTyping": is_typing }))
}

const MEDIA_CHANGED: &str = "participant:media-state-changed";
const SCREEN_SHARE_CHANGED: &str = "participant:screen-share-changed";
const TYPING: &str = "chat:typing";

/// For an event that says how somebody is now, and so makes the one before it pointless: what both have in common. A client that is
/// slow to read need get only the last.
#[must_use]
pub fn superseded_by(event: &str) -> Option<String> {
    let name = event.strip_prefix('"')?.split('"').next()?;
    let field = match name {
        MEDIA_CHANGED | SCREEN_SHARE_CHANGED => "\"peerId\":\"",
        TYPING => "\"from\":\"",
        _ => return None,
    };
    // Within a string the quotes would be escaped: this is the field itself.
    let whom = event.split_once(field)?.1.split('"').next()?;
    Some(format!("{name} {whom}"))
}

/// `room:call-ended`.
#[must_use]
pub fn call_ended(room: &crate::domain::RoomId, reason: &str) -> String {
    encode("room:call-ended", &serde_json::json!({ "roomId": room, "reason": reason }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_filled_template_is_the_event() {
        let user = PublicUser::new(UserId::parse("guest-0123456789abcdef").unwrap(), "A \"\\u0001\"".to_owned(), None);
        let participant = participant_template(&Comer {
            user: &user,
            role: Role::Guest,
            media: MediaState::default(),
            state: ConnectionState::Connected,
            joined_at: "2026-01-01T00:00:00.000Z",
            node: "n1",
        });
        let participant = participant.replace(PEER, "\"u#2\"");
        let event = user_joined_template(&user).replace(PARTICIPANT, &participant);
        let value: serde_json::Value = serde_json::from_str(&format!("[{event}]")).unwrap();
        assert_eq!(value[0], "room:user-joined");
        assert_eq!(value[1]["participant"]["peerId"], "u#2");
        assert_eq!(value[1]["participant"]["user"]["name"], "A \"\\u0001\"");
    }

    #[test]
    fn every_template_shows_its_placeholders() {
        let left = user_left_template("left");
        assert!(left.contains(PEER) && left.contains(USER) && left.contains(PARTICIPANT));
        let changed = connection_changed_template(ConnectionState::Reconnecting, None);
        assert!(changed.contains(PEER) && changed.contains(USER) && !changed.contains(PARTICIPANT));
    }

    #[test]
    fn an_event_of_a_state_supersedes_the_one_before_of_the_same_peer_and_nothing_else() {
        let (user, peer) = (UserId::parse("u").unwrap(), PeerId::parse("u#2").unwrap());
        // A name that tries to pass for another's id.
        let who = PublicUser::new(user.clone(), r#"x","peerId":"v","from":"v"#.to_owned(), None);
        let key = |event: &str| superseded_by(event);
        assert_eq!(key(&media_changed_template(&user, &peer)).unwrap(), "participant:media-state-changed u#2");
        assert_eq!(key(&screen_share_changed(&who, &peer, true)).unwrap(), "participant:screen-share-changed u#2");
        assert_eq!(key(&typing(&peer, &who, true)).unwrap(), "chat:typing u#2");
        assert_eq!(key(&encode("chat:message", &who)), None);
    }
}
