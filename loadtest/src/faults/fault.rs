//! The faults, and what may come of each.

use clap::ValueEnum;

/// What happens in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL of a node.
    NodeKill,
    /// SIGSTOP of a node until the others take it for dead, then SIGCONT.
    NodePause,
    /// SIGTERM of every node, one after the other, each started again.
    Drain,
    /// Every pod of api and nodes replaced, as Kubernetes does it, behind a load balancer and while REST is used.
    Rollout,
    /// SIGSTOP of Redis for 30 s (5 s when short), then SIGCONT.
    RedisPause,
    /// Every connection to Redis cut: those for commands, then those for subscriptions.
    RedisCut,
    /// SIGKILL of Redis, and a start with its data.
    RedisRestart,
    /// SIGKILL of Redis, and a start without its data.
    RedisEmpty,
    /// A slot with a room moved to another master, there and back.
    SlotMove,
    /// SIGKILL of a master; its replica takes over.
    MasterLost,
    /// A client that stops reading while it is talked to.
    Deaf,
    /// A client that sends as fast as it can.
    Flood,
    /// Clients that send nonsense.
    Garbage,
    /// Handshakes that are begun and never finished: 10,000 (500 when short).
    HalfOpen,
}

impl Fault {
    /// Those that a short run injects.
    pub(crate) const TELLING: [Self; 7] =
        [Self::NodeKill, Self::Drain, Self::Rollout, Self::RedisCut, Self::RedisRestart, Self::RedisEmpty, Self::Flood];

    /// All, in their order.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// As it is named on the command line and in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NodeKill => "node-kill",
            Self::NodePause => "node-pause",
            Self::Drain => "drain",
            Self::Rollout => "rollout",
            Self::RedisPause => "redis-pause",
            Self::RedisCut => "redis-cut",
            Self::RedisRestart => "redis-restart",
            Self::RedisEmpty => "redis-empty",
            Self::SlotMove => "slot-move",
            Self::MasterLost => "master-lost",
            Self::Deaf => "deaf",
            Self::Flood => "flood",
            Self::Garbage => "garbage",
            Self::HalfOpen => "half-open",
        }
    }

    /// Whether it needs a Redis Cluster.
    pub(crate) const fn wants_redis_cluster(self) -> bool {
        matches!(self, Self::SlotMove | Self::MasterLost)
    }

    /// Whether it needs a load balancer, which clients then use.
    pub(crate) const fn wants_balancer(self) -> bool {
        matches!(self, Self::Rollout)
    }

    /// Whether nodes go on purpose: somebody else is there for their clients at once.
    pub(crate) const fn is_orderly(self) -> bool {
        matches!(self, Self::Drain | Self::Rollout)
    }

    /// Whether a client misbehaves, and nothing else.
    pub(crate) const fn is_abuse(self) -> bool {
        matches!(self, Self::Deaf | Self::Flood | Self::Garbage | Self::HalfOpen)
    }

    /// Whether somebody vanishes with the node: the peers are to be told, and no ghost may stay.
    pub(crate) const fn dooms(self) -> bool {
        matches!(self, Self::NodeKill | Self::NodePause)
    }

    /// Whether nodes end and are started again.
    pub(crate) const fn restarts_nodes(self) -> bool {
        matches!(self, Self::NodeKill | Self::Drain | Self::Rollout)
    }

    /// Whether clients may lose their sockets: only those whose node goes.
    pub(crate) const fn may_drop(self) -> bool {
        matches!(self, Self::NodeKill | Self::NodePause | Self::Drain | Self::Rollout)
    }

    /// Whether acknowledged data go with the fault: an empty Redis, or a replica that was behind.
    pub(crate) const fn may_lose(self) -> bool {
        matches!(self, Self::RedisEmpty | Self::MasterLost)
    }
}
