//! Input of the rules: the session as they see it.

use std::sync::Arc;

use switchboard_core::domain::{
    CallPermissions, Code, ConnectionState, PeerId, PublicUser, Refusal, Role, RoomId, RoomMeta, Timestamp,
};

/// A session at the moment of an event.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// User of the session.
    pub user: &'a PublicUser,
    /// The user as JSON, encoded once per session.
    pub user_json: &'a str,
    /// Seat of the session, if it is in a room.
    pub seat: Option<&'a SeatView>,
    /// Whether an app's backend granted role and permissions in the token.
    pub has_grant: bool,
    /// What the user may do, besides the rights of the role.
    pub permissions: CallPermissions,
}

/// Seat of a session in a room. It is this node's copy, and may be behind.
#[derive(Clone, Debug)]
pub struct SeatView {
    /// Room of the seat.
    pub room: RoomId,
    /// Peer id of the session in the room.
    pub peer: PeerId,
    /// Role of the session in the room.
    pub role: Role,
    /// `Connected`, or `Waiting` in the lobby.
    pub state: ConnectionState,
    /// Call of the room, with its settings.
    pub meta: Arc<RoomMeta>,
}

/// Time and random number of an event. Rules read no clock and no random source.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Time of the event.
    pub at: Timestamp,
    /// A random number.
    pub nonce: u64,
}

impl Stamp {
    /// Returns a unique id in the form of a MongoDB ObjectId: 24 hexadecimal digits, of 4 bytes of
    /// seconds and 8 random bytes.
    #[must_use]
    pub fn id(self) -> String {
        format!("{:08x}{:016x}", self.at.seconds() & 0xffff_ffff, self.nonce)
    }
}

impl<'a> SessionView<'a> {
    /// Returns the seat of a session that takes part in a call: in a room and not in the lobby.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`.
    pub fn seated(&self) -> Result<&'a SeatView, Refusal> {
        match self.seat {
            Some(seat) if seat.state == ConnectionState::Connected => Ok(seat),
            Some(_) => Err(Refusal::new(Code::NotInRoom, "Wait until you are admitted")),
            None => Err(Code::NotInRoom.into()),
        }
    }
}
