//! The events of accounts in the audit log: sign-ins, failed sign-ins, revocations. Routes log the
//! actions of operators and of backends themselves. Each is one log line with the target `audit`,
//! so that a log collector can separate them. The span carries the request's id. A line contains no
//! secret, no e-mail address and no network address.

use switchboard_core::domain::UserId;

/// Defines the events and their names.
macro_rules! events {
    ($($(#[$doc:meta])* $event:ident $name:literal;)*) => {
        /// Security event of an account.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $($(#[$doc])* $event,)* }

        impl Event {
            /// Names of all events, for metrics.
            pub const NAMES: &[&str] = &[$($name,)*];

            const fn name(self) -> &'static str {
                match self { $(Self::$event => $name,)* }
            }
        }
    };
}

events! {
    /// An account was registered.
    Registered "registered";
    /// A user signed in.
    SignedIn "signed_in";
    /// The password was wrong, or the account does not exist. In the latter case the line names no
    /// user.
    SignInFailed "sign_in_failed";
    /// The owner ended a sign-in.
    SignedOut "signed_out";
    /// A refresh token was used twice, so its sign-in was ended.
    RefreshReplayed "refresh_replayed";
    /// The password was changed and the other sign-ins ended.
    PasswordChanged "password_changed";
    /// The password was not changed, because the current password was wrong.
    PasswordChangeFailed "password_change_failed";
    /// The owner ended other sign-ins.
    SessionsRevoked "sessions_revoked";
    /// The e-mail address was changed.
    EmailChanged "email_changed";
}

/// Logs and counts an event.
pub fn record(event: Event, user: Option<&UserId>) {
    let user_id = user.map_or("-", UserId::as_str);
    tracing::info!(target: "audit", event = event.name(), user_id, "security event");
    metrics::counter!("switchboard_security_events_total", "event" => event.name()).increment(1);
}
