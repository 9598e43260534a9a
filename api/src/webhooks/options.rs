//! Endpoints of webhooks, and options of their delivery.

use std::time::Duration;

use switchboard_auth::webhook::url_digest;

/// Service of the operator that receives events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name in records, logs and metrics. It does not reveal the URL, which may contain a password.
    pub name: String,
    /// URL with scheme `http` or `https`.
    pub url: http::Uri,
}

impl Endpoint {
    /// Reads an absolute `http` or `https` URL. `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url: http::Uri = text.parse().ok()?;
        let valid =
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty());
        valid.then(|| Self { name: url_digest(text), url })
    }
}

/// Options of the delivery.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Receivers of events.
    pub endpoints: Vec<Endpoint>,
    /// Maximum time until the receiver's response.
    pub timeout: Duration,
    /// How long after an event its delivery is retried. After that the event is given up.
    pub give_up: Duration,
    /// Pause after the first failure. It doubles with each further failure.
    pub backoff_min: Duration,
    /// Longest pause after a failure.
    pub backoff_max: Duration,
    /// Time after which an endpoint becomes free when its deliverer does not renew the lease.
    pub lease: Duration,
    /// Pause between two queries for due deliveries.
    pub idle: Duration,
    /// Maximum number of deliveries to one endpoint at the same time.
    pub concurrency: usize,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            timeout: Duration::from_secs(10),
            give_up: Duration::from_secs(86_400),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            lease: Duration::from_secs(10),
            idle: Duration::from_millis(500),
            concurrency: 32,
        }
    }
}
