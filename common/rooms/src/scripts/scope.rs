//! Keys and arguments that many scripts begin with.

use switchboard_core::domain::RoomId;
use switchboard_core::wire::EventKind;

use super::ScriptWriter;
use crate::Partition;
use crate::keys::Keys;

/// `KEYS[1-2]` and `ARGV[1-4]` of every script about a room: `lua/shared/prelude.lua`.
#[derive(Clone, Copy, Debug)]
pub struct RoomScope<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition of the room.
    pub partition: Partition,
    /// Room.
    pub room: &'a RoomId,
    /// Recovery window in ms.
    pub window_ms: u64,
    /// Bounds of the log, about: entries and bytes, as [`log_bounds`] writes them.
    pub log_bounds: &'a str,
}

impl RoomScope<'_> {
    /// Writes `KEYS[1-2]`.
    pub fn write_keys(&self, to: &mut ScriptWriter<'_>) {
        to.key(&self.keys.room_parts(self.partition, self.room));
        to.key(&self.keys.log_parts(self.partition, self.room));
    }

    /// Writes `ARGV[1-4]`.
    pub fn write_arguments(&self, to: &mut ScriptWriter<'_>) {
        self.write_place(to);
        to.number(self.window_ms);
        to.text(self.log_bounds);
    }

    /// Writes `ARGV[1-2]`.
    pub(super) fn write_place(&self, to: &mut ScriptWriter<'_>) {
        to.parts(&self.keys.channels_parts(self.partition));
        to.text(self.room.as_str());
    }
}

/// Writes the bounds of a room's log, for [`RoomScope`]. They are written once, because every event
/// carries them.
#[must_use]
pub fn log_bounds(entries: usize, bytes: usize) -> String {
    format!("{entries} {bytes}")
}

/// `KEYS[1-5]` and `ARGV[1-7]` of every script that takes, moves or frees a seat:
/// `lua/shared/prelude.lua` and `lua/shared/seating.lua`.
#[derive(Clone, Debug)]
pub struct SeatScope<'a> {
    /// The room.
    pub room: RoomScope<'a>,
    /// Lifetime of an empty room in ms.
    pub empty_after_ms: u64,
    /// Templates of user-left, join-request-cancelled, role-changed and join-request. They are
    /// written one a line, because JSON has no line feeds.
    pub departure_events: [String; 4],
    /// Details of the `left` fact as JSON.
    pub left_details: String,
}

impl SeatScope<'_> {
    /// Writes `KEYS[1-5]`.
    pub fn write_keys(&self, to: &mut ScriptWriter<'_>) {
        let RoomScope { keys, partition, room, .. } = self.room;
        self.room.write_keys(to);
        to.key(&[&keys.deadlines(partition)]);
        to.key(&[&keys.outbox(partition)]);
        to.key(&keys.order_parts(partition, room));
    }

    /// Writes `ARGV[1-7]`.
    pub fn write_arguments(&self, to: &mut ScriptWriter<'_>) {
        self.room.write_arguments(to);
        to.number(self.empty_after_ms);
        let [left, cancelled, role_changed, join_request] = &self.departure_events;
        let (left, cancelled) = (EventKind::UserLeft.prefix(left), EventKind::JoinRequestCancelled.prefix(cancelled));
        let role_changed = EventKind::RoleChanged.prefix(role_changed);
        let join_request = EventKind::JoinRequest.prefix(join_request);
        to.parts(&[&left, "\n", &cancelled, "\n", &role_changed, "\n", &join_request]);
        to.text(&self.left_details);
    }
}
