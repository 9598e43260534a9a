//! Ending a call for everybody, and deleting it.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_auth::Identity;
use switchboard_core::domain::{CallId, Code, Timestamp};
use switchboard_records::CallRecord;
use switchboard_rooms::Door;

use crate::app::App;
use crate::envelope::success;
use crate::error::Answer;
use crate::extract::{Caller, Named};
use crate::views::minutes;

/// How a call ended.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndOfCall {
    /// Minutes.
    duration: i64,
    ended_at: Timestamp,
}

/// `POST video-calls/:id/end`. Ending a call that is over is no mistake: the answer is the same.
pub(crate) async fn end(
    State(app): State<App>,
    Caller(caller): Caller,
    Named(id): Named<CallId>,
) -> Answer<impl IntoResponse> {
    let call = hosted(&app, &caller, &id).await?;
    let ended_at = close(&app, &call, "ended_by_host").await?;
    let duration = match call.duration {
        Some(minutes) if call.status.is_over() => minutes,
        _ => call.started_at.map_or(0, |started| minutes((ended_at.0 - started.0).max(0))),
    };
    Ok(success("The call has ended", EndOfCall { duration, ended_at }).into_response())
}

/// `DELETE video-calls/:id`. A call that is not over ends first; its chat and its log go with it. Nothing is half done for the client: it is deleted when this succeeds,
/// and when it fails the request can be sent again.
pub(crate) async fn delete(
    State(app): State<App>,
    Caller(caller): Caller,
    Named(id): Named<CallId>,
) -> Answer<impl IntoResponse> {
    let call = hosted(&app, &caller, &id).await?;
    close(&app, &call, "deleted").await?;
    if !app.records.delete_call(&id, &caller.user.id, app.now()).await? {
        // Deleted meanwhile; or the record does not know its new host yet.
        let there = app.records.call(&id).await?.is_some();
        return Err(if there { Code::ServiceUnavailable } else { Code::CallNotFound }.into());
    }
    if let Err(error) = app.records.erase_lines(&id).await {
        tracing::warn!(%error, call_id = %id, "the chat of a deleted call is removed later");
    }
    metrics::counter!("switchboard_calls_deleted_total").increment(1);
    Ok(success("The call was deleted", ()).into_response())
}

/// A call of the caller's own, as its room has it: one that was handed on a moment ago is its new host's, though the record does not say
/// so yet. What rests on the room is refused later when Redis is away.
pub(super) async fn hosted(app: &App, caller: &Identity, id: &CallId) -> Answer<CallRecord> {
    let mut call = app.records.call(id).await?.ok_or(Code::CallNotFound)?;
    if !call.status.is_over()
        && let Ok(Door::Open { meta, .. }) = app.rooms.door(&call.room).await
    {
        call.follow(&meta);
    }
    if call.host != caller.user.id {
        return Err(Code::HostRequired.into());
    }
    Ok(call)
}

/// Ends a call, unless it is over; when it ended. Redis decides and remembers, durably: from then on the answer is yes. The record
/// follows at once, or else through the recorder.
pub(crate) async fn close(app: &App, call: &CallRecord, reason: &str) -> Answer<Timestamp> {
    if call.status.is_over() {
        return Ok(call.ended_at.unwrap_or(call.updated_at));
    }
    app.rooms.end(&call.room, &call.id, reason).await?;
    let ended_at = app.now();
    if let Err(error) = app.records.end_call(&call.id, ended_at).await {
        tracing::warn!(%error, call_id = %call.id, "an ended call is left to the recorder");
    }
    Ok(ended_at)
}
