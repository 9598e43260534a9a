//! Ends a call for all participants; deletes a call.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_auth::Identity;
use switchboard_core::domain::{AppId, CallId, Code, EndReason, Timestamp};
use switchboard_records::CallRecord;
use switchboard_rooms::RoomPeek;

use super::find;
use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{CallOwner, PathParam};
use crate::routes::views::minutes;

/// End of a call.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndOfCall {
    /// Duration in minutes.
    duration: i64,
    ended_at: Timestamp,
}

impl EndOfCall {
    /// Returns the end of a call that has ended: as the record has it, or else at `at`.
    fn of(call: &CallRecord, at: Timestamp) -> Self {
        let is_over = call.status.is_over();
        let ended_at = call.ended_at.filter(|_| is_over).unwrap_or(at);
        let computed = || minutes(call.statistics(ended_at).duration_ms);
        Self { duration: call.duration.filter(|_| is_over).unwrap_or_else(computed), ended_at }
    }
}

/// `POST video-calls/:id/end`. A call that has ended already gives the same answer.
pub(crate) async fn end(
    State(app): State<App>,
    CallOwner(caller): CallOwner,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<Response> {
    end_call(&app, Owner::User(&caller), &id, EndReason::ByHost).await
}

/// Ends a call of `owner`.
pub(crate) async fn end_call(app: &App, owner: Owner<'_>, id: &CallId, reason: EndReason) -> ApiResult<Response> {
    let call = owned(app, owner, id).await?;
    Ok(success("The call has ended", close(app, &call, reason).await?).into_response())
}

/// `DELETE video-calls/:id`: ends the call if it is not over, and deletes it with its chat and its
/// log. After a failure the client can send the request again.
pub(crate) async fn delete(
    State(app): State<App>,
    CallOwner(caller): CallOwner,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<Response> {
    delete_call(&app, Owner::User(&caller), &id).await
}

/// Deletes a call of `owner`.
pub(crate) async fn delete_call(app: &App, owner: Owner<'_>, id: &CallId) -> ApiResult<Response> {
    let call = owned(app, owner, id).await?;
    close(app, &call, EndReason::Deleted).await?;
    if !app.records.delete_call(call.hosted(), app.now()).await? {
        // Another request has deleted the call, or the record does not know its new host yet.
        let exists = app.records.call(owner.app(), id).await?.is_some();
        return Err(if exists { Code::ServiceUnavailable } else { Code::CallNotFound }.into());
    }
    if let Err(error) = app.records.erase_call_data(id).await {
        tracing::warn!(%error, call_id = %id, "erasing a deleted call's chat failed; erased in a day");
    }
    metrics::counter!("switchboard_calls_deleted_total").increment(1);
    Ok(success("The call was deleted", ()).into_response())
}

/// Caller that may change, end and delete a call.
#[derive(Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// The host.
    User(&'a Identity),
    /// The backend of the call's app.
    App(&'a AppId),
}

impl<'a> Owner<'a> {
    /// Returns the app of the calls.
    const fn app(self) -> &'a AppId {
        match self {
            Self::User(caller) => &caller.app,
            Self::App(app) => app,
        }
    }
}

/// Reads a call of `owner`. The host in the open room takes precedence over the host in the record,
/// because a transfer reaches the record later. If Redis is unavailable, the record decides here;
/// the operation itself is refused later if it needs the room.
pub(crate) async fn owned(app: &App, owner: Owner<'_>, id: &CallId) -> ApiResult<CallRecord> {
    let mut call = find::by_id(app, owner.app(), id).await?;
    if !call.status.is_over()
        && let Ok(RoomPeek::Open { meta, .. }) = app.rooms.peek(&call.room).await
    {
        call.apply_room(&meta);
    }
    match owner {
        Owner::User(caller) if caller.user.id != call.host => Err(Code::HostRequired.into()),
        Owner::User(_) | Owner::App(_) => Ok(call),
    }
}

/// Ends a call unless it is over. Returns the end that the record has, so that all requests that
/// end the call at the same time have the same answer. Redis stores the end durably; the record is
/// updated here, or by the recorder if that fails.
pub(crate) async fn close(app: &App, call: &CallRecord, reason: EndReason) -> ApiResult<EndOfCall> {
    if call.status.is_over() {
        return Ok(EndOfCall::of(call, call.updated_at));
    }
    app.rooms.end(&call.room, &call.id, reason.as_str()).await?;
    let now = app.now();
    match app.records.end_call(&call.id, now).await {
        Ok(stored) => Ok(EndOfCall::of(stored.as_ref().unwrap_or(call), now)),
        Err(error) => {
            tracing::warn!(%error, call_id = %call.id, "updating an ended call failed; the recorder will update it");
            Ok(EndOfCall::of(call, now))
        }
    }
}
