//! State that all connections of a server share.

use std::sync::Arc;

use crate::config::TransportConfig;
use crate::engine::Service;
use crate::registry::SocketRegistry;
use crate::send_queue::{Delayed, Queue, SendQueueLimits};
use crate::workers::Workers;

/// State that all connections of a server share.
pub(super) struct ServerContext {
    pub(super) config: Arc<TransportConfig>,
    /// Paths and their services.
    pub(super) routes: Vec<(String, Arc<dyn Service>)>,
    pub(super) sockets: Arc<SocketRegistry>,
    /// Queues with delayed messages.
    delayed: Arc<Delayed>,
}

impl ServerContext {
    pub(super) fn new(config: TransportConfig, routes: Vec<(String, Arc<dyn Service>)>, workers: Workers) -> Self {
        let sockets = Arc::new(SocketRegistry::new(workers));
        Self { config: Arc::new(config), routes, sockets, delayed: Arc::default() }
    }

    /// Creates the send queue of a new socket.
    pub(super) fn new_queue(&self) -> Arc<Queue> {
        let limits = self.config.limits;
        let limits = SendQueueLimits { bytes: limits.send_queue_bytes, messages: limits.send_queue_messages };
        Arc::new(Queue::new(limits, Arc::clone(&self.delayed)))
    }
}
