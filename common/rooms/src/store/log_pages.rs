//! A room's log, read in pages: what waits behind a page in Redis waits for a page alone.

use redis::{Value, cmd};
use switchboard_core::domain::RoomId;

use super::Rooms;
use super::room_log::RoomLog;
use crate::values::entries;
use crate::{LogId, Partition, StoreError};

/// Entries of the first page. Each has at most 64 KiB, and most reads end with it.
const FIRST: usize = 16;
/// Maximum number of entries of a page.
const ENTRIES_MAX: usize = 1000;
/// Bytes of a page, about, by the mean of the page before: less than a slow link of 10 Mbit/s
/// carries in 150 ms.
const BYTES: usize = 128 * 1024;

/// Reads a part of a room's log, page by page.
pub(super) struct LogPages<'a> {
    rooms: &'a Rooms,
    partition: Partition,
    key: String,
    /// Name of the read in metrics.
    operation: &'static str,
    from: String,
    until: String,
    /// Entries of the next page; `None` after the last one.
    count: Option<usize>,
}

/// A page of a room's log.
pub(super) struct LogPage {
    /// The reply to `XRANGE`.
    pub(super) reply: Value,
    /// Number of its entries.
    pub(super) entries: usize,
    /// Bytes of its entries.
    pub(super) bytes: usize,
}

impl Rooms {
    /// Starts to read the entries with events after the position `after`, up to the entry `last`,
    /// or to the end of the log. The entry at the position may be among them.
    pub(super) fn log_pages(
        &self,
        partition: Partition,
        room: &RoomId,
        operation: &'static str,
        after: LogId,
        last: Option<LogId>,
    ) -> LogPages<'_> {
        LogPages {
            rooms: self,
            partition,
            key: self.context().keys.log(partition, room),
            operation,
            from: RoomLog::start(after),
            until: last.map_or_else(|| "+".to_owned(), |last| last.to_string()),
            count: Some(FIRST),
        }
    }
}

impl LogPages<'_> {
    /// Reads the next page; `None` after the last one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn next(&mut self) -> Result<Option<LogPage>, StoreError> {
        let Some(count) = self.count.take() else { return Ok(None) };
        let mut read = cmd("XRANGE");
        read.arg(&self.key).arg(&self.from).arg(&self.until).arg("COUNT").arg(count);
        let replies = self.rooms.read_large(self.partition, self.operation, &[read]).await?;
        let reply = replies.into_iter().next().ok_or_else(|| StoreError::expected("a page"))?;
        let found = entries(Some(&reply))?;
        let (length, last) = (found.len(), found.last().map(|(id, _)| *id));
        let bytes: usize = found.iter().flat_map(|(_, fields)| fields.values()).map(|value| value.len()).sum();
        if let Some(last) = last
            && length == count
        {
            self.from = format!("({last}");
            self.count = Some((BYTES / (bytes / length).max(1)).clamp(1, ENTRIES_MAX));
        }
        Ok(Some(LogPage { reply, entries: length, bytes }))
    }
}
