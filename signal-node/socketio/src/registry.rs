//! The open sockets of this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use crate::bounds::{ClientNetwork, Counts, Full, Permit};
use crate::config::AdmissionLimits;
use crate::polling::PollingSession;
use crate::protocol::{CloseReason, DisconnectReason, Handshake};
use crate::send_queue::Queue;
use crate::workers::Workers;

/// Open sockets by session id, their counts, and their tasks.
#[derive(Debug)]
pub(crate) struct SocketRegistry {
    open: Mutex<HashMap<Arc<str>, OpenSocket>>,
    counts: Arc<Counts<ClientNetwork>>,
    tasks: TaskTracker,
    /// Keeps the threads running while a socket is open.
    _workers: Workers,
}

/// Access to a socket from outside its task.
#[derive(Debug, Clone)]
struct OpenSocket {
    queue: Arc<Queue>,
    /// State for HTTP requests, if the socket was opened by long-polling.
    polling: Option<Arc<PollingSession>>,
}

/// Open session, as its HTTP requests find it.
pub(crate) enum SessionForRequests {
    /// It was opened by long-polling.
    Polling(Arc<PollingSession>),
    /// It was opened by WebSocket, and has no requests.
    WebSocket,
}

impl SocketRegistry {
    /// Creates a registry of the sockets on these workers.
    pub(crate) fn new(workers: Workers, limits: &AdmissionLimits) -> Self {
        let counts = Counts::new("switchboard_sockets_open", limits.sockets, limits.sockets_per_address);
        Self { open: Mutex::default(), counts: Arc::new(counts), tasks: TaskTracker::new(), _workers: workers }
    }

    /// Returns an open session for its HTTP requests.
    pub(crate) fn session(&self, sid: &str) -> Option<SessionForRequests> {
        let polling = self.open().get(sid)?.polling.clone();
        Some(polling.map_or(SessionForRequests::WebSocket, SessionForRequests::Polling))
    }

    /// Returns the number of open sockets.
    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// Asks all sockets to close.
    pub(crate) fn close_all(&self, reason: DisconnectReason) {
        let queues: Vec<Arc<Queue>> = self.open().values().map(|open| Arc::clone(&open.queue)).collect();
        for queue in queues {
            queue.close(CloseReason::ServerClosed(reason));
        }
    }

    /// Returns the tasks of all sockets.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, OpenSocket>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entry of a socket in the [`SocketRegistry`]. Removed when dropped.
pub(crate) struct Registration {
    registry: Arc<SocketRegistry>,
    sid: Arc<str>,
    _permit: Permit<ClientNetwork>,
}

impl Registration {
    /// Registers a socket.
    ///
    /// # Errors
    /// The node or the client's network has as many sockets as it may have.
    pub(crate) fn new(
        registry: &Arc<SocketRegistry>,
        handshake: &Handshake,
        queue: &Arc<Queue>,
        polling: Option<Arc<PollingSession>>,
    ) -> Result<Self, Full> {
        let permit = registry.counts.acquire(handshake.network)?;
        let sid = Arc::clone(&handshake.sid);
        registry.open().insert(Arc::clone(&sid), OpenSocket { queue: Arc::clone(queue), polling });
        metrics::counter!("switchboard_sockets_opened_total").increment(1);
        Ok(Self { registry: Arc::clone(registry), sid, _permit: permit })
    }

    /// Returns the tasks of all sockets.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.registry.tasks
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.open().remove(&self.sid);
    }
}
