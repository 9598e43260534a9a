//! Registering and signing in.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_auth::{Verdict, random_id};
use switchboard_core::domain::{Code, Timestamp};
use switchboard_records::{NewSession, Records, UserRecord};
use tokio::time::Instant;

use super::profile::taken;
use crate::app::App;
use crate::audit::{self, Event};
use crate::envelope::success;
use crate::error::Answer;
use crate::extract::{UserAgent, ValidJson};
use crate::fields::{Fields, Input};
use crate::limits::Class;
use crate::views::UserView;

/// No failure to sign in is told sooner: how long a comparison takes tells what was compared, if anything was. Above what one takes.
const FAILURE: Duration = Duration::from_millis(400);

/// The body of `POST auth/register`.
pub(crate) struct Registration {
    name: String,
    email: String,
    password: String,
}

impl Input for Registration {
    fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.line("name", 2..=100),
            email: fields.email("email"),
            password: fields.raw_text("password", 8..=128),
        }
    }

    fn example() -> Value {
        json!({ "name": "Ann", "email": "ann@example.org", "password": "correct horse battery" })
    }
}

/// The body of `POST auth/login`. Loose: what could not be registered here may have been by the Node service.
pub(crate) struct Credentials {
    email: String,
    password: String,
}

impl Input for Credentials {
    fn read(fields: &mut Fields) -> Self {
        Self { email: fields.line("email", 1..=254).to_lowercase(), password: fields.raw_text("password", 1..=1024) }
    }

    fn example() -> Value {
        json!({ "email": "ann@example.org", "password": "correct horse battery" })
    }
}

/// The answer to registering and signing in.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SignedIn")]
pub(crate) struct SignedIn<'a> {
    user: UserView<'a>,
    /// The access token: `Authorization: Bearer <token>`.
    token: String,
    /// For `auth/refresh`, once.
    refresh_token: String,
    /// How long the access token lasts: `15m`, `90s`, `12h`.
    #[schemars(example = "15m")]
    expires_in: String,
}

/// `POST auth/register`. The unique index decides who gets an address, however many ask at once.
pub(crate) async fn register(
    State(app): State<App>,
    UserAgent(agent): UserAgent,
    ValidJson(form): ValidJson<Registration>,
) -> Answer<impl IntoResponse> {
    let password = app.hasher.hash(form.password).await?;
    let now = app.now();
    let user = UserRecord {
        id: Records::new_user_id(),
        name: form.name,
        email: form.email,
        password,
        avatar: None,
        password_changed_at: None,
        created_at: now,
        updated_at: now,
    };
    app.records.insert_user(&user).await.map_err(taken)?;
    metrics::counter!("switchboard_users_registered_total").increment(1);
    audit::record(Event::Registered, Some(&user.id));
    Ok((StatusCode::CREATED, success("Welcome", open(&app, &user, agent).await?)).into_response())
}

/// `POST auth/login`. An unknown address costs as much time as a wrong password and gets the same answer.
pub(crate) async fn login(
    State(app): State<App>,
    UserAgent(agent): UserAgent,
    ValidJson(form): ValidJson<Credentials>,
) -> Answer<impl IntoResponse> {
    let told = Instant::now() + FAILURE;
    app.limits.attempt(Class::SignIn, &form.email).await?;
    let user = app.records.user_by_email(&form.email).await?;
    let verdict = match &user {
        Some(user) => app.hasher.verify(user.password.clone(), form.password.clone()).await?,
        None => app.hasher.verify_nobody(form.password.clone()).await.map(|()| Verdict::Wrong)?,
    };
    let Some(user) = user.as_ref().filter(|_| verdict != Verdict::Wrong) else {
        audit::record(Event::SignInFailed, user.as_ref().map(|user| &user.id));
        tokio::time::sleep_until(told).await;
        return Err(Code::InvalidCredentials.into());
    };
    if verdict == Verdict::RightButRehash {
        rehash(&app, user, form.password).await;
    }
    let signed_in = open(&app, user, agent).await?;
    audit::record(Event::SignedIn, Some(&user.id));
    Ok(success("Welcome back", signed_in).into_response())
}

/// Replaces an outdated hash now that the password is known. Signing in does not depend on it: the next one tries again.
async fn rehash(app: &App, user: &UserRecord, password: String) {
    let Ok(hash) = app.hasher.hash(password).await else { return };
    match app.records.replace_hash(&user.id, &user.password, &hash).await {
        Ok(_) => metrics::counter!("switchboard_passwords_rehashed_total").increment(1),
        Err(error) => tracing::warn!(%error, "an outdated password hash could not be replaced"),
    }
}

/// Opens a sign-in. One that was opened with a password that was changed meanwhile is closed again: whoever changes it ends those that
/// are there, and this one might come after.
async fn open<'a>(app: &App, user: &'a UserRecord, agent: Option<String>) -> Answer<SignedIn<'a>> {
    let session = NewSession {
        id: random_id(),
        user: user.id.clone(),
        token: random_id(),
        user_agent: agent,
        opened: app.now(),
        expires: refresh_end(app),
        password_at: user.password_changed_at,
    };
    let signed_in = tokens(app, user, &session.id, &session.token)?;
    app.records.open_session(&session).await?;
    let now = app.records.user(&user.id).await?.ok_or(Code::InvalidCredentials)?;
    if now.password_changed_at != user.password_changed_at {
        app.records.end_session(&session.id).await?;
        return Err(Code::InvalidCredentials.into());
    }
    Ok(signed_in)
}

/// The tokens of a sign-in; `token`: the id of its refresh token.
pub(super) fn tokens<'a>(app: &App, user: &'a UserRecord, session: &str, token: &str) -> Answer<SignedIn<'a>> {
    let public = user.public();
    Ok(SignedIn {
        user: user.into(),
        token: app.tokens.issue_access(&public, &user.email, session)?.token,
        refresh_token: app.tokens.issue_refresh(&public, session, token)?,
        expires_in: brief(app.tokens.lifetimes().access),
    })
}

/// When a refresh token that is issued now ends.
pub(super) fn refresh_end(app: &App) -> Timestamp {
    let lifetime = i64::try_from(app.tokens.lifetimes().refresh.as_millis()).unwrap_or(i64::MAX);
    Timestamp(app.now().0.saturating_add(lifetime))
}

/// A duration as the Node service wrote it: `15m`, `90s`, `12h`.
fn brief(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_told_as_short_as_it_goes() {
        let told = [900, 90, 43_200].map(|seconds| brief(Duration::from_secs(seconds)));
        assert_eq!(told, ["15m", "90s", "12h"]);
    }
}
