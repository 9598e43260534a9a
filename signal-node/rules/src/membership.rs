//! Creating, joining, leaving and ending.

use switchboard_core::domain::call_fields::{self, check_participants};
use switchboard_core::domain::{Action, Code, Refusal, RoomName, names};
use switchboard_core::wire::client_event::{Create, Join};

use super::effect::Effect;
use super::session::{SeatView, SessionView};

/// `room:create`: for signed-in users, but not for those whom an app's backend signs in.
pub(super) fn create(mut create: Create, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    if session.user.is_guest {
        return Err(Refusal::new(Code::Unauthorized, "Sign in to create a room"));
    }
    if session.has_grant {
        return Err(Refusal::new(Code::Forbidden, "Join the room that your token names; the first join creates it"));
    }
    if let Some(name) = &mut create.name {
        *name = names::parse("name", name, &call_fields::TITLE)?;
    }
    check_participants(create.max_participants)?;
    Ok(Effect::Create(create))
}

/// `room:join`: checks the name. `domain::admission` and the script decide who is admitted. A
/// client that repeats an event without an answer may join the room that it is in already. An
/// empty name or token counts as missing, because forms send every field.
pub(super) fn join(mut join: Join, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    join.guest_name = join.guest_name.filter(|name| !name.is_empty());
    join.token = join.token.filter(|token| !token.is_empty());
    if let Some(seat) = session.seat
        && seat.room.name() == join.room_id.as_str()
    {
        return Ok(Effect::JoinAgain);
    }
    if let Some(name) = &mut join.guest_name {
        *name = names::parse("guestName", name, &call_fields::GUEST_NAME)?;
    } else if session.user.is_guest && session.user.name.is_empty() {
        return Err(Refusal::new(Code::Unauthorized, "Sign in, or send a guestName"));
    }
    Ok(Effect::Join(join))
}

/// `room:leave`
pub(super) fn leave(room: Option<&RoomName>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    own_room(room, session).map(|_| Effect::Leave)
}

/// `room:end-call`: for the host.
pub(super) fn end_call(room: Option<&RoomName>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let seat = own_room(room, session)?;
    session.seated()?;
    if seat.role.may(Action::EndCall) { Ok(Effect::EndCall(seat.room.clone())) } else { Err(Code::HostRequired.into()) }
}

/// Returns the seat of a session that is in a room: in the named one, if the event names one.
fn own_room<'a>(room: Option<&RoomName>, session: &SessionView<'a>) -> Result<&'a SeatView, Refusal> {
    match session.seat {
        Some(seat) if room.is_none_or(|room| room.may_mean(&seat.room)) => Ok(seat),
        _ => Err(Code::NotInRoom.into()),
    }
}
