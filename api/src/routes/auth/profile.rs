//! The user's own profile and statistics.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_core::domain::{AppId, CallStatus, Code, EmailAddress, PublicUser, Refusal, Timestamp};
use switchboard_records::{CallFilter, CallOrder, CallsOf, PageStart, ProfileChange, RecordsError, UserRecord};
use switchboard_rooms::ProfileUpdate;

use super::other_sign_ins::{remove_others, revoke_others};
use super::password::check_password;
use crate::app::App;
use crate::audit::{self, Event};
use crate::http::envelope::success;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{Caller, JsonChange};
use crate::http::fields::{Fields, Input};
use crate::http::rate_limit::ClientAddress;
use crate::routes::views::UserView;

/// `GET auth/profile`: one round trip.
pub(crate) async fn profile(State(app): State<App>, Caller(caller): Caller) -> ApiResult<impl IntoResponse> {
    let user = app.records.user(&caller.user.id).await?.ok_or(Code::UserNotFound)?;
    Ok(success("Profile", UserView::from(&user)).into_response())
}

/// Owner of a valid token.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Valid {
    valid: bool,
    user: PublicUser,
    email: Option<String>,
}

/// `GET auth/validate`: answers with the owner of a valid token.
pub(crate) async fn validate(Caller(caller): Caller) -> impl IntoResponse {
    success("The token is valid", Valid { valid: true, user: caller.user, email: caller.email })
}

/// Body of `PATCH auth/profile`.
pub(crate) struct Changes {
    change: ProfileChange,
    current_password: Option<String>,
}

impl Input for Changes {
    fn read(fields: &mut Fields) -> Self {
        let change = ProfileChange {
            name: fields.optional_name("name", 2..=100),
            email: fields.optional_email("email"),
            // Null removes the picture. Name and e-mail address cannot be removed.
            avatar: fields.change("avatar", |fields| fields.web_url("avatar", 512)),
        };
        Self { change, current_password: fields.optional_raw_text("currentPassword", 1..=1024) }
    }

    fn example() -> Value {
        json!({ "name": "Ann", "avatar": "https://example.org/ann.png" })
    }
}

/// `PATCH auth/profile`. Another e-mail address needs the current password and ends the user's
/// other sign-ins, as a change of the password does, because signing in depends on both.
pub(crate) async fn change_profile(
    State(app): State<App>,
    Caller(caller): Caller,
    ClientAddress(address): ClientAddress,
    body: JsonChange<Changes>,
) -> ApiResult<impl IntoResponse> {
    let id = &caller.user.id;
    let user = app.records.user(id).await?.ok_or(Code::UserNotFound)?;
    let Changes { mut change, current_password } = body.read(&UserView::from(&user))?;
    if change.email.is_some() {
        let same = |email: &String| EmailAddress::of_account(email) == EmailAddress::of_account(&user.email);
        if change.email.as_ref().is_some_and(same) {
            change.email = None;
        } else {
            let required =
                || Refusal::field(Code::ValidationError, "currentPassword", "is required to change the e-mail");
            let password = current_password.ok_or_else(required)?;
            // The answer reveals whether an account has this address, so attempts are limited.
            app.limits.lookup(id).await?;
            check_password(&app, &user, address, password).await?;
            revoke_others(&app, &caller).await?;
        }
    }
    let now = app.now();
    let changed = app.records.change_profile(id, &change, now).await.map_err(email_taken)?;
    let user = changed.ok_or(Code::UserNotFound)?;
    if change.email.is_some() {
        audit::record(Event::EmailChanged, Some(id));
        remove_others(&app, &caller, now).await;
    }
    if change.name.is_some() || change.avatar.is_some() {
        announce(&app, &user, now).await;
    }
    Ok(success("The profile was changed", UserView::from(&user)).into_response())
}

/// Maximum number of live calls in which a changed profile is announced: the latest ones.
const ANNOUNCED_CALLS_MAX: u32 = 16;

/// Announces a changed profile in the calls that the user is in. The change is made already, so a
/// failure refuses nothing: the others see it when the user joins again.
async fn announce(app: &App, user: &UserRecord, changed_at: Timestamp) {
    let filter = CallFilter {
        of: CallsOf::User(AppId::default(), user.id.clone()),
        status: Some(CallStatus::Live),
        call_type: None,
        search: None,
        created: (None, None),
        order: (CallOrder::Started, true),
        start: PageStart::Skip(0),
        limit: ANNOUNCED_CALLS_MAX,
    };
    let calls = match app.records.list_calls(&filter).await {
        Ok(found) => found.calls,
        Err(error) => return tracing::warn!(%error, "changed profile not announced"),
    };
    let PublicUser { id, name, avatar, .. } = user.public();
    let update = ProfileUpdate { name: Some(name), avatar: Some(avatar), metadata: None, stored_at: Some(changed_at) };
    let announced = calls.iter().map(|call| app.rooms.change_profile(&call.room, &id, &update));
    for result in futures_util::future::join_all(announced).await {
        if let Err(error) = result {
            tracing::warn!(%error, "changed profile not announced");
        }
    }
}

/// Numbers of the user's calls. A call that the user hosts does not count as participated.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statistics {
    total_hosted: u64,
    total_participated: u64,
    total_calls: u64,
    /// Calls that are live now.
    active_calls: u64,
    /// Calls created since the first day of this month, UTC.
    this_month_calls: u64,
}

/// `GET auth/stats`: one round trip.
pub(crate) async fn stats(State(app): State<App>, Caller(caller): Caller) -> ApiResult<impl IntoResponse> {
    let statistics = app.records.account_statistics(&caller.user.id, app.now().month_start()).await?;
    let data = Statistics {
        total_hosted: statistics.hosted,
        total_participated: statistics.calls - statistics.hosted,
        total_calls: statistics.calls,
        active_calls: statistics.live,
        this_month_calls: statistics.since,
    };
    Ok(success("Statistics", data).into_response())
}

/// Converts a violated unique index to `USER_EXISTS`.
pub(super) fn email_taken(error: RecordsError) -> ApiError {
    match error {
        RecordsError::Duplicate => Code::UserExists.into(),
        error => error.into(),
    }
}
