//! Reads one call: in full, in short form, or its statistics.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_core::domain::{CallId, CallType, Code, RoomId, UserId};
use switchboard_records::CallRecord;

use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{Caller, MaybeCaller, PathParam};
use crate::routes::views::{CallSummaryView, CallView, StatsView};

/// `GET video-calls/:id`: any caller may read a public call; the host and participants may read the
/// others.
pub(crate) async fn get(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<impl IntoResponse> {
    let call = app.records.call(&id).await?.ok_or(Code::CallNotFound)?;
    if !visible(&call, caller.as_ref().map(|caller| &caller.user.id)) {
        return Err(Code::Forbidden.into());
    }
    let present = present(&app, &call).await;
    Ok(success("Call", CallView::new(&app, &call, present)).into_response())
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

/// `GET video-calls/room/:roomId`: the full form for callers who may read the call, otherwise the
/// short form.
pub(crate) async fn by_room(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    PathParam(room): PathParam<RoomId>,
) -> ApiResult<impl IntoResponse> {
    let call = app.records.call_by_room_with_profiles(&room).await?.ok_or(Code::CallNotFound)?;
    let present = present(&app, &call).await;
    let view = if visible(&call, caller.as_ref().map(|caller| &caller.user.id)) {
        CallOrSummary::Call(Box::new(CallView::new(&app, &call, present)))
    } else {
        CallOrSummary::Summary(CallSummaryView::new(&call, present))
    };
    Ok(success("Call", view).into_response())
}

async fn present(app: &App, call: &CallRecord) -> Option<u32> {
    if call.status.is_over() { Some(0) } else { app.present(&call.room).await }
}

fn visible(call: &CallRecord, caller: Option<&UserId>) -> bool {
    call.call_type == CallType::Public || caller.is_some_and(|user| call.involves(user))
}

/// `GET video-calls/:id/stats`, for the host and participants. The statistics lag behind the room
/// by the delay of the recorder.
pub(crate) async fn stats(
    State(app): State<App>,
    Caller(caller): Caller,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<impl IntoResponse> {
    let call = app.records.call(&id).await?.ok_or(Code::CallNotFound)?;
    if !call.involves(&caller.user.id) {
        return Err(Code::Forbidden.into());
    }
    Ok(success("Statistics", StatsView::new(&call, app.now())).into_response())
}
