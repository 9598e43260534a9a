//! Commands of hosts, moderators and operators, and their outcomes.

use std::sync::Arc;

use switchboard_core::domain::{Action, MediaKind, PeerId, PermissionsChange, Role, RoomMeta};

use super::Seat;

/// Caller of a moderation command.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// A participant.
    Seat {
        /// Seat of the caller.
        seat: &'a Arc<Seat>,
        /// Action that the caller's role in the room must allow.
        action: Action,
    },
    /// An operator or the backend of an app: above every role, and authorized elsewhere.
    Operator,
}

impl<'a> Caller<'a> {
    /// Returns the peer id of a participant; `None` for an operator.
    pub(crate) fn peer(self) -> Option<&'a PeerId> {
        match self {
            Self::Seat { seat, .. } => Some(&seat.peer),
            Self::Operator => None,
        }
    }
}

/// Moderation command.
#[derive(Clone, Debug)]
pub enum ModerationCommand {
    /// Admits one participant from the lobby; `None` admits all while there are places.
    Admit(Option<PeerId>),
    /// Refuses a participant who waits in the lobby.
    Deny {
        /// Participant.
        peer: PeerId,
        /// Reason that the participant gets.
        reason: Option<String>,
    },
    /// Gives a user a role on all devices. Host only by an operator: then the user hosts as the
    /// backend of an app says, and is no stand-in.
    Role {
        /// Participant.
        peer: PeerId,
        /// New role.
        role: Role,
    },
    /// Changes what a user of an app may do, on all devices and for the life of the room. Media
    /// that are not allowed any more are switched off. Only by an operator.
    Permissions {
        /// Participant.
        peer: PeerId,
        /// Permissions to change.
        change: PermissionsChange,
    },
    /// Switches off one medium of a participant.
    Mute {
        /// Participant.
        peer: PeerId,
        /// Medium.
        kind: MediaKind,
    },
    /// Lowers the hand of a participant.
    LowerHand {
        /// Participant.
        peer: PeerId,
    },
    /// Removes a user with all devices from the call or the lobby.
    Kick {
        /// Participant.
        peer: PeerId,
        /// Whether the user stays out for the life of the room. Otherwise a newer token opens it.
        ban: bool,
        /// Reason that the participant gets.
        reason: Option<String>,
    },
    /// Changes the call.
    Update(Box<RoomUpdate>),
}

/// A changed call.
#[derive(Clone, Debug)]
pub struct RoomUpdate {
    /// Metadata that the change was decided on.
    pub before: RoomMeta,
    /// New metadata, with a higher version.
    pub after: RoomMeta,
    /// Participant who becomes host.
    pub heir: Option<PeerId>,
}

/// Outcome of a moderation command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModerationOutcome {
    /// Done. Holds the peers that it admitted.
    Done(Vec<PeerId>),
    /// There is no such participant in the call or the lobby.
    NoPeer,
    /// The participant's role is as high as the caller's, or the command does not apply to it.
    Above,
    /// The command would outlast the caller's role, because the caller only stands in for the
    /// absent host.
    StandIn,
    /// Every place is taken.
    Full,
    /// The caller's role does not allow the command any more.
    Denied,
    /// The call changed since the decision. Read it and decide again.
    Changed,
    /// The room is not open.
    Absent,
    /// The seat is not the caller's any more.
    Stale,
}

/// Outcome of a change to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// Done. Holds the call as it is now.
    Done(Box<RoomMeta>),
    /// Refused, with the reason.
    Refused(ModerationOutcome),
}
