//! Operations: events that a seated session sends in its room, and their answers.

use bytes::Bytes;
use switchboard_core::domain::{ConditionalMediaChange, PeerId, Timestamp};
use switchboard_core::wire::{EventKind, LogId};

/// Event of a seated session that goes through the log. The operations of one seat are pipelined
/// and keep their order.
#[derive(Clone, Debug)]
pub struct Op {
    /// Kind of operation.
    pub kind: OpKind,
    /// Kind of the event.
    pub event_kind: EventKind,
    /// Event as receivers get it: the inside of the Socket.IO array without the offset, as in
    /// `"webrtc:offer",{...}`.
    pub event: Bytes,
    /// The client's own id for the event. The event is sent once for each id within the window.
    pub dedupe: Option<Box<str>>,
}

/// Kinds of operation.
#[derive(Clone, Debug)]
pub enum OpKind {
    /// Sends to one peer.
    Relay {
        /// Receiver. A bare user id reaches the first device of that user that is in the call.
        to: PeerId,
    },
    /// Sends to everyone else in the room.
    Broadcast,
    /// Switches the sender's own media and announces them. The event is a template: the script
    /// fills in the new media state (`server_event::MEDIA_PLACEHOLDER`).
    Media(ConditionalMediaChange),
    /// Raises or lowers the sender's hand and tells everyone, the sender too. The event of a raised
    /// hand is a template: the script fills in the time (`server_event::HAND_PLACEHOLDER`).
    Hand {
        /// Time at which the hand is raised, RFC 3339; `None` lowers it.
        raised_at: Option<Box<str>>,
    },
    /// Sends a chat message, which the call's settings may keep and record.
    Chat(Chat),
}

/// Chat message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Receiver; `None` for everyone else.
    pub to: Option<PeerId>,
    /// Text that [`OpReply::Known`] returns when the same message is sent again.
    pub stamp: Box<str>,
}

/// Answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpReply {
    /// The event is in the log.
    Logged {
        /// Log id.
        id: LogId,
        /// Whether an earlier attempt had logged it.
        duplicate: bool,
    },
    /// Another event with the same client id is in the log.
    Known {
        /// Log id of that event.
        id: LogId,
        /// Stamp of that event.
        note: Box<str>,
    },
    /// The receiver is not in the call.
    NoPeer,
    /// The role is not the one that the rules assumed.
    Denied,
    /// This required setting of the call is off.
    Off(Box<str>),
    /// The outbox is full, and the message would have to be recorded.
    Full,
    /// The seat is not this session's any more. Close the transport; the client resumes.
    Stale,
}

/// Chat history of a room, as one user may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Payloads of `chat:message` as JSON, oldest first.
    pub messages: Vec<String>,
    /// Position before which the next page ends; `None` if there are no older messages. The value
    /// is for `before` in the next request.
    pub next: Option<String>,
}

/// Answer to an ephemeral event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EphemeralOutcome {
    /// The event is published.
    Done,
    /// This required setting of the call is off.
    Off(Box<str>),
    /// The seat is not this session's any more.
    Stale,
}

/// Event of an app's backend.
#[derive(Clone, Copy, Debug)]
pub struct ServerEvent<'a> {
    /// Id of the event. Within the recovery window the same id is sent once.
    pub id: &'a str,
    /// Receiver; `None` for everyone in the call.
    pub to: Option<&'a PeerId>,
    /// `server:event`, the event.
    pub event: &'a str,
    /// Digest of receiver, name and data, by which a repetition is told from another event.
    pub digest: &'a str,
    /// Time in the event.
    pub at: Timestamp,
}

/// Answer to an event of an app's backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEventOutcome {
    /// The event is in the log.
    Sent,
    /// The same event was sent under this id before, with this time.
    Known(Timestamp),
    /// Another event was sent under this id.
    Reused,
    /// The receiver is neither in the call nor in the lobby.
    NoPeer,
    /// The room is not open.
    Absent,
}
