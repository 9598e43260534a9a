//! Admits a caller to a call: decides whether the caller may join, opens the room in Redis, and
//! issues the tokens for the socket. Nodes do not need MongoDB for an open room.
//!
//! An open room can be joined while MongoDB is unavailable.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_auth::{IceServer, Identity, IdentityKind, JoinGrant};
use switchboard_calls::{ADMISSION_ATTEMPTS_MAX, CallError, Candidate, FoundCall, RecordRead};
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::call_fields::GUEST_NAME;
use switchboard_core::domain::{
    Admission, CallType, Code, PublicUser, Refusal, Role, RoomId, RoomName, Timestamp, UserId,
};
use switchboard_records::CallRecord;
use switchboard_rooms::Proof;
use switchboard_runtime::telemetry::traces::{TARGET, follow};
use tracing::{Instrument as _, info_span};

use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{MaybeCaller, ROOM_ID_RULE, ValidJson};
use crate::http::fields::{Fields, Input};
use crate::http::rate_limit::ClientAddress;
use crate::routes::views::CallView;

/// Body of `POST video-calls/join`.
pub(crate) struct JoinBody {
    /// Room to join; `None` only in a body that is refused.
    room: Option<RoomName>,
    /// Passcode as the user typed it.
    passcode: Option<String>,
    /// Name of a caller without an account.
    guest_name: Option<String>,
}

impl Input for JoinBody {
    fn read(fields: &mut Fields) -> Self {
        let text = fields.line("roomId", 1..=64);
        let room = RoomName::read(&text).ok();
        if room.is_none() && !text.is_empty() {
            fields.reject("roomId", ROOM_ID_RULE);
        }
        Self {
            room,
            passcode: fields.optional_raw_text("passcode", 0..=128),
            guest_name: fields.name_or_empty("guestName", GUEST_NAME),
        }
    }

    fn example() -> Value {
        json!({ "roomId": "AB23CD45EF67", "guestName": "Guest" })
    }
}

/// Response to an admitted caller: the caller's identity in the call, and the tokens for the
/// socket.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "JoinResponse")]
pub(crate) struct JoinResponse<'a> {
    /// The call.
    call: CallView<'a>,
    /// Identity that other participants see.
    user: &'a PublicUser,
    /// Whether the caller joins without an account.
    is_guest: bool,
    /// Role in the call.
    role: Role,
    /// Whether the caller goes to the lobby first.
    waits: bool,
    /// Access token of a guest; absent for a user with an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Join token, for `room:join`. It replaces the passcode.
    join_token: String,
    /// STUN servers, and TURN servers with credentials unless the caller goes to the lobby.
    ice_servers: Vec<IceServer>,
    /// Seconds until the TURN credentials expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    ice_ttl: Option<u64>,
}

/// `POST video-calls/join`.
pub(crate) async fn join(
    State(app): State<App>,
    caller: MaybeCaller,
    address: ClientAddress,
    ValidJson(body): ValidJson<JoinBody>,
) -> ApiResult<impl IntoResponse> {
    let typed = body.room.as_ref().ok_or(Code::ValidationError)?;
    let room = app.access().resolve(&caller.app(), caller.bound_to(), typed).await;
    let MaybeCaller(caller) = caller;
    let span = follow(info_span!(target: TARGET, "rest join"), &room);
    admit_to(app, caller, room, body, address).instrument(span).await
}

async fn admit_to(
    app: App,
    caller: Option<Identity>,
    room: RoomId,
    body: JoinBody,
    address: ClientAddress,
) -> ApiResult<impl IntoResponse + use<>> {
    let joiner = Joiner::of(caller, &room, app.now())?;
    let ClientAddress(address) = address;
    let hashed = address.and_then(|address| app.addresses.hash_address(address));
    let proof = Proof { issued_ms: joiner.issued_ms, address: hashed };
    let (found, user, admission) = decide(&app, &room, joiner, &body, (&proof, address)).await?;
    let (Admission { role, waits }, present) = (admission, found.participants);
    // `RecordRead::Always` always returns a record. The type allows none, because other callers
    // read the record only if the room is closed.
    let passcode = found.meta.passcode_hash.clone();
    let call = found.record.unwrap_or_else(|| CallRecord::from_room(&room, &found.meta));
    let token = if user.is_guest { Some(app.tokens.issue_guest(&user, &room)?.token) } else { None };
    let now = u64::try_from(app.now().seconds()).unwrap_or(0);
    // A participant in the lobby has no seat; its node sends TURN credentials when it is admitted.
    let ice = if waits { app.ice.without_seat() } else { app.ice.for_participant(&room, &user.id, now) };
    let response = JoinResponse {
        call: CallView::new(&app, &call, Some(present)),
        user: &user,
        is_guest: user.is_guest,
        role,
        waits,
        token,
        join_token: app.tokens.issue_join(&user, &room, role, passcode.as_deref())?.token,
        ice_servers: ice.servers,
        ice_ttl: ice.ttl,
    };
    let message = if waits { "You may join the lobby" } else { "You may join" };
    Ok(success(message, response).into_response())
}

/// Returns the user's profile as it is now. The token has it as it was when it was issued, which is
/// good enough to join with while MongoDB is away.
async fn profile(app: &App, user: Option<&PublicUser>) -> Option<PublicUser> {
    let record = app.records.user(&user?.id).await.ok().flatten()?;
    Some(record.public())
}

/// Decides admission, and asks the room whether a socket would get a seat now. Decides again if the
/// room changed in between.
async fn decide(
    app: &App,
    room: &RoomId,
    mut joiner: Joiner,
    body: &JoinBody,
    (proof, address): (&Proof, Option<ClientNetwork>),
) -> ApiResult<(FoundCall, PublicUser, Admission)> {
    let access = app.access();
    for _ in 0..ADMISSION_ATTEMPTS_MAX {
        let find = access.find(room, &joiner.id, proof, RecordRead::Always);
        let account = joiner.user.as_ref().filter(|_| joiner.has_account);
        let (found, profile) = tokio::join!(find, profile(app, account));
        let found = match (found, &joiner.grant) {
            (Err(CallError::NotFound), Some(grant)) if joiner.is_bound => {
                access.check_app(room).await?;
                access.create(room, &joiner.id, grant.role, app.now()).await?;
                continue;
            }
            (found, _) => found?,
        };
        joiner.user = profile.or(joiner.user);
        let user = joiner.named(body.guest_name.clone(), found.meta.call_type)?;
        let candidate = Candidate {
            user: &user.id,
            issued_ms: proof.issued_ms,
            address,
            passcode: body.passcode.as_deref(),
            join_token: joiner.grant.as_ref(),
        };
        let admission = access.decide(room, &found.meta, &found.standing, candidate).await?;
        access.open(room, &found).await?;
        if access.ask(room, &found, &user, proof, admission).await.map_err(call_full)? {
            return Ok((found, user, admission));
        }
    }
    Err(Code::ServiceUnavailable.into())
}

/// Names a full room as REST does. Sockets have `ROOM_FULL` for it.
fn call_full(error: CallError) -> CallError {
    match error {
        CallError::Refused(refusal) if refusal.code == Code::RoomFull => {
            CallError::Refused(Refusal { code: Code::CallFull, ..refusal })
        }
        other => other,
    }
}

/// Identity to join with: the caller's own, a guest's earlier identity for the same room, or that
/// of a new guest.
struct Joiner {
    /// Id in the call.
    id: UserId,
    /// Signed-in user.
    user: Option<PublicUser>,
    /// Earlier name of a guest.
    name: Option<String>,
    /// Issue time of the token, in milliseconds. Nodes compare the same time with removals.
    issued_ms: u64,
    /// What the backend of an app grants its user.
    grant: Option<JoinGrant>,
    /// Whether the token is for this room alone.
    is_bound: bool,
    /// Whether the user has an account. A user of an app may have the id of one.
    has_account: bool,
}

impl Joiner {
    /// Chooses the identity. A guest's token for another room gives only the name.
    ///
    /// # Errors
    /// `ROOM_NOT_ALLOWED`: the token of an app's user is for another room.
    fn of(caller: Option<Identity>, room: &RoomId, now: Timestamp) -> Result<Self, Refusal> {
        let is_bound = caller.as_ref().is_some_and(|caller| caller.room.as_ref() == Some(room));
        Ok(match caller {
            Some(caller) if caller.kind != IdentityKind::Guest => {
                if caller.room.is_some() && !is_bound {
                    return Err(Code::RoomNotAllowed.into());
                }
                let issued_ms = caller.issued_ms;
                let grant = caller.grant.map(|grant| JoinGrant::by_app(grant.role, issued_ms));
                Self {
                    id: caller.user.id.clone(),
                    issued_ms,
                    name: None,
                    has_account: caller.kind == IdentityKind::User,
                    user: Some(caller.user),
                    grant,
                    is_bound,
                }
            }
            Some(guest) if is_bound => Self {
                issued_ms: guest.issued_ms,
                id: guest.user.id,
                name: Some(guest.user.name),
                user: None,
                grant: None,
                is_bound,
                has_account: false,
            },
            other_room_or_none => Self {
                id: new_guest(),
                user: None,
                name: other_room_or_none.map(|guest| guest.user.name),
                issued_ms: u64::try_from(now.0).unwrap_or(0),
                grant: None,
                is_bound,
                has_account: false,
            },
        })
    }

    /// Returns the identity that other participants see.
    ///
    /// # Errors
    /// A guest may not join this call, or has no name.
    fn named(&self, guest_name: Option<String>, call_type: CallType) -> Result<PublicUser, ApiError> {
        if let Some(user) = &self.user {
            return Ok(user.clone());
        }
        if call_type != CallType::Public {
            return Err(Refusal::new(Code::Unauthorized, "Sign in to join this call").into());
        }
        let name = guest_name.or_else(|| self.name.clone()).ok_or_else(|| {
            Refusal::field(Code::ValidationError, "guestName", "is required to join without an account")
        })?;
        Ok(PublicUser::new(self.id.clone(), name, None))
    }
}

fn new_guest() -> UserId {
    let text = format!("guest-{:016x}", rand::random::<u64>());
    UserId::parse(&text).expect("`guest-` and 16 hexadecimal digits are a valid user id")
}
