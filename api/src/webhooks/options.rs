//! Endpoints of webhooks, and options of their delivery.

use std::time::Duration;

use switchboard_auth::webhook::address_digest;

/// Service of the operator that receives events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name in records, logs and metrics. It does not reveal the address, which may contain a
    /// password.
    pub name: String,
    /// Address, with scheme `http` or `https`.
    pub address: http::Uri,
}

impl Endpoint {
    /// Reads an absolute `http` or `https` address. `None` for any other text.
    #[must_use]
    pub fn parse(address: &str) -> Option<Self> {
        let uri: http::Uri = address.parse().ok()?;
        let valid =
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
        valid.then(|| Self { name: address_digest(address), address: uri })
    }
}

/// Options of the delivery.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Receivers of events.
    pub endpoints: Vec<Endpoint>,
    /// Time limit for an answer of the receiver.
    pub timeout: Duration,
    /// Time after an event during which delivery is retried. After it the event is given up.
    pub give_up: Duration,
    /// Pause after the first failure, which doubles with each further failure; and the longest
    /// pause.
    pub backoff: (Duration, Duration),
    /// Time after which an endpoint becomes free when its deliverer does not renew the lease.
    pub lease: Duration,
    /// Pause between two queries for due deliveries.
    pub idle: Duration,
    /// Most deliveries to one endpoint at the same time.
    pub at_once: usize,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            timeout: Duration::from_secs(10),
            give_up: Duration::from_secs(86_400),
            backoff: (Duration::from_secs(1), Duration::from_secs(300)),
            lease: Duration::from_secs(10),
            idle: Duration::from_millis(500),
            at_once: 32,
        }
    }
}
