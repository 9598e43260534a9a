//! Calls: making, listing, reading and ending them.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use rand::RngExt as _;
use serde_json::json;
use switchboard_common::domain::{
    CallId, CallSettings, CallStatus, CallType, Code, Refusal, Role, RoomId, Timestamp, UserId,
};
use switchboard_common::records::{
    CallFilter, CallOrder, CallRecord, ParticipantRecord, PersonRecord, Records, RecordsError,
};

use crate::app::App;
use crate::envelope::{Pagination, page, success};
use crate::error::Answer;
use crate::extract::{Caller, MaybeCaller, Named, ValidJson, ValidQuery};
use crate::fields::{Fields, Input};
use crate::views::{CallView, DoorView};

/// 36^12 rooms: a taken name is a rare accident, three in a row are none.
const ROOM_LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const ROOM_LENGTH: usize = 12;
const ROOM_TRIES: usize = 3;

/// The words for a call's type.
const TYPES: [(&str, CallType); 3] =
    [("public", CallType::Public), ("private", CallType::Private), ("invited_only", CallType::InvitedOnly)];
const STATUSES: [(&str, CallStatus); 5] = [
    ("scheduled", CallStatus::Scheduled),
    ("waiting", CallStatus::Waiting),
    ("live", CallStatus::Live),
    ("ended", CallStatus::Ended),
    ("cancelled", CallStatus::Cancelled),
];
const ORDERS: [(&str, CallOrder); 4] = [
    ("createdAt", CallOrder::Created),
    ("scheduledAt", CallOrder::Scheduled),
    ("startedAt", CallOrder::Started),
    ("title", CallOrder::Title),
];

/// The body of `POST video-calls`.
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
            title: fields.line("title", 1..=200),
            description: fields.paragraph("description", 1000).unwrap_or_default(),
            scheduled_at: fields.date("scheduledAt"),
            call_type: fields.choice("type", &TYPES).unwrap_or(CallType::Public),
            settings: fields.settings("settings"),
            max_participants: fields.integer("maxParticipants", 2..=500).unwrap_or(100),
            passcode: fields.optional_raw_text("passcode", 4..=20),
            invited: fields.users("invitedUserIds", 500),
        }
    }
}

/// `POST video-calls`.
pub(crate) async fn create(
    State(app): State<App>,
    Caller(caller): Caller,
    ValidJson(new): ValidJson<NewCall>,
) -> Answer<impl IntoResponse> {
    let now = app.now();
    if new.scheduled_at.is_some_and(|at| at <= now) {
        return Err(Refusal::field(Code::ValidationError, "scheduledAt", "must be in the future").into());
    }
    let passcode = match new.passcode {
        Some(passcode) => Some(app.hasher.hash(passcode).await?),
        None => None,
    };
    let host = caller.user;
    let mut call = CallRecord {
        id: Records::new_call_id(),
        title: new.title,
        description: new.description,
        host: host.id.clone(),
        participants: vec![ParticipantRecord {
            user: host.id.clone(),
            name: None,
            role: Role::Host,
            joined_at: None,
            left_at: None,
            is_connected: false,
            connection_id: None,
        }],
        scheduled_at: new.scheduled_at,
        started_at: None,
        ended_at: None,
        duration: None,
        status: if new.scheduled_at.is_some() { CallStatus::Scheduled } else { CallStatus::Waiting },
        call_type: new.call_type,
        settings: new.settings,
        room: generated_room(),
        join_link: String::new(),
        passcode,
        max_participants: new.max_participants,
        invited: new.invited,
        peak: 0,
        created_at: now,
        updated_at: now,
        revision: 1,
        people: vec![PersonRecord { id: host.id, name: host.name, avatar: host.avatar }],
    };
    store(&app, &mut call).await?;
    metrics::counter!("switchboard_calls_created_total").increment(1);
    Ok((StatusCode::CREATED, success("The call was created", CallView::new(&app, &call, Some(0)))).into_response())
}

/// Stores a call under a room's name that nobody has.
async fn store(app: &App, call: &mut CallRecord) -> Result<(), RecordsError> {
    for _ in 1..ROOM_TRIES {
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
    let mut rng = rand::rng();
    let text: String =
        (0..ROOM_LENGTH).map(|_| char::from(ROOM_LETTERS[rng.random_range(0..ROOM_LETTERS.len())])).collect();
    RoomId::parse(&text).expect("twelve letters and digits are a room's id")
}

/// The query of `GET video-calls`.
pub(crate) struct Listing {
    page: u32,
    limit: u32,
    status: Option<CallStatus>,
    call_type: Option<CallType>,
    search: Option<String>,
    created: (Option<Timestamp>, Option<Timestamp>),
    order: (CallOrder, bool),
}

impl Input for Listing {
    fn read(fields: &mut Fields) -> Self {
        Self {
            page: fields.integer("page", 1..=1_000_000).unwrap_or(1),
            limit: fields.integer("limit", 1..=100).unwrap_or(10),
            status: fields.choice("status", &STATUSES),
            call_type: fields.choice("type", &TYPES),
            search: fields.optional_line("search", 0..=100).filter(|text| !text.is_empty()),
            created: (fields.date("startDate"), fields.date("endDate")),
            order: (
                fields.choice("sort", &ORDERS).unwrap_or(CallOrder::Created),
                fields.choice("order", &[("asc", false), ("desc", true)]).unwrap_or(true),
            ),
        }
    }
}

/// `GET video-calls`: those that the caller hosts or is in.
pub(crate) async fn list(
    State(app): State<App>,
    Caller(caller): Caller,
    ValidQuery(listing): ValidQuery<Listing>,
) -> Answer<impl IntoResponse> {
    let filter = CallFilter {
        user: caller.user.id,
        status: listing.status,
        call_type: listing.call_type,
        search: listing.search,
        created: listing.created,
        order: listing.order,
        skip: u64::from(listing.page - 1) * u64::from(listing.limit),
        limit: listing.limit,
    };
    let found = app.records.list_calls(&filter).await?;
    let views: Vec<_> = found.calls.iter().map(|call| CallView::new(&app, call, None)).collect();
    Ok(page("Calls", views, Pagination::new(listing.page, listing.limit, found.total)).into_response())
}

/// `GET video-calls/:id`: public calls for anyone, others for host and participants.
pub(crate) async fn get(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    Named(id): Named<CallId>,
) -> Answer<impl IntoResponse> {
    let call = app.records.call(&id).await?.ok_or(Code::CallNotFound)?;
    if !visible(&call, caller.as_ref().map(|caller| &caller.user.id)) {
        return Err(Code::Forbidden.into());
    }
    Ok(in_full(&app, &call).await)
}

/// `GET video-calls/room/:roomId`: in full as by id; for others only what the door needs to show.
pub(crate) async fn by_room(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    Named(room): Named<RoomId>,
) -> Answer<impl IntoResponse> {
    let call = app.records.call_of_room_with_people(&room).await?.ok_or(Code::CallNotFound)?;
    if visible(&call, caller.as_ref().map(|caller| &caller.user.id)) {
        return Ok(in_full(&app, &call).await);
    }
    let present = present(&app, &call).await;
    Ok(success("Call", DoorView::new(&call, present)).into_response())
}

async fn in_full(app: &App, call: &CallRecord) -> Response {
    let present = present(app, call).await;
    success("Call", CallView::new(app, call, present)).into_response()
}

async fn present(app: &App, call: &CallRecord) -> Option<u32> {
    if call.status.is_over() { Some(0) } else { app.present(&call.room).await }
}

fn visible(call: &CallRecord, caller: Option<&UserId>) -> bool {
    call.call_type == CallType::Public || caller.is_some_and(|user| call.involves(user))
}

/// `POST video-calls/:id/end`. Redis decides and remembers, durably; the record follows at once, or else through the
/// recorder. Ending a call that is over is no mistake: the answer is the same.
pub(crate) async fn end(
    State(app): State<App>,
    Caller(caller): Caller,
    Named(id): Named<CallId>,
) -> Answer<impl IntoResponse> {
    let call = app.records.call(&id).await?.ok_or(Code::CallNotFound)?;
    if call.host != caller.user.id {
        return Err(Code::HostRequired.into());
    }
    let mut ended_at = call.ended_at.unwrap_or_else(|| app.now());
    let mut duration = call.duration.unwrap_or(0);
    if !call.status.is_over() {
        app.rooms.end(&call.room, &call.id, "ended_by_host").await?;
        ended_at = app.now();
        // Half minutes up, as the record's `$round` does for all but exact halves.
        duration = call.started_at.map_or(0, |started| (ended_at.0 - started.0 + 30_000).max(0) / 60_000);
        if let Err(error) = app.records.end_call(&call.id, ended_at).await {
            tracing::warn!(%error, call_id = %call.id, "an ended call is left to the recorder");
        }
    }
    Ok(success("The call has ended", json!({ "duration": duration, "endedAt": ended_at })).into_response())
}
