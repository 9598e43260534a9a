//! Refreshes, lists and ends sign-ins (called sessions on the wire).
//!
//! MongoDB stores the open sign-ins. Redis stores revocations: sign-ins that have ended although
//! their access tokens have not expired. Ending a sign-in writes both, in an order that allows a
//! client to repeat a request that failed half-way.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_auth::{RefreshIdentity, random_id};
use switchboard_core::domain::{Code, Refusal, Timestamp};
use switchboard_records::{Rotation, RotationTimes, SessionRecord};
use switchboard_rooms::RevocationReason;

use super::other_sign_ins::{remove_others, revoke_others};
use super::sign_in::{access_end, refresh_end, tokens};
use crate::app::App;
use crate::audit::{self, Event};
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{Caller, PathId, PathParam, SigningOut, ValidJson};
use crate::http::fields::{Fields, Input};

/// Body of `POST auth/refresh`.
pub(crate) struct Refreshing {
    token: String,
}

impl Input for Refreshing {
    fn read(fields: &mut Fields) -> Self {
        Self { token: fields.raw_text("refreshToken", 1..=4096) }
    }

    fn example() -> Value {
        json!({ "refreshToken": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl" })
    }
}

/// `POST auth/refresh`: exchanges a single-use refresh token for new tokens. A token that is used
/// again, after the one that replaced it was used, ends the tokens of its sign-in.
pub(crate) async fn refresh(
    State(app): State<App>,
    ValidJson(form): ValidJson<Refreshing>,
) -> ApiResult<impl IntoResponse> {
    let RefreshIdentity { user: id, session, token_id: used } = app.tokens.verify_refresh(&form.token)?;
    if let Some(reason) = app.revoked.reason(&session) {
        // Ending the sign-in in MongoDB may have failed, so end it now. One that was replayed stays
        // there, so that its owner can end its seats in calls.
        if reason == RevocationReason::SignedOut {
            app.records.end_session(&session).await?;
        }
        return Err(Code::TokenInvalid.into());
    }
    let user = app.records.user(&id).await?.ok_or(Code::TokenInvalid)?;
    let next = random_id();
    let times = RotationTimes { now: app.now(), refresh_end: refresh_end(&app), access_end: access_end(&app) };
    let token = match app.records.rotate_session(&session, (&used, &next), user.sign_ins_since, times).await? {
        Rotation::Done => next,
        Rotation::Repeated(token) => token,
        Rotation::Replayed => {
            app.revoke_replayed(&session).await?;
            audit::record(Event::RefreshReplayed, Some(&id));
            return Err(Code::TokenInvalid.into());
        }
        Rotation::Outdated => {
            app.revoke(&session).await?;
            return Err(Code::TokenInvalid.into());
        }
        Rotation::Unknown => return Err(Code::TokenInvalid.into()),
    };
    Ok(success("Refreshed", tokens(&app, &user, &session, &token)?).into_response())
}

/// `POST auth/logout`: ends this sign-in, also after a replay has ended its tokens.
pub(crate) async fn logout(State(app): State<App>, SigningOut(caller): SigningOut) -> ApiResult<impl IntoResponse> {
    // A token of the old Node.js backend belongs to no sign-in; it expires.
    if let Some(sign_in) = &caller.session {
        app.records.end_session(sign_in).await?;
        app.revoke(sign_in).await?;
    }
    audit::record(Event::SignedOut, Some(&caller.user.id));
    Ok(success("Goodbye", ()).into_response())
}

/// Sign-in, as its owner sees it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Session")]
pub(crate) struct SessionView {
    id: String,
    /// The sign-in of this request.
    current: bool,
    /// `User-Agent` of the client.
    user_agent: Option<String>,
    created_at: Timestamp,
    last_used_at: Timestamp,
    expires_at: Timestamp,
}

/// `GET auth/sessions`: the user's own sign-ins, the most recently used first.
pub(crate) async fn list(State(app): State<App>, Caller(caller): Caller) -> ApiResult<impl IntoResponse> {
    let view = |session: SessionRecord| SessionView {
        current: caller.session.as_ref() == Some(&session.id),
        id: session.id,
        user_agent: session.user_agent,
        created_at: session.opened,
        last_used_at: session.used,
        expires_at: session.expires,
    };
    let sessions = app.records.sessions_of(&caller.user.id, app.now()).await?;
    Ok(success("Sessions", sessions.into_iter().map(view).collect::<Vec<_>>()).into_response())
}

/// Id of a sign-in in a path.
pub(crate) struct SignInId(String);

impl PathId for SignInId {
    const NAME: &'static str = "id";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9a-f]{32}$", "examples": ["0123456789abcdef0123456789abcdef"] })
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        let valid = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::field(Code::ValidationError, "id", "must be 32 lower-case hexadecimal digits"))
        }
    }
}

/// `DELETE auth/sessions/:id`: ends one of the user's own sign-ins.
pub(crate) async fn end_session(
    State(app): State<App>,
    Caller(caller): Caller,
    PathParam(SignInId(id)): PathParam<SignInId>,
) -> ApiResult<impl IntoResponse> {
    let own = app.records.sessions_of(&caller.user.id, app.now()).await?;
    if own.iter().all(|session| session.id != id) {
        return Err(Code::SessionNotFound.into());
    }
    app.revoke(&id).await?;
    app.records.end_session(&id).await?;
    audit::record(Event::SessionsRevoked, Some(&caller.user.id));
    Ok(success("The session has ended", ()).into_response())
}

/// `DELETE auth/sessions`: ends the user's other sign-ins by one date in the user's record. To
/// remove them takes longer when there are many, and may fail: their tokens are invalid already.
pub(crate) async fn end_others(State(app): State<App>, Caller(caller): Caller) -> ApiResult<impl IntoResponse> {
    let now = app.now();
    revoke_others(&app, &caller).await?;
    if !app.records.end_sign_ins(&caller.user.id, now).await? {
        return Err(Code::UserNotFound.into());
    }
    remove_others(&app, &caller, now).await;
    audit::record(Event::SessionsRevoked, Some(&caller.user.id));
    Ok(success("The other sessions have ended", ()).into_response())
}
