//! Reading one call: in full for who may, its door for everybody, its figures for who was in it.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_core::domain::{CallId, CallType, Code, RoomId, UserId};
use switchboard_records::CallRecord;

use crate::app::App;
use crate::envelope::success;
use crate::error::Answer;
use crate::extract::{Caller, MaybeCaller, Named};
use crate::views::{CallView, DoorView, StatsView};

/// `GET video-calls/:id`: public calls for anyone, others for host and participants.
pub(crate) async fn get(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    Named(id): Named<CallId>,
) -> Answer<impl IntoResponse> {
    let call = app.records.call(&id).await?.ok_or(Code::CallNotFound)?;
    if !visible(&call, caller.as_ref().map(|caller| &caller.user.id)) {
        return Err(Code::Forbidden.into());
    }
    let present = present(&app, &call).await;
    Ok(success("Call", CallView::new(&app, &call, present)).into_response())
}

/// A call as the caller may see it.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "CallOrDoor")]
pub(crate) enum CallOrDoor<'a> {
    /// In full.
    Call(Box<CallView<'a>>),
    /// What a door shows.
    Door(DoorView<'a>),
}

/// `GET video-calls/room/:roomId`: in full as by id; for others only what the door needs to show.
pub(crate) async fn by_room(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    Named(room): Named<RoomId>,
) -> Answer<impl IntoResponse> {
    let call = app.records.call_of_room_with_people(&room).await?.ok_or(Code::CallNotFound)?;
    let present = present(&app, &call).await;
    let view = if visible(&call, caller.as_ref().map(|caller| &caller.user.id)) {
        CallOrDoor::Call(Box::new(CallView::new(&app, &call, present)))
    } else {
        CallOrDoor::Door(DoorView::new(&call, present))
    };
    Ok(success("Call", view).into_response())
}

async fn present(app: &App, call: &CallRecord) -> Option<u32> {
    if call.status.is_over() { Some(0) } else { app.present(&call.room).await }
}

fn visible(call: &CallRecord, caller: Option<&UserId>) -> bool {
    call.call_type == CallType::Public || caller.is_some_and(|user| call.involves(user))
}

/// `GET video-calls/:id/stats`, for host and participants: as true as what the recorder has written, which is what happened up to a
/// moment ago.
pub(crate) async fn stats(
    State(app): State<App>,
    Caller(caller): Caller,
    Named(id): Named<CallId>,
) -> Answer<impl IntoResponse> {
    let call = app.records.call(&id).await?.ok_or(Code::CallNotFound)?;
    if !call.involves(&caller.user.id) {
        return Err(Code::Forbidden.into());
    }
    Ok(success("Statistics", StatsView::new(&call, app.now())).into_response())
}
