//! Registers an account; signs in.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_auth::{PasswordCheck, random_id};
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::{Code, EmailAddress, Timestamp};
use switchboard_records::{NewSession, Records, UserRecord};
use tokio::time::Instant;

use super::profile::email_taken;
use crate::app::App;
use crate::audit::{self, Event};
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{UserAgent, ValidJson};
use crate::http::fields::{Fields, Input};
use crate::http::rate_limit::ClientAddress;
use crate::routes::views::UserView;

/// Earliest time of the response to a failed sign-in. It is longer than any password check, so that
/// the duration does not reveal whether the account exists.
const FAILURE_DELAY: Duration = Duration::from_millis(400);

/// Body of `POST auth/register`.
pub(crate) struct Registration {
    name: String,
    email: String,
    password: String,
}

impl Input for Registration {
    fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.name("name", 2..=100),
            email: fields.email("email"),
            password: fields.raw_text("password", 8..=128),
        }
    }

    fn example() -> Value {
        json!({ "name": "Ann", "email": "ann@example.org", "password": "correct horse battery" })
    }
}

/// Body of `POST auth/login`. The bounds are looser than those of `register`, because accounts of
/// the old Node.js backend may exceed them.
pub(crate) struct Credentials {
    email: EmailAddress,
    password: String,
}

impl Input for Credentials {
    fn read(fields: &mut Fields) -> Self {
        let email = EmailAddress::of_account(&fields.line("email", 1..=254));
        Self { email, password: fields.raw_text("password", 1..=1024) }
    }

    fn example() -> Value {
        json!({ "email": "ann@example.org", "password": "correct horse battery" })
    }
}

/// Answer to `register`, `login` and `refresh`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SignedIn")]
pub(crate) struct SignedIn<'a> {
    user: UserView<'a>,
    /// Access token, for `Authorization: Bearer <token>`.
    token: String,
    /// Single-use token for `auth/refresh`.
    refresh_token: String,
    /// Lifetime of the access token: `15m`, `90s`, `12h`.
    #[schemars(example = "15m")]
    expires_in: String,
}

/// `POST auth/register`. The unique index in MongoDB decides between requests for the same address.
pub(crate) async fn register(
    State(app): State<App>,
    UserAgent(agent): UserAgent,
    ClientAddress(address): ClientAddress,
    ValidJson(form): ValidJson<Registration>,
) -> ApiResult<impl IntoResponse> {
    let password = app.hasher.hash(address, form.password).await?;
    let now = app.now();
    let user = UserRecord {
        id: Records::new_user_id(),
        name: form.name,
        email: form.email,
        password,
        avatar: None,
        sign_ins_since: None,
        created_at: now,
        updated_at: now,
    };
    app.records.insert_user(&user).await.map_err(email_taken)?;
    metrics::counter!("switchboard_users_registered_total").increment(1);
    audit::record(Event::Registered, Some(&user.id));
    Ok((StatusCode::CREATED, success("Welcome", open(&app, &user, agent).await?)).into_response())
}

/// `POST auth/login`. An unknown e-mail address takes as long as a wrong password, gets the same
/// answer, and is counted in the same way.
pub(crate) async fn login(
    State(app): State<App>,
    UserAgent(agent): UserAgent,
    ClientAddress(address): ClientAddress,
    ValidJson(form): ValidJson<Credentials>,
) -> ApiResult<impl IntoResponse> {
    let failure_at = Instant::now() + FAILURE_DELAY;
    let guess = app.limits.guess_password(form.email.as_str(), address).await?;
    let user = app.records.user_by_email(&form.email).await?;
    let check = match &user {
        Some(user) => app.hasher.verify(address, user.password.clone(), form.password.clone()).await?,
        None => app.hasher.verify_dummy(address, form.password.clone()).await.map(|()| PasswordCheck::Wrong)?,
    };
    let Some(user) = user.as_ref().filter(|_| check != PasswordCheck::Wrong) else {
        guess.wrong().await;
        audit::record(Event::SignInFailed, user.as_ref().map(|user| &user.id));
        tokio::time::sleep_until(failure_at).await;
        return Err(Code::InvalidCredentials.into());
    };
    guess.right().await;
    if check == PasswordCheck::CorrectButOutdated {
        rehash(&app, user, address, form.password).await;
    }
    let signed_in = open(&app, user, agent).await?;
    audit::record(Event::SignedIn, Some(&user.id));
    Ok(success("Welcome back", signed_in).into_response())
}

/// Replaces an outdated password hash, because the password is known now. A failure does not affect
/// the sign-in; the next sign-in tries again.
async fn rehash(app: &App, user: &UserRecord, address: Option<ClientNetwork>, password: String) {
    let Ok(hash) = app.hasher.hash(address, password).await else { return };
    match app.records.replace_hash(&user.id, &user.password, &hash).await {
        Ok(_) => metrics::counter!("switchboard_passwords_rehashed_total").increment(1),
        Err(error) => tracing::warn!(%error, "replacing an outdated password hash failed"),
    }
}

/// Opens a sign-in, and ends the oldest one of too many. If all were ended in the meantime, the
/// sign-in is closed again, because only those that existed at that moment have ended.
async fn open<'a>(app: &App, user: &'a UserRecord, agent: Option<String>) -> ApiResult<SignedIn<'a>> {
    let session = NewSession {
        id: random_id(),
        user: user.id.clone(),
        token: random_id(),
        user_agent: agent,
        opened: app.now(),
        expires: refresh_end(app),
        password_at: user.sign_ins_since,
    };
    let signed_in = tokens(app, user, &session.id, &session.token)?;
    app.records.open_session(&session).await?;
    let excess = app.records.end_excess_sessions(&user.id).await?;
    if !excess.is_empty() {
        app.revoke_all(&excess).await?;
    }
    let now = app.records.user(&user.id).await?.ok_or(Code::InvalidCredentials)?;
    if now.sign_ins_since != user.sign_ins_since {
        app.records.end_session(&session.id).await?;
        return Err(Code::InvalidCredentials.into());
    }
    Ok(signed_in)
}

/// Issues the tokens of a sign-in. `token` is the id of its refresh token.
pub(super) fn tokens<'a>(app: &App, user: &'a UserRecord, session: &str, token: &str) -> ApiResult<SignedIn<'a>> {
    let public = user.public();
    Ok(SignedIn {
        user: user.into(),
        token: app.tokens.issue_access(&public, &user.email, session)?.token,
        refresh_token: app.tokens.issue_refresh(&public, session, token)?,
        expires_in: short_duration(app.tokens.lifetimes().access),
    })
}

/// Returns the expiry of a refresh token that is issued now.
pub(super) fn refresh_end(app: &App) -> Timestamp {
    later(app, app.tokens.lifetimes().refresh)
}

/// Returns the expiry of an access token that is issued now.
pub(super) fn access_end(app: &App) -> Timestamp {
    later(app, app.tokens.lifetimes().access)
}

fn later(app: &App, lifetime: Duration) -> Timestamp {
    Timestamp(app.now().0.saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)))
}

/// Formats a duration as the old Node.js backend did: `15m`, `90s`, `12h`.
fn short_duration(duration: Duration) -> String {
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
    fn a_lifetime_is_formatted_in_the_largest_whole_unit() {
        let formatted = [900, 90, 43_200].map(|seconds| short_duration(Duration::from_secs(seconds)));
        assert_eq!(formatted, ["15m", "90s", "12h"]);
    }
}
