//! Cameras, microphones and screens, within what the call's settings allow.
//!
//! A rule says what going on rests on; the script compares that with the settings and the state as they are, since both may have
//! changed a moment ago, by a moderator or by the sender's own event before this one. Going off is always allowed.

use switchboard_core::domain::{Code, ConditionalMediaChange, MediaChange, Refusal, Role};
use switchboard_core::wire::server_event::{media_changed_template, screen_share_changed};

use super::effect::{Effect, Logged, LoggedKind};
use super::session::{Place, SessionView};

/// `participant:update-media-state`
pub(super) fn update(change: MediaChange, id: Option<Box<str>>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = session.seated()?;
    let event = media_changed_template(&session.user.id, &place.peer);
    Ok(Effect::Log(Logged::new(switch(change, place), event, id)))
}

/// `webrtc:screen-share`
pub(super) fn share_screen(enabled: bool, id: Option<Box<str>>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = session.seated()?;
    let change = MediaChange { video_enabled: None, audio_enabled: None, screen_share_enabled: Some(enabled) };
    let event = screen_share_changed(session.user, &place.peer, enabled);
    Ok(Effect::Log(Logged::new(switch(change, place), event, id)))
}

/// The settings are for those whom host and moderators look after: they themselves may.
fn switch(change: MediaChange, place: &Place) -> LoggedKind {
    let role = place.role;
    let (required_settings, required_to_unmute) = if role >= Role::Moderator {
        ([""; 3], "")
    } else {
        (["videoEnabled", "audioEnabled", "screenShareEnabled allowParticipantScreenShare"], "allowParticipantUnmute")
    };
    LoggedKind::Media(ConditionalMediaChange { change, role, required_settings, required_to_unmute })
}

/// What a client is told when a setting is off that its event rested on.
#[must_use]
pub fn off(setting: &str) -> Refusal {
    let sentence = match setting {
        "videoEnabled" => "Cameras are off in this call",
        "audioEnabled" => "Microphones are off in this call",
        "screenShareEnabled" | "allowParticipantScreenShare" => "You may not share your screen in this call",
        "allowParticipantUnmute" => "A moderator has switched this off",
        "chatEnabled" => "There is no chat in this call",
        _ => "The settings of this call do not allow it",
    };
    Refusal::new(Code::Forbidden, sentence)
}
