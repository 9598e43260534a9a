//! What host, moderators and operators order, and what becomes of it.

use std::sync::Arc;

use super::{RoomMeta, Seat};
use switchboard_core::domain::{Action, MediaKind, PeerId, Role};

/// Who gives an order.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// A participant.
    Seat {
        /// Its seat.
        seat: &'a Arc<Seat>,
        /// What its role must allow, in the room as it is.
        action: Action,
    },
    /// Somebody above every role, authorized elsewhere.
    Operator,
}

/// An order.
#[derive(Clone, Debug)]
pub enum Order {
    /// Lets one in from the lobby; `None`: all, as long as there are places.
    Admit(Option<PeerId>),
    /// Turns somebody in the lobby away.
    Deny {
        /// Who.
        peer: PeerId,
        /// What it is told.
        reason: Option<String>,
    },
    /// Gives somebody a role, on all of its devices. Never host.
    Role {
        /// Who.
        peer: PeerId,
        /// Which.
        role: Role,
    },
    /// Switches off a medium of somebody's.
    Mute {
        /// Who.
        peer: PeerId,
        /// Which.
        kind: MediaKind,
    },
    /// Removes somebody, on all of its devices, from the room or its lobby.
    Kick {
        /// Who.
        peer: PeerId,
        /// For as long as the room is there; otherwise until it has a newer token.
        ban: bool,
        /// What it is told.
        reason: Option<String>,
    },
    /// Makes the call another.
    Update(Box<Amendment>),
}

/// A changed call.
#[derive(Clone, Debug)]
pub struct Amendment {
    /// The meta it was made from.
    pub before: RoomMeta,
    /// The new one, with a higher version.
    pub after: RoomMeta,
    /// Who is host from now on.
    pub heir: Option<PeerId>,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// Done; whom it let in.
    Done(Vec<PeerId>),
    /// There is no such participant, or none in the lobby.
    NoPeer,
    /// The participant's role is as high as the caller's, or not one that this can be done to.
    Above,
    /// Every place is taken.
    Full,
    /// The caller's role does not allow it any more.
    Denied,
    /// The call is another by now: look again, and decide again.
    Changed,
    /// The room is not open.
    Absent,
    /// The caller's seat is not its own any more.
    Stale,
}

/// What became of a change to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amended {
    /// The call as it is now.
    Done(Box<RoomMeta>),
    /// Not done, and why.
    Not(Ordered),
}
