//! Endpoints of webhooks, and options of their delivery.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use switchboard_auth::webhook::url_digest;
use switchboard_auth::{AppVault, KeyRing, WebhookSigner};
use switchboard_core::domain::{AppId, Timestamp, WebhookEvent};
use switchboard_core::{Secret, percent};
use switchboard_records::AppWebhookRecord;
use switchboard_runtime::config::{UrlParts, urls};

/// Service that receives events: one of the operator, or one of an app.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Name in records, logs and metrics. It does not reveal the URL, which may contain a password.
    pub name: String,
    /// App of the endpoint. `None`: the endpoint is the operator's, and gets the events of all
    /// apps.
    pub app: Option<AppId>,
    /// URL with scheme `http` or `https`, without user name and password.
    pub url: http::Uri,
    /// `Authorization` header, from the URL's user name and password.
    pub authorization: Option<Secret>,
    /// Types of the events that the endpoint gets.
    pub events: Vec<WebhookEvent>,
    /// Signs its events. `None`: no key of this process can decrypt the secret, so that nothing can
    /// be sent.
    pub keys: Option<EndpointKeys>,
}

/// Keys that sign the events of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointKeys {
    signer: WebhookSigner,
    /// Signer with the previous secret too, and the time until which it signs.
    rotating: Option<(WebhookSigner, Timestamp)>,
}

impl EndpointKeys {
    /// Signs with all keys of a ring.
    #[must_use]
    pub fn new(keys: impl Into<KeyRing>) -> Self {
        Self { signer: WebhookSigner::new(keys), rotating: None }
    }

    /// Returns the signer for a request at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> &WebhookSigner {
        match &self.rotating {
            Some((both, until)) if now < *until => both,
            _ => &self.signer,
        }
    }
}

impl Endpoint {
    /// Reads an absolute `http` or `https` URL of the operator. A user name and a password in it
    /// become an `Authorization` header of the scheme Basic. The endpoint has no keys.
    ///
    /// # Errors
    /// The reason why the URL cannot be used, without the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HONOURED: UrlParts = UrlParts { credentials: true, path: true, query: true };
        const ENCODED: &str = "must have its user name and its password percent-encoded";
        let mut url = urls::parse(text, &["http", "https"], HONOURED)?;
        let (user, password) = (percent::decode(url.username()), percent::decode(url.password().unwrap_or_default()));
        let (user, password) = user.zip(password).ok_or(ENCODED)?;
        let credentials = (!user.is_empty() || !password.is_empty()).then(|| format!("{user}:{password}"));
        let authorization = credentials.map(|text| Secret::new(format!("Basic {}", STANDARD.encode(text))));
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| ENCODED)?;
        let url = url.as_str().parse().map_err(|_| "is no valid URL")?;
        let events = WebhookEvent::DEFAULT.to_vec();
        Ok(Self { name: url_digest(text), app: None, url, authorization, events, keys: None })
    }

    /// Returns the endpoint with keys that sign its events.
    #[must_use]
    pub fn with_keys(self, keys: impl Into<KeyRing>) -> Self {
        Self { keys: Some(EndpointKeys::new(keys)), ..self }
    }

    /// Returns the endpoint of an app. `None` if its stored URL is none.
    #[must_use]
    pub fn of_app(app: &AppId, webhook: &AppWebhookRecord, vault: &AppVault) -> Option<Self> {
        let open = |sealed| vault.open(app, &webhook.id, sealed);
        let keys = open(&webhook.sealed).map(|secret| {
            let previous = webhook.previous.as_deref().zip(webhook.previous_until);
            let rotating = previous.and_then(|(sealed, until)| {
                Some((WebhookSigner::new(KeyRing::new(secret.clone(), [open(sealed)?])), until))
            });
            EndpointKeys { signer: WebhookSigner::new(KeyRing::new(secret, [])), rotating }
        });
        Some(Self {
            name: webhook.id.as_str().to_owned(),
            app: Some(app.clone()),
            url: webhook.url.parse().ok()?,
            authorization: None,
            events: webhook.events.clone(),
            keys,
        })
    }
}

/// Options of the delivery. The struct has more than eight fields: each is one bound or pause.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Maximum time until the receiver's response.
    pub timeout: Duration,
    /// How long after an event its delivery is retried. After that the event is given up.
    pub give_up: Duration,
    /// Pause after the first failure. It doubles with each further failure.
    pub backoff_min: Duration,
    /// Longest pause after a failure.
    pub backoff_max: Duration,
    /// Time in which a claim begins requests. Then other calls of the endpoint have their turn.
    pub turn: Duration,
    /// Time for the writes of a claim, after its last request.
    pub margin: Duration,
    /// Pause between two polls for what is due.
    pub idle: Duration,
    /// Maximum number of requests of this process to one endpoint at the same time.
    pub concurrency: usize,
    /// Maximum number of requests of this process at the same time.
    pub workers: usize,
}

impl WebhookOptions {
    /// Returns the time after which another pod may deliver what a pod has claimed.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.turn + self.timeout + self.margin
    }
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            give_up: Duration::from_secs(86_400),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            turn: Duration::from_secs(5),
            margin: Duration::from_secs(5),
            idle: Duration::from_millis(500),
            concurrency: 16,
            workers: 128,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use switchboard_core::domain::WebhookId;

    #[test]
    fn an_endpoint_honours_credentials_port_path_query_ipv6_and_international_names() {
        let endpoint = Endpoint::parse("https://us:p%40ss@[::1]:8443/hook?key=1").unwrap();
        assert_eq!(endpoint.url, "https://[::1]:8443/hook?key=1");
        assert_eq!(endpoint.authorization.as_ref().map(Secret::expose), Some("Basic dXM6cEBzcw=="));
        assert!(!format!("{endpoint:?}").contains("dXM6"));
        let endpoint = Endpoint::parse("http://b\u{fc}cher.example/hook").unwrap();
        assert_eq!((endpoint.url.host(), endpoint.authorization), (Some("xn--bcher-kva.example"), None));
        for bad in ["ftp://a", "a/x", "http://", "http://a/#x", "http://a:0/", "http://u:100%@a/", "http://a b/"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_previous_secret_of_an_app_signs_until_its_end_and_not_after() {
        let (vault, app) = (AppVault::new("master".into()), AppId::from_random([1; 12]));
        let id = WebhookId::from_random([2; 20]);
        let sealed = |secret: &str| vault.seal(&app, &id, &Secret::new(secret));
        let webhook = AppWebhookRecord {
            sealed: sealed("new"),
            previous: Some(sealed("old")),
            previous_until: Some(Timestamp(1_000_000)),
            id: id.clone(),
            url: "https://a.test/x".to_owned(),
            events: WebhookEvent::DEFAULT.to_vec(),
            created_at: Timestamp(0),
        };
        let keys = Endpoint::of_app(&app, &webhook, &vault).unwrap().keys.unwrap();
        let signatures = |now| keys.at(now).sign(now, "{}").split(',').skip(1).map(str::to_owned).collect::<Vec<_>>();
        let own = |secret: &str, now| WebhookSigner::new(secret).sign(now, "{}").split_once(',').unwrap().1.to_owned();
        let (before, after) = (Timestamp(999_999), Timestamp(1_000_000));
        assert_eq!(signatures(before), [own("new", before), own("old", before)]);
        assert_eq!(signatures(after), [own("new", after)]);
        let other = AppVault::new("another".into());
        assert!(Endpoint::of_app(&app, &webhook, &other).unwrap().keys.is_none());
    }
}
