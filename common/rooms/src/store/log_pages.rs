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

/// Part of a room's log.
pub(super) struct LogRange {
    /// The entries with events after this position. The entry at the position may be among them.
    pub(super) after: LogId,
    /// The last entry; `None` for the end of the log.
    pub(super) last: Option<LogId>,
    /// Number of entries after which the read ends, with the page in which it is exceeded.
    pub(super) entries_max: usize,
}

impl Rooms {
    /// Reads a part of a room's log. Returns its pages, and the number of their entries.
    /// `operation` names the read in metrics.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn read_log_pages(
        &self,
        p: Partition,
        room: &RoomId,
        operation: &'static str,
        range: LogRange,
    ) -> Result<(Vec<Value>, usize), StoreError> {
        let key = self.context().keys.log(p, room);
        let until = range.last.map_or_else(|| "+".to_owned(), |last| last.to_string());
        let (mut pages, mut total) = (Vec::new(), 0);
        let (mut from, mut count) = (RoomLog::start(range.after), FIRST);
        loop {
            let mut read = cmd("XRANGE");
            read.arg(&key).arg(&from).arg(&until).arg("COUNT").arg(count);
            let page = self.read_large(p, operation, &[read]).await?.into_iter().next();
            let found = entries(page.as_ref())?;
            let (length, last) = (found.len(), found.last().map(|(id, _)| *id));
            let bytes: usize = found.iter().flat_map(|(_, fields)| fields.values()).map(|value| value.len()).sum();
            total += length;
            pages.extend(page);
            match last {
                Some(last) if length == count && total <= range.entries_max => from = format!("({last}"),
                _ => return Ok((pages, total)),
            }
            count = (BYTES / (bytes / length).max(1)).clamp(1, ENTRIES_MAX);
        }
    }
}
