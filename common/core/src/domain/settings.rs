//! A call's settings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::participant::{MediaState, Role};

/// What is allowed and what happens by itself in a call. Field names are as on the wire and in MongoDB, and so is
/// their number, which is over eight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the wire")]
pub struct CallSettings {
    /// Cameras may be on.
    pub video_enabled: bool,
    /// Microphones may be on.
    pub audio_enabled: bool,
    /// Screens may be shared at all.
    pub screen_share_enabled: bool,
    /// There is a chat.
    pub chat_enabled: bool,
    /// Who joins late can read what was said before.
    pub chat_history_enabled: bool,
    /// What is said is recorded for good.
    pub chat_recording_enabled: bool,
    /// A hint for clients.
    pub noise_reduction_enabled: bool,
    /// Others than host and moderators may share their screen.
    pub allow_participant_screen_share: bool,
    /// Who was muted may unmute without being asked.
    pub allow_participant_unmute: bool,
    /// With the waiting room on, guests are let in by themselves.
    pub auto_admit_guests: bool,
    /// Who joins waits for host or moderator.
    pub waiting_room_enabled: bool,
    /// A hint for clients.
    pub recording_enabled: bool,
    /// A hint for clients.
    pub background_blur_enabled: bool,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            video_enabled: true,
            audio_enabled: true,
            screen_share_enabled: true,
            chat_enabled: true,
            chat_history_enabled: true,
            chat_recording_enabled: false,
            noise_reduction_enabled: true,
            allow_participant_screen_share: true,
            allow_participant_unmute: true,
            auto_admit_guests: true,
            waiting_room_enabled: false,
            recording_enabled: false,
            background_blur_enabled: false,
        }
    }
}

impl CallSettings {
    /// What of its media is on when somebody of this role comes in: what a client is taken to send, as far as the settings let it.
    /// Host and moderators are exempt.
    #[must_use]
    pub fn media_at_entry(&self, role: Role) -> MediaState {
        let (media, exempt) = (MediaState::default(), role >= Role::Moderator);
        MediaState {
            video_enabled: media.video_enabled && (exempt || self.video_enabled),
            audio_enabled: media.audio_enabled && (exempt || self.audio_enabled),
            ..media
        }
    }
}

/// Some settings that are to be changed, by their names on the wire; the others stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SettingsChange(BTreeMap<String, bool>);

impl SettingsChange {
    /// Reads it; what is no setting is ignored. `None`: a setting that is neither true nor false.
    #[must_use]
    pub fn read(fields: &Map<String, Value>) -> Option<Self> {
        let known = object(&CallSettings::default());
        let named = fields.iter().filter(|(name, _)| known.contains_key(*name));
        named.map(|(name, value)| Some((name.clone(), value.as_bool()?))).collect::<Option<_>>().map(Self)
    }

    /// Each setting and what it is to be.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The settings after the change.
    #[must_use]
    pub fn applied_to(&self, settings: &CallSettings) -> CallSettings {
        let mut fields = object(settings);
        fields.extend(self.iter().map(|(name, value)| (name.to_owned(), Value::Bool(value))));
        // Names and types are those of the settings: `read` saw to it.
        serde_json::from_value(Value::Object(fields)).unwrap_or_else(|_| settings.clone())
    }
}

fn object(settings: &CallSettings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn who_comes_in_has_on_what_the_settings_let_it() {
        let strict = CallSettings { video_enabled: false, ..CallSettings::default() };
        let media = strict.media_at_entry(Role::Guest);
        assert!(!media.video_enabled && media.audio_enabled && !media.screen_share_enabled);
        assert_eq!(strict.media_at_entry(Role::Moderator), MediaState::default());
        assert_eq!(CallSettings::default().media_at_entry(Role::Participant), MediaState::default());
    }

    #[test]
    fn a_change_touches_what_it_names() {
        let change = |value: Value| SettingsChange::read(value.as_object().unwrap());
        let some = change(json!({ "chatEnabled": false, "waitingRoomEnabled": true, "unknown": 1 })).unwrap();
        let after = some.applied_to(&CallSettings { recording_enabled: true, ..CallSettings::default() });
        let expected = CallSettings {
            chat_enabled: false,
            waiting_room_enabled: true,
            recording_enabled: true,
            ..CallSettings::default()
        };
        assert_eq!(after, expected);
        assert_eq!(change(json!({ "chatEnabled": "no" })), None);
        assert_eq!(change(json!({ "chatEnabled": null })), None);
    }
}
