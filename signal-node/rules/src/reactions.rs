//! Raised hands and reactions. A hand is part of the seat, so that newcomers see it. A reaction is
//! for this moment: it is ephemeral.

use switchboard_core::domain::Refusal;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::server_event::{self, hand_lowered, hand_raised_template};

use super::chat;
use super::effect::{Effect, Logged, LoggedKind};
use super::session::{SessionView, Stamp};

/// `participant:set-hand`
pub(super) fn set_hand(
    raised: bool,
    id: Option<Box<str>>,
    session: &SessionView<'_>,
    stamp: Stamp,
) -> Result<Effect, Refusal> {
    let (seat, user) = (session.seated()?, &session.user.id);
    let (event, raised_at) = if raised {
        (hand_raised_template(user, &seat.peer), Some(stamp.at.to_string().into()))
    } else {
        (hand_lowered(user, &seat.peer), None)
    };
    Ok(Effect::Log(Logged::new(LoggedKind::Hand { raised_at }, EventKind::HandChanged, event, id)))
}

/// `participant:reaction`
pub(super) fn react(emoji: &str, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let seat = session.seated()?;
    chat::check(session)?;
    let event = server_event::reaction(&session.user.id, &seat.peer, emoji);
    Ok(Effect::Ephemeral { event_kind: EventKind::Reaction, event, required_settings: "canChat" })
}
