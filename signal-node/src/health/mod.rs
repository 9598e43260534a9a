//! Health of this node, of Redis and of the other nodes.
//!
//! | file | content |
//! |---|---|
//! | `readiness` | checks of `/readyz` |
//! | `redis_health` | pings Redis and tells clients when it stops and starts to reply |
//! | `peer_health` | asks other nodes whether they are healthy |
//!
//! `membership` sets [`NodeHealth`] at each heartbeat. The other files here and the hand-over port
//! read it.

mod peer_health;
mod readiness;
mod redis_health;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use peer_health::PeerHealth;
pub use readiness::readiness;
pub use redis_health::RedisHealth;

/// Health of this node as of the last heartbeat. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct NodeHealth {
    healthy: Arc<AtomicBool>,
    ready: Arc<AtomicBool>,
}

impl NodeHealth {
    /// Returns whether this node is registered in every partition and all its subscriptions work.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Returns whether load balancers may send clients here: the node is healthy, or was a short
    /// while ago, or no other node is healthier.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Sets the result of a heartbeat.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// Sets whether load balancers may send clients here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Returns the flag that the hand-over port reports to other nodes.
    #[must_use]
    pub fn healthy_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.healthy)
    }
}
