//! Joining a call: the door of the REST side. It decides who may come as what, opens the room on Redis so that nodes
//! need no MongoDB, and hands out what the socket needs.
//!
//! A room that Redis knows can be joined while MongoDB is away.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_auth::{IceServer, Identity, Kind};
use switchboard_core::domain::admission::admit;
use switchboard_core::domain::{
    Admission, Applicant, CallType, Code, PublicUser, Refusal, Role, RoomId, Timestamp, UserId,
};
use switchboard_records::{CallRecord, RecordsError};
use switchboard_rooms::{Door, Opened, Proof, Standing};
use switchboard_runtime::telemetry::traces::{TARGET, follow};
use tracing::{Instrument as _, info_span};

use crate::app::App;
use crate::envelope::success;
use crate::error::{Answer, Problem};
use crate::extract::{MaybeCaller, ValidJson};
use crate::fields::{Fields, Input};
use crate::limits::Origin;
use crate::views::CallView;

/// The body of `POST video-calls/join`.
pub(crate) struct Joining {
    room: Option<RoomId>,
    passcode: Option<String>,
    guest_name: Option<String>,
}

impl Input for Joining {
    fn read(fields: &mut Fields) -> Self {
        let text = fields.line("roomId", 1..=64);
        let room = RoomId::parse(&text).ok();
        if room.is_none() && !text.is_empty() {
            fields.reject("roomId", "must be a room's id");
        }
        Self {
            room,
            passcode: fields.optional_raw_text("passcode", 0..=128),
            guest_name: fields.optional_line("guestName", 2..=100),
        }
    }

    fn example() -> Value {
        json!({ "roomId": "AB12CD34EF56", "guestName": "Guest" })
    }
}

/// The answer: who you are there, and what the socket asks for.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Admitted")]
pub(crate) struct Admitted<'a> {
    call: CallView<'a>,
    user: &'a PublicUser,
    is_guest: bool,
    role: Role,
    waits: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    join_token: String,
    ice_servers: Vec<IceServer>,
}

/// `POST video-calls/join`.
pub(crate) async fn join(
    State(app): State<App>,
    MaybeCaller(caller): MaybeCaller,
    origin: Origin,
    ValidJson(form): ValidJson<Joining>,
) -> Answer<impl IntoResponse> {
    let room = form.room.clone().ok_or(Code::ValidationError)?;
    let span = follow(info_span!(target: TARGET, "rest join"), &room);
    admit_to(app, caller, room, form, origin).instrument(span).await
}

async fn admit_to(
    app: App,
    caller: Option<Identity>,
    room: RoomId,
    form: Joining,
    origin: Origin,
) -> Answer<impl IntoResponse + use<>> {
    let visitor = Visitor::of(caller, &room, app.now());
    let Found { call, door, standing } = find(&app, &room, &visitor, &origin).await?;
    if call.status.is_over() || matches!(door, Door::Ended) {
        return Err(Code::CallEnded.into());
    }
    let issued_ms = visitor.issued_ms;
    let user = visitor.named(form.guest_name, &call)?;
    if standing.keeps_out(issued_ms) {
        return Err(Code::Banned.into());
    }
    let passcode = form.passcode.as_deref();
    let Admission { role, waits } = decide(&app, &call, &user, passcode, standing.given, &origin).await?;
    let present = match &door {
        Door::Open { participants, .. } => *participants,
        Door::Absent | Door::Ended => 0,
    };
    has_place(&app, &call, &door, &user.id, role, waits).await?;
    if app.rooms.open(&room, &call.room_meta()).await? == Opened::Ended {
        return Err(Code::CallEnded.into());
    }
    let token = if user.is_guest { Some(app.tokens.issue_guest(&user, &room)?.token) } else { None };
    let now = u64::try_from(app.now().seconds()).unwrap_or(0);
    let answer = Admitted {
        call: CallView::new(&app, &call, Some(present)),
        user: &user,
        is_guest: user.is_guest,
        role,
        waits,
        token,
        join_token: app.tokens.issue_join(&user, &room, role)?.token,
        ice_servers: app.ice.ice_servers(&user.id, now),
    };
    Ok(success("You may join", answer).into_response())
}

/// The identity to join with: the caller's own, a guest's former one for the same room, or a new guest's.
struct Visitor {
    id: UserId,
    /// A user, known by its token.
    user: Option<PublicUser>,
    /// What a guest called itself before.
    name: Option<String>,
    /// When its identity was proved: the same time that a node goes by when somebody was removed.
    issued_ms: u64,
}

impl Visitor {
    fn of(caller: Option<Identity>, room: &RoomId, now: Timestamp) -> Self {
        let issued_ms = |identity: &Identity| identity.issued_at.saturating_mul(1000);
        match caller {
            Some(caller) if caller.kind == Kind::User => {
                Self { id: caller.user.id.clone(), issued_ms: issued_ms(&caller), name: None, user: Some(caller.user) }
            }
            Some(guest) if guest.room.as_ref() == Some(room) => {
                Self { issued_ms: issued_ms(&guest), id: guest.user.id, name: Some(guest.user.name), user: None }
            }
            former => Self {
                id: new_guest(),
                user: None,
                name: former.map(|guest| guest.user.name),
                issued_ms: u64::try_from(now.0).unwrap_or(0),
            },
        }
    }

    /// As others are to see it in the call.
    fn named(self, guest_name: Option<String>, call: &CallRecord) -> Result<PublicUser, Problem> {
        if let Some(user) = self.user {
            return Ok(user);
        }
        if call.call_type != CallType::Public {
            return Err(Refusal::new(Code::Unauthorized, "Sign in to join this call").into());
        }
        let name = guest_name.or(self.name).ok_or_else(|| {
            Refusal::field(Code::ValidationError, "guestName", "is required to join without an account")
        })?;
        Ok(PublicUser::new(self.id, name, None))
    }
}

fn new_guest() -> UserId {
    let text = format!("guest-{:016x}", rand::random::<u64>());
    UserId::parse(&text).expect("`guest-` and 16 hexadecimal digits are a user id")
}

/// A call, and how its room stands to the visitor.
struct Found {
    call: CallRecord,
    door: Door,
    standing: Standing,
}

/// The call by its record, or, when MongoDB is away, by what the room knows of it; and the room at this moment, in one look.
async fn find(app: &App, room: &RoomId, visitor: &Visitor, origin: &Origin) -> Answer<Found> {
    let address = origin.0.filter(|_| visitor.id.is_guest()).map(|address| app.addresses.address(address));
    let proof = Proof { issued_ms: visitor.issued_ms, address };
    let (record, approach) =
        tokio::join!(app.records.call_of_room_with_people(room), app.rooms.approach(room, &visitor.id, &proof));
    let (door, standing) = approach?;
    let call = match (record, &door) {
        (Ok(Some(mut call)), door) => {
            if let Door::Open { meta, .. } = door {
                call.follow(meta);
            }
            call
        }
        // A room that a socket has just created: its record is on its way through the outbox.
        (Ok(None) | Err(RecordsError::Unavailable(_)), Door::Open { meta, .. }) => CallRecord::from_room(room, meta),
        (Ok(None), Door::Ended) => return Err(Code::CallEnded.into()),
        (Ok(None), Door::Absent) => return Err(Code::CallNotFound.into()),
        (Err(error), _) => return Err(error.into()),
    };
    Ok(Found { call, door, standing })
}

/// Decides as a node does: by the call's door, and by the role that its room gave this one.
async fn decide(
    app: &App,
    call: &CallRecord,
    user: &PublicUser,
    passcode: Option<&str>,
    given: Option<Role>,
    origin: &Origin,
) -> Answer<Admission> {
    let door = call.entrance();
    let passcode = match (call.passcode.as_deref(), passcode) {
        (Some(stored), Some(passcode)) if door.has_passcode && *door.host != user.id => {
            app.limits.try_passcode(&call.room, origin).await?;
            let right = app.hasher.verify_passcode(stored, passcode).await?;
            if right {
                app.limits.right_passcode(&call.room, origin).await;
            }
            Some(right)
        }
        _ => None,
    };
    Ok(admit(&door, Applicant { user: &user.id, passcode, join_token: None, given })?)
}

/// Refuses early what the seat would be refused for; who is in the room already takes its old seat, and who waits in the lobby takes none.
async fn has_place(app: &App, call: &CallRecord, door: &Door, user: &UserId, role: Role, waits: bool) -> Answer<()> {
    let (participants, locked) = match door {
        Door::Open { participants, locked, .. } => (*participants, *locked),
        Door::Absent | Door::Ended => (0, call.locked),
    };
    let full = !waits && participants >= call.max_participants;
    let shut = locked && role < Role::Moderator;
    if !full && !shut {
        return Ok(());
    }
    let seated = app.rooms.snapshot(&call.room).await?;
    if seated.is_some_and(|room| room.seats.iter().any(|seat| seat.user_id == *user)) {
        return Ok(());
    }
    Err(if full { Code::CallFull } else { Code::RoomLocked }.into())
}
