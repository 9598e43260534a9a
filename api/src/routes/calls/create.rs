//! Creates a call.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use switchboard_auth::IdentityKind;
use switchboard_calls::{CallError, NewCall, NewCallOwner};
use switchboard_core::domain::call_fields::{PARTICIPANTS_DEFAULT, check_scheduled_at};
use switchboard_core::domain::{CallId, CallType, Timestamp};
use switchboard_records::{CallRecord, Records};

use super::input;
use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{CallOwner, ValidJson};
use crate::http::fields::{Fields, Input};
use crate::http::rate_limit::ClientAddress;
use crate::routes::views::CallView;

/// Body of `POST video-calls`.
pub(crate) struct NewCallBody {
    /// The call, without its passcode.
    call: NewCall,
    /// Passcode as the user typed it.
    passcode: Option<String>,
}

impl Input for NewCallBody {
    fn read(fields: &mut Fields) -> Self {
        Self { call: new_call(fields), passcode: input::passcode(fields) }
    }

    fn example() -> Value {
        json!({ "title": "Weekly", "type": "public", "maxParticipants": 10 })
    }
}

/// Reads the fields of a new call that users and backends of apps may set.
pub(crate) fn new_call(fields: &mut Fields) -> NewCall {
    NewCall {
        title: input::title(fields),
        description: input::description(fields),
        scheduled_at: input::scheduled_at(fields),
        call_type: input::call_type(fields).unwrap_or(CallType::Public),
        settings: fields.settings("settings"),
        max_participants: input::max_participants(fields).unwrap_or(PARTICIPANTS_DEFAULT),
        passcode: None,
        invited: input::invited(fields),
    }
}

/// `POST video-calls`.
pub(crate) async fn create(
    State(app): State<App>,
    CallOwner(caller): CallOwner,
    ClientAddress(address): ClientAddress,
    ValidJson(NewCallBody { mut call, passcode }): ValidJson<NewCallBody>,
) -> ApiResult<Response> {
    let now = app.now();
    // Checked before the costly hash.
    check_scheduled_at(call.scheduled_at, now)?;
    if let Some(passcode) = passcode {
        call.passcode = Some(app.hasher.hash(address, passcode).await?);
    }
    input::check_invited(&caller, &call.invited)?;
    let host = match caller.kind {
        // The token has the name as it was when it was issued.
        IdentityKind::User => app.records.user(&caller.user.id).await?.map(|user| user.public()),
        // An account may have the same id.
        _ => None,
    };
    let owner = NewCallOwner { app: caller.app, host: Some(host.unwrap_or(caller.user)), room: None };
    call.max_participants = app.apps.limits(&owner.app).seats(call.max_participants);
    let call = create_call(&app, Records::new_call_id(), call, owner, now).await?;
    Ok(created(&app, &call, Some(0)))
}

/// Creates a call with this id.
///
/// # Errors
/// `VALIDATION_ERROR` for a date in the past, or as [`switchboard_calls::CallCreator::create`].
pub(crate) async fn create_call(
    app: &App,
    id: CallId,
    call: NewCall,
    owner: NewCallOwner,
    now: Timestamp,
) -> Result<CallRecord, CallError> {
    check_scheduled_at(call.scheduled_at, now)?;
    let call = app.creator().create(id, call, owner, now).await?;
    metrics::counter!("switchboard_calls_created_total").increment(1);
    Ok(call)
}

/// Returns the answer to a request that created a call. `present`: number of participants.
pub(crate) fn created(app: &App, call: &CallRecord, present: Option<u32>) -> Response {
    (StatusCode::CREATED, success("The call was created", CallView::new(app, call, present))).into_response()
}
