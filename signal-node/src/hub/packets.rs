//! What goes to a session's socket: events as packets, and its end.

use std::fmt::Write as _;

use switchboard_core::domain::{DisconnectReason, RoomId};
use switchboard_core::wire::server_event::coalescing_key;
use switchboard_rooms::LogId;

use switchboard_socketio;
use switchboard_socketio::send_queue::{Message, SendQueue};

/// Closes a socket for one of the signaling's own reasons.
pub fn close(outbox: &SendQueue, reason: DisconnectReason) {
    if reason.should_reconnect() { outbox.close(told(reason)) } else { outbox.disconnect(told(reason)) }
}

/// A reason in the transport's words.
#[must_use]
pub const fn told(reason: DisconnectReason) -> switchboard_socketio::DisconnectReason {
    switchboard_socketio::DisconnectReason::new(reason.name(), reason.close_code())
}

/// The Socket.IO packet of a logged event: the event's text, with its offset as the last argument. One of a state takes the place of
/// the one before that a slow client has not got yet.
#[must_use]
pub fn packet(id: LogId, room: &RoomId, event: &str) -> Message {
    let mut text = String::with_capacity(event.len() + room.as_str().len() + 48);
    // Writing to a string cannot fail.
    let _infallible = write!(text, r#"42[{event},"{id}.{room}"]"#);
    Message::packet(text).superseding(coalescing_key(event))
}

/// The packet of an event that is in no log: it has no offset.
pub(super) fn hint(event: &str) -> Message {
    Message::packet(format!("42[{event}]")).superseding(coalescing_key(event))
}
