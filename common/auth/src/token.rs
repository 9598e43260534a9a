//! JSON web tokens. HS256 only: a token that names another algorithm is refused before its signature is looked at.
//!
//! Four kinds, told apart by `typ`: `access` (also when absent: the Node service wrote none), `guest` (bound to one
//! room), `join` (admits one identity to one room in one role) and `refresh`, which has a secret of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use switchboard_core::domain::{Code, PublicUser, Refusal, Role, RoomId, UserId};

const ISSUER: &str = "videocall-api";
const AUDIENCE: &str = "videocall-client";
/// No token of ours is longer; longer ones are refused before any work is done on them.
const MAX_TOKEN_BYTES: usize = 4096;
/// Clocks of pods differ a little.
const LEEWAY_S: u64 = 5;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Typ {
    Access,
    Guest,
    Join,
    Refresh,
}

/// Has an account or came without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has an account.
    User,
    /// Came without; bound to one room.
    Guest,
}

/// Who the bearer of a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user, as others may see it.
    pub user: PublicUser,
    /// A user's e-mail address; a guest has none.
    pub email: Option<String>,
    /// The session that the token belongs to, to be revoked with it.
    pub session: Option<String>,
    /// The one room that a guest may enter.
    pub room: Option<RoomId>,
    /// User or guest.
    pub kind: Kind,
    /// When the token was issued: seconds since the Unix epoch. Who was removed from a call needs a newer one to come back.
    pub issued_at: u64,
}

/// What a join token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinGrant {
    /// The role in the room.
    pub role: Role,
    /// When it was issued: seconds since the Unix epoch.
    pub issued_at: u64,
}

/// A token and its claims' ids, for who stores sessions.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token's text.
    pub token: String,
    /// Its id.
    pub jti: String,
}

/// How long each kind of token lasts.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Access tokens.
    pub access: Duration,
    /// Refresh tokens.
    pub refresh: Duration,
    /// Guests' tokens: a long call.
    pub guest: Duration,
    /// Join tokens: from the answer to `POST join` to the socket's `room:join`.
    pub join: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access: Duration::from_secs(15 * 60),
            refresh: Duration::from_secs(7 * 24 * 3600),
            guest: Duration::from_secs(12 * 3600),
            join: Duration::from_secs(10 * 60),
        }
    }
}

/// The claims of every kind; which are there depends on `typ`. One flat struct, since that is what a token's body is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    user_id: UserId,
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
    iat: u64,
    exp: u64,
    #[serde(default)]
    iss: String,
    #[serde(default)]
    aud: String,
    #[serde(default)]
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(default = "access")]
    typ: Typ,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    guest: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room_id: Option<RoomId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

const fn access() -> Typ {
    Typ::Access
}

struct Keys {
    sign: EncodingKey,
    check: DecodingKey,
}

impl Keys {
    fn new(secret: &str) -> Self {
        Self { sign: EncodingKey::from_secret(secret.as_bytes()), check: DecodingKey::from_secret(secret.as_bytes()) }
    }
}

/// Issues and verifies tokens.
pub struct Tokens {
    access: Keys,
    refresh: Keys,
    validation: Validation,
    lifetimes: Lifetimes,
    clock: fn() -> u64,
}

impl Tokens {
    /// With the usual lifetimes and the system's clock. The two secrets must differ; the configuration sees to that.
    #[must_use]
    pub fn new(access_secret: &str, refresh_secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // Expiry is judged here, by our clock: a resume accepts an expired token, and tests turn the clock.
        validation.validate_exp = false;
        Self {
            access: Keys::new(access_secret),
            refresh: Keys::new(refresh_secret),
            validation,
            lifetimes: Lifetimes::default(),
            clock: unix_now,
        }
    }

    /// With other lifetimes.
    #[must_use]
    pub const fn with_lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// With another clock: seconds since the Unix epoch.
    #[must_use]
    pub const fn with_clock(mut self, clock: fn() -> u64) -> Self {
        self.clock = clock;
        self
    }

    /// How long each kind lasts.
    #[must_use]
    pub const fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// An access token for a user in a session.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when it cannot be encoded.
    pub fn issue_access(&self, user: &PublicUser, email: &str, session: &str) -> Result<Issued, Refusal> {
        let mut claims = self.claims(Typ::Access, user, self.lifetimes.access);
        claims.email = Some(email.to_owned());
        claims.sid = Some(session.to_owned());
        seal(&self.access, claims)
    }

    /// A refresh token for a user's session, with an id of its own.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when it cannot be encoded.
    pub fn issue_refresh(&self, user: &PublicUser, session: &str, id: &str) -> Result<String, Refusal> {
        let mut claims = self.claims(Typ::Refresh, user, self.lifetimes.refresh);
        claims.sid = Some(session.to_owned());
        claims.jti = id.to_owned();
        Ok(seal(&self.refresh, claims)?.token)
    }

    /// A guest's token, bound to `room`.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when it cannot be encoded.
    pub fn issue_guest(&self, user: &PublicUser, room: &RoomId) -> Result<Issued, Refusal> {
        let mut claims = self.claims(Typ::Guest, user, self.lifetimes.guest);
        claims.guest = true;
        claims.room_id = Some(room.clone());
        claims.role = Some(Role::Guest);
        seal(&self.access, claims)
    }

    /// A join token: `user` may enter `room` as `role` without passing its door again.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when it cannot be encoded.
    pub fn issue_join(&self, user: &PublicUser, room: &RoomId, role: Role) -> Result<Issued, Refusal> {
        let mut claims = self.claims(Typ::Join, user, self.lifetimes.join);
        claims.guest = user.is_guest;
        claims.room_id = Some(room.clone());
        claims.role = Some(role);
        seal(&self.access, claims)
    }

    /// Who the bearer of an access or guest's token is.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED`, or `TOKEN_INVALID` for everything else that is wrong with it.
    pub fn verify_access(&self, token: &str) -> Result<Identity, Refusal> {
        let claims = self.open(&self.access, token)?;
        self.unexpired(&claims)?;
        identity(claims)
    }

    /// As `verify_access`, but an expired token is good: calls are longer than tokens. For resuming a seat only.
    ///
    /// # Errors
    /// `TOKEN_INVALID`.
    pub fn verify_for_resume(&self, token: &str) -> Result<Identity, Refusal> {
        identity(self.open(&self.access, token)?)
    }

    /// What a join token gives `user` in `room`.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED`, or `TOKEN_INVALID`, also when it is another's or another room's.
    pub fn verify_join(&self, token: &str, room: &RoomId, user: &UserId) -> Result<JoinGrant, Refusal> {
        let claims = self.open(&self.access, token)?;
        self.unexpired(&claims)?;
        match claims.role {
            Some(role)
                if claims.typ == Typ::Join && claims.room_id.as_ref() == Some(room) && claims.user_id == *user =>
            {
                Ok(JoinGrant { role, issued_at: claims.iat })
            }
            _ => Err(Code::TokenInvalid.into()),
        }
    }

    /// The user, the session and the token's own id of a refresh token.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED` or `TOKEN_INVALID`.
    pub fn verify_refresh(&self, token: &str) -> Result<(UserId, String, String), Refusal> {
        let claims = self.open(&self.refresh, token)?;
        self.unexpired(&claims)?;
        match claims.sid {
            Some(session) if claims.typ == Typ::Refresh => Ok((claims.user_id, session, claims.jti)),
            _ => Err(Code::TokenInvalid.into()),
        }
    }

    fn claims(&self, typ: Typ, user: &PublicUser, lifetime: Duration) -> Claims {
        let now = (self.clock)();
        Claims {
            user_id: user.id.clone(),
            name: user.name.clone(),
            email: None,
            avatar: user.avatar.clone(),
            iat: now,
            exp: now + lifetime.as_secs(),
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            jti: random_id(),
            sid: None,
            typ,
            guest: false,
            room_id: None,
            role: None,
        }
    }

    fn open(&self, keys: &Keys, token: &str) -> Result<Claims, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Code::TokenInvalid.into());
        }
        jsonwebtoken::decode::<Claims>(token, &keys.check, &self.validation)
            .map(|data| data.claims)
            .map_err(|_| Code::TokenInvalid.into())
    }

    fn unexpired(&self, claims: &Claims) -> Result<(), Refusal> {
        if claims.exp.saturating_add(LEEWAY_S) <= (self.clock)() { Err(Code::TokenExpired.into()) } else { Ok(()) }
    }
}

fn seal(keys: &Keys, claims: Claims) -> Result<Issued, Refusal> {
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &keys.sign).map_err(|error| {
        tracing::error!(%error, "a token could not be encoded");
        Refusal::from(Code::InternalError)
    })?;
    Ok(Issued { token, jti: claims.jti })
}

fn identity(claims: Claims) -> Result<Identity, Refusal> {
    let kind = match claims.typ {
        Typ::Access if !claims.guest && !claims.user_id.is_guest() => Kind::User,
        Typ::Guest if claims.user_id.is_guest() && claims.room_id.is_some() => Kind::Guest,
        _ => return Err(Code::TokenInvalid.into()),
    };
    Ok(Identity {
        user: PublicUser::new(claims.user_id, claims.name, claims.avatar),
        email: claims.email,
        session: claims.sid,
        room: claims.room_id,
        kind,
        issued_at: claims.iat,
    })
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// 128 random bits as 32 hexadecimal digits: token and session ids.
#[must_use]
pub fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests;
