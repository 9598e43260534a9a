//! Partitions and their groups, heartbeats, sweeps and revoked sign-ins.

use std::time::Duration;

use switchboard_core::wire::LogId;

/// Number of a slice of all rooms, from 0. Each has its own hash tag, channel for each node, outbox
/// and deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

/// Number of partitions of a [`Group`], except perhaps the last one.
const GROUP_SIZE: u16 = 16;

/// Number of a group of partitions, from 0. A node sends one heartbeat for a whole group. The
/// groups are fixed, and not those of a shard, so that all nodes agree on them while slots move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(pub u16);

impl Group {
    /// Returns the group of a partition.
    #[must_use]
    pub const fn of(partition: Partition) -> Self {
        Self(partition.0 / GROUP_SIZE)
    }

    /// Returns the number of groups of so many partitions.
    #[must_use]
    pub const fn count(partitions: u16) -> u16 {
        partitions.div_ceil(GROUP_SIZE)
    }

    /// Returns the partition that has the heartbeats of the group: its first one.
    #[must_use]
    pub const fn lead(self) -> Partition {
        Partition(self.0 * GROUP_SIZE)
    }

    /// Returns the partitions of the group, of so many in total.
    pub fn partitions(self, total: u16) -> impl Iterator<Item = Partition> + Clone {
        let first = self.lead().0;
        (first..total.min(first.saturating_add(GROUP_SIZE))).map(Partition)
    }
}

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

impl Loads {
    /// Returns the time between two exchanges in a cluster of so many nodes. Each exchange reads
    /// the loads of all nodes. So it grows with their number, and the cost of Redis for all of them
    /// only as fast as that.
    #[must_use]
    pub fn exchange_interval(nodes: usize) -> Duration {
        const SHORTEST: Duration = Duration::from_secs(5);
        const NODES: usize = 100;
        SHORTEST * u32::try_from(nodes / NODES).unwrap_or(u32::MAX).clamp(1, 60)
    }
}

impl NodeLoad {
    /// Reads an entry; `None` if this version cannot read it.
    pub(crate) fn parse(name: &str, load: &str) -> Option<Self> {
        let (count, sessions) = load.split_once(' ')?;
        Some(Self { name: name.to_owned(), count: count.parse().ok()?, sessions: sessions.parse().ok()? })
    }
}

/// Last heartbeat of a node in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastBeat {
    /// Counter of the heartbeat.
    Counted(u64),
    /// None: the node was declared dead, and its seats are still to be swept.
    Dead,
}

impl LastBeat {
    /// Reads the text in Redis; `None` if this version cannot read it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "dead" { Some(Self::Dead) } else { text.parse().ok().map(Self::Counted) }
    }
}

impl std::fmt::Display for LastBeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Counted(counter) => counter.fmt(f),
            Self::Dead => f.write_str("dead"),
        }
    }
}

/// Data of an accepted heartbeat.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Rank of the node on the ring of the group, from 0.
    pub rank: u64,
    /// Number of nodes on the ring.
    pub size: u64,
    /// Nodes that follow on the ring, in its order, each with its last heartbeat.
    pub following: Vec<(String, LastBeat)>,
}

/// Reply to a heartbeat.
#[derive(Clone, Debug)]
pub enum BeatOutcome {
    /// The node is on the ring.
    Beat(Beat),
    /// The node was declared dead, or Redis lost its data.
    Swept,
}

/// Data of a partition in which this node is registered.
#[derive(Clone, Debug)]
pub struct NodeCheck {
    /// Number of subscribers that received the canary. 0 means a gap.
    pub receivers: u64,
    /// Redis TIME in ms, which the canary carries.
    pub time_ms: u64,
    /// Value that changes when Redis loses its data.
    pub epoch: String,
}

/// Reply to `check_node`.
#[derive(Clone, Debug)]
pub enum CheckOutcome {
    /// The node is registered.
    Registered(NodeCheck),
    /// The node is not registered. It does not hold its seats any more.
    Swept,
}

/// A registration in a partition of a node that is on no ring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StrayNode {
    /// Name of the node.
    pub node: String,
    /// Its registration. A node of an earlier version counts its heartbeats here.
    pub registration: String,
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
