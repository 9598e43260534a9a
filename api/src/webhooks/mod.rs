//! Webhooks: sends call events to the operator's services.
//!
//! | file | content |
//! |---|---|
//! | `options` | endpoints and options |
//! | `events` | converts recorded facts to events |
//! | `post` | sends one event over HTTP |
//! | `deliverer` | delivers the events of one endpoint |
//!
//! The recorder queues events in MongoDB before it removes the facts from the outbox. For each
//! endpoint, one pod at a time holds the lease to deliver. An endpoint receives each event at least
//! once. The event's id identifies repetitions. An endpoint receives the events of one call in
//! order. A receiver that fails or is slow delays only its own deliveries.
//!
//! URLs come only from the operator's configuration, so that clients cannot choose them. Redirects
//! are not followed, so that a receiver cannot redirect requests into the operator's network.

mod deliverer;
pub mod events;
mod options;
mod post;

use switchboard_auth::WebhookSigner;
use switchboard_records::Records;
use tokio_util::sync::CancellationToken;

use deliverer::{Deliverer, Failures};
use post::Sender;

pub use options::{Endpoint, WebhookOptions};

/// Delivers until `stop` is cancelled. Requests that are in progress at that moment are completed.
/// Failures of MongoDB or of a receiver do not end the delivery.
pub async fn run(records: Records, options: WebhookOptions, key: WebhookSigner, stop: CancellationToken) {
    let sender = Sender::new(key, options.timeout);
    let lease_owner = format!("{:032x}", rand::random::<u128>());
    let deliverers = options.endpoints.iter().map(|endpoint| {
        let deliverer = Deliverer {
            records: records.clone(),
            sender: sender.clone(),
            endpoint: endpoint.clone(),
            options: options.clone(),
            lease_owner: lease_owner.clone(),
            failures: Failures::new(),
        };
        deliverer.run(stop.clone())
    });
    futures_util::future::join_all(deliverers).await;
}
