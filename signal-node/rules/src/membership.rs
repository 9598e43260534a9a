//! Coming and going.

use switchboard_core::domain::call_fields::{self, check_line, check_participants};
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
        check_line("name", name.trim(), &call_fields::TITLE)?;
    }
    check_participants(create.max_participants)?;
    Ok(Effect::Create(create))
}

/// Whether to ask for a seat; who is let in is for `domain::admission` and the script.
pub(super) fn join(join: Join, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    if let Some(place) = session.place
        && place.room == join.room_id
    {
        return Err(Code::AlreadyInRoom.into());
    }
    if let Some(name) = &join.guest_name {
        check_line("guestName", name.trim(), &call_fields::GUEST_NAME)?;
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
