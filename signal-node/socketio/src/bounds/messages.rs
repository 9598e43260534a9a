//! The messages of one client: how large they may be, and how many large ones a node receives at
//! the same time.
//!
//! A message is held in memory until it is complete, and a client may take long to complete it. A
//! small one needs no slot. Without slots for large ones, the memory of a node would be bounded
//! only by its sockets times the largest message.

use std::sync::Arc;

use super::{ClientNetwork, Counts, Permit};
use crate::config::{AdmissionLimits, Limits};
use crate::protocol::SkipReason;

/// Maximum number of bytes of a message or a body that needs no slot. Most SDPs are smaller.
const SMALL: usize = 64 * 1024;

/// Part of the slots that one network may take: one of this many.
const SHARE: usize = 4;

/// Slot of one large message or body.
pub(crate) type LargeMessagePermit = Permit<ClientNetwork>;

/// Bounds on messages that all clients of a server share.
#[derive(Debug)]
pub(crate) struct SharedMessageBounds {
    max: usize,
    max_body: usize,
    slots: Arc<Counts<ClientNetwork>>,
}

impl SharedMessageBounds {
    /// Creates the bounds with all slots free.
    pub(crate) fn new(limits: &Limits, admission: &AdmissionLimits) -> Self {
        let slots = admission.large_messages;
        let slots = Counts::new("switchboard_large_messages_open", slots, slots.div_ceil(SHARE));
        Self { max: limits.max_payload, max_body: limits.max_body, slots: Arc::new(slots) }
    }
}

/// Bounds on the messages of one client.
#[derive(Debug, Clone)]
pub(crate) struct MessageBounds {
    shared: Arc<SharedMessageBounds>,
    client: ClientNetwork,
}

impl MessageBounds {
    /// Creates the bounds of a client.
    pub(crate) fn new(shared: &Arc<SharedMessageBounds>, client: ClientNetwork) -> Self {
        Self { shared: Arc::clone(shared), client }
    }

    /// Returns the maximum number of bytes of a message.
    pub(crate) fn max(&self) -> usize {
        self.shared.max
    }

    /// Returns the maximum number of bytes of a body, and of a message that is skipped. A larger
    /// one ends the session.
    pub(crate) fn max_body(&self) -> usize {
        self.shared.max_body
    }

    /// Decides whether to keep a message that has this many bytes so far. A large one takes a slot,
    /// which the caller holds until the message is complete.
    ///
    /// # Errors
    /// The message must be skipped.
    pub(crate) fn admit(&self, length: usize, slot: &mut Option<Box<LargeMessagePermit>>) -> Result<(), SkipReason> {
        if length > self.shared.max {
            return Err(SkipReason::TooLarge);
        }
        self.admit_body(length, slot)
    }

    /// Decides whether to keep a body that has this many bytes so far, as
    /// [`admit`](MessageBounds::admit) does.
    ///
    /// # Errors
    /// No slot is free.
    pub(crate) fn admit_body(
        &self,
        length: usize,
        slot: &mut Option<Box<LargeMessagePermit>>,
    ) -> Result<(), SkipReason> {
        if length <= SMALL || slot.is_some() {
            return Ok(());
        }
        let permit = self.shared.slots.acquire(self.client).map_err(|_full| SkipReason::Busy)?;
        *slot = Some(Box::new(permit));
        Ok(())
    }

    /// Creates bounds for a test: messages of `max` bytes, `max_body` skipped, without slots.
    #[cfg(test)]
    pub(crate) fn for_test(max: usize, max_body: usize) -> Self {
        let limits = Limits { max_payload: max, max_body, ..Limits::default() };
        let shared = Arc::new(SharedMessageBounds::new(&limits, &AdmissionLimits::default()));
        Self::new(&shared, ClientNetwork::of(std::net::Ipv4Addr::LOCALHOST.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_network_takes_a_quarter_of_the_slots_and_small_messages_need_none() {
        let limits = Limits { max_payload: 200_000, max_body: 800_000, ..Limits::default() };
        let admission = AdmissionLimits { large_messages: 8, ..AdmissionLimits::default() };
        let shared = Arc::new(SharedMessageBounds::new(&limits, &admission));
        let client = |number| MessageBounds::new(&shared, ClientNetwork::of(Ipv4Addr::new(10, 0, 0, number).into()));
        let (one, other) = (client(1), client(2));
        let mut slots = [None, None, None];
        assert_eq!(one.admit(100_000, &mut slots[0]), Ok(()));
        assert_eq!(one.admit(150_000, &mut slots[0]), Ok(()), "a message that grows keeps its slot");
        assert_eq!(one.admit_body(700_000, &mut slots[1]), Ok(()));
        assert_eq!(one.admit(100_000, &mut slots[2]), Err(SkipReason::Busy));
        assert_eq!(one.admit(SMALL, &mut slots[2]), Ok(()));
        assert_eq!(other.admit(100_000, &mut slots[2]), Ok(()));
        assert_eq!(other.admit(200_001, &mut None), Err(SkipReason::TooLarge));
        slots[0] = None;
        assert_eq!(one.admit(100_000, &mut slots[0]), Ok(()), "a complete message frees its slot");
    }
}
