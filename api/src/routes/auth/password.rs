//! Changes the password.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use switchboard_auth::PasswordCheck;
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::{Code, EmailAddress};
use switchboard_records::UserRecord;

use super::other_sign_ins::{remove_others, revoke_others};
use crate::app::App;
use crate::audit::{self, Event};
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{Caller, ValidJson};
use crate::http::fields::{Fields, Input};
use crate::http::rate_limit::ClientAddress;

/// Body of `POST auth/change-password`.
pub(crate) struct Change {
    current: String,
    new: String,
}

impl Input for Change {
    fn read(fields: &mut Fields) -> Self {
        let current = fields.raw_text("currentPassword", 1..=1024);
        let new = fields.raw_text("newPassword", 8..=128);
        let again = fields.raw_text("confirmPassword", 1..=128);
        if !again.is_empty() && again != new {
            fields.reject("confirmPassword", "must be the same as newPassword");
        }
        if !new.is_empty() && new == current {
            fields.reject("newPassword", "must differ from currentPassword");
        }
        Self { current, new }
    }

    fn example() -> Value {
        let new = "battery staple correct";
        json!({ "currentPassword": "correct horse battery", "newPassword": new, "confirmPassword": new })
    }
}

/// `POST auth/change-password`: ends the user's other sign-ins, everywhere.
///
/// Revocation comes first, so that nothing changes while Redis is unavailable. A concurrent sign-in
/// with the old password gets no tokens, or at the latest cannot refresh them, because its record
/// names the date of the old password.
pub(crate) async fn change_password(
    State(app): State<App>,
    Caller(caller): Caller,
    ClientAddress(address): ClientAddress,
    ValidJson(form): ValidJson<Change>,
) -> ApiResult<impl IntoResponse> {
    let id = &caller.user.id;
    let user = app.records.user(id).await?.ok_or(Code::UserNotFound)?;
    check_password(&app, &user, address, form.current).await?;
    let hash = app.hasher.hash(address, form.new).await?;
    revoke_others(&app, &caller).await?;
    let now = app.now();
    if !app.records.change_password(id, &user.password, &hash, now).await? {
        // Another request changed the password since it was read.
        return Err(Code::InvalidCredentials.into());
    }
    audit::record(Event::PasswordChanged, Some(id));
    remove_others(&app, &caller, now).await;
    Ok(success("The password was changed; other sign-ins have ended", ()).into_response())
}

/// Checks the user's own password, with the same counts as a sign-in.
///
/// # Errors
/// `INVALID_CREDENTIALS` if it is wrong; `RATE_LIMIT_EXCEEDED` after too many wrong ones.
pub(super) async fn check_password(
    app: &App,
    user: &UserRecord,
    address: Option<ClientNetwork>,
    password: String,
) -> ApiResult<()> {
    let guess = app.limits.guess_password(EmailAddress::of_account(&user.email).as_str(), address).await?;
    if app.hasher.verify(address, user.password.clone(), password).await? == PasswordCheck::Wrong {
        guess.wrong().await;
        audit::record(Event::PasswordChangeFailed, Some(&user.id));
        return Err(Code::InvalidCredentials.into());
    }
    guess.right().await;
    Ok(())
}
