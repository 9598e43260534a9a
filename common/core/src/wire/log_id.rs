//! Positions in a room's log.

/// The id of an entry in a room's log: a Redis stream id, `milliseconds-sequence`. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogId {
    /// Redis TIME in milliseconds.
    pub ms: u64,
    /// The number within the millisecond.
    pub seq: u64,
}

impl LogId {
    /// Reads `ms-seq`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ms, seq) = text.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}
