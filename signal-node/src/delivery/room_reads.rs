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

/// Reads in progress, by room. Clones share them.
#[derive(Clone, Debug)]
pub struct RoomReads {
    rooms: Rooms,
    reads: Arc<Mutex<HashMap<RoomId, Arc<RoomRead>>>>,
}

/// Outcome of a read: the room, or `None` if it is not open.
type ReadRoom = Result<Option<Arc<SharedSnapshot>>, StoreError>;

/// Reads of one room, one at a time.
#[derive(Debug)]
struct RoomRead {
    /// Number of sessions that asked for the room.
    asked: AtomicU64,
    /// The last read, with the number of sessions that had asked when it began.
    last: tokio::sync::Mutex<(u64, ReadRoom)>,
}

impl Default for RoomRead {
    fn default() -> Self {
        Self { asked: AtomicU64::new(0), last: tokio::sync::Mutex::new((0, Ok(None))) }
    }
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
    /// `Unavailable`, if Redis does not answer. All callers that wait share the error.
    pub async fn read(&self, room: &RoomId) -> ReadRoom {
        let reader =
            Reader { reads: self, room, read: Some(Arc::clone(self.reads().entry(room.clone()).or_default())) };
        let Some(read) = &reader.read else { return Ok(None) };
        read.read(async || self.rooms.snapshot(room).await).await
    }
}

/// A caller of a read. The last one to end removes the read, also if its future is dropped.
struct Reader<'r> {
    reads: &'r RoomReads,
    room: &'r RoomId,
    /// `Some` until the drop.
    read: Option<Arc<RoomRead>>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut reads = self.reads.reads();
        // Dropped under the lock, under which callers also take theirs: so the count is exact.
        self.read = None;
        if reads.get(self.room).is_some_and(|read| Arc::strong_count(read) == 1) {
            reads.remove(self.room);
        }
    }
}

impl RoomRead {
    async fn read(
        &self,
        read: impl AsyncFnOnce() -> Result<Option<switchboard_rooms::Snapshot>, StoreError>,
    ) -> ReadRoom {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock().await;
        if last.0 > number {
            metrics::counter!("switchboard_room_reads_shared_total").increment(1);
            return last.1.clone();
        }
        let asked = self.asked.load(Ordering::Relaxed);
        let found = read().await.map(|room| room.map(|room| Arc::new(SharedSnapshot::new(room))));
        *last = (asked, found.clone());
        found
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
