//! Offset of an event: the position that a client sends back to resume a session.

use std::fmt;

use super::LogId;
use crate::domain::{AppId, RoomId, RoomName};

/// Position in a room's log, as clients carry it: `<log id>.<room name>`, for example
/// `1700000000000-3.AB12CD34EF56`.
///
/// This is the offset of Socket.IO's connection state recovery: the server appends it to each
/// event, and the client sends the last one when it reconnects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Entry in the room's log.
    pub id: LogId,
    /// Room that the log belongs to.
    pub room: RoomId,
}

impl Offset {
    /// Parses `<ms>-<seq>.<room name>` of a client of `app`. Returns `None` for any other text; the
    /// session then starts without recovery.
    #[must_use]
    pub fn parse(text: &str, app: &AppId) -> Option<Self> {
        let (id, room) = text.split_once('.')?;
        Some(Self { id: LogId::parse(id)?, room: app.room(&RoomName::parse(room).ok()?) })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.room.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn an_offset_parses_back_and_malformed_text_is_none() {
        let id = LogId { ms: 1_700_000_000_000, seq: 3 };
        let offset = Offset { id, room: RoomId::parse("AB-c_1").unwrap() };
        assert_eq!(offset.to_string(), "1700000000000-3.AB-c_1");
        let app = AppId::default();
        assert_eq!(Offset::parse(&offset.to_string(), &app), Some(offset));
        let acme = AppId::parse("acme").unwrap();
        let other = Offset { id, room: acme.room(&RoomName::parse("R").unwrap()) };
        assert_eq!(other.to_string(), "1700000000000-3.R", "clients see the name alone");
        assert_eq!(Offset::parse("1700000000000-3.R", &acme), Some(other));
        assert_eq!(Offset::parse("1700000000000-3.acme.R", &app), None);
        for bad in ["", "1-1", "1.R", "1-x.R", "1-1.", "1-1.a b", "-1-1.R", "1-1-1.R", "99999999999999999999-0.R"] {
            assert_eq!(Offset::parse(bad, &app), None, "{bad}");
        }
    }
}
