//! What the rules ask the dispatcher to do.

use switchboard_core::domain::{Action, ConditionalMediaChange, PeerId, RoomId};
use switchboard_core::wire::client_event::{ChatHistory, Command, Create, Join};

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
    /// Have the room's script do what the session's role allowed a moment ago.
    Command(Action, Command),
    /// Send the client its ICE servers.
    IceServers,
    /// Pass an event through the room's log.
    Log(Logged),
    /// Tell everybody else what is worth nothing later.
    Hint {
        /// The inside of the Socket.IO array.
        event: String,
        /// The setting that it rests on.
        required_settings: &'static str,
    },
    /// Answer with what was said.
    History(ChatHistory),
    /// Answer with the room's figures.
    Stats {
        /// Those of the call too.
        of_the_call: bool,
    },
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
    /// Everybody else, and the sender's media change.
    Media(ConditionalMediaChange),
    /// Everybody else or one; it is a message, which may be kept. The sender learns its id and time.
    Chat {
        /// The one it is for.
        to: Option<PeerId>,
        /// The message's id.
        id: Box<str>,
        /// RFC 3339, UTC, milliseconds.
        timestamp: Box<str>,
    },
}

impl Logged {
    /// An event that is acknowledged with nothing more, and refused aloud.
    #[must_use]
    pub fn new(kind: LoggedKind, event: String, dedupe: Option<Box<str>>) -> Self {
        Self { kind, event, dedupe, loud: true }
    }
}
