//! Whether the present primary of MongoDB has the indexes.
//!
//! A primary may come back empty: a volume was lost, or another server answers at the address. Two
//! accounts could then get one e-mail address. So each appearance of a primary is counted, and
//! writes of unique values first make sure that the indexes were created since the last one.

use std::sync::Arc;

use mongodb::ServerType;
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use tokio::sync::watch;

/// Appearances of a primary, and those since which the indexes exist. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Primaries(Arc<watch::Sender<Counts>>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    appeared: u64,
    indexed: u64,
}

impl Default for Primaries {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Counts::default())))
    }
}

impl Primaries {
    /// Returns the handler of the driver's events that counts appearances.
    pub(crate) fn handler(&self) -> EventHandler<SdamEvent> {
        let counts = Arc::clone(&self.0);
        EventHandler::callback(move |event| {
            if let SdamEvent::ServerDescriptionChanged(change) = event
                && takes_writes(change.new_description.server_type())
                && !takes_writes(change.previous_description.server_type())
            {
                counts.send_modify(|counts| counts.appeared += 1);
            }
        })
    }

    /// Returns the number of appearances so far.
    pub(crate) fn appeared(&self) -> u64 {
        self.0.borrow().appeared
    }

    /// Records that the indexes exist since this many appearances.
    pub(crate) fn indexed(&self, appeared: u64) {
        self.0.send_modify(|counts| counts.indexed = counts.indexed.max(appeared));
    }

    /// Returns whether the indexes were created since the last appearance.
    pub(crate) fn are_indexed(&self) -> bool {
        let counts = *self.0.borrow();
        counts.indexed >= counts.appeared
    }

    /// Waits for a primary that may have no indexes.
    pub(crate) async fn unindexed(&self) {
        // The sender is in `self`, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(|counts| counts.indexed < counts.appeared).await;
    }
}

const fn takes_writes(server: ServerType) -> bool {
    matches!(server, ServerType::RsPrimary | ServerType::Standalone | ServerType::Mongos)
}
