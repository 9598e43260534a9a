//! Partitions, heartbeats, sweeps and revoked sign-ins.

use switchboard_core::wire::LogId;

/// Number of a slice of all rooms, from 0. Each has its own hash tag, channel for each node, outbox
/// and deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

/// Load of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    /// Name of the node.
    pub name: String,
    /// Changes each time that the node tells its load.
    pub count: u64,
    /// Number of sessions in rooms.
    pub sessions: usize,
}

/// Answer to `exchange_loads`.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    /// Load of each node.
    pub nodes: Vec<NodeLoad>,
    /// Changes each time that an operator asks the nodes to even out their loads.
    pub request: String,
}

impl NodeLoad {
    /// Reads an entry; `None` if this version cannot read it.
    pub(crate) fn parse(name: &str, load: &str) -> Option<Self> {
        let (count, sessions) = load.split_once(' ')?;
        Some(Self { name: name.to_owned(), count: count.parse().ok()?, sessions: sessions.parse().ok()? })
    }
}

/// Data of an accepted heartbeat.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Number of subscribers that received the canary. 0 means a gap.
    pub receivers: u64,
    /// Redis TIME in ms.
    pub time_ms: u64,
    /// Value that changes when Redis loses its data.
    pub epoch: String,
    /// Each registered node with its counter in this partition.
    pub nodes: Vec<(String, u64)>,
}

/// Reply to a heartbeat.
#[derive(Clone, Debug)]
pub enum BeatOutcome {
    /// The node is registered.
    Beat(Beat),
    /// The node was declared dead. It does not hold its seats any more.
    Swept,
}

/// Answer to `sweep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Whether this request declared the node dead. Otherwise its counter changed, or another node
    /// was first.
    pub declared: bool,
    /// Number of seats that this request turned to `reconnecting`, those of earlier unfinished
    /// sweeps included.
    pub seats: usize,
}

/// A sign-in that was revoked before its tokens expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Position in the list.
    pub id: LogId,
    /// Id of the sign-in, which its tokens carry.
    pub sign_in: String,
    /// Reason of the revocation.
    pub reason: RevocationReason,
    /// Redis TIME in ms until which it must be remembered.
    pub until_ms: u64,
}

/// Reason for which a sign-in was revoked. The order is that of strength: a later reason replaces
/// an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevocationReason {
    /// A refresh token was used twice, by its owner or by a thief. The tokens are refused; a seat
    /// in a call stays until its access token has expired, because a lost answer must not hang up.
    Replayed,
    /// A person ended the sign-in. Its sockets end and its seats are freed immediately.
    SignedOut,
}

impl RevocationReason {
    /// Returns the text in the list of revocations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::SignedOut => "signed_out",
        }
    }

    /// Reads the text of [`as_str`](Self::as_str). Entries of an earlier version have none, and any
    /// other text is that of a later version: both count as the stronger reason.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        if text == Some(Self::Replayed.as_str()) { Self::Replayed } else { Self::SignedOut }
    }
}
