//! The caller's other sign-ins end: after a change of the password or of the e-mail address, or on
//! request. A date in the user's record ends them; removing them is only tidying.

use switchboard_auth::Identity;
use switchboard_core::domain::Timestamp;

use crate::app::App;
use crate::http::error::ApiResult;

/// Keeps this sign-in and removes the others, which ended at the time `ended`. A failure is
/// harmless, because their refresh tokens are already invalid.
pub(super) async fn remove_others(app: &App, caller: &Identity, ended: Timestamp) {
    if let Err(error) = keep_own(app, caller, ended).await {
        tracing::warn!(code = %error.refusal.code, "removing ended sign-ins failed; they expire");
    }
}

/// Revokes the access tokens of the caller's sign-ins, except that of this request. There are at
/// most [`SESSIONS_MAX`](switchboard_records::SESSIONS_MAX).
pub(super) async fn revoke_others(app: &App, caller: &Identity) -> ApiResult<()> {
    let all = app.records.sessions_of(&caller.user.id, app.now()).await?;
    let others = all.into_iter().map(|session| session.id).filter(|id| Some(id) != caller.session.as_ref());
    app.revoke_all(&others.collect::<Vec<_>>()).await?;
    Ok(())
}

/// Keeps this sign-in after all sign-ins of its user were ended at the time `ended`, and removes
/// the others. Sign-ins that were opened in the meantime are revoked too.
async fn keep_own(app: &App, caller: &Identity, ended: Timestamp) -> ApiResult<()> {
    if let Some(own) = &caller.session {
        app.records.keep_session(own, ended).await?;
    }
    revoke_others(app, caller).await?;
    app.records.end_other_sessions(&caller.user.id, caller.session.as_deref()).await?;
    Ok(())
}
