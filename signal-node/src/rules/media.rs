//! Cameras, microphones and screens, within what the call's settings allow.

use serde_json::json;
use switchboard_common::domain::{Code, MediaState, Refusal, Role};
use switchboard_common::wire::client_event::MediaChange;
use switchboard_common::wire::server_event::encode;

use super::effect::{Effect, Logged, LoggedKind};
use super::session::{Place, SessionView};

/// `participant:update-media-state`
pub(super) fn update(change: MediaChange, id: Option<Box<str>>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = session.seated()?;
    let media = change.applied_to(place.media);
    allowed(media, place)?;
    let event = encode(
        "participant:media-state-changed",
        &json!({ "userId": session.user.id, "peerId": place.peer, "mediaState": media }),
    );
    Ok(Effect::Log(Logged::new(LoggedKind::Media(media), event, id)))
}

/// `webrtc:screen-share`
pub(super) fn share_screen(enabled: bool, id: Option<Box<str>>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = session.seated()?;
    let media = MediaState { screen_share_enabled: enabled, ..place.media };
    allowed(media, place)?;
    let event = encode(
        "participant:screen-share-changed",
        &json!({ "userId": session.user.id, "peerId": place.peer, "enabled": enabled, "user": session.user }),
    );
    Ok(Effect::Log(Logged::new(LoggedKind::Media(media), event, id)))
}

/// Only what is switched on newly is asked about: a forbidden camera that was on may always go off.
fn allowed(media: MediaState, place: &Place) -> Result<(), Refusal> {
    let (before, settings) = (place.media, &place.meta.settings);
    let shares =
        settings.screen_share_enabled && (settings.allow_participant_screen_share || place.role >= Role::Moderator);
    for (on, was, may, sentence) in [
        (media.video_enabled, before.video_enabled, settings.video_enabled, "Video is off in this call"),
        (media.audio_enabled, before.audio_enabled, settings.audio_enabled, "Audio is off in this call"),
        (media.screen_share_enabled, before.screen_share_enabled, shares, "You may not share your screen in this call"),
    ] {
        if on && !was && !may {
            return Err(Refusal::new(Code::Forbidden, sentence));
        }
    }
    Ok(())
}
