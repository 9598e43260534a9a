//! What the rules ask the dispatcher to do.

use switchboard_common::domain::{MediaState, PeerId, RoomId};
use switchboard_common::wire::client_event::{Create, Join};

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Make a room and take a seat in it.
    Create(Create),
    /// Take a seat.
    Join(Join),
    /// Give up the seat.
    Leave,
    /// End the call for everybody.
    EndCall(RoomId),
    /// Send the client its ICE servers.
    IceServers,
    /// Pass an event through the room's log.
    Log(Logged),
}

/// An event for the room's log.
#[derive(Debug)]
pub struct Logged {
    /// Who gets it, and what changes with it.
    pub kind: LoggedKind,
    /// The inside of the Socket.IO array that receivers get.
    pub event: String,
    /// The client's own id.
    pub dedupe: Option<Box<str>>,
    /// More fields for the acknowledgement, as JSON text starting with a comma, or empty.
    pub ack: String,
    /// Whether a refusal is told when no acknowledgement was asked for. Candidates go to people who have left all the time.
    pub loud: bool,
}

/// Who gets a logged event, and what changes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedKind {
    /// One participant.
    One(PeerId),
    /// Everybody else.
    Others,
    /// Everybody else, and the sender's media state is this from now on.
    Media(MediaState),
}

impl Logged {
    /// An event that is acknowledged with nothing more, and refused aloud.
    #[must_use]
    pub fn new(kind: LoggedKind, event: String, dedupe: Option<Box<str>>) -> Self {
        Self { kind, event, dedupe, ack: String::new(), loud: true }
    }
}
