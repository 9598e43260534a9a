//! The settings of a call.
//!
//! `call_settings!` below lists each setting once. The struct, its defaults, the partial change,
//! the JSON and BSON forms, the JSON schema and the OpenAPI document all follow from that list. To
//! add a setting, add one entry, then use the field where it takes effect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::participant::{MediaState, Role};

/// One setting, for code that treats all settings alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingInfo {
    /// Name on the wire and in MongoDB.
    pub name: &'static str,
    /// Value when a document or a request does not name the setting.
    pub default: bool,
    /// One sentence about the setting.
    pub description: &'static str,
}

/// Defines [`CallSettings`] and [`SettingsChange`]. An entry is: a doc comment, the field, the name
/// on the wire and in MongoDB, the default.
macro_rules! call_settings {
    ($(#[doc = $doc:literal] $field:ident $name:literal = $default:literal;)*) => {
        /// Settings of a call. Unknown names are ignored and missing names have their default, so
        /// that old records and old clients stay valid. The struct has more than eight fields: one
        /// for each setting.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct CallSettings {
            $(#[doc = $doc] #[serde(rename = $name)] pub $field: bool,)*
        }

        impl Default for CallSettings {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl CallSettings {
            /// Every setting, in the order of the JSON object.
            pub const ALL: &[SettingInfo] =
                &[$(SettingInfo { name: $name, default: $default, description: $doc.trim_ascii() },)*];
        }

        /// Change of some settings; `None` leaves a setting as it is. The struct has more than
        /// eight fields: one for each setting.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct SettingsChange {
            $(#[doc = $doc] pub $field: Option<bool>,)*
        }

        impl SettingsChange {
            /// Reads a change from a JSON object. Unknown names are ignored, and null counts as
            /// missing. Returns `None` when a setting is neither `true` nor `false`.
            #[must_use]
            pub fn read(fields: &Map<String, Value>) -> Option<Self> {
                Some(Self { $($field: read_setting(fields, $name)?,)* })
            }

            /// Returns the name and the new value of each setting that changes.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, bool)> {
                [$(($name, self.$field),)*].into_iter().filter_map(|(name, value)| Some((name, value?)))
            }

            /// Returns the settings after the change.
            #[must_use]
            pub fn applied_to(&self, settings: &CallSettings) -> CallSettings {
                self.completed(settings).written_over(settings)
            }

            /// Returns the settings of a new call: those that the change names, and defaults. A new
            /// call has no settings that a client could echo, so every value that is named counts.
            #[must_use]
            pub fn of_new_call(&self) -> CallSettings {
                let guests = self.auto_admit_guests.or(self.waiting_room_enabled.map(|waits| !waits));
                Self { auto_admit_guests: guests, ..self.clone() }.written_over(&CallSettings::default())
            }

            fn written_over(&self, settings: &CallSettings) -> CallSettings {
                CallSettings { $($field: self.$field.unwrap_or(settings.$field),)* }
            }
        }
    };
}

call_settings! {
    /// Participants may turn on their cameras.
    video_enabled "videoEnabled" = true;
    /// Participants may turn on their microphones.
    audio_enabled "audioEnabled" = true;
    /// Screens may be shared.
    screen_share_enabled "screenShareEnabled" = true;
    /// Chat is on.
    chat_enabled "chatEnabled" = true;
    /// Participants who join later can read earlier chat messages.
    chat_history_enabled "chatHistoryEnabled" = true;
    /// Chat messages are stored permanently.
    chat_recording_enabled "chatRecordingEnabled" = false;
    /// Hint for clients: reduce background noise.
    noise_reduction_enabled "noiseReductionEnabled" = true;
    /// Participants below moderator may share their screens.
    allow_participant_screen_share "allowParticipantScreenShare" = true;
    /// A participant whom a moderator muted may unmute without being asked.
    allow_participant_unmute "allowParticipantUnmute" = true;
    /// Guests skip the waiting room. Switching that on switches this off, unless it changes too.
    auto_admit_guests "autoAdmitGuests" = true;
    /// New participants wait until the host or a moderator admits them.
    waiting_room_enabled "waitingRoomEnabled" = false;
    /// Hint for clients: record the call.
    recording_enabled "recordingEnabled" = false;
    /// Hint for clients: blur the background of the camera image.
    background_blur_enabled "backgroundBlurEnabled" = false;
    /// Hint for clients: participants join with their microphones off.
    join_muted "joinMuted" = false;
}

impl SettingsChange {
    /// Returns the change with what follows from it. Switching the waiting room on makes guests
    /// wait too, unless the same change says otherwise: `autoAdmitGuests` is on by default, as in
    /// documents of the old Node.js backend, and strangers would walk in. A value that the call has
    /// already does not say otherwise, because clients send back all that they have read.
    #[must_use]
    pub fn completed(&self, settings: &CallSettings) -> Self {
        let switches_on = self.waiting_room_enabled == Some(true) && !settings.waiting_room_enabled;
        let echoes = switches_on && self.auto_admit_guests == Some(settings.auto_admit_guests);
        let guests = self.auto_admit_guests.filter(|_| !echoes).or(switches_on.then_some(false));
        Self { auto_admit_guests: guests, ..self.clone() }
    }
}

/// Reads one setting of a change. The outer `None` means an invalid value.
fn read_setting(fields: &Map<String, Value>, name: &str) -> Option<Option<bool>> {
    match fields.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_bool().map(Some),
    }
}

impl CallSettings {
    /// Returns the media state of a participant with this role at the moment of joining: the media
    /// that a client is assumed to send, as far as the settings allow. Host and moderators are
    /// exempt from the settings.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_new_participant_has_the_media_that_the_settings_allow() {
        let strict = CallSettings { video_enabled: false, ..CallSettings::default() };
        let media = strict.media_at_entry(Role::Guest);
        assert!(!media.video_enabled && media.audio_enabled && !media.screen_share_enabled);
        assert_eq!(strict.media_at_entry(Role::Moderator), MediaState::default());
        assert_eq!(CallSettings::default().media_at_entry(Role::Participant), MediaState::default());
    }

    #[test]
    fn a_change_sets_only_the_settings_that_it_names() {
        let change = |value: Value| SettingsChange::read(value.as_object().unwrap());
        let some = change(json!({ "chatEnabled": false, "waitingRoomEnabled": true, "unknown": 1 })).unwrap();
        let after = some.applied_to(&CallSettings { recording_enabled: true, ..CallSettings::default() });
        let expected = CallSettings {
            chat_enabled: false,
            waiting_room_enabled: true,
            auto_admit_guests: false,
            recording_enabled: true,
            ..CallSettings::default()
        };
        assert_eq!(after, expected);
        assert_eq!(some.iter().collect::<Vec<_>>(), [("chatEnabled", false), ("waitingRoomEnabled", true)]);
        assert_eq!(change(json!({ "chatEnabled": "no" })), None);
        assert_eq!(change(json!({ "chatEnabled": null })), Some(SettingsChange::default()));
    }

    #[test]
    fn switching_the_waiting_room_on_makes_guests_wait_unless_the_same_change_says_otherwise() {
        let change = |value: Value| SettingsChange::read(value.as_object().unwrap()).unwrap();
        let off = CallSettings::default();
        let on = CallSettings { waiting_room_enabled: true, ..off };
        let guests_wait = CallSettings { auto_admit_guests: false, ..off };
        for (settings, value, guests_skip) in [
            (&off, json!({ "waitingRoomEnabled": true }), false),
            // Guests skip it already: a client that sends back all that it has read says no more.
            (&off, json!({ "waitingRoomEnabled": true, "autoAdmitGuests": true }), false),
            (&guests_wait, json!({ "waitingRoomEnabled": true, "autoAdmitGuests": true }), true),
            (&guests_wait, json!({ "waitingRoomEnabled": true, "autoAdmitGuests": false }), false),
            (&on, json!({ "waitingRoomEnabled": true, "autoAdmitGuests": true }), true),
            (&off, json!({ "waitingRoomEnabled": false }), true),
            (&off, json!({ "chatEnabled": false }), true),
            // It is on already: nothing is switched on.
            (&on, json!({ "waitingRoomEnabled": true }), true),
            (&on, json!({ "autoAdmitGuests": false }), false),
        ] {
            assert_eq!(change(value.clone()).applied_to(settings).auto_admit_guests, guests_skip, "{value}");
        }
        for (value, guests_skip) in [
            (json!({}), true),
            (json!({ "waitingRoomEnabled": true }), false),
            (json!({ "waitingRoomEnabled": true, "autoAdmitGuests": true }), true),
        ] {
            assert_eq!(change(value.clone()).of_new_call().auto_admit_guests, guests_skip, "{value}");
        }
        let stored: CallSettings = serde_json::from_value(json!({ "waitingRoomEnabled": true })).unwrap();
        assert!(stored.auto_admit_guests, "documents of the old Node.js backend keep their meaning");
    }

    #[test]
    fn the_protocol_page_has_every_setting_with_its_default_and_meaning() {
        let protocol = include_str!("../../../../docs/PROTOCOL.md");
        let section = protocol.split("| setting | by default | meaning |\n").nth(1).unwrap();
        let rows: Vec<_> = section.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
        let row = |info: &SettingInfo| format!("| `{}` | {} | {} |", info.name, info.default, info.description);
        assert_eq!(rows, CallSettings::ALL.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn the_list_of_settings_is_the_json_object_of_the_defaults() {
        let listed: Map<_, _> = CallSettings::ALL.iter().map(|info| (info.name.into(), info.default.into())).collect();
        assert_eq!(serde_json::to_value(CallSettings::default()).unwrap(), Value::Object(listed));
        assert!(CallSettings::ALL.iter().all(|info| info.description.ends_with('.')));
        let old: CallSettings = serde_json::from_value(json!({ "removedLater": 1, "chatEnabled": false })).unwrap();
        assert_eq!(old, CallSettings { chat_enabled: false, ..CallSettings::default() });
    }
}
