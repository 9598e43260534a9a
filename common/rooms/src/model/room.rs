//! A room seen from outside, and the replies to opening, creating and ending it.

use switchboard_core::domain::{CallPermissions, Code, Role, RoomMeta, UserId};

use super::TokenGrant;

/// A room seen without a seat.
#[derive(Clone, Debug)]
pub enum RoomPeek {
    /// Not in Redis: never opened, or ended long ago.
    Absent,
    /// The call ended a short time ago.
    Ended,
    /// The room is open.
    Open {
        /// Metadata of the call.
        meta: Box<RoomMeta>,
        /// Whether the room is locked.
        locked: bool,
        /// User who is host now.
        host: UserId,
        /// Number of seats taken.
        participants: u32,
    },
}

/// Answer to `create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// This request created the room, or repeats the one that did.
    Done,
    /// Another call has the room.
    Exists,
    /// The room's call ended a short time ago.
    Ended,
    /// The record of another call in the room is about to be written.
    Pending,
}

/// Answer to `open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The room is open, with this metadata or newer.
    Open,
    /// The call has ended.
    Ended,
    /// Another call has the room.
    Taken,
}

/// Answer to `reserve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The room id is kept for the call.
    Done,
    /// Another call is open in the room.
    Exists,
    /// Another call is about to be created in the room.
    Pending,
}

/// Answer to `reopen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopened {
    /// The call is, or was, open again.
    Done,
    /// Another call has the room, or had it a short time ago.
    Taken,
}

/// Answer to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// This request ended the call.
    Done,
    /// The call ended before.
    Already,
    /// The caller is not host any more.
    Denied,
    /// The caller only stands in for the absent host.
    StandIn,
    /// The seat is not the caller's any more.
    Stale,
}

/// A user's standing in a room: the data of the room that decide whether and how the user may join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinStanding {
    /// Role assigned in this room: moderator or less by the host, or host while the owner is away.
    pub given: Option<Role>,
    /// Permissions that the backend of the app gave in this room.
    pub given_permissions: Option<CallPermissions>,
    /// Whether the user, or the address of a guest, is banned.
    pub banned: bool,
    /// Whether the user has a seat as a first device, with or without a socket.
    pub seated: bool,
    /// Time of a removal in ms of Redis TIME. Tokens issued until then are refused.
    pub removed_ms: Option<u64>,
    /// Grant of the newest token with which the user of an app came to this room.
    pub newest_grant: Option<TokenGrant>,
}

impl JoinStanding {
    /// Returns the grant that holds for a user who comes with the grant `own`: that of a newer
    /// token, if the user came with one before.
    #[must_use]
    pub fn grant_over(&self, own: TokenGrant) -> TokenGrant {
        self.newest_grant.filter(|newest| newest.issued_ms > own.issued_ms).unwrap_or(own)
    }

    /// Returns the role that a token gives: `own`, or that of a newer token of the backend.
    /// `issued_ms`: time of issue of a token of an app's backend, `None` for other tokens.
    #[must_use]
    pub fn role_over(&self, own: Role, issued_ms: Option<u64>) -> Role {
        let newer = |newest: &TokenGrant| issued_ms.is_some_and(|issued_ms| newest.issued_ms > issued_ms);
        self.newest_grant.filter(newer).map_or(own, |newest| newest.role)
    }

    /// Returns the code with which a proof that was issued at `issued_ms` is refused: `BANNED`, or
    /// `REMOVED` when a newer proof would do.
    #[must_use]
    pub fn keeps_out(&self, issued_ms: u64) -> Option<Code> {
        if self.banned {
            return Some(Code::Banned);
        }
        self.removed_ms.filter(|removed| issued_ms <= *removed).map(|_| Code::Removed)
    }
}
