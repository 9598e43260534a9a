//! Changing a password.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use switchboard_auth::{Identity, Verdict};
use switchboard_core::domain::Code;

use super::sessions::others;
use crate::app::App;
use crate::audit::{self, Event};
use crate::envelope::success;
use crate::error::Answer;
use crate::extract::{Caller, ValidJson};
use crate::fields::{Fields, Input};

/// The body of `POST auth/change-password`.
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
            fields.reject("newPassword", "must be another one");
        }
        Self { current, new }
    }

    fn example() -> Value {
        let new = "battery staple correct";
        json!({ "currentPassword": "correct horse battery", "newPassword": new, "confirmPassword": new })
    }
}

/// `POST auth/change-password`: the other sign-ins end, everywhere.
///
/// They are revoked first: while Redis is away nothing is changed. A sign-in that comes between with the old password is refused its
/// tokens, or at the latest their refreshing, for it was opened with a password of another date.
pub(crate) async fn change_password(
    State(app): State<App>,
    Caller(caller): Caller,
    ValidJson(form): ValidJson<Change>,
) -> Answer<impl IntoResponse> {
    let id = &caller.user.id;
    let user = app.records.user(id).await?.ok_or(Code::UserNotFound)?;
    if app.hasher.verify(user.password.clone(), form.current).await? == Verdict::Wrong {
        audit::record(Event::PasswordChangeFailed, Some(id));
        return Err(Code::InvalidCredentials.into());
    }
    let hash = app.hasher.hash(form.new).await?;
    app.revoke_all(&others(&app, &caller).await?).await?;
    let now = app.now();
    if !app.records.change_password(id, &user.password, &hash, now).await? {
        // Changed by another request since it was read.
        return Err(Code::InvalidCredentials.into());
    }
    audit::record(Event::PasswordChanged, Some(id));
    if let Err(problem) = tidy(&app, &caller, now).await {
        tracing::warn!(code = %problem.refusal.code, "sign-ins of an old password are left to end by themselves");
    }
    Ok(success("The password was changed; other sign-ins have ended", ()).into_response())
}

/// Keeps this sign-in and ends the others. What is left undone here can do no harm: their refresh tokens are good for nothing any more.
async fn tidy(app: &App, caller: &Identity, changed: switchboard_core::domain::Timestamp) -> Answer<()> {
    if let Some(own) = &caller.session {
        app.records.keep_session(own, changed).await?;
    }
    let others = others(app, caller).await?;
    app.revoke_all(&others).await?;
    app.records.end_sessions(&others).await?;
    Ok(())
}
