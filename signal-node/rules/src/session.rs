//! What the rules see of a session.

use std::sync::Arc;

use switchboard_core::domain::{Code, ConnectionState, PeerId, PublicUser, Refusal, Role, RoomId, RoomMeta, Timestamp};

/// A session at the moment of an event.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// Who it is.
    pub user: &'a PublicUser,
    /// The same as JSON, made once per session.
    pub user_json: &'a str,
    /// The room it is in, if any.
    pub place: Option<&'a Place>,
}

/// A session's place in a room: this node's copy, a hint and no authority.
#[derive(Clone, Debug)]
pub struct Place {
    /// The room.
    pub room: RoomId,
    /// Its address there.
    pub peer: PeerId,
    /// Its role.
    pub role: Role,
    /// Connected, or waiting in the lobby.
    pub state: ConnectionState,
    /// The call, and what it allows.
    pub meta: Arc<RoomMeta>,
}

/// What an event is stamped with, since rules read no clock and throw no dice.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Now.
    pub at: Timestamp,
    /// A random number.
    pub nonce: u64,
}

impl Stamp {
    /// An id that no other message or call has: a MongoDB ObjectId's form (4 bytes of seconds, 8 random ones), 24 hexadecimal digits.
    #[must_use]
    pub fn id(self) -> String {
        format!("{:08x}{:016x}", self.at.seconds() & 0xffff_ffff, self.nonce)
    }
}

impl<'a> SessionView<'a> {
    /// The place of a session that takes part: in a room and out of the lobby.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`.
    pub fn seated(&self) -> Result<&'a Place, Refusal> {
        match self.place {
            Some(place) if place.state == ConnectionState::Connected => Ok(place),
            Some(_) => Err(Refusal::new(Code::NotInRoom, "Wait to be let in")),
            None => Err(Code::NotInRoom.into()),
        }
    }
}
