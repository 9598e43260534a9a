//! The faults, and the effects that each may have.

use clap::ValueEnum;

/// Fault of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL of a node.
    NodeKill,
    /// SIGSTOP of a node until the other nodes declare it dead, then SIGCONT.
    NodePause,
    /// SIGTERM of every node, one after the other, each followed by a restart.
    Drain,
    /// SIGTERM of one node and its restart, behind a load balancer; then the other nodes move some
    /// of their clients to it.
    Rebalance,
    /// Half of the nodes serve all clients, behind a load balancer; then the other half starts, and
    /// gets its share of the clients.
    ScaleOut,
    /// Replacement of every api and node pod as in a Kubernetes rollout, behind a load balancer and
    /// under REST load.
    Rollout,
    /// A cluster of another version that becomes one of this version pod by pod, with a stop in the
    /// middle, and is rolled back in the same way. Needs the programs of the other version.
    TwoVersions,
    /// Two rollouts that rotate the keys of all tokens and of hand-overs.
    KeyRotation,
    /// SIGSTOP of Redis for 30 s (5 s in a short run), then SIGCONT.
    RedisPause,
    /// Close of every connection to Redis: first command connections, then subscriptions.
    RedisDisconnect,
    /// SIGKILL of Redis, then a restart with its data.
    RedisRestart,
    /// SIGKILL of Redis, then a restart without its data.
    RedisDataLoss,
    /// A command that takes Redis 3 to 4 s.
    RedisSlowCommand,
    /// A Redis that takes no writes for 20 s (5 s in a short run), as one with too few replicas.
    RedisReadOnly,
    /// A link to Redis of 10 Mbit/s and 100 ms, over which every subscription is cut. Up to 50
    /// participants in a room.
    SlowLink,
    /// Move of a room's slot to another master and back.
    SlotMove,
    /// SIGKILL of a master; its replica takes over.
    MasterKill,
    /// SIGKILL of the master of a Redis with Sentinels; its replica takes over.
    SentinelFailover,
    /// One room of all pairs, at least 50 and at most 245, with the longest names, who join within
    /// seconds: every subscription is cut, then every socket at the same moment.
    LargeRoom,
    /// A client that stops reading while events are sent to it.
    StalledReader,
    /// A client that sends as fast as possible.
    Flood,
    /// Clients that send malformed packets.
    MalformedPackets,
    /// Handshakes that never finish: 10,000 (500 in a short run).
    HalfOpen,
}

/// Kind of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedisKind {
    /// One server.
    Standalone,
    /// One server, behind a link whose speed can be changed.
    Linked,
    /// Three masters, each with a replica.
    Cluster,
    /// A master and its replica, with Sentinels.
    Sentinel,
}

impl Fault {
    /// Faults of a short run.
    pub(crate) const SHORT: [Self; 13] = [
        Self::NodeKill,
        Self::Drain,
        Self::Rebalance,
        Self::Rollout,
        Self::KeyRotation,
        Self::RedisDisconnect,
        Self::RedisRestart,
        Self::RedisDataLoss,
        Self::RedisSlowCommand,
        Self::RedisReadOnly,
        Self::SlowLink,
        Self::LargeRoom,
        Self::Flood,
    ];

    /// All faults, in order of declaration.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Name on the command line and in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NodeKill => "node-kill",
            Self::NodePause => "node-pause",
            Self::Drain => "drain",
            Self::Rebalance => "rebalance",
            Self::ScaleOut => "scale-out",
            Self::Rollout => "rollout",
            Self::TwoVersions => "two-versions",
            Self::KeyRotation => "key-rotation",
            Self::RedisPause => "redis-pause",
            Self::RedisDisconnect => "redis-disconnect",
            Self::RedisRestart => "redis-restart",
            Self::RedisDataLoss => "redis-data-loss",
            Self::RedisSlowCommand => "redis-slow-command",
            Self::RedisReadOnly => "redis-read-only",
            Self::SlowLink => "slow-link",
            Self::SlotMove => "slot-move",
            Self::MasterKill => "master-kill",
            Self::SentinelFailover => "sentinel-failover",
            Self::LargeRoom => "large-room",
            Self::StalledReader => "stalled-reader",
            Self::Flood => "flood",
            Self::MalformedPackets => "malformed-packets",
            Self::HalfOpen => "half-open",
        }
    }

    /// Redis that the fault needs.
    pub(crate) const fn redis(self) -> RedisKind {
        match self {
            Self::SlotMove | Self::MasterKill => RedisKind::Cluster,
            Self::SentinelFailover => RedisKind::Sentinel,
            Self::SlowLink => RedisKind::Linked,
            _ => RedisKind::Standalone,
        }
    }

    /// Whether the fault needs a load balancer, which all clients then use.
    pub(crate) const fn needs_load_balancer(self) -> bool {
        matches!(self, Self::Rollout | Self::TwoVersions | Self::KeyRotation | Self::Rebalance | Self::ScaleOut)
    }

    /// Whether the cluster begins with the programs of another version.
    pub(crate) fn needs_other_programs(self) -> bool {
        self == Self::TwoVersions
    }

    /// Whether nodes stop on purpose, so that other nodes accept their clients immediately.
    pub(crate) fn is_planned(self) -> bool {
        self == Self::Drain || self.needs_load_balancer()
    }

    /// Whether the fault is a misbehaving client only.
    pub(crate) const fn is_abuse(self) -> bool {
        matches!(self, Self::StalledReader | Self::Flood | Self::MalformedPackets | Self::HalfOpen)
    }

    /// Whether clients vanish with the node. The other participants must be notified, and no ghost
    /// may stay.
    pub(crate) const fn has_vanishing_clients(self) -> bool {
        matches!(self, Self::NodeKill | Self::NodePause)
    }

    /// Whether nodes stop and start again.
    pub(crate) fn restarts_nodes(self) -> bool {
        self == Self::NodeKill || self.is_planned()
    }

    /// Whether clients of the stopped nodes may lose their sockets.
    pub(crate) fn may_lose_sockets(self) -> bool {
        self.restarts_nodes() || matches!(self, Self::NodePause | Self::LargeRoom)
    }

    /// Whether acknowledged data may be lost: Redis restarts empty, or a replica lags behind its
    /// master.
    pub(crate) const fn may_lose_data(self) -> bool {
        matches!(self, Self::RedisDataLoss | Self::MasterKill | Self::SentinelFailover)
    }

    /// Whether an event may be delivered twice: it was delivered before the data was lost, was not
    /// acknowledged, and is sent again.
    pub(crate) const fn may_duplicate(self) -> bool {
        matches!(self, Self::RedisDataLoss | Self::MasterKill)
    }
}
