//! Events on their way to a session, from an envelope or from the room's log.

use std::sync::Arc;

use switchboard_core::domain::{PeerId, RoomId};
use switchboard_core::wire::envelope;
use switchboard_core::wire::replica_update::ReplicaUpdate;
use switchboard_rooms::{LogEntry, LogId};
use switchboard_socketio::send_queue::Message;

use super::packets::packet;

/// One logged event on its way to a session.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    /// Position in the room's log.
    pub(super) id: LogId,
    pub(super) receivers: Receivers,
    pub(super) content: Content,
}

/// Sessions that an event is for.
#[derive(Clone, Debug)]
pub(super) enum Receivers {
    /// This session alone: a direct message, or an entry that was read from the log for it.
    Session,
    /// All sessions of the room but those of one peer.
    Room { except: Option<PeerId> },
}

/// Content of an incoming event.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// An event for the client, and the change of the replica that goes with it.
    Event { message: Message, update: Option<Arc<ReplicaUpdate>> },
    /// The session is admitted from the lobby; its join id from now on.
    Admitted { join: LogId },
}

impl Incoming {
    /// Makes an incoming event from an entry that was read from the log for this session.
    pub(super) fn from_log(entry: &LogEntry, room: &RoomId) -> Self {
        let content = match admission(entry) {
            Some(join) => Content::Admitted { join },
            None => Content::event(entry.id, room, &entry.text()),
        };
        Self { id: entry.id, receivers: Receivers::Session, content }
    }
}

impl Content {
    /// Encodes the packet of an event, once for all its receivers.
    pub(super) fn event(id: LogId, room: &RoomId, event: &str) -> Self {
        Self::Event { message: packet(id, room, event), update: ReplicaUpdate::of(event).map(Arc::new) }
    }
}

/// Returns the join id of an entry that admits its reader from the lobby; `None` for other entries.
#[must_use]
pub fn admission(entry: &LogEntry) -> Option<LogId> {
    let join = entry.event.strip_prefix(envelope::ADMITTED.as_bytes())?;
    LogId::parse(std::str::from_utf8(join).ok()?)
}
