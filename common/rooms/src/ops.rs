//! What a seated session does in its room: operations, and what becomes of them.

use bytes::Bytes;

use super::LogId;
use switchboard_core::domain::{ConditionalMediaChange, PeerId};

/// An operation of a seated session that goes through the log. Operations of one seat are pipelined and keep their order.
#[derive(Clone, Debug)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// The event as receivers get it: the inside of the Socket.IO array, without offset (`"webrtc:offer",{...}`).
    pub event: Bytes,
    /// The client's own id for it: relayed once within the window.
    pub dedupe: Option<Box<str>>,
}

/// The kinds of operation.
#[derive(Clone, Debug)]
pub enum OpKind {
    /// To one peer. A bare user id reaches the first device of that user that is there.
    Relay {
        /// The receiver.
        to: PeerId,
    },
    /// To everybody else in the room.
    Broadcast,
    /// Switches the sender's own media, and tells everybody else. In the event the state after it is open (`server_event::MEDIA_PLACEHOLDER`).
    Media(ConditionalMediaChange),
    /// Says something, to everybody else or to one; kept and recorded as the call's settings say.
    Chat(Chat),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// The one it is for; `None`: everybody else.
    pub to: Option<PeerId>,
    /// What [`OpReply::Known`] gives back when the same message comes again.
    pub stamp: Box<str>,
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpReply {
    /// In the log under this id. `duplicate`: it was already.
    Logged {
        /// Where.
        id: LogId,
        /// An earlier try had logged it.
        duplicate: bool,
    },
    /// Another event with the same id of the client's is in the log.
    Known {
        /// Where.
        id: LogId,
        /// What that one was stamped with.
        note: Box<str>,
    },
    /// The receiver is not seated.
    NoPeer,
    /// What the rules assumed is no longer so: a role.
    Denied,
    /// A setting of the call's that it rests on is off.
    Off(Box<str>),
    /// So much waits to be recorded that no more is taken.
    Full,
    /// The seat is no longer this session's: close the transport, the client resumes.
    Stale,
}

/// What was said in a room, as one of its people may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Payloads of `chat:message`, as JSON, oldest first.
    pub messages: Vec<String>,
    /// There are older ones.
    pub more: bool,
}

/// The answer to a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hinted {
    /// Told.
    Done,
    /// A setting of the call's that it rests on is off.
    Off(Box<str>),
    /// The seat is no longer this session's.
    Stale,
}
