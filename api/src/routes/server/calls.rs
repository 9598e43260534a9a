//! Calls of an app, for its backend. The use cases are those of the calls of users.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use switchboard_calls::{CallError, NewCall, NewCallOwner};
use switchboard_core::ClusterKey;
use switchboard_core::domain::{AppId, CallId, Code, EndReason, PublicUser, RoomName, UserId};
use switchboard_records::{CallRecord, CallsOf, Records, RecordsError, RequestClaim};

use crate::app::App;
use crate::http::app_key::{Backend, CallsRead, CallsWrite, IdempotentJson};
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{JsonChange, PathParam, ValidQuery};
use crate::http::fields::{Fields, Input};
use crate::routes::calls::{self, Changes, Listing, Owner};
use crate::routes::views::CallView;

/// Body of `POST server/calls`.
pub(crate) struct NewServerCall {
    call: NewCall,
    /// Room id that the backend chose.
    room: Option<RoomName>,
    /// User of the app who owns the call.
    host: Option<UserId>,
}

impl Input for NewServerCall {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self { call: calls::new_call(fields), room: fields.room("roomId"), host: fields.app_user("hostId") }
    }

    fn example() -> Value {
        json!({ "title": "Stand-up", "roomId": "standup-2026-01-31", "settings": { "waitingRoomEnabled": true } })
    }
}

/// `POST server/calls`. The call has no more seats than its app allows. With an `Idempotency-Key`,
/// a repeated request answers with the same call. A request that was refused and created nothing
/// does not use the key up.
pub(crate) async fn create(
    State(app): State<App>,
    backend: Backend<CallsWrite>,
    IdempotentJson { input, key }: IdempotentJson<NewServerCall>,
) -> ApiResult<Response> {
    let NewServerCall { mut call, room, host } = input;
    let now = app.now();
    let mut id = Records::new_call_id();
    if let Some((key, body)) = &key {
        let claim = RequestClaim { fingerprint: ClusterKey::digest(body.as_bytes()), call: id };
        let stored = app.records.claim_request(backend.app(), key, &claim, now).await?;
        if stored.fingerprint != claim.fingerprint {
            return Err(Code::IdempotencyKeyReused.into());
        }
        if let Some(earlier) = app.records.call(backend.app(), &stored.call).await? {
            if room.is_some() {
                // The first request may have failed at this.
                app.creator().open(&earlier).await?;
            }
            return Ok(calls::created(&app, &earlier, calls::present(&app, &earlier).await));
        }
        // The first request failed before it created the call, or is at it.
        id = stored.call;
    }
    call.max_participants = app.apps.limits(backend.app()).seats(call.max_participants);
    let host = host.map(|host| PublicUser::new(host, String::new(), None));
    let owner = NewCallOwner { app: backend.app().clone(), host, room };
    match calls::create_call(&app, id.clone(), call, owner, now).await {
        Ok(call) => Ok(calls::created(&app, &call, Some(0))),
        Err(error) => {
            if let Some((key, _)) = &key {
                release_key(&app, backend.app(), key, &id, &error).await;
            }
            Err(error.into())
        }
    }
}

/// Forgets the key of a request that failed with `error` and created nothing, so that a corrected
/// request may use it.
async fn release_key(app: &App, backend: &AppId, key: &str, id: &CallId, error: &CallError) {
    // After a failure of a store it is not known whether the call exists, or its room is reserved.
    // The reservation is for the call of this key. A deleted call keeps its key.
    if !matches!(error, CallError::Refused(refusal) if refusal.code != Code::ServiceUnavailable) {
        return;
    }
    let released = async {
        if !app.records.has_call(id).await? {
            app.records.release_request(backend, key, id).await?;
        }
        Ok::<_, RecordsError>(())
    };
    if let Err(error) = released.await {
        tracing::warn!(%error, call_id = %id, "idempotency key of a refused request not released");
    }
}

/// `GET server/calls`: lists the calls of the app.
pub(crate) async fn list(
    State(app): State<App>,
    backend: Backend<CallsRead>,
    ValidQuery(listing): ValidQuery<Listing>,
) -> ApiResult<Response> {
    calls::list_calls(&app, CallsOf::App(backend.app().clone()), listing).await
}

/// `GET server/calls/:id`.
pub(crate) async fn get(
    State(app): State<App>,
    backend: Backend<CallsRead>,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<Response> {
    let call = calls::find::by_id(&app, backend.app(), &id).await?;
    Ok(read(&app, &call).await)
}

/// `GET server/calls/room/:roomId`.
pub(crate) async fn by_room(
    State(app): State<App>,
    backend: Backend<CallsRead>,
    PathParam(name): PathParam<RoomName>,
) -> ApiResult<Response> {
    let room = backend.app().room(&name);
    let call = calls::find::by_room_id(&app, &room).await?;
    Ok(read(&app, &call).await)
}

async fn read(app: &App, call: &CallRecord) -> Response {
    let present = calls::present(app, call).await;
    success("Call", CallView::new(app, call, present)).into_response()
}

/// Body of `PATCH server/calls/:id`.
pub(crate) struct ServerChanges(Changes);

impl Input for ServerChanges {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self(Changes::without_passcode(fields))
    }

    fn example() -> Value {
        json!({ "title": "Stand-up", "locked": true })
    }
}

/// `PATCH server/calls/:id`.
pub(crate) async fn edit(
    State(app): State<App>,
    backend: Backend<CallsWrite>,
    PathParam(id): PathParam<CallId>,
    body: JsonChange<ServerChanges>,
) -> ApiResult<Response> {
    let read = |call: &CallView<'_>| body.read(call).map(|ServerChanges(changes)| changes);
    calls::change(&app, owner(&backend), &id, None, read).await
}

/// `POST server/calls/:id/end`.
pub(crate) async fn end(
    State(app): State<App>,
    backend: Backend<CallsWrite>,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<Response> {
    let ended = calls::end_call(&app, owner(&backend), &id, EndReason::ByApp).await?;
    tracing::info!(target: "audit", key_id = %backend.0.id, call_id = %id, "backend ended a call");
    Ok(ended)
}

/// `DELETE server/calls/:id`.
pub(crate) async fn delete(
    State(app): State<App>,
    backend: Backend<CallsWrite>,
    PathParam(id): PathParam<CallId>,
) -> ApiResult<Response> {
    let deleted = calls::delete_call(&app, owner(&backend), &id).await?;
    tracing::info!(target: "audit", key_id = %backend.0.id, call_id = %id, "backend deleted a call");
    Ok(deleted)
}

fn owner(backend: &Backend<CallsWrite>) -> Owner<'_> {
    Owner::App(backend.app())
}
