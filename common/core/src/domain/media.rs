//! Changes of a participant's media.

use serde::Deserialize;

use super::participant::{MediaState, Role};

/// What of a media state changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaChange {
    /// The camera.
    #[serde(default)]
    pub video_enabled: Option<bool>,
    /// The microphone.
    #[serde(default)]
    pub audio_enabled: Option<bool>,
    /// The screen.
    #[serde(default)]
    pub screen_share_enabled: Option<bool>,
}

impl MediaChange {
    /// The state after the change.
    #[must_use]
    pub fn applied_to(self, state: MediaState) -> MediaState {
        MediaState {
            video_enabled: self.video_enabled.unwrap_or(state.video_enabled),
            audio_enabled: self.audio_enabled.unwrap_or(state.audio_enabled),
            screen_share_enabled: self.screen_share_enabled.unwrap_or(state.screen_share_enabled),
        }
    }
}

/// A change of one's own media, and what it was decided on. Names of settings are as on the wire, separated by spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaSwitch {
    /// The change.
    pub change: MediaChange,
    /// The role that the sender was taken for: with another, all of this is void.
    pub role: Role,
    /// The settings that video, audio and screen rest on when they go on.
    pub rests_on: [&'static str; 3],
    /// Those that going on again rests on besides, after a moderator has switched it off.
    pub unmuting_rests_on: &'static str,
}
