//! Health of this node, shared by the parts that set and read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
