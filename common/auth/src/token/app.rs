//! User tokens: signed by the backend of an app with the secret of its API key, without asking
//! Switchboard. For a backend that cannot sign, the api signs the same claims. The file has more
//! than 400 lines, because its tests hold signing and verifying against each other.
//!
//! | claim | content |
//! |---|---|
//! | `iss` | public id of the API key; the header `kid` may name it instead |
//! | `sub` | the app's user: 1 to 40 letters, digits, `_` or `-` |
//! | `exp` | expiry in seconds; at most a day away |
//! | `iat`, `nbf` | time of issue; time from which the token is good; in seconds |
//! | `name`, `avatar`, `metadata` | shown to the other participants |
//! | `room` | the only room that the token is good for |
//! | `role` | `host`, `moderator` or `participant` |
//! | `permissions` | `canPublish`, `canShareScreen`, `canChat` |

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use switchboard_core::Secret;
use switchboard_core::domain::{
    AppId, AppKeyId, CallPermissions, Code, FieldError, PublicUser, Refusal, Role, RoomName, UserId, names,
};
use switchboard_core::web_url::is_web_url;
use switchboard_core::wire::nesting::{NESTING_MAX, is_shallow};

use super::bounds::{AVATAR_MAX, LEEWAY_S, MAX_TOKEN_BYTES, json_length};
use super::identity::{AppGrant, Identity, IdentityKind};

/// Longest lifetime of a user token, in seconds.
pub const USER_TOKEN_MAX: u64 = 86_400;
/// Length of a user's name, in characters.
pub const USER_NAME: std::ops::RangeInclusive<usize> = 1..=100;
/// Longest `metadata`, in bytes of JSON.
pub const METADATA_MAX: usize = 1024;
/// Longest picture URL, in bytes of JSON.
pub const USER_AVATAR_MAX: usize = AVATAR_MAX;

/// API key that signs user tokens.
#[derive(Clone, Copy, Debug)]
pub struct AppSigner<'a> {
    /// App of the key.
    pub app: &'a AppId,
    /// Public id of the key.
    pub key: &'a AppKeyId,
    /// Secret of the key.
    pub secret: &'a Secret,
}

/// Claims about the user, which the backend of an app chooses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UserClaims {
    /// User.
    pub sub: String,
    /// Display name. Default: `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// URL of the profile picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Data of the app about its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// The only room that the token is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Role. Default: `participant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Permissions. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "object")]
    pub permissions: Option<CallPermissions>,
}

/// Times in the claims of a token.
#[derive(Debug, Deserialize)]
pub(super) struct Times {
    /// Expiry in seconds since the Unix epoch.
    exp: f64,
    /// Time of issue in seconds since the Unix epoch.
    #[serde(default)]
    iat: Option<f64>,
    /// Time from which the token is good, in seconds since the Unix epoch.
    #[serde(default)]
    nbf: Option<f64>,
}

/// User token that was signed for a backend.
#[derive(Clone, Debug)]
pub struct MintedToken {
    /// The token.
    pub token: String,
    /// Expiry, in seconds since the Unix epoch.
    pub expires_at: u64,
}

/// Signs claims at `now_ms`: see [`super::Tokens::mint_app`].
pub(super) fn mint(
    user: &UserClaims,
    signer: AppSigner<'_>,
    now_ms: u64,
    lifetime_s: u64,
) -> Result<MintedToken, Refusal> {
    // With milliseconds, so that a token that is issued after a removal is newer than it.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have fewer than 53 bits")]
    let (issued, expires_at) = (now_ms as f64 / 1000.0, now_ms / 1000 + lifetime_s);
    let mut claims = json!(user);
    claims["iss"] = json!(signer.key);
    claims["iat"] = json!(issued);
    claims["exp"] = json!(expires_at);
    let key = EncodingKey::from_secret(signer.secret.expose().as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|error| {
        tracing::error!(%error, "token encoding failed");
        Refusal::from(Code::InternalError)
    })?;
    // One place checks the claims of both signers.
    verify(&token, signer, now_ms, false).map_err(|refusal| Refusal { code: Code::ValidationError, ..refusal })?;
    Ok(MintedToken { token, expires_at })
}

/// Verifies a user token at `now_ms`: see [`super::Tokens::verify_app`].
pub(super) fn verify(
    token: &str,
    signer: AppSigner<'_>,
    now_ms: u64,
    resumes: bool,
) -> Result<(Identity, bool), Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(invalid(format!("The token has more than {MAX_TOKEN_BYTES} bytes")));
    }
    let mut validation = Validation::new(Algorithm::HS256);
    // Checked below, with the clock and the refusals of this service.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_secret(signer.secret.expose().as_bytes());
    let TokenData { header, claims } = jsonwebtoken::decode::<Value>(token, &key, &validation)
        .map_err(|_| invalid("The signature is not HS256 with the secret of the API key"))?;
    // Extensions that must be understood (RFC 7515, 4.1.11); none is.
    if header.crit.is_some() {
        return Err(invalid("The header has the field crit, of which nothing is supported"));
    }
    identify(claims, SignedBy { app: signer.app, sign_in: signer.key.to_string() }, now_ms, resumes)
}

/// Signer whose signature was verified.
pub(super) struct SignedBy<'a> {
    /// App of the signer.
    pub(super) app: &'a AppId,
    /// Text by which the signer is revoked.
    pub(super) sign_in: String,
}

/// Returns the user in the verified claims of a user token, and whether the token has expired.
pub(super) fn identify(
    claims: Value,
    signed_by: SignedBy<'_>,
    now_ms: u64,
    resumes: bool,
) -> Result<(Identity, bool), Refusal> {
    let (issued_ms, expires_at) = Times::read(&claims)?.check(now_ms)?;
    let claims: UserClaims = serde_json::from_value(claims).map_err(wrong_claims)?;
    let has_expired = has_expired(expires_at, now_ms);
    if has_expired && !resumes {
        return Err(Code::TokenExpired.into());
    }
    let room = match &claims.room {
        Some(room) => {
            let name = RoomName::parse(room);
            Some(signed_by.app.room(&name.map_err(|_| claim("room", "must be 1 to 64 letters, digits, _ or -"))?))
        }
        None => None,
    };
    let role = match claims.role.as_deref() {
        None => Role::Participant,
        Some(role) => Role::parse(role)
            .filter(|role| *role != Role::Guest)
            .ok_or_else(|| claim("role", "must be host, moderator or participant"))?,
    };
    let grant = AppGrant { role, permissions: claims.permissions.unwrap_or_default() };
    let identity = Identity {
        user: user(claims)?,
        email: None,
        session: Some(signed_by.sign_in),
        room,
        kind: IdentityKind::AppUser,
        app: signed_by.app.clone(),
        grant: Some(grant),
        issued_ms,
        expires_at,
    };
    Ok((identity, has_expired))
}

/// Returns whether a token has expired at `now_ms`.
pub(super) const fn has_expired(expires_at: u64, now_ms: u64) -> bool {
    expires_at.saturating_add(LEEWAY_S) <= now_ms / 1000
}

impl Times {
    pub(super) fn read(claims: &Value) -> Result<Self, Refusal> {
        Self::deserialize(claims).map_err(wrong_claims)
    }

    /// Checks the times of a token. Returns the time of issue in milliseconds and the expiry in
    /// seconds. Without `iat`, the token counts as older than every removal from a call.
    pub(super) fn check(&self, now_ms: u64) -> Result<(u64, u64), Refusal> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let whole = |seconds: f64| seconds as u64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let millis = |seconds: f64| (seconds * 1000.0) as u64;
        let (now, expires_at) = (now_ms / 1000, whole(self.exp));
        if expires_at > now + USER_TOKEN_MAX + LEEWAY_S {
            return Err(claim("exp", "must be at most a day away, in seconds"));
        }
        if self.nbf.is_some_and(|start| whole(start) > now + LEEWAY_S) {
            return Err(claim("nbf", "is in the future"));
        }
        if self.iat.is_some_and(|issued| whole(issued) > now + LEEWAY_S) {
            return Err(claim("iat", "is in the future"));
        }
        // A clock that is ahead must not make a token newer than a removal that follows.
        Ok((self.iat.map_or(0, millis).min(now_ms), expires_at))
    }
}

/// Reads an object. Otherwise a list would be read as the fields in their order. A field that is
/// null counts as missing.
fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    let Some(mut fields) = Option::<Map<String, Value>>::deserialize(from)? else { return Ok(None) };
    fields.retain(|_, value| !value.is_null());
    T::deserialize(Value::Object(fields)).map(Some).map_err(D::Error::custom)
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn wrong_claims(problem: serde_json::Error) -> Refusal {
    invalid(format!("The claims are wrong: {problem}"))
}

fn user(claims: UserClaims) -> Result<PublicUser, Refusal> {
    let id = UserId::of_app(&claims.sub).ok_or_else(|| {
        claim("sub", "must be 1 to 40 letters, digits, _ or -, not nobody, and must not begin with guest-")
    })?;
    let name = claims.name.unwrap_or_else(|| id.to_string());
    app_user(id, &name, claims.avatar, claims.metadata)
}

/// Returns the public profile of an app's user.
///
/// # Errors
/// `TOKEN_INVALID` with the claim that is wrong.
pub fn app_user(
    id: UserId,
    name: &str,
    avatar: Option<String>,
    metadata: Option<Value>,
) -> Result<PublicUser, Refusal> {
    let wrong_name = |refusal: Refusal| Refusal { code: Code::TokenInvalid, ..refusal };
    let name = names::parse("name", name, &USER_NAME).map_err(wrong_name)?;
    let is_plain = |url: &str| !url.contains(|c: char| c.is_whitespace() || c.is_control());
    if avatar.as_deref().is_some_and(|url| !is_web_url(url) || !is_plain(url) || json_length(url) > AVATAR_MAX) {
        return Err(claim("avatar", format!("must be an http or https URL of at most {AVATAR_MAX} bytes")));
    }
    let metadata = metadata.filter(|data| !data.is_null());
    let text = metadata.as_ref().map(Value::to_string).unwrap_or_default();
    if text.len() > METADATA_MAX {
        return Err(claim("metadata", format!("must be at most {METADATA_MAX} bytes of JSON")));
    }
    if !is_shallow(text.as_bytes()) {
        return Err(claim("metadata", format!("must nest at most {NESTING_MAX} levels deep")));
    }
    // Scripts replace `"\u0001"` to `"\u0007"` in templates that contain this text.
    if text.contains(r#""\u000"#) {
        return Err(claim("metadata", "must not contain control characters"));
    }
    Ok(PublicUser { metadata, ..PublicUser::new(id, name, avatar) })
}

pub(super) fn claim(name: &'static str, problem: impl std::fmt::Display) -> Refusal {
    let problem = problem.to_string();
    let refusal = invalid(format!("The claim {name} {problem}"));
    Refusal { errors: vec![FieldError { field: name.into(), message: problem.into() }], ..refusal }
}

pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::TokenInvalid, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_500;
    const NOW: u64 = NOW_MS / 1000;

    struct Key {
        app: AppId,
        id: AppKeyId,
        secret: Secret,
    }

    impl Key {
        fn new() -> Self {
            let secret = crate::app_key::new_secret();
            Self { app: AppId::parse("acme").unwrap(), id: AppKeyId::from_random([1; 20]), secret }
        }

        fn signer(&self) -> AppSigner<'_> {
            AppSigner { app: &self.app, key: &self.id, secret: &self.secret }
        }

        /// Signs any claims, as a backend does.
        fn sign(&self, claims: &Value) -> String {
            super::super::signatures::install();
            let key = EncodingKey::from_secret(self.secret.expose().as_bytes());
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
        }

        /// Verifies claims on top of good ones. Returns the message of a refusal.
        fn verify(&self, more: &Value) -> Result<Identity, (Code, String)> {
            let mut claims = json!({ "iss": self.id, "sub": "ann", "exp": NOW + 60, "iat": NOW });
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let verified = verify(&self.sign(&claims), self.signer(), NOW_MS, false);
            verified.map(|(identity, _)| identity).map_err(|refusal| (refusal.code, refusal.message.into_owned()))
        }
    }

    #[test]
    fn a_token_of_a_backend_names_its_user_room_role_and_permissions() {
        let key = Key::new();
        let identity = key.verify(&json!({})).unwrap();
        assert_eq!((identity.user.id.as_str(), &*identity.user.name), ("ann", "ann"));
        assert_eq!((identity.kind, identity.room, identity.app), (IdentityKind::AppUser, None, key.app.clone()));
        let all = AppGrant { role: Role::Participant, permissions: CallPermissions::default() };
        assert_eq!((identity.grant, identity.issued_ms), (Some(all.clone()), NOW * 1000));
        let identity = key
            .verify(&json!({
                "name": " Ann  Lee ", "avatar": "https://a.example/ann.png", "metadata": { "team": 7 },
                "room": "standup", "role": "host", "permissions": { "canChat": false }, "aud": "x", "more": [1],
            }))
            .unwrap();
        assert_eq!(identity.user.name, "Ann Lee");
        assert_eq!(identity.user.metadata, Some(json!({ "team": 7 })));
        assert_eq!(identity.room.unwrap().as_str(), "acme.standup");
        let grant = identity.grant.unwrap();
        let permissions = CallPermissions { can_chat: false, ..CallPermissions::default() };
        assert_eq!((grant.role, grant.permissions), (Role::Host, permissions));
        let nulls = json!({
            "name": null, "avatar": null, "metadata": null, "room": null, "role": null, "nbf": null,
            "permissions": { "canChat": false, "canPublish": null },
        });
        let identity = key.verify(&nulls).unwrap();
        assert_eq!((identity.user.name.as_str(), identity.room), ("ann", None), "null counts as missing");
        let grant = identity.grant.unwrap();
        assert_eq!((grant.role, grant.permissions), (Role::Participant, permissions));
        assert_eq!(key.verify(&json!({ "permissions": null })).unwrap().grant, Some(all));
    }

    #[test]
    fn a_wrong_claim_is_refused_with_its_name() {
        let key = Key::new();
        for (more, wrong) in [
            (json!({ "sub": "a b" }), "sub"),
            (json!({ "sub": "guest-0123456789abcdef" }), "sub"),
            (json!({ "sub": "nobody" }), "sub"),
            (json!({ "exp": NOW + 86_400 + 60 }), "exp"),
            (json!({ "exp": (NOW + 60) * 1000 }), "exp"),
            (json!({ "nbf": NOW + 60 }), "nbf"),
            (json!({ "iat": NOW + 60 }), "iat"),
            (json!({ "room": "acme.other" }), "room"),
            (json!({ "role": "guest" }), "role"),
            (json!({ "name": "" }), "name"),
            (json!({ "avatar": "javascript:alert(1)" }), "avatar"),
            (json!({ "avatar": "http://[::1" }), "avatar"),
            (json!({ "metadata": "x".repeat(1024) }), "metadata"),
            (json!({ "metadata": { "\u{3}": 1 } }), "metadata"),
            (json!({ "metadata": ["a\"\u{3}"] }), "metadata"),
            (json!({ "metadata": (0..17).fold(json!(1), |inner, _| json!([inner])) }), "metadata"),
            (json!({ "permissions": { "canFly": true } }), "canFly"),
            (json!({ "permissions": [] }), "expected a map"),
            (json!({ "sub": "-" }), "sub"),
            (json!({ "exp": null }), "claims"),
            (json!({ "sub": 7 }), "claims"),
        ] {
            let (code, message) = key.verify(&more).unwrap_err();
            assert!(code == Code::TokenInvalid && message.contains(wrong), "{more}: {message}");
        }
        // A clock that is a little ahead makes no token newer than a removal that follows.
        assert_eq!(key.verify(&json!({ "iat": NOW + 5 })).unwrap().issued_ms, NOW_MS);
        assert_eq!(key.verify(&json!({ "exp": NOW - 60 })).unwrap_err().0, Code::TokenExpired);
        // The leeway, exactly.
        let at_the_bound = json!({ "exp": NOW - LEEWAY_S + 1, "iat": NOW + LEEWAY_S, "nbf": NOW + LEEWAY_S });
        assert!(key.verify(&at_the_bound).is_ok());
        assert!(key.verify(&json!({ "exp": NOW + USER_TOKEN_MAX + LEEWAY_S })).is_ok());
        assert_eq!(key.verify(&json!({ "exp": NOW - LEEWAY_S })).unwrap_err().0, Code::TokenExpired);
        for claim in ["iat", "nbf"] {
            assert_eq!(key.verify(&json!({ claim: NOW + LEEWAY_S + 1 })).unwrap_err().0, Code::TokenInvalid, "{claim}");
        }
    }

    #[test]
    fn an_expired_token_is_good_for_a_resume_alone_and_a_foreign_signature_for_nothing() {
        let key = Key::new();
        let claims = json!({ "iss": key.id, "sub": "ann", "exp": NOW - 60, "iat": NOW - 120 });
        let token = key.sign(&claims);
        assert!(verify(&token, key.signer(), NOW_MS, true).unwrap().1);
        assert!(verify(&token, Key::new().signer(), NOW_MS, true).is_err(), "another secret");
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), token.split('.').nth(1).unwrap());
        assert_eq!(verify(&unsigned, key.signer(), NOW_MS, true).unwrap_err().code, Code::TokenInvalid);
        let header = Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(Algorithm::HS256) };
        let secret = EncodingKey::from_secret(key.secret.expose().as_bytes());
        let extended = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
        assert!(verify(&extended, key.signer(), NOW_MS, true).is_err(), "an extension that must be understood");
    }

    #[test]
    fn a_token_that_is_minted_is_one_that_a_backend_could_sign_and_wrong_claims_are_named() {
        let key = Key::new();
        super::super::signatures::install();
        let user = UserClaims {
            sub: "ann".into(),
            metadata: Some(json!({ "tags": [] })),
            room: Some("standup".into()),
            role: Some("host".into()),
            permissions: Some(CallPermissions { can_chat: false, ..CallPermissions::default() }),
            ..UserClaims::default()
        };
        let minted = mint(&user, key.signer(), NOW_MS, 600).unwrap();
        assert_eq!(minted.expires_at, NOW + 600);
        let (identity, _) = verify(&minted.token, key.signer(), NOW_MS, false).unwrap();
        assert_eq!((identity.issued_ms, identity.expires_at), (NOW_MS, NOW + 600));
        assert_eq!((identity.user.metadata, identity.user.name.as_str()), (user.metadata.clone(), "ann"));
        assert_eq!((identity.room.unwrap().name(), identity.grant.unwrap().role), ("standup", Role::Host));
        for (wrong, field) in [
            (UserClaims { sub: "a b".into(), ..user.clone() }, "sub"),
            (UserClaims { role: Some("guest".into()), ..user.clone() }, "role"),
            (UserClaims { name: Some(String::new()), ..user.clone() }, "name"),
            (UserClaims { metadata: Some(json!("x".repeat(METADATA_MAX))), ..user.clone() }, "metadata"),
        ] {
            let refusal = mint(&wrong, key.signer(), NOW_MS, 600).unwrap_err();
            assert_eq!((refusal.code, &*refusal.errors[0].field), (Code::ValidationError, field));
        }
        let refusal = mint(&user, key.signer(), NOW_MS, USER_TOKEN_MAX + 60).unwrap_err();
        assert_eq!((refusal.code, &*refusal.errors[0].field), (Code::ValidationError, "exp"));
    }
}
