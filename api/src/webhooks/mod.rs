//! Webhooks: what happens in calls, told to the operator's own services.
//!
//! `events` says which facts are told and how; the recorder queues them in MongoDB before it lets go of the facts. For each endpoint one
//! pod at a time has the lease to deliver, a `courier`; `post` sends. An endpoint has each event at least once, those of one call in
//! their order, with an id to tell repetitions by. A receiver that fails or is slow holds up its own deliveries only.
//!
//! Addresses come from the operator's configuration alone, no client can name or change one; redirects are not followed, so a receiver
//! cannot point us elsewhere either.

mod courier;
pub mod events;
mod post;

use std::time::Duration;

use switchboard_auth::WebhookKey;
use switchboard_auth::webhook::address_name;
use switchboard_records::Records;
use tokio_util::sync::CancellationToken;

use courier::Courier;
use post::Sender;

/// Where events are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name in records, logs and metrics; says nothing of the address, which may carry a password.
    pub name: String,
    /// `http` or `https`.
    pub address: http::Uri,
}

impl Endpoint {
    /// Reads an absolute `http` or `https` address.
    #[must_use]
    pub fn parse(address: &str) -> Option<Self> {
        let uri: http::Uri = address.parse().ok()?;
        let sound =
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
        sound.then(|| Self { name: address_name(address), address: uri })
    }
}

/// How events are told.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// To whom.
    pub endpoints: Vec<Endpoint>,
    /// How long a receiver may take to answer.
    pub timeout: Duration,
    /// For how long after it happened an event is tried.
    pub give_up: Duration,
    /// The pauses after the first failure, doubled with each further one, and the longest.
    pub backoff: (Duration, Duration),
    /// How long an endpoint stays with a courier that is not heard of.
    pub lease: Duration,
    /// Between two looks at what is due.
    pub idle: Duration,
    /// Deliveries to one endpoint at the same time.
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

/// Delivers until `stop`; what is being sent then may still arrive. Nothing that happens to MongoDB or to a receiver ends it.
pub async fn run(records: Records, options: WebhookOptions, key: WebhookKey, stop: CancellationToken) {
    let sender = Sender::new(key, options.timeout);
    let token = format!("{:032x}", rand::random::<u128>());
    let couriers = options.endpoints.iter().map(|endpoint| {
        let courier = Courier {
            records: records.clone(),
            sender: sender.clone(),
            endpoint: endpoint.clone(),
            options: options.clone(),
            token: token.clone(),
        };
        courier.run(stop.clone())
    });
    futures_util::future::join_all(couriers).await;
}
