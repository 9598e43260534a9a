//! Identity sources: other sign-ins whose tokens identify users of an app.
//!
//! | kind | signs | tokens |
//! |---|---|---|
//! | `keys` | the app's backend, with a private key of its own | user tokens, as an API key signs them |
//! | `oidc` | a provider of OpenID Connect | access tokens and id tokens of the provider |
//!
//! Public keys come from a JSON Web Key Set (RFC 7517), which is registered itself or by its
//! address.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

use crate::web_url::is_web_url;

/// Most identity sources of one app.
pub const IDENTITY_SOURCES_MAX: usize = 4;
/// Most keys of a set that is registered itself.
pub const INLINE_KEYS_MAX: usize = 8;
/// Longest issuer, audience and address of a key set, in characters.
pub const SOURCE_TEXT_MAX: usize = 500;
/// Longest name of a claim, in characters.
pub const CLAIM_NAME_MAX: usize = 100;
/// Issuer of the tokens that this service signs. No identity source has it.
pub const OWN_ISSUER: &str = "videocall-api";

/// Kind of an identity source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum IdentitySourceKind {
    /// Public keys of the app's backend, which signs user tokens.
    #[serde(rename = "keys")]
    Keys,
    /// Provider of OpenID Connect.
    #[serde(rename = "oidc")]
    OpenIdConnect,
}

/// Sign-in whose tokens identify users of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentitySource {
    /// `keys`: the app's backend signs user tokens. `oidc`: a provider of OpenID Connect.
    pub kind: IdentitySourceKind,
    /// Claim `iss` of the tokens, exactly.
    pub issuer: String,
    /// Text that the claim `aud` of the tokens has or contains. Required for `oidc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Address of the key set; `https`. Either this or `jwks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The key set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
    /// Names of the claims about the user; for `oidc` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<ClaimNames>,
}

/// Names of the claims of a provider about its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimNames {
    /// Claim with the user's id, which never changes and is never given to another user.
    pub user_id: String,
    /// Claim with the display name.
    pub name: String,
    /// Claim with the URL of the picture.
    pub avatar: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { user_id: "sub".to_owned(), name: "name".to_owned(), avatar: "picture".to_owned() }
    }
}

/// JSON Web Key Set. Members that are not listed are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// Public key (RFC 7517). The struct has more than eight fields: the members of the format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Jwk {
    /// Key type: `RSA`, `EC` or `OKP`.
    pub kty: String,
    /// Key id, which the header of a token names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Algorithm: `RS256`, `ES256` or `EdDSA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Use: `sig` or absent.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Curve of `EC` (`P-256`) and `OKP` (`Ed25519`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// Coordinate of `EC`, or the key of `OKP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Coordinate of `EC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Modulus of `RSA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// Exponent of `RSA`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// Private part. Never stored: a key that has it is refused.
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub d: Option<String>,
    /// Secret of a symmetric key. Never stored.
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub k: Option<String>,
}

/// Field of a source that is wrong, and what is wrong with it.
pub type SourceProblem = (&'static str, String);

impl IdentitySource {
    /// Reads a source in JSON. Unknown fields are refused, because a misspelled one would change
    /// who may sign in. Null counts as missing.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn read(mut value: Value) -> Result<Self, String> {
        if let Some(claims) = value.get_mut("claims").and_then(Value::as_object_mut) {
            claims.retain(|_, name| !name.is_null());
        }
        let unknown = |value: &Value, known: &[&str]| {
            let fields = value.as_object().into_iter().flatten();
            fields.map(|(field, _)| field).find(|field| !known.contains(&field.as_str())).cloned()
        };
        let fields = ["kind", "issuer", "audience", "jwksUri", "jwks", "claims"];
        let names = ["userId", "name", "avatar"];
        if let Some(field) = unknown(&value, &fields).or_else(|| unknown(&value["claims"], &names)) {
            return Err(format!("has an unknown field {field}"));
        }
        serde_json::from_value(value).map_err(|error| format!("has a wrong form: {error}"))
    }

    /// Checks all fields but the keys of `jwks`. Returns the source with the address of its key set
    /// in normal form. `is_development`: the address may be `http` on this machine.
    ///
    /// # Errors
    /// The first wrong field, and what is wrong with it.
    pub fn checked(mut self, is_development: bool) -> Result<Self, SourceProblem> {
        let is_text = |text: &str| (1..=SOURCE_TEXT_MAX).contains(&text.chars().count()) && text.trim() == text;
        let no_text = format!("must have 1 to {SOURCE_TEXT_MAX} characters, without blanks at its ends");
        if !is_text(&self.issuer) || self.issuer.chars().any(char::is_control) {
            return Err(("issuer", no_text));
        }
        if self.issuer == OWN_ISSUER || self.issuer.starts_with("sbk_") {
            return Err(("issuer", "must not be the issuer of this service or the id of an API key".to_owned()));
        }
        let names_web = self.issuer.starts_with("https://") || self.issuer.starts_with("http://");
        if names_web && !is_web_url(&self.issuer) {
            return Err(("issuer", "must be a URL, if it begins with http:// or https://".to_owned()));
        }
        if self.audience.as_deref().is_some_and(|audience| !is_text(audience)) {
            return Err(("audience", no_text));
        }
        if self.kind == IdentitySourceKind::OpenIdConnect && self.audience.is_none() {
            return Err(("audience", "is required: a provider issues tokens for other services too".to_owned()));
        }
        match (&self.jwks_uri, &self.jwks) {
            (Some(uri), None) => {
                let normal = key_set_uri(uri, is_development).map_err(|problem| ("jwksUri", problem.to_owned()))?;
                self.jwks_uri = Some(normal);
            }
            (None, Some(set)) if set.keys.len() <= INLINE_KEYS_MAX => {}
            (None, Some(_)) => return Err(("jwks", format!("must have at most {INLINE_KEYS_MAX} keys"))),
            _ => return Err(("jwksUri", "must be given, or else jwks; not both".to_owned())),
        }
        self.check_claims()?;
        Ok(self)
    }

    fn check_claims(&self) -> Result<(), SourceProblem> {
        let Some(names) = &self.claims else { return Ok(()) };
        if self.kind == IdentitySourceKind::Keys {
            return Err(("claims", "is for oidc only: user tokens have claims of their own".to_owned()));
        }
        let is_name = |name: &&String| (1..=CLAIM_NAME_MAX).contains(&name.chars().count());
        if [&names.user_id, &names.name, &names.avatar].iter().all(is_name) {
            return Ok(());
        }
        Err(("claims", format!("must be names of 1 to {CLAIM_NAME_MAX} characters")))
    }

    /// Returns whether a token could be of both sources.
    #[must_use]
    pub fn may_be_confused_with(&self, other: &Self) -> bool {
        let has_any = self.audience.is_none() || other.audience.is_none();
        self.issuer == other.issuer && (has_any || self.audience == other.audience)
    }

    /// Returns whether a token with these audiences is for this source.
    #[must_use]
    pub fn accepts_audience(&self, audiences: &[String]) -> bool {
        self.audience.as_ref().is_none_or(|audience| audiences.contains(audience))
    }
}

/// Returns the address of a key set in normal form: `https`; with `is_development` also `http` on
/// this machine.
///
/// # Errors
/// What is wrong with it.
pub fn key_set_uri(text: &str, is_development: bool) -> Result<String, &'static str> {
    if text.chars().count() > SOURCE_TEXT_MAX {
        return Err("must have at most 500 characters");
    }
    let url = Url::parse(text).map_err(|_| "must be a URL")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must have no user name, no password and no fragment");
    }
    if url.port() == Some(0) {
        return Err("must have a port from 1 to 65535");
    }
    match url.scheme() {
        "https" => Ok(url.into()),
        "http" if is_development && is_loopback(&url) => Ok(url.into()),
        "http" if is_development => Err("must be https, or http on this machine"),
        _ => Err("must be https"),
    }
}

/// Returns whether the host of a URL is this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// Checks that the sources of one app can be told apart, and that they name the users of one
/// provider: the user ids of two providers could be the same for two persons.
///
/// # Errors
/// What is wrong with them.
pub fn check_sources(sources: &[IdentitySource]) -> Result<(), String> {
    if sources.len() > IDENTITY_SOURCES_MAX {
        return Err(format!("must be at most {IDENTITY_SOURCES_MAX}"));
    }
    for (index, one) in sources.iter().enumerate() {
        if sources[..index].iter().any(|other| one.may_be_confused_with(other)) {
            return Err("must differ in issuer or audience".to_owned());
        }
    }
    let mut providers = sources.iter().filter(|source| source.kind == IdentitySourceKind::OpenIdConnect);
    let first = providers.next();
    if providers.any(|source| first.is_some_and(|first| first.issuer != source.issuer)) {
        return Err("must have one oidc issuer: two providers could give two persons the same id".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn provider() -> IdentitySource {
        IdentitySource {
            kind: IdentitySourceKind::OpenIdConnect,
            issuer: "https://login.example".into(),
            audience: Some("calls".into()),
            jwks_uri: Some("https://login.example/jwks".into()),
            jwks: None,
            claims: None,
        }
    }

    #[test]
    fn a_wrong_source_is_refused_with_its_field() {
        assert_eq!(provider().checked(false), Ok(provider()));
        let own = || IdentitySource { kind: IdentitySourceKind::Keys, ..provider() };
        let uri = |uri: &str| IdentitySource { jwks_uri: Some(uri.into()), ..provider() };
        for (bad, field) in [
            (IdentitySource { issuer: String::new(), ..provider() }, "issuer"),
            (IdentitySource { issuer: OWN_ISSUER.into(), ..provider() }, "issuer"),
            (IdentitySource { issuer: "sbk_7h2k9d4m1p5q8r3t6v0x".into(), ..provider() }, "issuer"),
            (IdentitySource { issuer: "x".repeat(501), ..provider() }, "issuer"),
            (IdentitySource { issuer: "https://[::1".into(), ..provider() }, "issuer"),
            (IdentitySource { audience: None, ..provider() }, "audience"),
            (IdentitySource { audience: Some(" a".into()), ..provider() }, "audience"),
            (IdentitySource { jwks: Some(Jwks::default()), ..provider() }, "jwksUri"),
            (
                IdentitySource {
                    jwks: Some(Jwks { keys: vec![Jwk::default(); INLINE_KEYS_MAX + 1] }),
                    jwks_uri: None,
                    ..provider()
                },
                "jwks",
            ),
            (IdentitySource { jwks_uri: None, ..provider() }, "jwksUri"),
            (uri("http://login.example/jwks"), "jwksUri"),
            (uri("http://127.0.0.1/jwks"), "jwksUri"),
            (uri("https://user:secret@login.example/jwks"), "jwksUri"),
            (uri("https://login.example/jwks#a"), "jwksUri"),
            (uri("file:///etc/passwd"), "jwksUri"),
            (uri("jwks"), "jwksUri"),
            (uri("https://[::1"), "jwksUri"),
            (uri("https://login.example:0/jwks"), "jwksUri"),
            (IdentitySource { claims: Some(ClaimNames::default()), ..own() }, "claims"),
            (
                IdentitySource {
                    claims: Some(ClaimNames { name: String::new(), ..ClaimNames::default() }),
                    ..provider()
                },
                "claims",
            ),
        ] {
            assert_eq!(bad.clone().checked(false).unwrap_err().0, field, "{bad:?}");
        }
        assert!(IdentitySource { audience: None, ..own() }.checked(false).is_ok());
        let upper = uri("https://B\u{fc}cher.example/a b").checked(false).unwrap();
        assert_eq!(upper.jwks_uri.unwrap(), "https://xn--bcher-kva.example/a%20b");
    }

    #[test]
    fn http_is_for_this_machine_in_development_alone() {
        for uri in ["http://127.0.0.1:1/jwks", "http://localhost/jwks", "http://[::1]:1/"] {
            assert!(key_set_uri(uri, true).is_ok() && key_set_uri(uri, false).is_err(), "{uri}");
        }
        for uri in ["http://10.0.0.1/", "http://localhost.example/", "http://127.0.0.1.example/"] {
            assert!(key_set_uri(uri, true).is_err(), "{uri}");
        }
    }

    #[test]
    fn the_sources_of_an_app_are_told_apart_and_have_one_provider() {
        let other = IdentitySource { audience: Some("mobile".into()), ..provider() };
        let own = IdentitySource { kind: IdentitySourceKind::Keys, issuer: "acme".into(), ..provider() };
        assert_eq!(check_sources(&[provider(), other, own.clone()]), Ok(()));
        assert!(check_sources(&[provider(), provider()]).is_err(), "the same");
        let any = IdentitySource { kind: IdentitySourceKind::Keys, audience: None, ..provider() };
        assert!(check_sources(&[provider(), any]).is_err(), "any audience");
        let second = IdentitySource { issuer: "https://other.example".into(), ..provider() };
        assert!(check_sources(&[provider(), second]).is_err(), "two providers");
        assert!(check_sources(&vec![own; IDENTITY_SOURCES_MAX + 1]).is_err(), "too many");
    }

    #[test]
    fn null_counts_as_missing() {
        let source = serde_json::json!({
            "kind": "oidc", "issuer": "https://login.example", "audience": "calls", "jwks": null,
            "jwksUri": "https://login.example/jwks", "claims": { "userId": "uid", "name": null },
        });
        let read = IdentitySource::read(source).unwrap();
        assert_eq!(read.claims, Some(ClaimNames { user_id: "uid".into(), ..ClaimNames::default() }));
    }

    #[test]
    fn a_private_part_of_a_key_is_read_and_never_written() {
        let jwk: Jwk = serde_json::from_str(r#"{"kty":"OKP","d":"secret","x5c":["more"]}"#).unwrap();
        assert_eq!(jwk.d.as_deref(), Some("secret"));
        assert_eq!(serde_json::to_string(&jwk).unwrap(), r#"{"kty":"OKP"}"#);
    }
}
