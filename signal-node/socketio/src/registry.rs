//! The open sockets of this node.
//!
//! A long-polling session that has said nothing after its handshake is *silent*: it has no task and
//! no queue, because anyone can open sessions and never come back. Its first request wakes it. One
//! queue and one timer end the silent sessions, which all live for the same time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use crate::bounds::{ClientNetwork, Counts, Full, Permit};
use crate::config::{AdmissionLimits, Timeouts};
use crate::engine::{Engine, Service};
use crate::polling::{Fingerprint, PollingSession};
use crate::protocol::{CloseReason, DisconnectReason, Handshake};
use crate::send_queue::Queue;
use crate::workers::Workers;

/// Open sockets by session id, their counts, and their tasks.
pub(crate) struct SocketRegistry {
    sockets: Mutex<Sockets>,
    counts: Arc<Counts<ClientNetwork>>,
    tasks: TaskTracker,
    /// Lifetime of a silent session, and the reason for its end.
    silence: (Duration, CloseReason),
    /// Keeps the threads running while a socket is open.
    _workers: Workers,
}

#[derive(Default)]
struct Sockets {
    open: HashMap<Arc<str>, OpenSocket>,
    /// Ends of silent sessions, in order. Sessions that were woken or closed stay until their time.
    ends: VecDeque<(Instant, Arc<str>)>,
    /// The timer of the ends runs.
    timed: bool,
}

/// Access to a socket from outside its task.
enum OpenSocket {
    /// A long-polling session that has said nothing yet.
    Silent(Box<(SilentSession, Permit<ClientNetwork>)>),
    /// A session with a task.
    Served {
        queue: Arc<Queue>,
        /// State for HTTP requests, if the socket was opened by long-polling.
        polling: Option<Arc<PollingSession>>,
    },
}

/// A long-polling session that has said nothing after its handshake.
pub(crate) struct SilentSession {
    /// Facts from the request that opened it.
    pub(crate) handshake: Arc<Handshake>,
    /// Service that it asked for.
    pub(crate) service: Arc<dyn Service>,
    /// Fingerprint of that request.
    pub(crate) opening: Option<Fingerprint>,
}

/// Silent session that a request has woken. The caller starts its task.
pub(crate) struct WokenSession {
    pub(crate) session: SilentSession,
    pub(crate) queue: Arc<Queue>,
    pub(crate) polling: Arc<PollingSession>,
    pub(crate) registration: Registration,
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
    pub(crate) fn new(workers: Workers, limits: &AdmissionLimits, timeouts: &Timeouts) -> Self {
        let counts = Counts::new("switchboard_sockets_open", limits.sockets, limits.sockets_per_address);
        let pong = timeouts.ping_interval + timeouts.ping_timeout;
        let silence = if timeouts.connect <= pong {
            (timeouts.connect, CloseReason::ConnectTimeout)
        } else {
            (pong, CloseReason::PingTimeout)
        };
        let (sockets, tasks) = (Mutex::default(), TaskTracker::new());
        Self { sockets, counts: Arc::new(counts), tasks, silence, _workers: workers }
    }

    /// Registers a session without a task.
    ///
    /// # Errors
    /// The node or the client's network has as many sockets as it may have.
    ///
    /// # Panics
    /// Must be called within a Tokio runtime.
    pub(crate) fn open_silent(self: &Arc<Self>, session: SilentSession) -> Result<(), Full> {
        let permit = self.counts.acquire(session.handshake.network)?;
        let sid = Arc::clone(&session.handshake.sid);
        let end = session.handshake.opened + self.silence.0;
        let mut sockets = self.sockets();
        sockets.ends.push_back((end, Arc::clone(&sid)));
        sockets.open.insert(sid, OpenSocket::Silent(Box::new((session, permit))));
        if !std::mem::replace(&mut sockets.timed, true) {
            tokio::spawn(end_silent_sessions(Arc::downgrade(self)));
        }
        drop(sockets);
        metrics::counter!("switchboard_sockets_opened_total").increment(1);
        Ok(())
    }

    /// Returns an open session for its HTTP requests. `wake` makes the queue and the state of a
    /// silent one, which is silent no more: the caller starts its task.
    pub(crate) fn session(
        self: &Arc<Self>,
        sid: &str,
        wake: impl FnOnce(&SilentSession) -> (Arc<Queue>, Arc<PollingSession>),
    ) -> Option<(SessionForRequests, Option<WokenSession>)> {
        let mut sockets = self.sockets();
        let found = sockets.open.get_mut(sid)?;
        let (queue, polling) = match found {
            OpenSocket::Served { polling: Some(polling), .. } => {
                return Some((SessionForRequests::Polling(Arc::clone(polling)), None));
            }
            OpenSocket::Served { polling: None, .. } => return Some((SessionForRequests::WebSocket, None)),
            OpenSocket::Silent(silent) => wake(&silent.0),
        };
        let served = OpenSocket::Served { queue: Arc::clone(&queue), polling: Some(Arc::clone(&polling)) };
        let OpenSocket::Silent(silent) = std::mem::replace(found, served) else { return None };
        drop(sockets);
        let (session, permit) = *silent;
        let sid = Arc::clone(&session.handshake.sid);
        let registration = Registration { registry: Arc::clone(self), sid, _permit: permit };
        let woken = WokenSession { session, queue, polling: Arc::clone(&polling), registration };
        Some((SessionForRequests::Polling(polling), Some(woken)))
    }

    /// Returns the number of open sockets.
    pub(crate) fn len(&self) -> usize {
        self.sockets().open.len()
    }

    /// Asks all sockets to close. Silent ones are closed.
    pub(crate) fn close_all(&self, reason: DisconnectReason) {
        let reason = CloseReason::ServerClosed(reason);
        let mut silent = Vec::new();
        let queues: Vec<Arc<Queue>> = {
            let mut sockets = self.sockets();
            silent.extend(sockets.open.extract_if(|_, socket| matches!(socket, OpenSocket::Silent(_))));
            let queues = sockets.open.values().filter_map(|socket| match socket {
                OpenSocket::Served { queue, .. } => Some(Arc::clone(queue)),
                OpenSocket::Silent(_) => None,
            });
            queues.collect()
        };
        for queue in queues {
            queue.close(reason);
        }
        count_closed(silent.len(), reason);
    }

    /// Returns the tasks of all sockets.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Ends the silent sessions whose time is over. Returns the time of the next end; `None` if
    /// there is none, and then the timer must stop.
    fn end_due(&self, now: Instant) -> Option<Instant> {
        let mut ended = Vec::new();
        let next = {
            let mut sockets = self.sockets();
            let Sockets { open, ends, timed } = &mut *sockets;
            while ends.front().is_some_and(|(end, _)| *end <= now) {
                let Some((_, sid)) = ends.pop_front() else { break };
                if matches!(open.get(&sid), Some(OpenSocket::Silent(_))) {
                    ended.extend(open.remove(&sid));
                }
            }
            if ends.is_empty() {
                *ends = VecDeque::new();
            }
            *timed = !ends.is_empty();
            ends.front().map(|(end, _)| *end)
        };
        count_closed(ended.len(), self.silence.1);
        next
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends silent sessions at their time, until there are none.
async fn end_silent_sessions(registry: Weak<SocketRegistry>) {
    loop {
        let Some(next) = registry.upgrade().and_then(|registry| registry.end_due(Instant::now())) else { return };
        sleep_until(next).await;
    }
}

fn count_closed(count: usize, reason: CloseReason) {
    if count > 0 {
        metrics::counter!("switchboard_sockets_closed_total", "reason" => reason.name()).increment(count as u64);
    }
}

/// Entry of a socket in the [`SocketRegistry`]. Removed when dropped.
pub(crate) struct Registration {
    registry: Arc<SocketRegistry>,
    sid: Arc<str>,
    _permit: Permit<ClientNetwork>,
}

impl Registration {
    /// Registers a WebSocket.
    ///
    /// # Errors
    /// The node or the client's network has as many sockets as it may have.
    pub(crate) fn new(registry: &Arc<SocketRegistry>, handshake: &Handshake, queue: &Arc<Queue>) -> Result<Self, Full> {
        let permit = registry.counts.acquire(handshake.network)?;
        let sid = Arc::clone(&handshake.sid);
        let served = OpenSocket::Served { queue: Arc::clone(queue), polling: None };
        registry.sockets().open.insert(Arc::clone(&sid), served);
        metrics::counter!("switchboard_sockets_opened_total").increment(1);
        Ok(Self { registry: Arc::clone(registry), sid, _permit: permit })
    }

    /// Starts the task of the session, which keeps the registration. The task holds nothing from
    /// the opening request, because it is the memory of an idle socket.
    pub(crate) fn serve(self, service: &dyn Service, engine: Engine) {
        let tasks = self.registry.tasks.clone();
        let session = service.serve(engine);
        tasks.spawn(async move {
            session.await;
            drop(self);
        });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sockets().open.remove(&self.sid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_session_takes_a_few_hundred_bytes() {
        // With its session id of about 64 bytes, and what the maps keep free.
        let entry = size_of::<(Arc<str>, OpenSocket)>() + size_of::<(Instant, Arc<str>)>();
        let session = size_of::<(SilentSession, Permit<ClientNetwork>)>() + size_of::<Handshake>();
        assert!(entry + session <= 320, "{entry} + {session}");
    }
}
