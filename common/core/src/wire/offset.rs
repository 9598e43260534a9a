//! The offset of an event, for connection state recovery: `<log id>.<room>`. A client gives back the last one it has.

use std::fmt;

use crate::domain::RoomId;

/// A position in a room's log, as clients carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Milliseconds of the log id.
    pub ms: u64,
    /// Sequence of the log id.
    pub seq: u64,
    /// The room whose log it is.
    pub room: RoomId,
}

impl Offset {
    /// Reads `<ms>-<seq>.<room>`; `None` for anything else, which only means that there is nothing to resume.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, room) = text.split_once('.')?;
        let (ms, seq) = id.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()?, room: RoomId::parse(room).ok()? })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.ms, self.seq, self.room)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_offset_reads_back_and_garbage_is_nothing() {
        let offset = Offset { ms: 1_700_000_000_000, seq: 3, room: RoomId::parse("AB-c_1").unwrap() };
        assert_eq!(Offset::parse(&offset.to_string()), Some(offset));
        for bad in ["", "1-1", "1.R", "1-x.R", "1-1.", "1-1.a b", "-1-1.R", "1-1-1.R", "99999999999999999999-0.R"] {
            assert_eq!(Offset::parse(bad), None, "{bad}");
        }
    }
}
