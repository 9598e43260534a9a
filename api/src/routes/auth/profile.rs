//! What is one's own: the profile, and figures.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_core::domain::{Code, PublicUser};
use switchboard_records::{ProfileChange, RecordsError};

use crate::app::App;
use crate::audit::{self, Event};
use crate::envelope::success;
use crate::error::{Answer, Problem};
use crate::extract::{Caller, ValidJson};
use crate::fields::{Fields, Input};
use crate::limits::Class;
use crate::views::UserView;

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
    if change.email.is_some() {
        // The answer tells whether somebody has that address: not to be asked for many.
        app.limits.attempt(Class::SignIn, caller.user.id.as_str()).await?;
    }
    let changed = app.records.change_profile(&caller.user.id, &change, app.now()).await.map_err(taken)?;
    let user = changed.ok_or(Code::UserNotFound)?;
    if change.email.is_some() {
        audit::record(Event::EmailChanged, Some(&user.id));
    }
    Ok(success("The profile was changed", UserView::from(&user)).into_response())
}

/// One's calls in figures. A call that one hosts does not count as taken part in.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statistics {
    total_hosted: u64,
    total_participated: u64,
    total_calls: u64,
    /// Live now.
    active_calls: u64,
    /// Made since the first of this month, UTC.
    this_month_calls: u64,
}

/// `GET auth/stats`: one round trip.
pub(crate) async fn stats(State(app): State<App>, Caller(caller): Caller) -> Answer<impl IntoResponse> {
    let figures = app.records.account_figures(&caller.user.id, app.now().month_start()).await?;
    let statistics = Statistics {
        total_hosted: figures.hosted,
        total_participated: figures.calls - figures.hosted,
        total_calls: figures.calls,
        active_calls: figures.live,
        this_month_calls: figures.since,
    };
    Ok(success("Statistics", statistics).into_response())
}

/// A taken e-mail, by its own code.
pub(super) fn taken(error: RecordsError) -> Problem {
    match error {
        RecordsError::Duplicate => Code::UserExists.into(),
        error => error.into(),
    }
}
