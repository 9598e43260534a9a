//! What a security review asks for afterwards: who signed in, who failed to, what was revoked. One line each, with the target `audit`, so
//! that a collector can keep them apart; the request's id stands in the span. No secret, no e-mail, no address.

use switchboard_core::domain::UserId;

/// Defines the events with their names.
macro_rules! events {
    ($($(#[$doc:meta])* $event:ident $name:literal;)*) => {
        /// Something that an account's owner may be asked about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Event { $($(#[$doc])* $event,)* }

        impl Event {
            /// The names, for metrics.
            pub const NAMES: &[&str] = &[$($name,)*];

            const fn name(self) -> &'static str {
                match self { $(Self::$event => $name,)* }
            }
        }
    };
}

events! {
    /// An account was opened.
    Registered "registered";
    /// Somebody signed in.
    SignedIn "signed_in";
    /// A password was wrong, or there is no such account; then there is no user to name.
    SignInFailed "sign_in_failed";
    /// A sign-in was ended by its owner.
    SignedOut "signed_out";
    /// A refresh token was used again: its sign-in was ended.
    RefreshReplayed "refresh_replayed";
    /// A password was changed; the other sign-ins ended.
    PasswordChanged "password_changed";
    /// A password was not changed, since the current one was wrong.
    PasswordChangeFailed "password_change_failed";
    /// An owner ended other sign-ins.
    SessionsRevoked "sessions_revoked";
    /// The e-mail to sign in with was changed.
    EmailChanged "email_changed";
}

/// Records an event.
pub fn record(event: Event, user: Option<&UserId>) {
    let user_id = user.map_or("-", UserId::as_str);
    tracing::info!(target: "audit", event = event.name(), user_id, "security event");
    metrics::counter!("switchboard_security_events_total", "event" => event.name()).increment(1);
}
