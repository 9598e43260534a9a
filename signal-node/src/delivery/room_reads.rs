//! Reads of large rooms that sessions share which enter at the same time.
//!
//! A room of 500 participants has some hundred kilobytes. If 500 clients join within seconds, each
//! with a read and an encoded list of its own, Redis and the node spend all their time on that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchboard_core::domain::RoomId;
use switchboard_rooms::{Rooms, StoreError};

use super::joined_snapshot::SharedSnapshot;

/// Participants from which on joins share the reads of a room. In a smaller room each join reads
/// the room in its own transaction, which is exact: no participant is announced twice.
pub const SHARED_FROM: u32 = 50;

/// Reads in progress, by room. Clones share them.
#[derive(Clone, Debug)]
pub struct RoomReads {
    rooms: Rooms,
    reads: Arc<Mutex<HashMap<RoomId, Arc<RoomRead>>>>,
}

/// Reads of one room, one at a time.
#[derive(Debug, Default)]
struct RoomRead {
    /// Number of sessions that asked for the room.
    asked: AtomicU64,
    /// The last read, with the number of sessions that had asked when it began.
    last: tokio::sync::Mutex<(u64, Option<Arc<SharedSnapshot>>)>,
}

impl RoomReads {
    /// Creates it without reads.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self { rooms, reads: Arc::default() }
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<RoomId, Arc<RoomRead>>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the room as it was at some moment after this call; `None` if it is not open. All
    /// callers that wait when a read begins share it.
    ///
    /// # Errors
    /// `Unavailable`, if Redis does not answer. Each caller then tries for itself.
    pub async fn read(&self, room: &RoomId) -> Result<Option<Arc<SharedSnapshot>>, StoreError> {
        let read = Arc::clone(self.reads().entry(room.clone()).or_default());
        let found = read.read(async || self.rooms.snapshot(room).await).await;
        let mut reads = self.reads();
        // The map and this caller: nobody else waits, so that the snapshot need not be kept.
        if Arc::strong_count(&read) == 2 {
            reads.remove(room);
        }
        found
    }
}

impl RoomRead {
    async fn read(
        &self,
        read: impl AsyncFnOnce() -> Result<Option<switchboard_rooms::Snapshot>, StoreError>,
    ) -> Result<Option<Arc<SharedSnapshot>>, StoreError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock().await;
        if last.0 > number {
            metrics::counter!("switchboard_room_reads_shared_total").increment(1);
            return Ok(last.1.clone());
        }
        let asked = self.asked.load(Ordering::Relaxed);
        let found = read().await?.map(|room| Arc::new(SharedSnapshot::new(room)));
        *last = (asked, found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn sessions_that_wait_when_a_read_begins_share_it_and_later_ones_do_not() {
        let (room, answers) = (Arc::new(RoomRead::default()), Arc::new(Semaphore::new(0)));
        let reads = Arc::new(AtomicU64::new(0));
        let ask = || {
            let (room, answers, reads) = (Arc::clone(&room), Arc::clone(&answers), Arc::clone(&reads));
            tokio::spawn(async move {
                let read = async || {
                    reads.fetch_add(1, Ordering::Relaxed);
                    answers.acquire().await.expect("is never closed").forget();
                    Ok(None)
                };
                room.read(read).await
            })
        };
        let first = ask();
        while reads.load(Ordering::Relaxed) < 1 {
            tokio::task::yield_now().await;
        }
        // They joined after the first read began, so that it may be without them.
        let others: Vec<_> = (0..50).map(|_| ask()).collect();
        while room.asked.load(Ordering::Relaxed) < 51 {
            tokio::task::yield_now().await;
        }
        answers.add_permits(2);
        for asked in others.into_iter().chain([first]) {
            assert!(matches!(asked.await, Ok(Ok(None))));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }
}
