//! Last uses of API keys, so that operators find keys that nobody uses.
//!
//! A use is a request with the key, or a token of the key that is accepted. It costs a write to
//! memory. MongoDB gets it in the background, in one request for all keys, and for each key once in
//! [`USE_MARGIN_MS`]. While MongoDB is away, the last use of each key waits here.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use switchboard_core::domain::Timestamp;

/// Time in milliseconds in which a further use is not stored: neither by this process, nor by
/// MongoDB after the use that another process stored. So a stored use is at most twice as old.
pub(crate) const USE_MARGIN_MS: i64 = 150 * 1000;
/// Time between two requests to MongoDB.
pub(crate) const USES_INTERVAL: Duration = Duration::from_secs(4);
/// Maximum number of keys in one request to MongoDB. The others are in the next one.
pub(crate) const USES_MAX: usize = 1_000;

/// Last use of a key in this process, and the last use that MongoDB was asked to store, in
/// milliseconds. 0 is none.
#[derive(Debug, Default)]
pub(crate) struct LastUse {
    at: AtomicI64,
    stored: AtomicI64,
}

impl LastUse {
    /// Notes a use.
    pub(crate) fn mark(&self, now: Timestamp) {
        self.at.store(now.0, Ordering::Relaxed);
    }

    /// Returns the last use, if MongoDB should store it.
    pub(crate) fn to_store(&self) -> Option<Timestamp> {
        let (at, stored) = (self.at.load(Ordering::Relaxed), self.stored.load(Ordering::Relaxed));
        (at - stored >= USE_MARGIN_MS).then_some(Timestamp(at))
    }

    /// Notes that MongoDB has this use, or one less than [`USE_MARGIN_MS`] before.
    pub(crate) fn was_stored(&self, at: Timestamp) {
        self.stored.store(at.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_stored_once_in_the_margin_and_waits_while_it_cannot_be_stored() {
        let (last, now) = (LastUse::default(), Timestamp(1_800_000_000_000));
        assert_eq!(last.to_store(), None, "never used");
        last.mark(now);
        assert_eq!(last.to_store(), Some(now));
        assert_eq!(last.to_store(), Some(now), "it was not stored yet");
        last.was_stored(now);
        last.mark(Timestamp(now.0 + USE_MARGIN_MS - 1));
        assert_eq!(last.to_store(), None);
        last.mark(Timestamp(now.0 + USE_MARGIN_MS));
        assert_eq!(last.to_store(), Some(Timestamp(now.0 + USE_MARGIN_MS)));
    }
}
