//! Parses moderation commands.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{EventName, fields, or_default};
use crate::domain::call_fields::{self, check_participants};
use crate::domain::{Code, MediaKind, PeerId, Refusal, Role, SettingsChange, names};
use crate::wire::whole_number;

/// Moderation command of the host or a moderator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `room:admit`
    Admit {
        /// Participant to admit; `None`: all who wait in the lobby.
        peer: Option<PeerId>,
    },
    /// `room:deny`
    Deny {
        /// Participant to deny.
        peer: PeerId,
        /// Reason for the participant.
        reason: Option<String>,
    },
    /// `participant:mute`
    Mute {
        /// Participant to mute.
        peer: PeerId,
        /// Media to switch off.
        kind: MediaKind,
    },
    /// `participant:lower-hand`
    LowerHand {
        /// Participant whose hand to lower.
        peer: PeerId,
    },
    /// `participant:kick`
    Kick {
        /// Participant to remove.
        peer: PeerId,
        /// Whether the participant is also banned from the room.
        ban: bool,
        /// Reason for the participant.
        reason: Option<String>,
    },
    /// `participant:set-role`
    SetRole {
        /// Participant that gets the role.
        peer: PeerId,
        /// New role. Never host: that is [`Command::TransferHost`].
        role: Role,
    },
    /// `room:transfer-host`
    TransferHost {
        /// Participant that becomes host.
        peer: PeerId,
    },
    /// `room:lock`
    Lock {
        /// Whether the room is locked from now on.
        locked: bool,
    },
    /// `room:update`
    Update(RoomChange),
}

/// Changes of `room:update`. Omitted values stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomChange {
    /// New title, within [`call_fields::TITLE`].
    pub name: Option<String>,
    /// Settings to change.
    pub settings: SettingsChange,
    /// New number of participants, within [`call_fields::PARTICIPANTS`].
    pub max_participants: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(default)]
    peer_id: Option<PeerId>,
    #[serde(default, deserialize_with = "or_default")]
    all: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    kind: Option<MediaKind>,
    #[serde(default, deserialize_with = "or_default")]
    ban: bool,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    locked: Option<bool>,
}

/// Parses a moderation command with fields in [`Fields`].
///
/// # Errors
/// `VALIDATION_ERROR` if a field is missing or invalid; `UNKNOWN_EVENT` for another event.
pub(super) fn parse(event: EventName, text: &str) -> Result<Command, Refusal> {
    let Fields { peer_id, all, reason, kind, ban, role, locked } = fields(text)?;
    let reason = reason.map(|reason| names::parse("reason", &reason, &call_fields::REASON)).transpose()?;
    let peer = peer_id.ok_or_else(|| missing("peerId"));
    Ok(match event {
        EventName::Admit if all => Command::Admit { peer: None },
        EventName::Admit => Command::Admit { peer: Some(peer?) },
        EventName::Deny => Command::Deny { peer: peer?, reason },
        EventName::Lock => Command::Lock { locked: locked.ok_or_else(|| missing("locked"))? },
        EventName::TransferHost => Command::TransferHost { peer: peer? },
        EventName::Mute => Command::Mute { peer: peer?, kind: kind.ok_or_else(|| missing("kind"))? },
        EventName::LowerHand => Command::LowerHand { peer: peer? },
        EventName::Kick => Command::Kick { peer: peer?, ban, reason },
        EventName::SetRole => match role.ok_or_else(|| missing("role"))? {
            Role::Host => {
                return Err(Refusal::field(Code::ValidationError, "role", "must not be host; use room:transfer-host"));
            }
            role => Command::SetRole { peer: peer?, role },
        },
        _ => return Err(Code::UnknownEvent.into()),
    })
}

/// Parses `room:update`.
pub(super) fn update(text: &str) -> Result<Command, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fields {
        #[serde(alias = "title", default)]
        name: Option<String>,
        #[serde(default, deserialize_with = "or_default")]
        settings: Map<String, Value>,
        #[serde(default, deserialize_with = "whole_number::optional")]
        max_participants: Option<u32>,
    }
    let Fields { name, settings, max_participants } = fields(text)?;
    let name = name.map(|name| names::parse("name", &name, &call_fields::TITLE)).transpose()?;
    check_participants(max_participants)?;
    let settings = SettingsChange::read(&settings)
        .ok_or_else(|| Refusal::field(Code::ValidationError, "settings", "each setting must be true or false"))?;
    Ok(Command::Update(RoomChange { name, settings, max_participants }))
}

fn missing(field: &'static str) -> Refusal {
    Refusal::field(Code::ValidationError, field, "is missing")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use serde_json::value::RawValue;

    use super::*;
    use crate::domain::CallSettings;
    use crate::wire::client_event::{self, ClientEvent, Limits};

    fn command(name: &str, text: &str) -> Result<Command, Code> {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        match client_event::parse(name, Some(&raw), &Limits::default()) {
            Ok(ClientEvent::Command(command)) => Ok(command),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.code),
        }
    }

    #[test]
    fn every_command_is_parsed() {
        let peer = PeerId::parse("u#2").unwrap();
        let text = r#"{"peerId":"u#2","reason":"later","kind":"audio","ban":true,"role":"moderator","locked":true}"#;
        let reason = Some("later".to_owned());
        assert_eq!(command("room:admit", text), Ok(Command::Admit { peer: Some(peer.clone()) }));
        assert_eq!(command("room:admit", r#"{"all":true}"#), Ok(Command::Admit { peer: None }));
        assert_eq!(command("room:deny", text), Ok(Command::Deny { peer: peer.clone(), reason: reason.clone() }));
        assert_eq!(command("participant:mute", text), Ok(Command::Mute { peer: peer.clone(), kind: MediaKind::Audio }));
        assert_eq!(command("participant:kick", text), Ok(Command::Kick { peer: peer.clone(), ban: true, reason }));
        assert_eq!(command("participant:lower-hand", text), Ok(Command::LowerHand { peer: peer.clone() }));
        let role = Role::Moderator;
        assert_eq!(command("participant:set-role", text), Ok(Command::SetRole { peer: peer.clone(), role }));
        assert_eq!(command("room:transfer-host", text), Ok(Command::TransferHost { peer }));
        assert_eq!(command("room:lock", text), Ok(Command::Lock { locked: true }));
        let Ok(Command::Update(change)) = command("room:update", r#"{"name":"N","settings":{"chatEnabled":false}}"#)
        else {
            panic!("room:update is not parsed as an update")
        };
        let settings = change.settings.applied_to(&CallSettings::default());
        assert_eq!((change.name.as_deref(), settings.chat_enabled, settings.video_enabled), (Some("N"), false, true));
    }

    #[test]
    fn a_missing_mistyped_or_out_of_bounds_field_is_refused() {
        for (name, text) in [
            ("room:admit", "{}"),
            ("room:admit", r#"{"peerId":7}"#),
            ("room:deny", r#"{"peerId":"u","reason":"a\u0001b"}"#),
            ("room:lock", "{}"),
            ("room:lock", r#"{"locked":"yes"}"#),
            ("participant:mute", r#"{"peerId":"u"}"#),
            ("participant:mute", r#"{"peerId":"u","kind":"smell"}"#),
            ("participant:lower-hand", "{}"),
            ("participant:set-role", r#"{"peerId":"u","role":"host"}"#),
            ("participant:set-role", r#"{"peerId":"u","role":"king"}"#),
            ("room:update", r#"{"name":"  "}"#),
            ("room:update", r#"{"maxParticipants":1}"#),
            ("room:update", r#"{"settings":{"chatEnabled":"no"}}"#),
        ] {
            assert_eq!(command(name, text), Err(Code::ValidationError), "{name} {text}");
        }
        assert_eq!(command("room:explode", "{}"), Err(Code::UnknownEvent));
    }
}
