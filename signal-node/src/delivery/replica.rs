//! This node's copy of a seat and of its call, for the rules and for restoring the seat.
//!
//! Redis is the authority. A copy that is behind costs a refusal at most, because the script checks
//! the seat again.

use std::sync::Arc;

use switchboard_core::domain::{MediaChange, RoomMeta};
use switchboard_core::wire::replica_update::ReplicaUpdate;
use switchboard_rooms::{Seat, SeatCopy};

/// Copy of a seat, of the fields that restore it if Redis loses its data, and of its call.
#[derive(Clone, Debug)]
pub struct SeatReplica {
    /// The seat, as the script gave it.
    pub seat: Arc<Seat>,
    /// Fields of the seat that `reseat.lua` writes again if Redis lost them.
    pub copy: SeatCopy,
    /// Call of the room.
    pub meta: Arc<RoomMeta>,
}

impl SeatReplica {
    /// Applies a change that the room's participants were sent. Ignores changes of other seats and
    /// older versions of the call.
    pub(super) fn apply(&mut self, update: &ReplicaUpdate) {
        match update {
            ReplicaUpdate::Role(changed) if changed.peer_id == self.seat.peer => self.copy.role = changed.role,
            ReplicaUpdate::Permissions(changed) if changed.peer_id == self.seat.peer => {
                (self.copy.permissions, self.copy.permissions_given) = (Some(changed.permissions), true);
            }
            ReplicaUpdate::Profile(changed) if changed.peer_id == self.seat.peer => {
                self.copy.public.clone_from(&changed.user);
            }
            ReplicaUpdate::Hand(hand) if hand.peer_id == self.seat.peer => {
                self.copy.hand_raised_at.clone_from(&hand.hand_raised_at);
            }
            ReplicaUpdate::Muted(muted) if muted.peer_id == self.seat.peer => self.copy.media = muted.media_state,
            ReplicaUpdate::Updated(updated) if updated.version > self.meta.version => {
                let meta = Arc::make_mut(&mut self.meta);
                meta.name.clone_from(&updated.name);
                meta.settings = updated.settings.clone();
                meta.host = updated.owner_id.clone();
                (meta.max_participants, meta.locked) = (updated.max_participants, updated.locked);
                meta.version = updated.version;
            }
            ReplicaUpdate::Role(_)
            | ReplicaUpdate::Permissions(_)
            | ReplicaUpdate::Profile(_)
            | ReplicaUpdate::Hand(_)
            | ReplicaUpdate::Muted(_)
            | ReplicaUpdate::Updated(_)
            | ReplicaUpdate::Farewell => {}
        }
    }

    /// Applies the session's own change of media, after Redis has accepted it.
    pub(super) fn apply_media_change(&mut self, change: MediaChange) {
        self.copy.media = change.applied_to(self.copy.media);
    }
}
