//! Creates a call.

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde_json::{Value, json};
use switchboard_core::domain::call_fields::{PARTICIPANTS_DEFAULT, check_scheduled_at};
use switchboard_core::domain::{AppId, CallSettings, CallStatus, CallType, Role, RoomId, RoomName, Timestamp, UserId};
use switchboard_records::{
    CallRecord, ParticipantCounts, ParticipantRecord, ProfileRecord, RecordedLines, Records, RecordsError,
};

use super::input;
use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{Caller, ValidJson};
use crate::http::fields::{Fields, Input};
use crate::http::rate_limit::ClientAddress;
use crate::routes::views::CallView;

/// Room ids that are tried. There are 32^12, so three collisions in a row do not happen by
/// accident.
const ROOM_ATTEMPTS_MAX: usize = 3;

/// Body of `POST video-calls`.
pub(crate) struct NewCall {
    title: String,
    description: String,
    scheduled_at: Option<Timestamp>,
    call_type: CallType,
    settings: CallSettings,
    max_participants: u32,
    passcode: Option<String>,
    invited: Vec<UserId>,
}

impl Input for NewCall {
    fn read(fields: &mut Fields) -> Self {
        Self {
            title: input::title(fields),
            description: input::description(fields),
            scheduled_at: input::scheduled_at(fields),
            call_type: input::call_type(fields).unwrap_or(CallType::Public),
            settings: fields.settings("settings"),
            max_participants: input::max_participants(fields).unwrap_or(PARTICIPANTS_DEFAULT),
            passcode: input::passcode(fields),
            invited: input::invited(fields),
        }
    }

    fn example() -> Value {
        json!({ "title": "Weekly", "type": "public", "maxParticipants": 10 })
    }
}

/// `POST video-calls`.
pub(crate) async fn create(
    State(app): State<App>,
    Caller(caller): Caller,
    ClientAddress(address): ClientAddress,
    ValidJson(new): ValidJson<NewCall>,
) -> ApiResult<impl IntoResponse> {
    let now = app.now();
    check_scheduled_at(new.scheduled_at, now)?;
    let passcode = match new.passcode {
        Some(passcode) => Some(app.hasher.hash(address, passcode).await?),
        None => None,
    };
    // The token has the name as it was when it was issued.
    let host = app.records.user(&caller.user.id).await?.map_or(caller.user, |user| user.public());
    let mut call = CallRecord {
        id: Records::new_call_id(),
        title: new.title,
        description: new.description,
        host: host.id.clone(),
        participants: vec![ParticipantRecord::expected(host.id.clone(), Role::Host)],
        counts: Some(ParticipantCounts::default()),
        present: 0,
        scheduled_at: new.scheduled_at,
        started_at: None,
        ended_at: None,
        duration: None,
        periods: Vec::new(),
        status: if new.scheduled_at.is_some() { CallStatus::Scheduled } else { CallStatus::Waiting },
        call_type: new.call_type,
        settings: new.settings,
        room: generated_room(),
        join_link: String::new(),
        passcode,
        max_participants: new.max_participants,
        locked: false,
        invited: new.invited,
        peak: 0,
        recorded: RecordedLines::default(),
        created_at: now,
        updated_at: now,
        revision: 1,
        profiles: vec![ProfileRecord { id: host.id, name: host.name, avatar: host.avatar }],
    };
    store(&app, &mut call).await?;
    metrics::counter!("switchboard_calls_created_total").increment(1);
    Ok((StatusCode::CREATED, success("The call was created", CallView::new(&app, &call, Some(0)))).into_response())
}

/// Stores a call. If its room id is taken, tries again with another one.
async fn store(app: &App, call: &mut CallRecord) -> Result<(), RecordsError> {
    for _ in 1..ROOM_ATTEMPTS_MAX {
        call.join_link = app.join_link(&call.room);
        match app.records.insert_call(call).await {
            Err(RecordsError::Duplicate) => call.room = generated_room(),
            done => return done,
        }
    }
    call.join_link = app.join_link(&call.room);
    app.records.insert_call(call).await
}

fn generated_room() -> RoomId {
    AppId::default().room(&RoomName::from_random(rand::random()))
}
