//! Resuming a seat, reading the log, and putting a lost seat back.

use std::sync::Arc;

use switchboard_core::domain::{
    CallPermissions, ConnectionState, MediaState, PublicUser, Role, RoomId, RoomMeta, SessionHandle, UserId,
};
use switchboard_core::wire::envelope::ADMITTED;
use switchboard_core::wire::{EventKind, LogId, event_batch};

use super::Seat;

/// Request to resume a seat.
#[derive(Clone, Debug)]
pub struct Attach {
    /// Room, taken from the offset.
    pub room: RoomId,
    /// SHA-256 of the private id that the client presents.
    pub pid: String,
    /// Identity of the connecting client. It must be the user of the seat.
    pub user: UserId,
    /// Handle of this session within its node.
    pub handle: SessionHandle,
    /// Log id of the last event that the client has.
    pub offset: LogId,
    /// Hashes of the address that the client has now, as in `Proof`; `None` when it is unknown.
    pub address: Option<Box<str>>,
}

/// Answer to `attach`.
#[derive(Debug)]
pub enum Attached {
    /// The seat is resumed.
    Resumed(Box<Resumed>),
    /// There is no seat to resume. The session is fresh.
    Fresh,
    /// The seat exists, but the missed events are no longer all in the log, or are too many. The
    /// session is fresh.
    Missed {
        /// Bytes of the room's log that were read.
        bytes_read: usize,
    },
    /// Another socket attached to the seat less than a second ago and is still open.
    Busy,
    /// This node is not registered.
    Fenced,
}

/// A resumed seat, and the data that its session needs to continue.
#[derive(Debug)]
pub struct Resumed {
    /// Seat with its new generation.
    pub seat: Arc<Seat>,
    /// Copy of the seat's data.
    pub copy: SeatCopy,
    /// Missed entries, oldest first.
    pub missed: Vec<LogEntry>,
    /// Bytes of the room's log that were read to find them.
    pub bytes_read: usize,
    /// Log id after which delivery continues.
    pub last: LogId,
    /// Metadata of the call.
    pub meta: RoomMeta,
    /// Number of participants of the call, without the lobby.
    pub participants: u32,
}

/// Entry of a room's log that is for the reader.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Log id: the first part of the offset.
    pub id: LogId,
    /// Content.
    pub content: LogContent,
}

/// Content of an entry of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogContent {
    /// An event for the client.
    Event {
        /// Kind of the event.
        kind: EventKind,
        /// Inside of the Socket.IO array, without the offset.
        event: Box<str>,
    },
    /// The reader was admitted from the lobby, with this join id.
    Admitted(LogId),
}

impl LogContent {
    /// Reads field `d` of an entry: its events with their ids. None that this version cannot read.
    pub(crate) fn parse(id: LogId, text: &str) -> Vec<(LogId, Self)> {
        if let Some(join) = text.strip_prefix(ADMITTED) {
            return LogId::parse(join).map(|join| (id, Self::Admitted(join))).into_iter().collect();
        }
        let Some((kind, text)) = EventKind::split(text) else { return Vec::new() };
        let event = |(id, event): (LogId, &str)| (id, Self::Event { kind, event: event.into() });
        event_batch::events(id, kind, text).map(event).collect()
    }
}

impl LogEntry {
    /// Returns the text of an event; empty for an admission.
    #[must_use]
    pub fn event(&self) -> &str {
        match &self.content {
            LogContent::Event { event, .. } => event,
            LogContent::Admitted(_) => "",
        }
    }
}

/// Answer to `catch_up`.
#[derive(Clone, Debug)]
pub enum CaughtUp {
    /// All missed events, oldest first.
    Missed(Vec<LogEntry>),
    /// The log does not go back far enough. The session must start afresh.
    TooOld,
    /// The seat is not this session's any more; or Redis lost its data and the seat is to be put
    /// back.
    NotSeated,
}

/// Answer to `detach` and `leave`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveOutcome {
    /// The seat lost its socket, or is free.
    Done,
    /// The seat is not this session's any more.
    Stale,
}

/// Copy of a seat's data, to put the seat back after Redis lost it. The struct has more than eight
/// fields, because a seat in Redis consists of them.
#[derive(Clone, Debug)]
pub struct SeatCopy {
    /// SHA-256 of the session's private id.
    pub pid: String,
    /// Connected, or waiting in the lobby.
    pub state: ConnectionState,
    /// Whether the socket was lost a moment ago. Such a seat is kept for the grace period.
    pub away: bool,
    /// Role.
    pub role: Role,
    /// Permissions of the user of an app; `None` for accounts and guests.
    pub permissions: Option<CallPermissions>,
    /// Whether the backend of the app gave them in this room. Otherwise they are those of the
    /// token.
    pub permissions_given: bool,
    /// Public data of the user.
    pub public: PublicUser,
    /// Media.
    pub media: MediaState,
    /// Time at which the hand was raised, RFC 3339; `None` while it is down.
    pub hand_raised_at: Option<String>,
    /// Log id of the seat's `room:user-joined`.
    pub join_id: LogId,
    /// Log id at which the client's view of the log begins: the join, or the lobby before it.
    pub from: LogId,
    /// Time of the join in RFC 3339, UTC, with milliseconds.
    pub joined_at: String,
    /// Hashes of the client's address, as in `Proof`.
    pub address: Option<Box<str>>,
}

/// Answer to `reseat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReseatOutcome {
    /// The seat is in Redis as this session has it.
    Done,
    /// The seat moved or was given up, or the call ended. Close the session.
    Gone,
    /// This node is not registered.
    Fenced,
}
