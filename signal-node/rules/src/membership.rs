//! Coming and going.

use switchboard_core::domain::{Action, Code, Refusal, RoomId};
use switchboard_core::wire::client_event::{Create, Join};

use super::effect::Effect;
use super::session::{Place, SessionView};

/// Who may make rooms, and of what form.
pub(super) fn create(create: Create, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    if session.user.is_guest {
        return Err(Refusal::new(Code::Unauthorized, "Sign in to create a room"));
    }
    if let Some(name) = &create.name {
        text("name", name, 1..=200)?;
    }
    match create.max_participants {
        Some(seats) if !(2..=500).contains(&seats) => {
            Err(Refusal::field(Code::ValidationError, "maxParticipants", "must be 2 to 500"))
        }
        _ => Ok(Effect::Create(create)),
    }
}

/// Whether to ask for a seat; who is let in is for `domain::admission` and the script.
pub(super) fn join(join: Join, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    if let Some(place) = session.place
        && place.room == join.room_id
    {
        return Err(Code::AlreadyInRoom.into());
    }
    if let Some(name) = &join.guest_name {
        text("guestName", name, 2..=100)?;
    } else if session.user.is_guest && session.user.name.is_empty() {
        return Err(Refusal::new(Code::Unauthorized, "Sign in, or give a guestName"));
    }
    Ok(Effect::Join(join))
}

pub(super) fn leave(room: Option<&RoomId>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    own_room(room, session).map(|_| Effect::Leave)
}

pub(super) fn end_call(room: Option<&RoomId>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = own_room(room, session)?;
    session.seated()?;
    if place.role.may(Action::EndCall) {
        Ok(Effect::EndCall(place.room.clone()))
    } else {
        Err(Code::HostRequired.into())
    }
}

/// The place of a session that is in a room, and in the one it names if it names one.
fn own_room<'a>(room: Option<&RoomId>, session: &SessionView<'a>) -> Result<&'a Place, Refusal> {
    match session.place {
        Some(place) if room.is_none_or(|room| *room == place.room) => Ok(place),
        _ => Err(Code::NotInRoom.into()),
    }
}

/// A text of a person's, to be shown to others.
fn text(field: &'static str, value: &str, length: std::ops::RangeInclusive<usize>) -> Result<(), Refusal> {
    if !length.contains(&value.trim().chars().count()) {
        let rule = format!("must be {} to {} characters", length.start(), length.end());
        return Err(Refusal::field(Code::ValidationError, field, rule));
    }
    if value.chars().any(char::is_control) {
        return Err(Refusal::field(Code::ValidationError, field, "must not hold control characters"));
    }
    Ok(())
}
