//! Events on their way to a session, from an envelope or from the room's log.

use std::sync::Arc;

use switchboard_core::domain::{PeerId, RoomId};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::replica_update::ReplicaUpdate;
use switchboard_rooms::{LogContent, LogEntry, LogId};
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
    /// The sessions of the room whose role admits participants from the lobby.
    Moderators,
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
        let content = match &entry.content {
            LogContent::Admitted(join) => Content::Admitted { join: *join },
            LogContent::Event { kind, event } => Content::event(entry.id, room, *kind, event),
        };
        Self { id: entry.id, receivers: Receivers::Session, content }
    }

    /// Whether the event tells its receivers that they are out of the room.
    pub(super) fn is_farewell(&self) -> bool {
        let Content::Event { update: Some(update), .. } = &self.content else { return false };
        **update == ReplicaUpdate::Farewell
    }
}

impl Content {
    /// Encodes the packet of an event, once for all its receivers.
    pub(super) fn event(id: LogId, room: &RoomId, kind: EventKind, event: &str) -> Self {
        let update = ReplicaUpdate::read(kind, event).map(Arc::new);
        Self::Event { message: packet(id, room, kind, event), update }
    }
}
