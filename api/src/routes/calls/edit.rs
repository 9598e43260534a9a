//! Changing a call.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use switchboard_calls::check_editable;
use switchboard_core::domain::{CallEdit, CallId, CallType, Code, Refusal, SettingsChange, Timestamp, UserId};

use super::TYPES;
use super::end::hosted;
use crate::app::App;
use crate::envelope::success;
use crate::error::Answer;
use crate::extract::{Caller, Named, ValidJson};
use crate::fields::{Fields, Input};
use crate::views::CallView;

/// The body of `PATCH video-calls/:id`. Over eight fields: each is one that a host can change.
pub(crate) struct Changes {
    title: Option<String>,
    description: Option<String>,
    /// Null takes the date away.
    scheduled_at: Option<Option<Timestamp>>,
    call_type: Option<CallType>,
    settings: SettingsChange,
    max_participants: Option<u32>,
    locked: Option<bool>,
    /// Null takes the passcode away.
    passcode: Option<Option<String>>,
    invited: Option<Vec<UserId>>,
}

impl Input for Changes {
    fn read(fields: &mut Fields) -> Self {
        Self {
            title: fields.change("title", |fields| fields.line("title", 1..=200)),
            description: fields
                .change("description", |fields| fields.paragraph("description", 1000).unwrap_or_default()),
            scheduled_at: fields.change("scheduledAt", |fields| fields.date("scheduledAt")),
            call_type: fields.change_to("type", |fields| fields.choice("type", &TYPES)),
            settings: fields
                .change_to("settings", |fields| Some(fields.settings_change("settings")))
                .unwrap_or_default(),
            max_participants: fields.change_to("maxParticipants", |fields| fields.integer("maxParticipants", 2..=500)),
            locked: fields.change_to("locked", |fields| fields.flag("locked")),
            passcode: fields.change("passcode", |fields| fields.optional_raw_text("passcode", 4..=20)),
            invited: fields.change_to("invitedUserIds", |fields| Some(fields.users("invitedUserIds", 500))),
        }
    }

    fn example() -> Value {
        json!({ "title": "Fortnightly", "settings": { "waitingRoomEnabled": true } })
    }
}

/// `PATCH` and `PUT video-calls/:id`: both change what they name and leave the rest.
///
/// Two hosts at once: each request's fields are written in one update, so both are there afterwards; of a field that both name, the
/// later request's stays.
pub(crate) async fn edit(
    State(app): State<App>,
    Caller(caller): Caller,
    Named(id): Named<CallId>,
    ValidJson(changes): ValidJson<Changes>,
) -> Answer<impl IntoResponse> {
    let call = hosted(&app, &caller, &id).await?;
    let now = app.now();
    if changes.scheduled_at.flatten().is_some_and(|at| at <= now) {
        return Err(Refusal::field(Code::ValidationError, "scheduledAt", "must be in the future").into());
    }
    let passcode = match changes.passcode {
        Some(Some(passcode)) => Some(Some(app.hasher.hash(passcode).await?)),
        Some(None) => Some(None),
        None => None,
    };
    let edit = CallEdit {
        title: changes.title,
        description: changes.description,
        scheduled_at: changes.scheduled_at,
        call_type: changes.call_type,
        settings: changes.settings,
        max_participants: changes.max_participants,
        locked: changes.locked,
        passcode,
        invited: changes.invited,
    };
    check_editable(&edit, &call)?;
    let Some(mut changed) = app.editor().edit(&call, &edit, now).await? else {
        // It was another call when it was read: ended, begun or deleted meanwhile.
        let call = hosted(&app, &caller, &id).await?;
        return Err(check_editable(&edit, &call).err().unwrap_or_else(|| Code::ServiceUnavailable.into()).into());
    };
    changed.people = call.people;
    let present = app.present(&changed.room).await;
    Ok(success("The call was changed", CallView::new(&app, &changed, present)).into_response())
}
