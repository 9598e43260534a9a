//! Effects that the rules ask the dispatcher to perform.

use switchboard_core::domain::{Action, ConditionalMediaChange, PeerId, RoomId};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::client_event::{ChatHistory, Command, Create, Join};

/// One effect of a client's event.
#[derive(Debug)]
pub enum Effect {
    /// Create a room and take a seat in it.
    Create(Create),
    /// Take a seat.
    Join(Join),
    /// Answer a join of the room that the session is in already, as the first one was answered.
    JoinAgain,
    /// Give up the seat.
    Leave,
    /// End the call for all participants.
    EndCall(RoomId),
    /// Run a moderation command. The rules have allowed the action for the session's role. The
    /// script checks that again.
    Command(Action, Command),
    /// Send the client its ICE servers.
    IceServers,
    /// Append an event to the room's log and publish it.
    Log(Logged),
    /// Publish an event that is in no log to all other participants.
    Ephemeral {
        /// Kind of the event.
        event_kind: EventKind,
        /// Elements of the Socket.IO array, without its brackets.
        event: String,
        /// Settings of the call and permissions of the user that must be on, separated by spaces.
        required_settings: &'static str,
    },
    /// Reply with chat messages.
    History(ChatHistory),
    /// Reply with statistics of the room.
    Stats {
        /// Whether the reply includes statistics of the call.
        with_call: bool,
    },
}

/// An event for the room's log.
#[derive(Debug)]
pub struct Logged {
    /// Receivers of the event, and the change of the room that the script makes with it.
    pub kind: LoggedKind,
    /// Kind of the event that the receivers get.
    pub event_kind: EventKind,
    /// Elements of the Socket.IO array, without its brackets.
    pub event: String,
    /// The client's own id of the event. The script detects a repetition by it.
    pub client_event_id: Option<Box<str>>,
    /// Whether the client gets a refusal as an `error` event if it asked for no acknowledgement.
    /// False for ICE candidates, because their receiver often leaves while they are in transit.
    pub report_refusal: bool,
}

/// Receivers of a logged event, and the change of the room that the script makes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoggedKind {
    /// To one participant.
    Direct(PeerId),
    /// To all other participants.
    Broadcast,
    /// To all other participants, together with a change of the sender's media.
    Media(ConditionalMediaChange),
    /// To all participants, the sender too, together with a change of the sender's hand.
    Hand {
        /// Time at which the hand is raised, RFC 3339, UTC, with milliseconds; `None` lowers it.
        raised_at: Option<Box<str>>,
    },
    /// A chat message, to all other participants or to one. The script keeps it in the chat
    /// history, unless the call's settings turn that off. The acknowledgement has its id and time.
    Chat {
        /// Receiver of a private message.
        to: Option<PeerId>,
        /// Id of the message.
        id: Box<str>,
        /// Time of the message: RFC 3339, UTC, with milliseconds.
        timestamp: Box<str>,
    },
}

impl Logged {
    /// Creates an event whose refusal is always reported.
    #[must_use]
    pub fn new(kind: LoggedKind, event_kind: EventKind, event: String, client_event_id: Option<Box<str>>) -> Self {
        Self { kind, event_kind, event, client_event_id, report_refusal: true }
    }
}
