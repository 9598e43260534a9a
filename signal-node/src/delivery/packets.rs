//! Socket.IO packets of events, and closing a client's connection.

use std::fmt::Write as _;

use switchboard_core::domain::{DisconnectReason, RoomId};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::server_event::coalescing_key;
use switchboard_rooms::LogId;
use switchboard_socketio::send_queue::{Message, SendQueue};

/// Closes a client's connection. The client reconnects by itself, or stays away, as the reason
/// says.
pub fn close(send_queue: &SendQueue, reason: DisconnectReason) {
    let sent = transport_reason(reason);
    if reason.should_reconnect() { send_queue.close(sent) } else { send_queue.disconnect(sent) }
}

/// Returns the transport's form of a reason: name and WebSocket close code.
#[must_use]
pub const fn transport_reason(reason: DisconnectReason) -> switchboard_socketio::DisconnectReason {
    switchboard_socketio::DisconnectReason::new(reason.name(), reason.close_code())
}

/// Returns the packet of a logged event: the event's text with its offset as the last argument. An
/// event that states a value replaces an earlier one of the same value that is still queued.
#[must_use]
pub fn packet(id: LogId, room: &RoomId, kind: EventKind, event: &str) -> Message {
    let mut text = String::with_capacity(event.len() + room.as_str().len() + 48);
    // Writing to a string cannot fail.
    let _infallible = write!(text, r#"42[{event},"{id}.{room}"]"#, room = room.name());
    Message::packet(text).superseding(coalescing_key(kind, event))
}

/// Returns the packet of an ephemeral event. It has no offset, because it is in no log.
pub(super) fn ephemeral_packet(kind: EventKind, event: &str) -> Message {
    Message::packet(format!("42[{event}]")).superseding(coalescing_key(kind, event))
}
