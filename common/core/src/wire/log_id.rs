//! Ids of entries in a room's log.

/// Id of an entry in a room's log: a Redis stream id, `<ms>-<seq>`. Ordered by time, then sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogId {
    /// Redis server time in milliseconds since the Unix epoch.
    pub ms: u64,
    /// Sequence number within the millisecond.
    pub seq: u64,
}

impl LogId {
    /// Parses `<ms>-<seq>`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ms, seq) = text.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }

    /// Returns the id this many sequence numbers later.
    #[must_use]
    pub const fn later_by(self, count: u64) -> Self {
        Self { ms: self.ms, seq: self.seq.saturating_add(count) }
    }
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}
