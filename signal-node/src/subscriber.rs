//! From the bus to the hub, and nothing else; but for gaps, which the mender mends.

use std::sync::Arc;

use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::BusEvent;
use switchboard_rooms::bus::BusEventHandler;

use crate::mender::Mender;

/// What the bus calls for every event, in order.
#[must_use]
pub fn sink(mender: Mender) -> BusEventHandler {
    Arc::new(move |event| match event {
        BusEvent::Message { partition, message } => match Envelope::parse(message) {
            Some(envelope) => mender.deliver(partition, envelope),
            None => {
                metrics::counter!("switchboard_envelopes_refused_total").increment(1);
                tracing::warn!(partition = partition.0, "an envelope that is none");
            }
        },
        BusEvent::Interrupted { partition } => mender.hub.interrupted(partition),
        BusEvent::Restored { partition, cause } => mender.gap(partition, cause.name()),
    })
}
