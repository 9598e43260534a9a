//! Entry point of delivery: passes each event of the bus to [`CatchUp`] or the hub.

use std::sync::Arc;

use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::BusEvent;
use switchboard_rooms::bus::BusEventHandler;

use super::catch_up::CatchUp;

/// Returns the function that the bus calls for each event, in order.
#[must_use]
pub fn sink(catch_up: CatchUp) -> BusEventHandler {
    Arc::new(move |event| match event {
        BusEvent::Message { partition, message } => match Envelope::parse(message) {
            Some(envelope) => catch_up.deliver(partition, envelope),
            None => {
                metrics::counter!("switchboard_envelopes_malformed_total").increment(1);
                tracing::warn!(partition = partition.0, "malformed pub/sub message");
            }
        },
        BusEvent::Interrupted { partition } => catch_up.hub.subscription_lost(partition),
        BusEvent::Restored { partition, cause } => catch_up.subscription_restored(partition, cause.name()),
    })
}
