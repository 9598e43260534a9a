//! Tokens of identity sources: user tokens that the backend of an app signs with a private key of
//! its own, and tokens of providers of OpenID Connect.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use switchboard_core::domain::identity_source::OWN_ISSUER;
use switchboard_core::domain::{
    AppId, AppKeyId, ClaimNames, Code, IdentitySource, IdentitySourceKind, PublicUser, Refusal, UserId,
};

use super::app::{self, SignedBy, app_user, claim, invalid};
use super::bounds::MAX_TOKEN_BYTES;
use super::identity::{Identity, IdentityKind};
use super::public_key::{KEY_ID_MAX, PublicKey, UnverifiedToken};

/// Maximum length of a token of a provider, in bytes. Providers put roles and groups into it.
const PROVIDER_TOKEN_MAX: usize = 8192;
/// Longest id that a provider may give a user, in bytes.
const PROVIDER_USER_ID_MAX: usize = 255;
/// Beginning of the user ids that stand for ids of another form. See [`user_id`].
const HASHED_ID_PREFIX: &str = "oidc-";
/// Beginning of the sign-ins of identity sources. No sign-in of an account and no id of an API key
/// has a dot.
const SIGN_IN_PREFIX: &str = "source.";
/// Digits of the hash in such an id: 210 bits. With the prefix, the id has 40 characters.
const HASHED_ID_DIGITS: usize = 35;
/// Types of tokens that are accepted, by the header `typ`, in lower case. Other types, such as
/// logout tokens, have the same issuer, audience and keys, and identify nobody.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// Signer that a token names. Nothing is verified.
#[derive(Clone, Debug)]
pub enum TokenSigner {
    /// This service, or nobody that can be read.
    Service,
    /// API key of an app.
    AppKey(AppKeyId),
    /// Identity source.
    Source(UnverifiedToken),
}

impl TokenSigner {
    /// Reads the signer that a token names.
    #[must_use]
    pub fn of(token: &str) -> Self {
        #[derive(Deserialize)]
        struct Names {
            iss: Option<String>,
            kid: Option<String>,
        }
        if token.len() > PROVIDER_TOKEN_MAX {
            return Self::Service;
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims)) = (parts.next().and_then(decode), parts.next().and_then(decode)) else {
            return Self::Service;
        };
        let names = |part: &[u8]| serde_json::from_slice::<Names>(part).ok();
        let (in_header, in_claims) = (names(&header), names(&claims));
        let key = |names: &Option<Names>| {
            let names = names.as_ref()?;
            AppKeyId::read(names.kid.as_deref().or(names.iss.as_deref())?)
        };
        if let Some(key) = key(&in_header).or_else(|| key(&in_claims)) {
            return Self::AppKey(key);
        }
        let issuer = in_claims.and_then(|names| names.iss).filter(|issuer| issuer != OWN_ISSUER);
        let source = issuer.and_then(|issuer| unverified(&header, &claims, issuer));
        source.map_or(Self::Service, Self::Source)
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn unverified(header: &[u8], claims: &[u8], issuer: String) -> Option<UnverifiedToken> {
    #[derive(Deserialize)]
    struct Audience {
        #[serde(default)]
        aud: Value,
    }
    let header: Header = serde_json::from_slice(header).ok()?;
    let is_public = matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA);
    let is_known_type = header.typ.as_deref().is_none_or(|typ| TYPES.contains(&&*typ.to_ascii_lowercase()));
    let has_short_id = header.kid.as_ref().is_none_or(|id| id.len() <= KEY_ID_MAX);
    // Extensions that must be understood (RFC 7515, 4.1.11); none is.
    if !is_public || !is_known_type || !has_short_id || header.crit.is_some() {
        return None;
    }
    let Audience { aud } = serde_json::from_slice(claims).ok()?;
    Some(UnverifiedToken { issuer, audiences: audiences(&aud), key_id: header.kid, algorithm: header.alg })
}

/// Reads the claim `aud`: one text or several.
fn audiences(aud: &Value) -> Vec<String> {
    match aud {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Returns the text that stands for a source where sign-ins are revoked. It stays the same while
/// app, kind, issuer and audience do.
#[must_use]
pub fn source_sign_in(app: &AppId, source: &IdentitySource) -> String {
    let parts = (app, source.kind, &source.issuer, &source.audience);
    let text = serde_json::to_string(&parts).unwrap_or_default();
    format!("{SIGN_IN_PREFIX}{}", URL_SAFE_NO_PAD.encode(Sha256::digest(text)))
}

/// Returns whether a sign-in is that of an identity source: see [`source_sign_in`].
#[must_use]
pub fn is_of_source(sign_in: &str) -> bool {
    sign_in.starts_with(SIGN_IN_PREFIX)
}

/// Verifies a token at `now_ms`: see [`super::Tokens::verify_source`].
pub(super) fn verify(
    token: &str,
    (app, source): (&AppId, &IdentitySource),
    key: &PublicKey,
    now_ms: u64,
    resumes: bool,
) -> Result<(Identity, bool), Refusal> {
    let most = match source.kind {
        IdentitySourceKind::Keys => MAX_TOKEN_BYTES,
        IdentitySourceKind::OpenIdConnect => PROVIDER_TOKEN_MAX,
    };
    if token.len() > most {
        return Err(invalid(format!("The token has more than {most} bytes")));
    }
    let mut validation = Validation::new(key.algorithm);
    // Checked below, with the clock and the refusals of this service.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let claims = jsonwebtoken::decode::<Value>(token, &key.key, &validation)
        .map_err(|_| invalid("The signature is not that of the key that the token names"))?
        .claims;
    if claims["iss"].as_str() != Some(source.issuer.as_str()) {
        return Err(claim("iss", "is not the issuer of the identity source"));
    }
    if !source.accepts_audience(&audiences(&claims["aud"])) {
        return Err(claim("aud", "does not have the audience of the identity source"));
    }
    let signed_by = SignedBy { app, sign_in: source_sign_in(app, source) };
    match source.kind {
        IdentitySourceKind::Keys => app::identify(claims, signed_by, now_ms, resumes),
        IdentitySourceKind::OpenIdConnect => provider_user(&claims, source, signed_by, now_ms, resumes),
    }
}

/// Returns the user in the verified claims of a provider, and whether the token has expired.
fn provider_user(
    claims: &Value,
    source: &IdentitySource,
    signed_by: SignedBy<'_>,
    now_ms: u64,
    resumes: bool,
) -> Result<(Identity, bool), Refusal> {
    // A logout token of earlier versions has no type in its header.
    if !claims["events"].is_null() {
        return Err(claim("events", "is that of a logout token"));
    }
    let times = app::Times::read(claims)?;
    let (issued_ms, expires_at) = times.check(now_ms)?;
    let has_expired = app::has_expired(expires_at, now_ms);
    if has_expired && !resumes {
        return Err(Code::TokenExpired.into());
    }
    let default = ClaimNames::default();
    let names = source.claims.as_ref().unwrap_or(&default);
    let id = match &claims[&names.user_id] {
        Value::String(text) => user_id(text),
        Value::Number(number) => user_id(&number.to_string()),
        _ => None,
    };
    let id = id.ok_or_else(|| invalid(format!("The claim {} must be the id of a user", names.user_id)))?;
    let identity = Identity {
        user: profile(id, claims[&names.name].as_str(), claims[&names.avatar].as_str())?,
        email: None,
        session: Some(signed_by.sign_in),
        room: None,
        kind: IdentityKind::OidcUser,
        app: signed_by.app.clone(),
        grant: None,
        issued_ms,
        expires_at,
    };
    Ok((identity, has_expired))
}

/// Returns the user id that stands for the id at a provider, which may have any characters: the
/// same text if it is a user id, else `oidc-` and a hash. A text that has this form itself is
/// hashed too, so that two users never have one id.
fn user_id(text: &str) -> Option<UserId> {
    if text.is_empty() || text.len() > PROVIDER_USER_ID_MAX {
        return None;
    }
    let same = UserId::of_app(text).filter(|_| !text.starts_with(HASHED_ID_PREFIX));
    same.or_else(|| {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
        UserId::of_app(&format!("{HASHED_ID_PREFIX}{}", &hash[..HASHED_ID_DIGITS]))
    })
}

/// Returns the profile of a provider's user. A name or picture that cannot be shown here is left
/// out: it must not keep its user out.
fn profile(id: UserId, name: Option<&str>, avatar: Option<&str>) -> Result<PublicUser, Refusal> {
    let id_as_name = id.to_string();
    let name = name.unwrap_or(&id_as_name);
    let avatar = avatar.map(str::to_owned);
    app_user(id.clone(), name, avatar, None)
        .or_else(|_| app_user(id.clone(), name, None, None))
        .or_else(|_| app_user(id, &id_as_name, None, None))
}

#[cfg(test)]
mod tests;
