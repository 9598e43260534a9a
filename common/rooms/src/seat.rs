//! The codec of a seat's text, field `s:<peer>` of the room's hash. The same codec in Lua is
//! `lua/shared/seats.lua`. Also the codec of the members that name seats in sets and deadlines.

use std::fmt;

use switchboard_core::domain::{ConnectionState, Generation, Role, RoomId};
use switchboard_core::wire::LogId;

/// A seat's text, read without copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatText<'a> {
    /// State.
    pub state: ConnectionState,
    /// Generation.
    pub generation: Generation,
    /// Node that serves the seat; `None` while it has no socket.
    pub node: Option<&'a str>,
    /// Handle of the session within that node; `None` while the seat has no socket.
    pub handle: Option<&'a str>,
    /// Role.
    pub role: Role,
    /// Log id of the seat's `room:user-joined`.
    pub join: LogId,
    /// SHA-256 of the private session id.
    pub pid: &'a str,
    /// User.
    pub user: &'a str,
    /// Log id at which the client's view of the log begins.
    pub from: LogId,
    /// Hashed address of the client.
    pub address: Option<&'a str>,
}

impl<'a> SeatText<'a> {
    /// Reads a seat's text; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let optional = |word: &'a str| Some(word).filter(|word| *word != "-");
        let seat = Self {
            state: ConnectionState::parse(words.next()?)?,
            generation: words.next()?.parse().ok()?,
            node: optional(words.next()?),
            handle: optional(words.next()?),
            role: Role::parse(words.next()?)?,
            join: LogId::parse(words.next()?)?,
            pid: words.next()?,
            user: words.next()?,
            from: LogId::parse(words.next()?)?,
            address: optional(words.next()?),
        };
        words.next().is_none().then_some(seat)
    }

    /// Returns the log id after which broadcasts are for this seat; `None` in the lobby.
    #[must_use]
    pub fn broadcasts_from(&self) -> Option<LogId> {
        (self.state != ConnectionState::Waiting).then_some(self.join)
    }
}

impl fmt::Display for SeatText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, generation, node, handle, role, join, pid, user, from, address } = self;
        let (node, handle) = (node.unwrap_or("-"), handle.unwrap_or("-"));
        let (state, role, address) = (state.as_str(), role.as_str(), address.unwrap_or("-"));
        write!(f, "{state} {generation} {node} {handle} {role} {join} {pid} {user} {from} {address}")
    }
}

/// Member of a deadline or of a node's set: `room peer generation`. The peer is `*` for an empty
/// room and `+` for the lobby of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatMember {
    /// Room.
    pub room: RoomId,
    /// Peer id, `*` or `+`.
    pub peer: String,
    /// Generation as text; 0 for `*` and `+`.
    pub generation: String,
}

impl SeatMember {
    /// Reads a member; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let room = RoomId::parse(words.next()?).ok()?;
        Some(Self { room, peer: words.next()?.to_owned(), generation: words.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_seat_is_written_as_it_is_read() {
        for text in
            ["connected 17 n1 1f moderator 9-1 pid u 8-0 -", "reconnecting 18 - - guest 9-1 pid guest-1 9-1 hash"]
        {
            assert_eq!(SeatText::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn broadcasts_are_for_a_seat_in_the_call_and_not_for_one_in_the_lobby() {
        let seat = |state| format!("{state} 17 n1 1f guest 9-1 pid u 8-0 -");
        let from = |text: &str| SeatText::parse(text).unwrap().broadcasts_from();
        assert_eq!(from(&seat("connected")), Some(LogId { ms: 9, seq: 1 }));
        assert_eq!(from(&seat("waiting")), None);
    }

    #[test]
    fn a_text_with_a_field_too_few_or_too_many_is_no_seat() {
        for text in
            ["", "connected", "connected 17 n1 1f guest 9-1 pid u 8-0", "connected 17 n1 1f guest 9-1 pid u 8-0 - x"]
        {
            assert_eq!(SeatText::parse(text), None, "{text:?}");
        }
    }
}
