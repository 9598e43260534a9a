//! The bearer of a token.

use switchboard_core::domain::{AppId, CallPermissions, PublicUser, Role, RoomId};

/// Kind of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// User with an account.
    User,
    /// Guest without an account, bound to one room.
    Guest,
    /// User of an app, whom only the app's backend knows.
    AppUser,
    /// User of an app who signed in at a provider of OpenID Connect.
    OidcUser,
}

/// Authenticated bearer of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Public profile of the user or guest.
    pub user: PublicUser,
    /// E-mail address of a user; guests have none.
    pub email: Option<String>,
    /// Sign-in session of the token, or the API key that signed it, or its identity source. When
    /// that is revoked, so is the token.
    pub session: Option<String>,
    /// The only room that the token is good for.
    pub room: Option<RoomId>,
    /// Kind of the bearer.
    pub kind: IdentityKind,
    /// App of the user.
    pub app: AppId,
    /// Role and permissions that the app's backend grants.
    pub grant: Option<AppGrant>,
    /// Time of issue, in milliseconds since the Unix epoch. A participant who was removed from a
    /// call needs a token that was issued later.
    pub issued_ms: u64,
    /// Expiry, in seconds since the Unix epoch.
    pub expires_at: u64,
}

impl Identity {
    /// Returns the identity of a guest without a token.
    #[must_use]
    pub fn without_token(user: PublicUser) -> Self {
        Self {
            user,
            email: None,
            session: None,
            room: None,
            kind: IdentityKind::Guest,
            app: AppId::default(),
            grant: None,
            issued_ms: 0,
            expires_at: 0,
        }
    }
}

/// Role and permissions that an app's backend grants its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppGrant {
    /// Role in calls.
    pub role: Role,
    /// Permissions in calls.
    pub permissions: CallPermissions,
}
