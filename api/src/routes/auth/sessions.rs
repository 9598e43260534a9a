//! Sign-ins: keeping one up, ending it, and what others one has.
//!
//! MongoDB knows which are open, Redis which are over though their access tokens are not. Whatever ends one writes both; the order is such
//! that a request that failed half-way can be sent again.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_auth::random_id;
use switchboard_core::domain::{Code, Refusal, Timestamp};
use switchboard_records::{Rotation, SessionRecord};

use super::enter::{refresh_end, tokens};
use crate::app::App;
use crate::audit::{self, Event};
use crate::envelope::success;
use crate::error::Answer;
use crate::extract::{Caller, Named, PathId, ValidJson};
use crate::fields::{Fields, Input};
use crate::openapi::operation::PathSchema;

/// The body of `POST auth/refresh`.
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

/// `POST auth/refresh`: a new pair for the latest refresh token; a replayed one ends its whole sign-in.
pub(crate) async fn refresh(
    State(app): State<App>,
    ValidJson(form): ValidJson<Refreshing>,
) -> Answer<impl IntoResponse> {
    let (id, session, used) = app.tokens.verify_refresh(&form.token)?;
    if app.revoked.has(&session) {
        // Revoked, and then the records failed whoever did it: what is undone there is done now.
        app.records.end_session(&session).await?;
        return Err(Code::TokenInvalid.into());
    }
    let user = app.records.user(&id).await?.ok_or(Code::TokenInvalid)?;
    let next = random_id();
    let rotation =
        app.records.rotate_session(&session, (&used, &next), user.password_changed_at, (app.now(), refresh_end(&app)));
    let token = match rotation.await? {
        Rotation::Done => next,
        Rotation::Repeated(token) => token,
        Rotation::Refused => {
            app.revoke(&session).await?;
            audit::record(Event::RefreshReplayed, Some(&id));
            return Err(Code::TokenInvalid.into());
        }
    };
    Ok(success("Refreshed", tokens(&app, &user, &session, &token)?).into_response())
}

/// `POST auth/logout`: ends this sign-in.
pub(crate) async fn logout(State(app): State<App>, Caller(caller): Caller) -> Answer<impl IntoResponse> {
    // A token of the Node service belongs to no sign-in and ends by itself.
    if let Some(sign_in) = &caller.session {
        app.records.end_session(sign_in).await?;
        app.revoke(sign_in).await?;
    }
    audit::record(Event::SignedOut, Some(&caller.user.id));
    Ok(success("Goodbye", ()).into_response())
}

/// A sign-in, as its owner sees it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Session")]
pub(crate) struct SessionView {
    id: String,
    /// It is the one that asks.
    current: bool,
    /// What the client called itself.
    user_agent: Option<String>,
    created_at: Timestamp,
    last_used_at: Timestamp,
    expires_at: Timestamp,
}

/// `GET auth/sessions`: one's own, the latest used first.
pub(crate) async fn list(State(app): State<App>, Caller(caller): Caller) -> Answer<impl IntoResponse> {
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

/// The id of a sign-in in a path.
pub(crate) struct SignInId(String);

impl PathSchema for SignInId {
    const NAME: &'static str = "id";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9a-f]{32}$", "examples": ["0123456789abcdef0123456789abcdef"] })
    }
}

impl PathId for SignInId {
    fn read(text: &str) -> Result<Self, Refusal> {
        let sound = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::field(Code::ValidationError, "id", "must be a session's id"))
        }
    }
}

/// `DELETE auth/sessions/:id`: ends one of one's own.
pub(crate) async fn end_session(
    State(app): State<App>,
    Caller(caller): Caller,
    Named(SignInId(id)): Named<SignInId>,
) -> Answer<impl IntoResponse> {
    let own = app.records.sessions_of(&caller.user.id, app.now()).await?;
    if own.iter().all(|session| session.id != id) {
        return Err(Code::SessionNotFound.into());
    }
    app.revoke(&id).await?;
    app.records.end_session(&id).await?;
    audit::record(Event::SessionsRevoked, Some(&caller.user.id));
    Ok(success("The session has ended", ()).into_response())
}

/// `DELETE auth/sessions`: ends all of one's own but the one that asks.
pub(crate) async fn end_others(State(app): State<App>, Caller(caller): Caller) -> Answer<impl IntoResponse> {
    let others: Vec<String> = others(&app, &caller).await?;
    app.revoke_all(&others).await?;
    app.records.end_sessions(&others).await?;
    audit::record(Event::SessionsRevoked, Some(&caller.user.id));
    Ok(success("The other sessions have ended", ()).into_response())
}

/// The caller's sign-ins but the one that asks.
pub(super) async fn others(app: &App, caller: &switchboard_auth::Identity) -> Answer<Vec<String>> {
    let all = app.records.sessions_of(&caller.user.id, app.now()).await?;
    Ok(all.into_iter().map(|session| session.id).filter(|id| Some(id) != caller.session.as_ref()).collect())
}
