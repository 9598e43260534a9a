//! What a room shows from outside, and what became of opening, creating and ending it.

use super::RoomMeta;
use switchboard_core::domain::{Role, UserId};

/// What a look at a room shows, without a seat.
#[derive(Clone, Debug)]
pub enum Door {
    /// Not in Redis: never opened, or over for long.
    Absent,
    /// The call has ended.
    Ended,
    /// Open.
    Open {
        /// The call's facts.
        meta: Box<RoomMeta>,
        /// Nobody new may join.
        locked: bool,
        /// Who is host now.
        host: UserId,
        /// Seats taken.
        participants: u32,
    },
}

/// The answer to `create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// Created by this call.
    Done,
    /// Another call has the room.
    Exists,
    /// The room's call has ended a short while ago.
    Ended,
}

/// The answer to `open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The room is there, with this meta or a newer one.
    Open,
    /// The call has ended.
    Ended,
}

/// The answer to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Ended now, by this.
    Done,
    /// Ended before.
    Already,
    /// The caller is not the host any more.
    Denied,
    /// The caller's seat is not its own any more.
    Stale,
}

/// How a room stands to somebody who is about to enter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The role that it was given there: moderator or less by the host, or host while the host by right is away.
    pub given: Option<Role>,
    /// Kept out for good.
    pub banned: bool,
    /// Removed at that time (Redis TIME, ms): tokens issued before are no good.
    pub removed_ms: Option<u64>,
}

impl Standing {
    /// Whether somebody with this proof is kept out.
    #[must_use]
    pub fn keeps_out(&self, issued_ms: u64) -> bool {
        self.banned || self.removed_ms.is_some_and(|removed| issued_ms <= removed)
    }
}
