//! Issues and verifies JSON Web Tokens (RFC 7519).
//!
//! The file has more than 400 lines, so that the claims of all tokens can be read in one place.
//!
//! The service's own tokens are signed by a secret (HS256) or, except refresh tokens, by an Ed25519
//! key (EdDSA). The header's `alg` chooses between secrets and public keys, and `kid` names the key
//! among them. A token that names any other algorithm is refused before its signature is checked. A
//! token of HS256 without `kid` is verified with each secret of the ring.
//!
//! The claim `typ` has four values:
//!
//! | `typ` | use |
//! |---|---|
//! | `access` | signed-in user; also if `typ` is absent, as in tokens of the earlier service |
//! | `guest` | guest, bound to one room |
//! | `join` | admits one user or guest to one room with one role |
//! | `refresh` | exchanged for new tokens; signed with a separate secret |
//!
//! The module `app` has the tokens that backends of apps sign with the secret of an API key,
//! `source` those of identity sources and `public_key` their keys, `identity` the bearer of a
//! token, `bounds` the lengths of claims, `signatures` the algorithms, `access_keys` and
//! `private_key` the keys of the service's own tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use switchboard_core::ClusterKey;
use switchboard_core::domain::identity_source::OWN_ISSUER as ISSUER;
use switchboard_core::domain::ids::maybe_full_room;
use switchboard_core::domain::{AppId, Code, IdentitySource, Jwks, PublicUser, Refusal, Role, RoomId, UserId};
use switchboard_core::{Key, KeyRing};

mod access_keys;
mod app;
mod bounds;
mod identity;
mod private_key;
mod public_key;
mod signatures;
mod source;

use access_keys::with_current_secret;
use bounds::{AVATAR_MAX, EMAIL_MAX, LEEWAY_S, MAX_TOKEN_BYTES, NAME_MAX, fit, json_length};

pub use access_keys::AccessKeys;
pub use app::{AppSigner, METADATA_MAX, MintedToken, USER_AVATAR_MAX, USER_NAME, USER_TOKEN_MAX, UserClaims, app_user};
pub use identity::{AppGrant, Identity, IdentityKind};
pub use private_key::PrivateKey;
pub use public_key::{PublicKey, PublicKeys, UnverifiedToken};
pub use source::{TokenSigner, is_of_source, source_sign_in};

const AUDIENCE: &str = "videocall-client";

/// Value of the claim `typ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenType {
    Access,
    Guest,
    Join,
    Refresh,
}

/// Contents of a valid join token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGrant {
    /// Role in the room.
    pub role: Role,
    /// Time of issue, in milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// Whether the backend of an app granted it. Then it stands for any passcode.
    pub is_by_app: bool,
    /// Mark of the passcode under which the token was issued. Tokens of earlier versions have none.
    passcode: Option<String>,
}

impl JoinGrant {
    /// Returns the grant of a user token of an app.
    #[must_use]
    pub const fn by_app(role: Role, issued_ms: u64) -> Self {
        Self { role, issued_ms, is_by_app: true, passcode: None }
    }
}

/// Contents of a valid refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshIdentity {
    /// User that the token was issued to.
    pub user: UserId,
    /// Sign-in session that the token belongs to.
    pub session: String,
    /// Token id. The session accepts only the id of its current refresh token.
    pub token_id: String,
}

/// Issued token.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// Encoded token.
    pub token: String,
    /// Token id: the claim `jti`.
    pub jti: String,
}

/// Lifetimes of tokens.
#[derive(Clone, Copy, Debug)]
pub struct TokenLifetimes {
    /// Lifetime of an access token; 15 min by default.
    pub access: Duration,
    /// Lifetime of a refresh token; 7 days by default.
    pub refresh: Duration,
    /// Lifetime of a guest token; 12 h by default, so that a guest can stay in a long call.
    pub guest: Duration,
    /// Lifetime of a join token: time between the response to `POST join` and `room:join` on the
    /// socket; 10 min by default.
    pub join: Duration,
}

impl Default for TokenLifetimes {
    fn default() -> Self {
        Self {
            access: Duration::from_secs(15 * 60),
            refresh: Duration::from_secs(7 * 24 * 3600),
            guest: Duration::from_secs(12 * 3600),
            join: Duration::from_secs(10 * 60),
        }
    }
}

/// Claims of all token types; `typ` determines which are present. One flat struct, because the body
/// of a token is one flat object.
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
    /// Time of issue in milliseconds. RFC 7519 lets `iat` have a fraction, but many libraries do
    /// not read one. Without it, a token of the second in which a participant was removed would
    /// count as older than the removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_at_ms: Option<u64>,
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
    typ: TokenType,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    guest: bool,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_full_room")]
    room_id: Option<RoomId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passcode: Option<String>,
}

const fn access() -> TokenType {
    TokenType::Access
}

impl Claims {
    /// Returns the time of issue in milliseconds. Tokens of earlier versions have whole seconds.
    fn issued_ms(&self) -> u64 {
        self.issued_at_ms.unwrap_or(self.iat.saturating_mul(1000))
    }
}

/// Issues and verifies tokens of all types.
pub struct Tokens {
    access: AccessKeys,
    refresh: KeyRing,
    hs256: Validation,
    eddsa: Validation,
    lifetimes: TokenLifetimes,
    /// Key of the marks of passcodes in join tokens.
    passcodes: ClusterKey,
    clock: fn() -> u64,
}

/// Returns the checks of a token that this service signed with `algorithm`.
fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    // `unexpired` checks the expiry instead, because a resume accepts an expired token, and because
    // tests set the clock.
    validation.validate_exp = false;
    validation
}

/// Returns what the mark of a passcode covers.
fn passcode_parts<'a>(room: &'a RoomId, passcode: Option<&'a str>) -> Vec<&'a str> {
    ["passcode", room.as_str()].into_iter().chain(passcode).collect()
}

impl Tokens {
    /// Creates an issuer with the default lifetimes and the system clock. `access` are the keys of
    /// access, guest and join tokens, `refresh` those of refresh tokens. All must differ; the
    /// configuration checks this.
    #[must_use]
    pub fn new(access: impl Into<AccessKeys>, refresh: impl Into<KeyRing>) -> Self {
        // Before the library's first signature: without a provider it would choose none forever.
        signatures::install();
        let (access, refresh) = (access.into(), refresh.into());
        Self {
            passcodes: access.cluster_key(&refresh),
            access,
            refresh,
            hs256: validation(Algorithm::HS256),
            eddsa: validation(Algorithm::EdDSA),
            lifetimes: TokenLifetimes::default(),
            clock: unix_now_ms,
        }
    }

    /// Replaces the lifetimes.
    #[must_use]
    pub const fn with_lifetimes(mut self, lifetimes: TokenLifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// Replaces the clock. It returns milliseconds since the Unix epoch.
    #[must_use]
    pub const fn with_clock(mut self, clock: fn() -> u64) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the public keys that verify access, guest and join tokens, the current one first.
    /// There are none without private keys.
    #[must_use]
    pub fn public_keys(&self) -> Jwks {
        self.access.public_keys()
    }

    /// Returns the lifetimes.
    #[must_use]
    pub const fn lifetimes(&self) -> &TokenLifetimes {
        &self.lifetimes
    }

    /// Issues an access token for a user's sign-in session. A name that is too long for a token is
    /// cut, and an e-mail or picture address that is too long is left out.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if the token cannot be encoded.
    pub fn issue_access(&self, user: &PublicUser, email: &str, session: &str) -> Result<IssuedToken, Refusal> {
        let mut claims = self.claims(TokenType::Access, user, self.lifetimes.access);
        claims.email = Some(email.to_owned()).filter(|email| json_length(email) <= EMAIL_MAX);
        claims.sid = Some(session.to_owned());
        self.access.with_current(seal(claims))
    }

    /// Issues a refresh token for a user's sign-in session. `id` becomes the claim `jti`.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if the token cannot be encoded.
    pub fn issue_refresh(&self, user: &PublicUser, session: &str, id: &str) -> Result<String, Refusal> {
        let mut claims = self.claims(TokenType::Refresh, user, self.lifetimes.refresh);
        claims.sid = Some(session.to_owned());
        claims.jti = id.to_owned();
        Ok(with_current_secret(&self.refresh, seal(claims))?.token)
    }

    /// Issues a guest token that is bound to `room`.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if the token cannot be encoded.
    pub fn issue_guest(&self, user: &PublicUser, room: &RoomId) -> Result<IssuedToken, Refusal> {
        let mut claims = self.claims(TokenType::Guest, user, self.lifetimes.guest);
        claims.guest = true;
        claims.room_id = Some(room.clone());
        claims.role = Some(Role::Guest);
        self.access.with_current(seal(claims))
    }

    /// Issues a join token: `user` may join `room` as `role`, without a passcode while the call has
    /// this stored one.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if the token cannot be encoded.
    pub fn issue_join(
        &self,
        user: &PublicUser,
        room: &RoomId,
        role: Role,
        passcode: Option<&str>,
    ) -> Result<IssuedToken, Refusal> {
        let mut claims = self.claims(TokenType::Join, user, self.lifetimes.join);
        claims.guest = user.is_guest;
        claims.room_id = Some(room.clone());
        claims.role = Some(role);
        claims.passcode = Some(self.passcode_mark(room, passcode));
        self.access.with_current(seal(claims))
    }

    /// Returns whether a join token of `room` was issued under this stored passcode.
    #[must_use]
    pub fn is_of_passcode(&self, grant: &JoinGrant, room: &RoomId, passcode: Option<&str>) -> bool {
        let is_mark = |mark: &String| self.passcodes.verify_beginning(&passcode_parts(room, passcode), mark);
        grant.passcode.as_ref().is_none_or(is_mark)
    }

    /// Returns a keyed hash, because the old Node.js backend stored passcodes as plain text, and
    /// clients can read their tokens.
    fn passcode_mark(&self, room: &RoomId, passcode: Option<&str>) -> String {
        self.passcodes.sign(&passcode_parts(room, passcode))[..22].to_owned()
    }

    /// Verifies an access or guest token and returns its bearer.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED` if it has expired (5 s tolerance); `TOKEN_INVALID` for every other defect.
    pub fn verify_access(&self, token: &str) -> Result<Identity, Refusal> {
        let claims = self.open_access(token)?;
        self.unexpired(&claims)?;
        identity(claims)
    }

    /// Verifies an access or guest token like `verify_access`, but accepts an expired one. Use this
    /// only to resume a seat: a call may outlast the token.
    ///
    /// # Errors
    /// `TOKEN_INVALID`.
    pub fn verify_for_resume(&self, token: &str) -> Result<Identity, Refusal> {
        identity(self.open_access(token)?)
    }

    /// Verifies a join token for `user` in `room`.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED` if it has expired; `TOKEN_INVALID` for every other defect, or if it is for
    /// another user or room.
    pub fn verify_join(&self, token: &str, room: &RoomId, user: &UserId) -> Result<JoinGrant, Refusal> {
        let claims = self.open_access(token)?;
        self.unexpired(&claims)?;
        match claims.role {
            Some(role)
                if claims.typ == TokenType::Join
                    && claims.room_id.as_ref() == Some(room)
                    && claims.user_id == *user =>
            {
                let issued_ms = claims.issued_ms();
                Ok(JoinGrant { role, issued_ms, is_by_app: false, passcode: claims.passcode })
            }
            _ => Err(Code::TokenInvalid.into()),
        }
    }

    /// Verifies a refresh token.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED` if it has expired; `TOKEN_INVALID` for every other defect.
    pub fn verify_refresh(&self, token: &str) -> Result<RefreshIdentity, Refusal> {
        let claims = self.open_refresh(token)?;
        self.unexpired(&claims)?;
        match claims.sid {
            Some(session) if claims.typ == TokenType::Refresh => {
                Ok(RefreshIdentity { user: claims.user_id, session, token_id: claims.jti })
            }
            _ => Err(Code::TokenInvalid.into()),
        }
    }

    /// Verifies a user token of an app. With `resumes`, an expired one is good too, because a call
    /// may outlast its token. Returns whether the token has expired.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED`; `TOKEN_INVALID` with the claim that is wrong.
    pub fn verify_app(&self, token: &str, signer: AppSigner<'_>, resumes: bool) -> Result<(Identity, bool), Refusal> {
        app::verify(token, signer, (self.clock)(), resumes)
    }

    /// Verifies a token of an identity source of `app`. With `resumes`, an expired one is good too.
    /// Returns whether the token has expired.
    ///
    /// # Errors
    /// `TOKEN_EXPIRED`; `TOKEN_INVALID` with the claim that is wrong.
    pub fn verify_source(
        &self,
        token: &str,
        source: (&AppId, &IdentitySource),
        key: &PublicKey,
        resumes: bool,
    ) -> Result<(Identity, bool), Refusal> {
        source::verify(token, source, key, (self.clock)(), resumes)
    }

    /// Signs a user token for the backend of an app, as the backend could itself. It expires
    /// `lifetime_s` seconds from now.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` with the claim that is wrong.
    pub fn mint_app(&self, user: &UserClaims, signer: AppSigner<'_>, lifetime_s: u64) -> Result<MintedToken, Refusal> {
        app::mint(user, signer, (self.clock)(), lifetime_s)
    }

    /// Returns the present time in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    fn claims(&self, typ: TokenType, user: &PublicUser, lifetime: Duration) -> Claims {
        let now_ms = (self.clock)();
        Claims {
            user_id: user.id.clone(),
            name: fit(&user.name, NAME_MAX),
            email: None,
            avatar: user.avatar.clone().filter(|avatar| json_length(avatar) <= AVATAR_MAX),
            iat: now_ms / 1000,
            issued_at_ms: Some(now_ms),
            exp: now_ms / 1000 + lifetime.as_secs(),
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            jti: random_id(),
            sid: None,
            typ,
            guest: false,
            room_id: None,
            role: None,
            passcode: None,
        }
    }

    fn open_access(&self, token: &str) -> Result<Claims, Refusal> {
        self.open(token, self.access.secrets(), self.access.private_keys())
    }

    fn open_refresh(&self, token: &str) -> Result<Claims, Refusal> {
        self.open(token, Some(&self.refresh), None)
    }

    /// Verifies the signature of a token. The algorithm that it names chooses the kind of key, so
    /// that a public key is never the secret of HS256, and no id names a key of the other kind.
    fn open(
        &self,
        token: &str,
        secrets: Option<&KeyRing>,
        private_keys: Option<&KeyRing<PrivateKey>>,
    ) -> Result<Claims, Refusal> {
        let invalid = || Refusal::from(Code::TokenInvalid);
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid())?;
        let claims = |key: &DecodingKey, validation: &Validation| {
            jsonwebtoken::decode::<Claims>(token, key, validation).ok().map(|data| data.claims)
        };
        let by_secret = |key: &Key| claims(&DecodingKey::from_secret(key.secret().expose().as_bytes()), &self.hs256);
        match (header.alg, header.kid) {
            (Algorithm::HS256, Some(id)) => secrets.and_then(|ring| ring.load().find(&id).and_then(by_secret)),
            // Issued by an earlier version, or by the old Node.js backend.
            (Algorithm::HS256, None) => secrets.and_then(|ring| ring.load().all().find_map(by_secret)),
            (Algorithm::EdDSA, Some(id)) => {
                private_keys.and_then(|ring| ring.load().find(&id).and_then(|key| claims(key.verifying(), &self.eddsa)))
            }
            _ => None,
        }
        .ok_or_else(invalid)
    }

    fn unexpired(&self, claims: &Claims) -> Result<(), Refusal> {
        if claims.exp.saturating_add(LEEWAY_S) <= (self.clock)() / 1000 {
            Err(Code::TokenExpired.into())
        } else {
            Ok(())
        }
    }
}

/// Returns what signs these claims with a key, which the header names.
fn seal(claims: Claims) -> impl FnOnce(Algorithm, &str, &EncodingKey) -> Result<IssuedToken, Refusal> {
    move |algorithm, id, key| {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(algorithm) };
        let token = jsonwebtoken::encode(&header, &claims, key).map_err(|error| {
            tracing::error!(%error, "token encoding failed");
            Refusal::from(Code::InternalError)
        })?;
        Ok(IssuedToken { token, jti: claims.jti })
    }
}

fn identity(claims: Claims) -> Result<Identity, Refusal> {
    let kind = match claims.typ {
        TokenType::Access if !claims.guest && !claims.user_id.is_guest() => IdentityKind::User,
        TokenType::Guest if claims.user_id.is_guest() && claims.room_id.is_some() => IdentityKind::Guest,
        _ => return Err(Code::TokenInvalid.into()),
    };
    Ok(Identity {
        issued_ms: claims.issued_ms(),
        expires_at: claims.exp,
        user: PublicUser::new(claims.user_id, claims.name, claims.avatar),
        email: claims.email,
        session: claims.sid,
        room: claims.room_id,
        kind,
        app: AppId::default(),
        grant: None,
    })
}

fn unix_now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns 128 random bits as 32 hexadecimal digits, for ids of tokens and sessions.
#[must_use]
pub fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests;
