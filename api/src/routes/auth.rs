//! Accounts: registering, signing in, and one's own profile.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_common::auth::{Verdict, random_id};
use switchboard_common::domain::{Code, PublicUser, Timestamp};
use switchboard_common::records::{ProfileChange, Records, RecordsError, Rotation, UserRecord};

use crate::app::App;
use crate::envelope::success;
use crate::error::{Answer, Problem};
use crate::extract::{Caller, ValidJson};
use crate::fields::{Fields, Input};
use crate::limits::Class;
use crate::views::UserView;

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
        created_at: now,
        updated_at: now,
    };
    app.records.insert_user(&user).await.map_err(taken)?;
    metrics::counter!("switchboard_users_registered_total").increment(1);
    Ok((StatusCode::CREATED, success("Welcome", sign_in(&app, &user).await?)).into_response())
}

/// `POST auth/login`. An unknown address costs as much time as a wrong password and gets the same answer.
pub(crate) async fn login(
    State(app): State<App>,
    ValidJson(form): ValidJson<Credentials>,
) -> Answer<impl IntoResponse> {
    app.limits.attempt(Class::SignIn, &form.email).await?;
    let Some(user) = app.records.user_by_email(&form.email).await? else {
        app.hasher.verify_nobody(form.password).await?;
        return Err(Code::InvalidCredentials.into());
    };
    match app.hasher.verify(user.password.clone(), form.password.clone()).await? {
        Verdict::Wrong => return Err(Code::InvalidCredentials.into()),
        Verdict::Right => {}
        Verdict::RightButRehash => rehash(&app, &user, form.password).await,
    }
    Ok(success("Welcome back", sign_in(&app, &user).await?).into_response())
}

/// Replaces an outdated hash now that the password is known. Signing in does not depend on it: the next one tries again.
async fn rehash(app: &App, user: &UserRecord, password: String) {
    let Ok(hash) = app.hasher.hash(password).await else { return };
    match app.records.replace_hash(&user.id, &user.password, &hash).await {
        Ok(_) => metrics::counter!("switchboard_passwords_rehashed_total").increment(1),
        Err(error) => tracing::warn!(%error, "an outdated password hash could not be replaced"),
    }
}

async fn sign_in<'a>(app: &App, user: &'a UserRecord) -> Answer<SignedIn<'a>> {
    let session = random_id();
    let public = user.public();
    let access = app.tokens.issue_access(&public, &user.email, &session)?;
    let refresh = app.tokens.issue_refresh(&public, &session)?;
    app.records.open_session(&session, &user.id, &refresh.jti, refresh_end(app)).await?;
    Ok(SignedIn {
        user: user.into(),
        token: access.token,
        refresh_token: refresh.token,
        expires_in: brief(app.tokens.lifetimes().access),
    })
}

fn refresh_end(app: &App) -> Timestamp {
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

/// `POST auth/refresh`: a new pair for the latest refresh token; a replayed one ends its whole session.
pub(crate) async fn refresh(
    State(app): State<App>,
    ValidJson(form): ValidJson<Refreshing>,
) -> Answer<impl IntoResponse> {
    let (id, session, used) = app.tokens.verify_refresh(&form.token)?;
    let user = app.records.user(&id).await?.ok_or(Code::TokenInvalid)?;
    let public = user.public();
    let access = app.tokens.issue_access(&public, &user.email, &session)?;
    let next = app.tokens.issue_refresh(&public, &session)?;
    if app.records.rotate_session(&session, &used, &next.jti, refresh_end(&app)).await? == Rotation::Refused {
        tracing::warn!(user_id = %id, "a replayed refresh token ended its session");
        app.revoke(&session).await?;
        return Err(Code::TokenInvalid.into());
    }
    let answer = SignedIn {
        user: (&user).into(),
        token: access.token,
        refresh_token: next.token,
        expires_in: brief(app.tokens.lifetimes().access),
    };
    Ok(success("Refreshed", answer).into_response())
}

/// `POST auth/logout`: ends this sign-in, its refresh token first, so that a try that fails half-way can be repeated.
pub(crate) async fn logout(State(app): State<App>, Caller(caller): Caller) -> Answer<impl IntoResponse> {
    // A token of the Node service belongs to no sign-in and ends by itself.
    if let Some(sign_in) = &caller.session {
        app.records.end_session(sign_in).await?;
        app.revoke(sign_in).await?;
    }
    Ok(success("Goodbye", ()).into_response())
}

/// `GET auth/profile`: one round trip.
pub(crate) async fn profile(State(app): State<App>, Caller(caller): Caller) -> Answer<impl IntoResponse> {
    let user = app.records.user(&caller.user.id).await?.ok_or(Code::UserNotFound)?;
    Ok(success("Profile", UserView::from(&user)).into_response())
}

/// Whose token it is.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Valid {
    valid: bool,
    user: PublicUser,
    email: Option<String>,
}

/// `GET auth/validate`: whether the token is good, and whose it is.
pub(crate) async fn validate(Caller(caller): Caller) -> impl IntoResponse {
    success("The token is valid", Valid { valid: true, user: caller.user, email: caller.email })
}

/// The body of `PATCH auth/profile`.
pub(crate) struct Changes(ProfileChange);

impl Input for Changes {
    fn read(fields: &mut Fields) -> Self {
        Self(ProfileChange {
            name: fields.change("name", |fields| fields.line("name", 2..=100)),
            email: fields.change("email", |fields| fields.email("email")),
            // Null takes it away; the others cannot be taken away.
            avatar: fields.change("avatar", |fields| fields.web_address("avatar", 512)),
        })
    }

    fn example() -> Value {
        json!({ "name": "Ann", "avatar": "https://example.org/ann.png" })
    }
}

/// `PATCH auth/profile`.
pub(crate) async fn change_profile(
    State(app): State<App>,
    Caller(caller): Caller,
    ValidJson(Changes(change)): ValidJson<Changes>,
) -> Answer<impl IntoResponse> {
    let changed = app.records.change_profile(&caller.user.id, &change, app.now()).await.map_err(taken)?;
    let user = changed.ok_or(Code::UserNotFound)?;
    Ok(success("The profile was changed", UserView::from(&user)).into_response())
}

fn taken(error: RecordsError) -> Problem {
    match error {
        RecordsError::Duplicate => Code::UserExists.into(),
        error => error.into(),
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
