//! The identity sources of all apps, in this process's copy.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use switchboard_auth::{PublicKeys, UnverifiedToken, source_sign_in};
use switchboard_core::domain::{AppId, IdentitySource};
use switchboard_records::AppRecord;

/// Identity source of an app.
#[derive(Debug)]
pub(crate) struct AppSource {
    /// App of the source.
    pub(crate) app: AppId,
    /// The source.
    pub(crate) source: IdentitySource,
    /// Where its keys are.
    pub(crate) keys: SourceKeys,
    /// Text by which the source is revoked.
    sign_in: String,
    /// Whether the app is disabled.
    is_closed: bool,
}

impl AppSource {
    fn new(app: &AppRecord, source: &IdentitySource) -> Option<Arc<Self>> {
        let keys = match (&source.jwks_uri, &source.jwks) {
            (Some(uri), _) => SourceKeys::At(uri.clone()),
            (None, Some(set)) => SourceKeys::Registered(PublicKeys::read(set)),
            // Never stored.
            (None, None) => return None,
        };
        Some(Arc::new(Self {
            app: app.id.clone(),
            sign_in: source_sign_in(&app.id, source),
            source: source.clone(),
            keys,
            is_closed: app.disabled || app.deleted_at.is_some(),
        }))
    }
}

/// Place of the keys of a source.
#[derive(Debug)]
pub(crate) enum SourceKeys {
    /// They are registered.
    Registered(PublicKeys),
    /// They are at this address.
    At(String),
}

/// Source that a token names.
#[derive(Debug)]
pub(crate) enum Named {
    /// A source of an app.
    Source(Arc<AppSource>),
    /// The app is disabled.
    Closed,
    /// No source has the issuer.
    UnknownIssuer,
    /// The issuer is known, and the token is for none of its sources.
    OtherAudience,
    /// The token is for sources of several apps.
    Ambiguous,
}

/// Sources of all apps.
#[derive(Debug, Default)]
pub(crate) struct IdentitySources {
    apps: HashMap<AppId, Vec<Arc<AppSource>>>,
    issuers: HashMap<String, Vec<Arc<AppSource>>>,
    /// Sign-ins of the sources that are accepted.
    valid: HashSet<String>,
}

impl IdentitySources {
    /// Replaces the sources of an app. Returns the sign-ins of those that are revoked with it.
    pub(crate) fn replace(&mut self, app: &AppRecord) -> Vec<String> {
        let before = self.apps.remove(&app.id).unwrap_or_default();
        for source in &before {
            self.valid.remove(&source.sign_in);
            if let Some(same_issuer) = self.issuers.get_mut(&source.source.issuer) {
                same_issuer.retain(|other| other.app != app.id);
            }
        }
        self.issuers.retain(|_, sources| !sources.is_empty());
        let now: Vec<_> = app.identity_sources.iter().filter_map(|source| AppSource::new(app, source)).collect();
        for source in &now {
            self.issuers.entry(source.source.issuer.clone()).or_default().push(Arc::clone(source));
            if !source.is_closed {
                self.valid.insert(source.sign_in.clone());
            }
        }
        if !now.is_empty() {
            self.apps.insert(app.id.clone(), now);
        }
        let was_valid = before.iter().filter(|source| !source.is_closed).map(|source| &source.sign_in);
        was_valid.filter(|sign_in| !self.is_valid(sign_in)).cloned().collect()
    }

    /// Returns whether a sign-in is that of a source that is accepted.
    pub(crate) fn is_valid(&self, sign_in: &str) -> bool {
        self.valid.contains(sign_in)
    }

    /// Returns the source that a token names.
    pub(crate) fn named(&self, token: &UnverifiedToken) -> Named {
        let Some(sources) = self.issuers.get(&token.issuer) else { return Named::UnknownIssuer };
        let mut fitting = sources.iter().filter(|source| source.source.accepts_audience(&token.audiences));
        let Some(first) = fitting.next() else { return Named::OtherAudience };
        if fitting.any(|other| other.app != first.app) {
            return Named::Ambiguous;
        }
        if first.is_closed { Named::Closed } else { Named::Source(Arc::clone(first)) }
    }

    /// Returns the addresses of key sets.
    pub(crate) fn addresses(&self) -> HashSet<&str> {
        fn address(source: &Arc<AppSource>) -> Option<&str> {
            match &source.keys {
                SourceKeys::At(uri) => Some(uri),
                SourceKeys::Registered(_) => None,
            }
        }
        self.apps.values().flatten().filter_map(address).collect()
    }

    /// Returns the number of sources that are accepted.
    pub(crate) fn count(&self) -> usize {
        self.valid.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use switchboard_core::domain::{AppLimits, IdentitySourceKind, Timestamp};

    use super::*;

    fn app(id: &str, audiences: &[Option<&str>]) -> AppRecord {
        let source = |audience: &Option<&str>| IdentitySource {
            kind: IdentitySourceKind::Keys,
            issuer: "https://login.example".into(),
            audience: audience.map(str::to_owned),
            jwks_uri: Some(format!("https://{id}.example/")),
            jwks: None,
            claims: None,
        };
        AppRecord {
            id: AppId::parse(id).unwrap(),
            name: String::new(),
            disabled: false,
            limits: AppLimits::default(),
            keys: Vec::new(),
            webhooks: Vec::new(),
            origins: Vec::new(),
            identity_sources: audiences.iter().map(source).collect(),
            created_at: Timestamp(0),
            changed_at: Timestamp(0),
            deleted_at: None,
        }
    }

    fn named(sources: &IdentitySources, audiences: &[&str]) -> Named {
        let claims = serde_json::json!({ "iss": "https://login.example", "aud": audiences });
        let encode = |part: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, part);
        let token = format!("{}.{}.", encode(r#"{"alg":"EdDSA"}"#), encode(&claims.to_string()));
        match switchboard_auth::TokenSigner::of(&token) {
            switchboard_auth::TokenSigner::Source(token) => sources.named(&token),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_issuer_serves_several_apps_by_audience_and_a_token_for_two_apps_is_for_none() {
        let mut sources = IdentitySources::default();
        for app in [app("acme", &[Some("a"), Some("b")]), app("other", &[Some("c")])] {
            assert!(sources.replace(&app).is_empty());
        }
        let app_of = |audiences: &[&str]| match named(&sources, audiences) {
            Named::Source(source) => source.app.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!([app_of(&["a"]), app_of(&["x", "c"])], ["acme", "other"]);
        assert_eq!(app_of(&["a", "b"]), "acme", "two sources of one app");
        assert_eq!([app_of(&["a", "c"]), app_of(&["x"]), app_of(&[])], ["Ambiguous", "OtherAudience", "OtherAudience"]);
        assert!(matches!(named(&IdentitySources::default(), &["a"]), Named::UnknownIssuer));
    }

    #[test]
    fn a_source_that_is_removed_or_whose_app_is_disabled_is_revoked_once() {
        let mut sources = IdentitySources::default();
        sources.replace(&app("acme", &[Some("a"), Some("b")]));
        let Named::Source(a) = named(&sources, &["a"]) else { panic!("no source") };
        let fewer = app("acme", &[Some("b")]);
        assert_eq!(sources.replace(&fewer), std::slice::from_ref(&a.sign_in));
        assert!(sources.replace(&fewer).is_empty() && !sources.is_valid(&a.sign_in) && sources.count() == 1);
        let disabled = AppRecord { disabled: true, ..fewer.clone() };
        assert_eq!(sources.replace(&disabled).len(), 1);
        assert!(matches!(named(&sources, &["b"]), Named::Closed));
        assert_eq!(sources.addresses().into_iter().collect::<Vec<_>>(), ["https://acme.example/"]);
        assert!(sources.replace(&fewer).is_empty() && sources.count() == 1, "enabled again");
        sources.replace(&app("acme", &[]));
        assert!(sources.issuers.is_empty() && sources.apps.is_empty() && sources.addresses().is_empty());
    }
}
