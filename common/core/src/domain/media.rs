//! Changes of a participant's media state.

use serde::Deserialize;

use super::participant::{MediaState, Role};

/// Partial update of a [`MediaState`]. Fields that are `None` stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaChange {
    /// Camera on or off.
    #[serde(default)]
    pub video_enabled: Option<bool>,
    /// Microphone on or off.
    #[serde(default)]
    pub audio_enabled: Option<bool>,
    /// Screen share on or off.
    #[serde(default)]
    pub screen_share_enabled: Option<bool>,
}

impl MediaChange {
    /// Returns `state` with this change applied.
    #[must_use]
    pub fn applied_to(self, state: MediaState) -> MediaState {
        MediaState {
            video_enabled: self.video_enabled.unwrap_or(state.video_enabled),
            audio_enabled: self.audio_enabled.unwrap_or(state.audio_enabled),
            screen_share_enabled: self.screen_share_enabled.unwrap_or(state.screen_share_enabled),
        }
    }
}

/// Media change that a participant requests for themselves, with the conditions that it depends on.
///
/// The node checks the conditions on its copy of the room; the room's Redis script checks them
/// again on the current state. Setting names are those on the wire, separated by spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConditionalMediaChange {
    /// Requested change.
    pub change: MediaChange,
    /// Role of the sender in the node's copy. If the current role differs, the script refuses.
    pub role: Role,
    /// Settings and permissions that must be on to switch on video, audio and screen share, in this
    /// order.
    pub required_settings: [&'static str; 3],
    /// Additional settings that must be on to unmute after a moderator muted the participant.
    pub required_to_unmute: &'static str,
}
