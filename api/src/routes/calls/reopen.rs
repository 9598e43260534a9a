//! Reopens a call that has ended.

use axum::extract::State;
use axum::response::IntoResponse;
use switchboard_core::domain::{CallId, CallStatus, Code, Refusal, Timestamp};
use switchboard_records::{CallRecord, Period};
use switchboard_rooms::{Reopened, RoomPeek};

use super::end::{Owner, owned};
use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{CallOwner, PathParam};
use crate::routes::views::CallView;

/// `POST video-calls/:id/reopen`. A route and not the host's join, because a client that joins
/// again by itself, after its host has ended the call, must not reopen it. A call that is not over
/// stays as it is.
///
/// The script decides, as at the end: it removes the tombstone and puts the fact into the outbox.
/// The record is written here, or by the recorder if that fails.
pub(crate) async fn reopen(
    State(app): State<App>,
    CallOwner(caller): CallOwner,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<impl IntoResponse> {
    let mut call = owned(&app, Owner::User(&caller), &id).await?;
    // The record can lag behind the room.
    let has_ended = call.status.is_over() || matches!(app.rooms.peek(&call.room).await?, RoomPeek::Ended);
    if has_ended {
        let now = app.now();
        let ended_at = call.ended_at.filter(|_| call.status.is_over()).unwrap_or(now);
        if now.0.saturating_sub(ended_at.0) > app.reopen_within_ms {
            return Err(Refusal::new(Code::CallEnded, "The call has ended and can no longer be reopened").into());
        }
        // The backend of an app can give the room id of an ended call to another one.
        let holder = app.records.call_by_room(&call.room).await?;
        let is_taken = holder.is_none_or(|holder| holder.id != call.id);
        if is_taken || app.rooms.reopen(&call.room, &call.id).await? == Reopened::Taken {
            return Err(Refusal::new(Code::RoomExists, "Another call has the room id of this one").into());
        }
        metrics::counter!("switchboard_calls_reopened_total").increment(1);
        match app.records.reopen_call(call.hosted(), now).await {
            Ok(Some(reopened)) => {
                call = CallRecord { participants: call.participants, profiles: call.profiles, ..reopened };
            }
            // Another request or the recorder has written it, or the recorder writes it after the
            // end that is on its way.
            Ok(None) => {
                let written = app.records.call(&caller.app, &id).await.ok().flatten();
                call = written.filter(|call| !call.status.is_over()).unwrap_or_else(|| reopened(call, now));
            }
            Err(error) => {
                tracing::warn!(%error, call_id = %id, "updating a reopened call failed; the recorder will update it");
                call = reopened(call, now);
            }
        }
    }
    let present = app.present(&call.room).await;
    Ok(success("The call is open again", CallView::new(&app, &call, present)).into_response())
}

/// Returns a call as its record is after the reopening at `now`.
fn reopened(mut call: CallRecord, now: Timestamp) -> CallRecord {
    let in_future = call.scheduled_at.is_some_and(|date| date > now);
    call.status = if in_future { CallStatus::Scheduled } else { CallStatus::Waiting };
    let (started_at, ended_at) = (call.started_at.take(), call.ended_at.take());
    let is_there = call.periods.last().map(|period| period.started_at) == started_at;
    if let (false, Some(started_at), Some(ended_at)) = (is_there, started_at, ended_at) {
        call.periods.push(Period { started_at, ended_at });
    }
    call.duration = None;
    call
}
