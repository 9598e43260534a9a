//! Changes a call.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use switchboard_calls::{CallError, check_editable};
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::call_fields::check_scheduled_at;
use switchboard_core::domain::{CallEdit, CallId, CallType, Code, Refusal, SettingsChange, Timestamp, UserId};

use super::end::{Owner, owned};
use super::input;
use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{CallOwner, JsonChange, PathParam};
use crate::http::fields::{Fields, Input};
use crate::http::rate_limit::ClientAddress;
use crate::routes::views::CallView;

/// Body of `PATCH video-calls/:id`. The struct has more than eight fields: one for each field that
/// a host can change.
pub(crate) struct Changes {
    title: Option<String>,
    /// Null removes the description.
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
        let changes = Self::without_passcode(fields);
        Self { passcode: fields.change("passcode", input::passcode), ..changes }
    }

    fn example() -> Value {
        json!({ "title": "Fortnightly", "settings": { "waitingRoomEnabled": true } })
    }
}

impl Changes {
    /// Reads the fields that users and backends of apps may change.
    pub(crate) fn without_passcode(fields: &mut Fields) -> Self {
        Self {
            title: input::changed_title(fields),
            description: fields.change("description", input::description),
            scheduled_at: fields.change("scheduledAt", input::scheduled_at),
            call_type: input::call_type(fields),
            settings: fields.settings_change("settings"),
            max_participants: input::max_participants(fields),
            locked: fields.flag("locked"),
            passcode: None,
            invited: fields.change_to("invitedUserIds", input::invited),
        }
    }
}

/// `PATCH` and `PUT video-calls/:id`: change the named fields only. A field that has its present
/// value is no change.
///
/// Of two concurrent requests, the fields of both are written; of a field that both name, the value
/// of the later request stays.
pub(crate) async fn edit(
    State(app): State<App>,
    CallOwner(caller): CallOwner,
    PathParam(id): PathParam<CallId>,
    ClientAddress(address): ClientAddress,
    body: JsonChange<Changes>,
) -> ApiResult<Response> {
    let read = |call: &CallView<'_>| {
        let changes: Changes = body.read(call)?;
        input::check_invited(&caller, changes.invited.as_deref().unwrap_or_default())?;
        Ok(changes)
    };
    change(&app, Owner::User(&caller), &id, address, read).await
}

/// Changes a call of `owner` by the fields that `read` finds to differ from the call.
pub(crate) async fn change(
    app: &App,
    owner: Owner<'_>,
    id: &CallId,
    address: Option<ClientNetwork>,
    read: impl FnOnce(&CallView<'_>) -> Result<Changes, Refusal>,
) -> ApiResult<Response> {
    let call = owned(app, owner, id).await?;
    let now = app.now();
    let changes = read(&CallView::new(app, &call, None))?;
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
    let edited = app.editor().edit(&call, &edit, now).await.map_err(|error| match (error, owner) {
        // Handed over at this moment, which is nothing to a backend: it may try again.
        (CallError::Refused(refusal), Owner::App(_)) if refusal.code == Code::HostRequired => {
            CallError::Refused(Code::ServiceUnavailable.into())
        }
        (error, _) => error,
    });
    let Some(mut changed) = edited? else {
        // Another request changed the call since it was read: ended, opened or deleted it.
        let call = owned(app, owner, id).await?;
        return Err(check_editable(&edit, &call).err().unwrap_or_else(|| Code::ServiceUnavailable.into()).into());
    };
    (changed.participants, changed.profiles) = (call.participants, call.profiles);
    let present = app.present(&changed.room).await;
    Ok(success("The call was changed", CallView::new(app, &changed, present)).into_response())
}
