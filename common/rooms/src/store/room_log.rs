//! A room's log as a node has read it, and the part of it that each session must get. Pure.

use std::time::Duration;

use redis::{Cmd, Value, cmd};
use switchboard_core::domain::{Generation, PeerId, Role, RoomId};
use switchboard_core::wire::event_batch;

use crate::context::millis;
use crate::keys::Keys;
use crate::seat::SeatText;
use crate::values::{LogReader, items, log_entries, text, time_ms};
use crate::{CaughtUp, LogEntry, LogId, Partition, Seat, StoreError};

/// A room's log after a position, and the data that select the part for each of some peers.
#[derive(Debug)]
pub struct RoomLog {
    pages: Vec<Value>,
    /// Whether the room is open.
    open: bool,
    /// Position up to which entries were dropped.
    floor: Option<LogId>,
    /// Time of the oldest entry that the log still has, in ms since the Unix epoch.
    oldest_ms: u64,
    /// Seats of the peers, in their order; `None` for one without a seat.
    seats: Vec<Option<ReaderSeat>>,
}

/// Fields of a peer's seat that select its part of the log.
#[derive(Debug)]
struct ReaderSeat {
    generation: Generation,
    /// Log id after which broadcasts are for the peer; `None` in the lobby.
    broadcasts_from: Option<LogId>,
    role: Role,
}

impl ReaderSeat {
    /// Reads the text of a seat; `None` if there is none.
    fn read(value: &Value) -> Option<Self> {
        let seat = SeatText::parse(text(value)?)?;
        Some(Self { generation: seat.generation, broadcasts_from: seat.broadcasts_from(), role: seat.role })
    }
}

impl RoomLog {
    /// Place of the log's floor in the reply to [`RoomLog::fields`].
    pub const FLOOR: usize = 1;

    /// Returns the first argument of the `XRANGE` that reads the entries after a position.
    #[must_use]
    pub fn start(after: LogId) -> String {
        event_batch::first_entry_after(after).to_string()
    }

    /// Returns the position after which delivery to a resumed session continues. `last` is the last
    /// entry when it got its seat, and `missed` are the events for it. The last entry may have
    /// several events.
    #[must_use]
    pub fn resumed_at(last: LogId, missed: &[LogEntry]) -> LogId {
        missed.last().map_or(last, |entry| entry.id.max(last))
    }

    /// Returns the command that reads the fields of the room that [`RoomLog::parse`] needs for
    /// these peers. It must come after the reads of the log: if the log is complete then, it was
    /// complete during them.
    #[must_use]
    pub fn fields(keys: &Keys, partition: Partition, room: &RoomId, peers: &[&PeerId]) -> Cmd {
        let mut fields = cmd("HMGET");
        fields.arg(keys.room(partition, room)).arg("st").arg("floor");
        for peer in peers {
            fields.arg(format!("s:{peer}"));
        }
        fields
    }

    /// Reads the replies to `XRANGE`, one for each page, to [`RoomLog::fields`], and to `TIME`.
    /// Entries older than `window` may have been dropped.
    ///
    /// # Errors
    /// [`StoreError::Unexpected`] for replies of another form.
    pub fn parse(pages: Vec<Value>, fields: &Value, time: &Value, window: Duration) -> Result<Self, StoreError> {
        let fields = items(Some(fields))?;
        Ok(Self {
            pages,
            open: fields.first().and_then(text) == Some("open"),
            floor: fields.get(Self::FLOOR).and_then(text).and_then(LogId::parse),
            oldest_ms: time_ms(Some(time))?.saturating_sub(millis(window)),
            seats: fields.iter().skip(2).map(ReaderSeat::read).collect(),
        })
    }

    /// Returns whether the room is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Returns whether the log goes back to the position `after`.
    #[must_use]
    pub fn is_complete(&self, after: LogId) -> bool {
        self.floor.is_none_or(|floor| floor <= after) && self.oldest_ms <= after.ms
    }

    /// Returns the events that a session missed after a position. `index` is the place of its peer
    /// in [`RoomLog::fields`].
    ///
    /// # Errors
    /// [`StoreError::Unexpected`] for an entry of another form.
    pub fn caught_up(&self, index: usize, seat: &Seat, after: LogId) -> Result<CaughtUp, StoreError> {
        let generation = self.seats.get(index).and_then(Option::as_ref).map(|seat| seat.generation);
        if !self.open || generation != Some(seat.generation) {
            return Ok(CaughtUp::NotSeated);
        }
        if !self.is_complete(after) {
            return Ok(CaughtUp::TooOld);
        }
        self.entries_for(index, &seat.peer, after).map(CaughtUp::Missed)
    }

    /// Returns the entries after a position for the peer with this index.
    ///
    /// # Errors
    /// [`StoreError::Unexpected`] for an entry of another form.
    pub fn entries_for(&self, index: usize, peer: &PeerId, after: LogId) -> Result<Vec<LogEntry>, StoreError> {
        let seat = self.seats.get(index).and_then(Option::as_ref);
        let reader = LogReader {
            peer,
            broadcasts_from: seat.and_then(|seat| seat.broadcasts_from),
            role: seat.map_or(Role::Guest, |seat| seat.role),
        };
        let mut entries = log_entries(&self.pages, reader)?;
        entries.retain(|entry| entry.id > after);
        Ok(entries)
    }
}
