//! Chat history of a room, ephemeral events, and events of an app's backend.

use redis::{Cmd, Value, cmd};
use switchboard_core::domain::{RoomId, UserId};
use switchboard_core::wire::{EventKind, LogId};

use super::Rooms;
use crate::scripts::{EphemeralScript, ServerEventScript};
use crate::seat::SeatText;
use crate::values::{Entry, entries, text};
use crate::{EphemeralOutcome, History, Seat, ServerEvent, ServerEventOutcome, StoreError};

/// Maximum number of messages in the first read of a page. The later reads are as large as the
/// bytes of the earlier ones allow.
const FIRST_READ: usize = 32;
/// Maximum number of messages in one read.
const READ_MAX: usize = 128;
/// Bytes after which a page ends. A client that does not read has about four times as much queued
/// before its connection ends.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Private messages of others are passed over: a page passes at most this many for each message
/// that was asked for, and [`FIRST_READ`] more.
const SCANNED_PER_MESSAGE: usize = 4;

impl Rooms {
    /// Reads up to `limit` messages that the seat's user may read: public ones, and private ones
    /// from or to this user. Reads the messages before `before`, which is the id of a message or
    /// the position after an earlier page; or the last ones. The page is empty if the history has
    /// no such message. Returns `None` if the seat is not this session's any more.
    ///
    /// The cost is bounded by `limit`: a page may have fewer messages and a next page.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn history(
        &self,
        seat: &Seat,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Option<History>, StoreError> {
        let p = self.partition_of(&seat.room);
        let keys = &self.context().keys;
        let reader = UserId::parse(seat.peer.user()).map_err(|_| StoreError::expected("a user id"))?;
        let mut page = Page { reader, limit, scanned: 0, bytes: 0, position: None, messages: Vec::new() };
        let mut from = match before {
            None => "+".to_owned(),
            Some(before) => {
                if let Some(position) = LogId::parse(before) {
                    format!("({position}")
                } else {
                    let mut find = cmd("ZSCORE");
                    find.arg(keys.chat_index(p, &seat.room)).arg(before);
                    let Some(found) = self.read_as(seat, find).await? else { return Ok(None) };
                    let Some(position) = position_of(&found) else {
                        return Ok(Some(History { messages: Vec::new(), next: None }));
                    };
                    format!("({position}")
                }
            }
        };
        let next = loop {
            let mut read = cmd("XREVRANGE");
            let count = page.next_read();
            read.arg(keys.chat(p, &seat.room)).arg(&from).arg("-").arg("COUNT").arg(count);
            let Some(answer) = self.read_as(seat, read).await? else { return Ok(None) };
            let found = entries(Some(&answer))?;
            if found.iter().any(|entry| !page.take(entry)) {
                break page.position.map(|position| position.to_string());
            }
            match page.position {
                Some(position) if found.len() == count => from = format!("({position}"),
                _ => break None,
            }
        };
        page.messages.reverse();
        Ok(Some(History { messages: page.messages, next }))
    }

    /// Runs a read for a seat; `None` if the seat is not this session's any more.
    async fn read_as(&self, seat: &Seat, read: Cmd) -> Result<Option<Value>, StoreError> {
        let p = self.partition_of(&seat.room);
        let mut read_seat = cmd("HGET");
        read_seat.arg(self.context().keys.room(p, &seat.room)).arg(format!("s:{}", seat.peer));
        let mut answer = self.read_large(p, "chat_history", &[read_seat, read]).await?;
        let current = answer.first().and_then(text).and_then(SeatText::parse);
        let is_own = current.is_some_and(|current| current.generation == seat.generation);
        Ok(if is_own { answer.pop() } else { None })
    }

    /// Sends an event to everyone else that is in no log, because no client needs it later.
    /// `required_settings`: names of settings and permissions that must be on, separated by spaces.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn send_ephemeral(
        &self,
        seat: &Seat,
        kind: EventKind,
        event: &str,
        required_settings: &str,
    ) -> Result<EphemeralOutcome, StoreError> {
        let scope = self.context().room_scope(&seat.room);
        self.run(scope.partition, &EphemeralScript { scope, seat, kind, event, required_settings }).await
    }

    /// Sends a `server:event` to everyone in the call, or to one participant, who may be in the
    /// lobby. Within the recovery window the same id is sent once.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn send_server_event(
        &self,
        room: &RoomId,
        event: ServerEvent<'_>,
    ) -> Result<ServerEventOutcome, StoreError> {
        let scope = self.context().room_scope(room);
        self.run(scope.partition, &ServerEventScript { scope, event }).await
    }
}

/// Returns the position of a message from its score in the index, which `chat.lua` sets.
fn position_of(score: &Value) -> Option<LogId> {
    let score: f64 = text(score)?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer below 2^53")]
    let score = score as u64;
    Some(LogId { ms: score / 1024, seq: score % 1024 })
}

/// A page of the chat history while it is read, newest message first.
struct Page {
    reader: UserId,
    limit: usize,
    /// Number of entries read.
    scanned: usize,
    /// Bytes of the entries read.
    bytes: usize,
    /// Position of the last entry that was taken.
    position: Option<LogId>,
    messages: Vec<String>,
}

impl Page {
    /// Returns the number of entries of the next read: as many as are still wanted and as the bytes
    /// so far allow.
    fn next_read(&self) -> usize {
        if self.scanned == 0 {
            return (self.limit + 1).min(FIRST_READ);
        }
        let average = (self.bytes / self.scanned).max(1);
        (PAGE_BYTES_MAX.saturating_sub(self.bytes) / average).clamp(1, READ_MAX)
    }

    /// Takes the next older entry. Returns whether there was room for it.
    fn take(&mut self, (id, fields): &Entry<'_>) -> bool {
        let scanned_max = SCANNED_PER_MESSAGE * self.limit + FIRST_READ;
        let event = fields.get("d").copied().unwrap_or_default();
        let reader = self.reader.as_str();
        let is_for_reader =
            fields.get("t").is_some_and(|to| *to == "*" || *to == reader) || fields.get("f") == Some(&reader);
        let is_full = is_for_reader && self.messages.len() == self.limit;
        // The first entry is taken in any case, so that each page advances.
        let is_long = self.scanned > 0 && self.bytes + event.len() > PAGE_BYTES_MAX;
        if is_full || is_long || self.scanned == scanned_max {
            return false;
        }
        self.scanned += 1;
        self.bytes += event.len();
        self.position = Some(*id);
        if let Some((_, payload)) = event.split_once(',').filter(|_| is_for_reader) {
            self.messages.push(payload.to_owned());
        }
        true
    }
}
