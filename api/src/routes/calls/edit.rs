//! Changes a call.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use switchboard_calls::check_editable;
use switchboard_core::domain::call_fields::check_scheduled_at;
use switchboard_core::domain::{CallEdit, CallId, CallType, Code, SettingsChange, Timestamp, UserId};

use super::end::hosted;
use super::input;
use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{Caller, JsonChange, PathParam};
use crate::http::fields::{Fields, Input};
use crate::http::rate_limit::ClientAddress;
use crate::routes::views::CallView;

/// Body of `PATCH video-calls/:id`. The struct has more than eight fields: one for each field that
/// a host can change.
pub(crate) struct Changes {
    title: Option<String>,
    description: Option<String>,
    /// Null removes the date.
    scheduled_at: Option<Option<Timestamp>>,
    call_type: Option<CallType>,
    settings: SettingsChange,
    max_participants: Option<u32>,
    locked: Option<bool>,
    /// Null removes the passcode.
    passcode: Option<Option<String>>,
    invited: Option<Vec<UserId>>,
}

impl Input for Changes {
    fn read(fields: &mut Fields) -> Self {
        Self {
            title: fields.change("title", input::title),
            description: fields.change("description", input::description),
            scheduled_at: fields.change("scheduledAt", input::scheduled_at),
            call_type: fields.change_to("type", input::call_type),
            settings: fields
                .change_to("settings", |fields| Some(fields.settings_change("settings")))
                .unwrap_or_default(),
            max_participants: fields.change_to("maxParticipants", input::max_participants),
            locked: fields.change_to("locked", |fields| fields.flag("locked")),
            passcode: fields.change("passcode", input::passcode),
            invited: fields.change_to("invitedUserIds", |fields| Some(input::invited(fields))),
        }
    }

    fn example() -> Value {
        json!({ "title": "Fortnightly", "settings": { "waitingRoomEnabled": true } })
    }
}

/// `PATCH` and `PUT video-calls/:id`: change the named fields only. A field that has its present
/// value is no change.
///
/// Of two concurrent requests, the fields of both are written; of a field that both name, the value
/// of the later request stays.
pub(crate) async fn edit(
    State(app): State<App>,
    Caller(caller): Caller,
    PathParam(id): PathParam<CallId>,
    ClientAddress(address): ClientAddress,
    body: JsonChange<Changes>,
) -> ApiResult<impl IntoResponse> {
    let call = hosted(&app, &caller, &id).await?;
    let now = app.now();
    let changes = body.read(&CallView::new(&app, &call, None))?;
    // The same moment in another form is no change either.
    let scheduled_at = changes.scheduled_at.filter(|at| *at != call.scheduled_at);
    check_scheduled_at(scheduled_at.flatten(), now)?;
    let passcode = match changes.passcode {
        Some(Some(passcode)) => Some(Some(app.hasher.hash(address, passcode).await?)),
        Some(None) => Some(None),
        None => None,
    };
    let edit = CallEdit {
        title: changes.title,
        description: changes.description,
        scheduled_at,
        call_type: changes.call_type,
        settings: changes.settings,
        max_participants: changes.max_participants,
        locked: changes.locked,
        passcode,
        invited: changes.invited,
    };
    check_editable(&edit, &call)?;
    let Some(mut changed) = app.editor().edit(&call, &edit, now).await? else {
        // Another request changed the call since it was read: ended, opened or deleted it.
        let call = hosted(&app, &caller, &id).await?;
        return Err(check_editable(&edit, &call).err().unwrap_or_else(|| Code::ServiceUnavailable.into()).into());
    };
    (changed.participants, changed.profiles) = (call.participants, call.profiles);
    let present = app.present(&changed.room).await;
    Ok(success("The call was changed", CallView::new(&app, &changed, present)).into_response())
}
