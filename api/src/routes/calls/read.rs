//! Reads one call: in full, in short form, or its statistics.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_auth::{Identity, IdentityKind};
use switchboard_core::domain::{CallId, CallType, Code, RoomName};
use switchboard_records::{CallRecord, RecordsError};

use super::find;
use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{CallOwner, MaybeCaller, PathParam};
use crate::routes::views::{CallSummaryView, CallView, StatsView};

/// `GET video-calls/:id`: the full form for callers who may read the call in full; the short form
/// of a public call for all others.
pub(crate) async fn get(
    State(app): State<App>,
    caller: MaybeCaller,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<impl IntoResponse> {
    let call = find::by_id(&app, &caller.app(), &id).await?;
    check_room(&call, caller.0.as_ref())?;
    let view = if reveals(&app, &call, caller.0.as_ref()).await? {
        CallOrSummary::Call(Box::new(CallView::new(&app, &call, present(&app, &call).await)))
    } else if call.call_type == CallType::Public {
        CallOrSummary::Summary(CallSummaryView::new(&call, present(&app, &call).await))
    } else {
        return Err(Code::Forbidden.into());
    };
    Ok(success("Call", view).into_response())
}

/// Call in the form that the caller may see.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "CallOrSummary")]
pub(crate) enum CallOrSummary<'a> {
    /// Full form.
    Call(Box<CallView<'a>>),
    /// Short form.
    Summary(CallSummaryView<'a>),
}

/// `GET video-calls/room/:roomId`: the full form for callers who may read the call in full,
/// otherwise the short form.
pub(crate) async fn by_room(
    State(app): State<App>,
    caller: MaybeCaller,
    PathParam(name): PathParam<RoomName>,
) -> ApiResult<impl IntoResponse> {
    let room = app.access().resolve(&caller.app(), caller.bound_to(), &name).await;
    let call = find::by_room_id(&app, &room).await?;
    check_room(&call, caller.0.as_ref())?;
    let present = present(&app, &call).await;
    let view = if reveals(&app, &call, caller.0.as_ref()).await? {
        CallOrSummary::Call(Box::new(CallView::new(&app, &call, present)))
    } else {
        CallOrSummary::Summary(CallSummaryView::new(&call, present))
    };
    Ok(success("Call", view).into_response())
}

pub(crate) async fn present(app: &App, call: &CallRecord) -> Option<u32> {
    if call.status.is_over() { Some(0) } else { app.present(&call.room).await }
}

/// Checks that an app's user whose token is for one room reads no other call.
pub(super) fn check_room(call: &CallRecord, caller: Option<&Identity>) -> Result<(), Code> {
    let is_other = |caller: &Identity| caller.room.as_ref().is_some_and(|room| *room != call.room);
    match caller {
        Some(caller) if caller.kind == IdentityKind::AppUser && is_other(caller) => Err(Code::RoomNotAllowed),
        _ => Ok(()),
    }
}

/// Returns whether a caller may read a call in full, with the names of its users.
///
/// - A public call without a passcode: any caller.
/// - A public call with a passcode: host, participants, invited users, and guests whose token is
///   for this room, because they have proven the passcode.
/// - Any other call: host, participants and invited users.
pub(super) async fn reveals(app: &App, call: &CallRecord, caller: Option<&Identity>) -> Result<bool, RecordsError> {
    if call.call_type == CallType::Public && !call.has_passcode() {
        return Ok(true);
    }
    let Some(caller) = caller else { return Ok(false) };
    let has_proven = call.call_type == CallType::Public && caller.room.as_ref() == Some(&call.room);
    let is_invited = call.invited.contains(&caller.user.id);
    Ok(has_proven || is_invited || app.records.involves(call, &caller.user.id).await?)
}

/// `GET video-calls/:id/stats`, for the host and participants. The statistics lag behind the room
/// by the delay of the recorder.
pub(crate) async fn stats(
    State(app): State<App>,
    CallOwner(caller): CallOwner,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<impl IntoResponse> {
    let call = find::by_id(&app, &caller.app, &id).await?;
    if !app.records.involves(&call, &caller.user.id).await? {
        return Err(Code::Forbidden.into());
    }
    Ok(success("Statistics", StatsView::new(&call, app.now())).into_response())
}
