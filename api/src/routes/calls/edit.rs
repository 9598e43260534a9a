//! Changing a call.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use switchboard_core::domain::{CallId, CallType, Code, Refusal, SettingsChange, Timestamp, UserId};
use switchboard_records::{CallEdit, CallRecord};
use switchboard_rooms::{Amended, By, Door, Ordered, RoomMeta};

use super::TYPES;
use super::end::hosted;
use crate::app::App;
use crate::envelope::success;
use crate::error::{Answer, Problem};
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
    allowed(&edit, &call)?;
    let written = write(&app, &call, &edit, now).await?;
    let Some(mut changed) = written else {
        // It was another call when it was read: ended, begun or deleted meanwhile.
        let call = hosted(&app, &caller, &id).await?;
        return Err(allowed(&edit, &call).err().unwrap_or_else(|| Code::ServiceUnavailable.into()));
    };
    changed.people = call.people;
    let present = app.present(&changed.room).await;
    Ok(success("The call was changed", CallView::new(&app, &changed, present)).into_response())
}

fn allowed(edit: &CallEdit, call: &CallRecord) -> Result<(), Problem> {
    if call.status.is_over() {
        return Err(Code::CallEnded.into());
    }
    if edit.allowed_in().all(|status| status != call.status) {
        return Err(Refusal::field(Code::ValidationError, "scheduledAt", "the call has begun").into());
    }
    Ok(())
}

/// Writes the change where the call is: in its room first, when that is open, then in the record. `None`: the record allows no such
/// change.
async fn write(app: &App, call: &CallRecord, edit: &CallEdit, now: Timestamp) -> Answer<Option<CallRecord>> {
    if let Some(meta) = amend(app, call, edit, None).await? {
        return record(app, call, edit, &meta, now).await;
    }
    let Some(changed) = app.records.edit_call(&call.id, &call.host, edit, now).await? else { return Ok(None) };
    // Somebody opened the room meanwhile, by the record as it was before.
    match amend(app, call, edit, Some(changed.revision)).await {
        Ok(Some(meta)) => record(app, call, edit, &meta, now).await,
        // The next who joins brings the room the record's version.
        Ok(None) | Err(_) => Ok(Some(changed)),
    }
}

/// Writes to the record what the room has already. When that fails, the recorder writes it; what only the record has is to be sent again.
async fn record(
    app: &App,
    call: &CallRecord,
    edit: &CallEdit,
    room: &RoomMeta,
    now: Timestamp,
) -> Answer<Option<CallRecord>> {
    match app.records.edit_open_call(&call.id, edit, room, now).await {
        Err(error) if edit.description.is_none() && edit.scheduled_at.is_none() => {
            tracing::warn!(%error, call_id = %call.id, "a changed call is left to the recorder");
            Ok(Some(CallRecord {
                people: Vec::new(),
                participants: call.participants.clone(),
                ..CallRecord::from_room(&call.room, room)
            }))
        }
        written => Ok(written?),
    }
}

/// Changes the call in its room, when that is open, and of a version before `before` if that is said: everybody in it is told at once, on
/// every node, and the outbox too.
async fn amend(app: &App, call: &CallRecord, edit: &CallEdit, before: Option<u64>) -> Answer<Option<RoomMeta>> {
    match app.rooms.door(&call.room).await? {
        Door::Open { meta, .. } if meta.call_id == call.id && before.is_none_or(|version| meta.version < version) => {
            if meta.host != call.host {
                // Handed on since it was read.
                return Err(Code::HostRequired.into());
            }
        }
        Door::Open { .. } | Door::Absent | Door::Ended => return Ok(None),
    }
    let change = |meta: &mut RoomMeta| {
        if meta.host != call.host {
            // Handed on this very moment: nothing is changed any more.
            return;
        }
        if let Some(title) = &edit.title {
            meta.name.clone_from(title);
        }
        if let Some(call_type) = edit.call_type {
            meta.call_type = call_type;
        }
        if let Some(seats) = edit.max_participants {
            meta.max_participants = seats;
        }
        if let Some(locked) = edit.locked {
            meta.locked = locked;
        }
        if let Some(passcode) = &edit.passcode {
            meta.passcode_hash.clone_from(passcode);
        }
        if let Some(invited) = &edit.invited {
            meta.invited.clone_from(invited);
        }
        meta.settings = edit.settings.applied_to(&meta.settings);
    };
    match app.rooms.amend(&call.room, By::Operator, None, change).await? {
        Amended::Done(meta) if meta.host != call.host => Err(Code::HostRequired.into()),
        Amended::Done(meta) => Ok(Some(*meta)),
        Amended::Not(Ordered::Absent) => Ok(None),
        Amended::Not(_) => Err(Code::ServiceUnavailable.into()),
    }
}
