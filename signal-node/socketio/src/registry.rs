//! The open sockets of this node.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use crate::polling::PollingSession;
use crate::protocol::{CloseReason, DisconnectReason, Handshake};
use crate::send_queue::Queue;
use crate::workers::Workers;

/// Open sockets by session id, their number per client address, and their tasks.
#[derive(Debug)]
pub(crate) struct SocketRegistry {
    state: Mutex<RegistryState>,
    tasks: TaskTracker,
    /// Keeps the threads running while a socket is open.
    _workers: Workers,
}

#[derive(Debug, Default)]
struct RegistryState {
    open: HashMap<Arc<str>, OpenSocket>,
    per_address: HashMap<IpAddr, usize>,
}

/// Access to a socket from outside its task.
#[derive(Debug, Clone)]
struct OpenSocket {
    queue: Arc<Queue>,
    /// State for HTTP requests, if the socket was opened by long-polling.
    polling: Option<Arc<PollingSession>>,
}

impl SocketRegistry {
    /// Creates a registry of the sockets on these workers.
    pub(crate) fn new(workers: Workers) -> Self {
        Self { state: Mutex::default(), tasks: TaskTracker::new(), _workers: workers }
    }

    /// Returns the state of a session that was opened by long-polling.
    pub(crate) fn polling_session(&self, sid: &str) -> Option<Arc<PollingSession>> {
        self.state().open.get(sid)?.polling.clone()
    }

    /// Returns the number of open sockets.
    pub(crate) fn len(&self) -> usize {
        self.state().open.len()
    }

    /// Asks all sockets to close.
    pub(crate) fn close_all(&self, reason: DisconnectReason) {
        let queues: Vec<Arc<Queue>> = self.state().open.values().map(|open| Arc::clone(&open.queue)).collect();
        for queue in queues {
            queue.close(CloseReason::ServerClosed(reason));
        }
    }

    /// Returns the tasks of all sockets.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn state(&self) -> MutexGuard<'_, RegistryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entry of a socket in the [`SocketRegistry`]. Removed when dropped.
pub(crate) struct Registration {
    registry: Arc<SocketRegistry>,
    sid: Arc<str>,
    address: IpAddr,
}

impl Registration {
    /// Registers a socket. Returns `None` if its address already has `limit` sockets; 0 is no
    /// limit.
    pub(crate) fn new(
        registry: &Arc<SocketRegistry>,
        limit: usize,
        handshake: &Handshake,
        queue: &Arc<Queue>,
        polling: Option<Arc<PollingSession>>,
    ) -> Option<Self> {
        let (sid, address) = (&handshake.sid, handshake.address);
        let mut state = registry.state();
        if limit > 0 {
            let count = state.per_address.entry(address).or_default();
            if *count >= limit {
                return None;
            }
            *count += 1;
        }
        state.open.insert(Arc::clone(sid), OpenSocket { queue: Arc::clone(queue), polling });
        drop(state);
        metrics::counter!("switchboard_sockets_opened_total").increment(1);
        metrics::gauge!("switchboard_sockets_open").increment(1.0);
        Some(Self { registry: Arc::clone(registry), sid: Arc::clone(sid), address })
    }

    /// Returns the tasks of all sockets.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.registry.tasks
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.registry.state();
        state.open.remove(&self.sid);
        if let Some(count) = state.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.per_address.remove(&self.address);
            }
        }
        drop(state);
        metrics::gauge!("switchboard_sockets_open").decrement(1.0);
    }
}
