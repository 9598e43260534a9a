//! Cameras, microphones and screen sharing, within the settings of the call.
//!
//! A rule names the settings and permissions that switching on requires. The script checks them,
//! because a moderator, a backend or the sender's previous event may have changed them or the state
//! a moment ago. Switching off is always allowed.

use switchboard_core::domain::{Code, ConditionalMediaChange, MediaChange, Refusal, Role};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::server_event::{media_changed_template, screen_share_changed};

use super::effect::{Effect, Logged, LoggedKind};
use super::session::{SeatView, SessionView};

/// `participant:update-media-state`
pub(super) fn update(change: MediaChange, id: Option<Box<str>>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let seat = session.seated()?;
    check(change, session)?;
    let event = media_changed_template(&session.user.id, &seat.peer);
    Ok(Effect::Log(Logged::new(switch(change, seat), EventKind::MediaChanged, event, id)))
}

/// `webrtc:screen-share`
pub(super) fn share_screen(enabled: bool, id: Option<Box<str>>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let seat = session.seated()?;
    let change = MediaChange { video_enabled: None, audio_enabled: None, screen_share_enabled: Some(enabled) };
    check(change, session)?;
    let event = screen_share_changed(&session.user.without_metadata(), &seat.peer, enabled);
    Ok(Effect::Log(Logged::new(switch(change, seat), EventKind::ScreenShareChanged, event, id)))
}

/// Checks that the user's permissions allow what is switched on.
fn check(change: MediaChange, session: &SessionView<'_>) -> Result<(), Refusal> {
    let on = |value: Option<bool>| value == Some(true);
    if (on(change.video_enabled) || on(change.audio_enabled)) && !session.permissions.can_publish {
        return Err(setting_off("canPublish"));
    }
    if on(change.screen_share_enabled) && !session.permissions.can_share_screen {
        return Err(setting_off("canShareScreen"));
    }
    Ok(())
}

/// Returns the change with the settings and permissions that it requires. Host and moderators
/// require no settings.
fn switch(change: MediaChange, seat: &SeatView) -> LoggedKind {
    let role = seat.role;
    let (required_settings, required_to_unmute) = if role >= Role::Moderator {
        (["canPublish", "canPublish", "canShareScreen"], "")
    } else {
        let screen = "canShareScreen screenShareEnabled allowParticipantScreenShare";
        (["canPublish videoEnabled", "canPublish audioEnabled", screen], "allowParticipantUnmute")
    };
    LoggedKind::Media(ConditionalMediaChange { change, role, required_settings, required_to_unmute })
}

/// Returns the refusal of an event whose required setting or permission is off.
#[must_use]
pub fn setting_off(setting: &str) -> Refusal {
    let sentence = match setting {
        "videoEnabled" => "Cameras are off in this call",
        "audioEnabled" => "Microphones are off in this call",
        "screenShareEnabled" | "allowParticipantScreenShare" => "You may not share your screen in this call",
        "allowParticipantUnmute" => "A moderator switched this off, and you may not switch it on",
        "chatEnabled" => "Chat is off in this call",
        "canPublish" => "You may not use camera and microphone in this call",
        "canShareScreen" => "You may not share your screen, because your app does not allow it",
        "canChat" => "You may not send messages in this call",
        _ => "The settings of this call do not allow this",
    };
    Refusal::new(Code::Forbidden, sentence)
}
