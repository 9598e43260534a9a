//! A call's settings.

use serde::{Deserialize, Serialize};

/// What is allowed and what happens by itself in a call. Field names are as on the wire and in MongoDB, and so is
/// their number, which is over eight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
