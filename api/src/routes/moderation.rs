//! Commands to participants of an open room, for callers who are above every role.

use switchboard_core::domain::{Code, PeerId, Refusal, RoomId};
use switchboard_rooms::{Caller, ModerationCommand, ModerationOutcome};

use crate::app::App;
use crate::http::error::ApiResult;

/// Runs a command. Returns the participants that it admitted.
///
/// # Errors
/// `ROOM_NOT_FOUND`, `PEER_NOT_FOUND`, `CALL_FULL`, `FORBIDDEN` (a host keeps the role), or
/// `SERVICE_UNAVAILABLE`.
pub(super) async fn moderate(app: &App, room: &RoomId, command: &ModerationCommand) -> ApiResult<Vec<PeerId>> {
    Err(match app.rooms.moderate(room, Caller::Operator, command).await? {
        ModerationOutcome::Done(admitted) => return Ok(admitted),
        ModerationOutcome::NoPeer => Code::PeerNotFound.into(),
        ModerationOutcome::Absent => Code::RoomNotFound.into(),
        ModerationOutcome::Full => Code::CallFull.into(),
        ModerationOutcome::Above => {
            Refusal::new(Code::Forbidden, "The participant hosts the call, and keeps the role while present").into()
        }
        ModerationOutcome::StandIn
        | ModerationOutcome::Denied
        | ModerationOutcome::Changed
        | ModerationOutcome::Stale => Code::ServiceUnavailable.into(),
    })
}
