//! What goes into the store and what comes out, as values.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

pub use switchboard_core::domain::RoomMeta;
use switchboard_core::domain::{
    ConnectionState, Generation, MediaState, Participant, PeerId, PublicUser, Role, RoomId, SessionHandle, UserId,
};
pub use switchboard_core::wire::LogId;

/// A seat that this process holds: the key to every operation of a seated session.
///
/// The generation fences: once it is raised in Redis, every operation with this one is answered `Stale`. `op` numbers the
/// operations; only the lane touches it, when it first puts one on the wire, so that operations that were never sent leave no hole.
#[derive(Debug)]
pub struct Seat {
    /// The room.
    pub room: RoomId,
    /// The participant.
    pub peer: PeerId,
    /// The generation at join or attach.
    pub generation: Generation,
    /// The session that holds it.
    pub handle: SessionHandle,
    /// The last operation number on the wire.
    pub op: AtomicU64,
}

impl Seat {
    /// A fresh seat: no operation sent yet.
    #[must_use]
    pub fn new(room: RoomId, peer: PeerId, generation: Generation, handle: SessionHandle) -> Self {
        Self { room, peer, generation, handle, op: AtomicU64::new(0) }
    }
}

/// A request for a seat. Over eight fields: they are the arguments of one script, `join.lua`.
#[derive(Clone, Debug)]
pub struct Join {
    /// The room.
    pub room: RoomId,
    /// The version of the room's meta that the admission was decided on: the script refuses another (`Joined::Changed`).
    pub meta_version: u64,
    /// Who.
    pub user: UserId,
    /// The SHA-256 of the session's private id, as the seat keeps it.
    pub pid: String,
    /// That of the session that this client failed to resume: its seat, if it has the same user, is given up first.
    pub old_pid: Option<String>,
    /// Where this session is found on this node.
    pub handle: SessionHandle,
    /// The role to be seated with.
    pub role: Role,
    /// To the lobby first.
    pub waits: bool,
    /// What others may know of it: part of field `i:<peer>` and of the `joined` event.
    pub public: PublicUser,
    /// What its media are.
    pub media: MediaState,
    /// The role that the room was found to give it: another by now is `Joined::Changed`.
    pub given: Option<Role>,
    /// How it proves who it is.
    pub proof: Proof,
}

/// How somebody proves who it is: who was removed needs a newer proof to come back, and a banned guest another address.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// When the oldest of the tokens it shows was issued: milliseconds since the Unix epoch; 0 without any.
    pub issued_ms: u64,
    /// A guest's address, hashed.
    pub address: Option<Box<str>>,
}

/// The answer to `join`.
#[derive(Debug)]
pub enum Joined {
    /// Seated.
    Seated {
        /// The new seat.
        seat: Arc<Seat>,
        /// The log id of the joined event, also the join id; delivery starts after it.
        id: LogId,
        /// The room as it was at that moment, this seat included.
        snapshot: Box<Snapshot>,
    },
    /// In the lobby.
    Waiting {
        /// The seat in the lobby.
        seat: Arc<Seat>,
        /// Delivery starts after it.
        id: LogId,
    },
    /// Every seat is taken.
    Full,
    /// The room is locked.
    Locked,
    /// The identity is banned.
    Banned,
    /// The call has ended.
    Ended,
    /// The room is not in Redis: open it first.
    Absent,
    /// The room's meta is another by now: decide again.
    Changed,
    /// This node is not registered (or was swept): the session must go elsewhere or try again.
    Fenced,
}

/// A room at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The call's facts.
    pub meta: RoomMeta,
    /// Who is host now.
    pub host: UserId,
    /// Nobody new may join.
    pub locked: bool,
    /// Every seat, the lobby's too, oldest first.
    pub seats: Vec<Participant>,
}

/// A request to resume a seat.
#[derive(Clone, Debug)]
pub struct Attach {
    /// The room, from the offset.
    pub room: RoomId,
    /// The SHA-256 of the presented private id.
    pub pid: String,
    /// The identity of the connecting client; the seat must be its own.
    pub user: UserId,
    /// Where this session is found on this node.
    pub handle: SessionHandle,
    /// The last event the client has.
    pub offset: LogId,
}

/// The answer to `attach`.
#[derive(Debug)]
pub enum Attached {
    /// Resumed.
    Resumed(Box<Resumed>),
    /// Nothing to resume: a fresh session.
    Fresh,
    /// The seat is there, and what it missed no longer is, or is too much: a fresh session.
    Missed,
    /// Another socket attached to it less than a second ago.
    Busy,
    /// This node is not registered.
    Fenced,
}

/// A resumed seat, and what its session needs to go on.
#[derive(Debug)]
pub struct Resumed {
    /// The seat under its new generation.
    pub seat: Arc<Seat>,
    /// How it looks.
    pub copy: Reseat,
    /// What it has not seen yet, oldest first. An [`ADMITTED`](switchboard_core::wire::envelope::ADMITTED) among them is where it was let in.
    pub missed: Vec<LogEntry>,
    /// Delivery goes on after it.
    pub last: LogId,
    /// The call's facts.
    pub meta: RoomMeta,
}

/// An entry of a room's log that is for the reader.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its id: the offset's first part.
    pub id: LogId,
    /// The event's text.
    pub event: Bytes,
}

impl LogEntry {
    /// The event's text. Scripts log what nodes have made of UTF-8.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.event)
    }
}

/// The answer to `catch_up`.
#[derive(Clone, Debug)]
pub enum CaughtUp {
    /// All of it, oldest first.
    Missed(Vec<LogEntry>),
    /// The log does not go back so far: the session must start afresh.
    TooOld,
    /// The seat is another's by now, or nobody's; or Redis has lost its data and the seat is to be taken again.
    NotSeated,
}

/// The answer to `detach` and `leave`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Done.
    Done,
    /// Somebody else has the seat, or nobody.
    Stale,
}

/// A sign-in that is over before its tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Where it stands in the list.
    pub id: LogId,
    /// The session id that the tokens carry.
    pub sign_in: String,
    /// Until when (Redis TIME, ms) it must be remembered.
    pub until_ms: u64,
}

/// The answer to a beat.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Subscribers that the canary reached: 0 is a gap.
    pub receivers: u64,
    /// Redis TIME, milliseconds.
    pub time_ms: u64,
    /// The value that changes when the data was lost.
    pub epoch: String,
    /// Every registered node's counter in this partition.
    pub nodes: Vec<(String, u64)>,
}

/// A slice of the rooms, 0-based: each has its own hash tag, channel per node, outbox and deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

/// A seat's cached copy, to seat it again after Redis lost data. Over eight fields: it is all that the seat's fields in Redis are made of.
#[derive(Clone, Debug)]
pub struct Reseat {
    /// The SHA-256 of the session's private id.
    pub pid: String,
    /// Connected, or waiting in the lobby.
    pub state: ConnectionState,
    /// Its socket was lost a moment ago: the seat is to be kept for the grace.
    pub away: bool,
    /// The role it had.
    pub role: Role,
    /// What others may know of it.
    pub public: PublicUser,
    /// Its media.
    pub media: MediaState,
    /// Its join id.
    pub join_id: LogId,
    /// Where its view of the log begins: at its join, or in the lobby before it.
    pub from: LogId,
    /// RFC 3339, UTC, milliseconds.
    pub joined_at: String,
    /// A guest's address, hashed.
    pub address: Option<Box<str>>,
}

/// The answer to `reseat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reseated {
    /// The seat is there, as this session has it.
    Done,
    /// Somebody else has it, or it was rightly given up, or the call has ended: close the session.
    Gone,
    /// This node is not registered.
    Fenced,
}

/// The answer to a beat.
#[derive(Clone, Debug)]
pub enum Beaten {
    /// The node is registered.
    Beat(Beat),
    /// The node was declared dead: its seats are others' by now.
    Swept,
}

/// The answer to `sweep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Whether this call declared the node dead; otherwise its counter had moved, or another did.
    pub declared: bool,
    /// Seats that this call turned to `reconnecting`, those of earlier unfinished sweeps too.
    pub seats: usize,
}

/// Why a call to the store came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis did not answer in time or the queue is full: tell the client `SERVICE_UNAVAILABLE`.
    #[error("redis is not available")]
    Unavailable,
    /// Redis answered something that makes no sense: a bug, or foreign data.
    #[error("unexpected answer from redis: {0}")]
    Unexpected(String),
}
