//! Whether the present primary of MongoDB has the indexes.
//!
//! A primary may come back empty: a volume was lost, or another server answers at the address. Two
//! accounts could then get one e-mail address. So each change of the primary is counted, and
//! writes of unique values first make sure that the indexes were created since the last one.
//!
//! A loss is a change, too: a write that waits for a primary must not meet an empty one.

use std::sync::Arc;

use mongodb::ServerType;
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use tokio::sync::{Mutex, MutexGuard, watch};

/// Changes of the primary, and those since which the indexes exist. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Primaries {
    counts: Arc<watch::Sender<Counts>>,
    /// Held by the one caller that creates the indexes.
    turn: Arc<Mutex<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    changes: u64,
    indexed: u64,
}

impl Default for Primaries {
    fn default() -> Self {
        // Nothing is known of the first primary either.
        Self { counts: Arc::new(watch::Sender::new(Counts { changes: 1, indexed: 0 })), turn: Arc::default() }
    }
}

impl Primaries {
    /// Returns the handler of the driver's events that counts changes.
    pub(crate) fn handler(&self) -> EventHandler<SdamEvent> {
        let counts = Arc::clone(&self.counts);
        EventHandler::callback(move |event| {
            if let SdamEvent::ServerDescriptionChanged(change) = event
                && takes_writes(change.new_description.server_type())
                    != takes_writes(change.previous_description.server_type())
            {
                counts.send_modify(|counts| counts.changes += 1);
            }
        })
    }

    /// Waits for the turn to create the indexes: one caller at a time.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Returns the number of changes so far.
    pub(crate) fn changes(&self) -> u64 {
        self.counts.borrow().changes
    }

    /// Records that the indexes exist since this many changes.
    pub(crate) fn indexed(&self, changes: u64) {
        self.counts.send_modify(|counts| counts.indexed = counts.indexed.max(changes));
    }

    /// Returns whether the indexes were created since the last change.
    pub(crate) fn are_indexed(&self) -> bool {
        let counts = *self.counts.borrow();
        counts.indexed >= counts.changes
    }

    /// Waits until there are more changes than these.
    pub(crate) async fn changed(&self, changes: u64) {
        // The sender is in `self`, so it cannot be gone.
        let _ = self.counts.subscribe().wait_for(|counts| counts.changes > changes).await;
    }
}

const fn takes_writes(server: ServerType) -> bool {
    matches!(server, ServerType::RsPrimary | ServerType::Standalone | ServerType::Mongos)
}
