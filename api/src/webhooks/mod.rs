//! Webhooks: sends call events to services of the operator and of apps.
//!
//! | file | content |
//! |---|---|
//! | `options` | endpoints and options |
//! | `directory` | endpoints of the deployment and of all apps |
//! | `events` | converts recorded facts to events |
//! | `post` | sends one event over HTTP |
//! | `failures` | log of failures, each reason of an endpoint once |
//! | `slots` | how many requests may be in progress |
//! | `deliverer` | delivers the events that are due |
//!
//! The recorder queues events in MongoDB before it removes the facts from the outbox. Every pod
//! delivers: it claims the queue of one call at one endpoint at a time, so that an endpoint
//! receives the events of one call in order, each at least once. The event's id identifies
//! repetitions.
//!
//! URLs come only from operators, so that clients cannot choose them. Redirects are not followed,
//! so that a receiver cannot redirect requests into the operator's network.

mod deliverer;
pub mod directory;
pub mod events;
mod failures;
mod options;
mod post;
mod slots;

use std::time::Duration;

use switchboard_core::domain::{AppId, WebhookId};
use switchboard_records::{Attempt, Records, RecordsError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::now;
use deliverer::Deliverer;
use failures::Failures;
use post::{Message, Sender};

pub use directory::{EndpointDirectory, Endpoints};
pub use options::{Endpoint, EndpointKeys, WebhookOptions};

/// Longest time of a `ping`, within the time limit of a request.
const PING_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// Endpoints, and the way to them. Clones share the connections.
#[derive(Clone)]
pub struct Webhooks {
    directory: EndpointDirectory,
    sender: Sender,
    options: WebhookOptions,
}

/// Outcome of a `ping`.
#[derive(Clone, Debug)]
pub struct Ping {
    /// Id of the event.
    pub event_id: String,
    /// Outcome of the request.
    pub attempt: Attempt,
    /// Time until the response, or until the failure.
    pub took: Duration,
}

impl Webhooks {
    /// Prepares the connections. Reads the trusted certificates from files.
    #[must_use]
    pub fn new(directory: EndpointDirectory, options: WebhookOptions) -> Self {
        Self { directory, sender: Sender::new(), options }
    }

    /// Returns all endpoints.
    #[must_use]
    pub const fn directory(&self) -> &EndpointDirectory {
        &self.directory
    }

    /// Sends an event of type `ping` to an endpoint, once, and waits for its answer for 10 s at
    /// most. `None`: there is no such endpoint.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn ping(&self, id: &WebhookId) -> Result<Option<Ping>, RecordsError> {
        let endpoints = self.directory.refreshed().await?;
        let Some(endpoint) = endpoints.get(id.as_str()) else { return Ok(None) };
        let event_id = format!("{}:{:016x}", events::PING, rand::random::<u64>());
        let body = events::ping(&event_id, &endpoint.app.clone().unwrap_or_else(AppId::default), id.as_str(), now());
        let message = Message { id: &event_id, event: events::PING, body: &body };
        let began = Instant::now();
        let attempt = self.sender.send(endpoint, message, self.options.timeout.min(PING_TIMEOUT_MAX), now()).await;
        Ok(Some(Ping { event_id, attempt, took: began.elapsed() }))
    }

    /// Delivers until `stop` is cancelled. Requests that are in progress at that moment are
    /// completed. Failures of MongoDB or of a receiver do not end the delivery.
    pub async fn run(self, records: Records, stop: CancellationToken) {
        let Self { directory, sender, options } = self;
        let owner = format!("{:032x}", rand::random::<u128>());
        Deliverer { records, directory, sender, options, owner, failures: Failures::new() }.run(stop).await;
    }
}
