//! The Redis of a cluster: one server, a Redis Cluster, or a master with Sentinels.

use crate::redis::{RedisCluster, RedisServer};
use crate::redis_sentinel::RedisSentinel;

/// The Redis of a cluster.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a cluster")]
pub enum Redis {
    /// One server.
    Single(RedisServer),
    /// Several masters.
    Sharded(RedisCluster),
    /// A master and its replica, with Sentinels.
    Sentinel(RedisSentinel),
}

impl Redis {
    /// Value of `REDIS_URL` for this Redis.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Single(server) => server.url(),
            Self::Sharded(cluster) => cluster.url(),
            Self::Sentinel(servers) => servers.url(),
        }
    }

    /// The standalone server, or all servers of the Redis Cluster or of the Sentinels.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        match self {
            Self::Single(server) => std::slice::from_mut(server),
            Self::Sharded(cluster) => cluster.servers(),
            Self::Sentinel(servers) => servers.servers(),
        }
    }
}
