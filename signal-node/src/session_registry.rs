//! All connected sessions of this node, in a room or not: for notices to all clients, and for the
//! end of a revoked sign-in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchboard_core::domain::DisconnectReason;
use switchboard_socketio::send_queue::{Message, SendQueue};

use crate::delivery;

/// The connected sessions. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SessionRegistry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<u64, SendQueue>,
    /// Sessions whose token belongs to a sign-in, by the sign-in.
    signed_in: HashMap<Arc<str>, Vec<u64>>,
    /// Notice that later sessions get too, because it holds for the whole node.
    notice: Option<Message>,
}

/// Entry of a session, removed when dropped; and the queue to its client.
#[derive(Debug)]
pub struct Registration {
    shared: Arc<Shared>,
    id: u64,
    sign_in: Option<Arc<str>>,
    send_queue: SendQueue,
}

impl SessionRegistry {
    /// Adds a session, and sends it the sticky notice if there is one.
    #[must_use]
    pub fn register(&self, sign_in: Option<&str>, send_queue: SendQueue) -> Registration {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let sign_in: Option<Arc<str>> = sign_in.map(Into::into);
        let mut state = self.0.lock();
        state.queues.insert(id, send_queue.clone());
        if let Some(sign_in) = &sign_in {
            state.signed_in.entry(Arc::clone(sign_in)).or_default().push(id);
        }
        if let Some(notice) = &state.notice {
            send(&send_queue, notice);
        }
        drop(state);
        Registration { shared: Arc::clone(&self.0), id, sign_in, send_queue }
    }

    /// Closes the connections of a revoked sign-in. Their clients do not reconnect.
    pub fn close_sign_in(&self, sign_in: &str) {
        let state = self.0.lock();
        let ids = state.signed_in.get(sign_in).into_iter().flatten();
        for send_queue in ids.filter_map(|id| state.queues.get(id)) {
            delivery::close(send_queue, DisconnectReason::Revoked);
        }
    }

    /// Returns the number of bytes in all send queues.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.0.lock().queues.values().map(SendQueue::queued_bytes).sum()
    }

    /// Sends a notice to all sessions. A sticky one also goes to later sessions, until the next
    /// broadcast.
    pub fn broadcast(&self, message: &Message, sticky: bool) {
        let mut state = self.0.lock();
        state.queues.values().for_each(|send_queue| send(send_queue, message));
        state.notice = sticky.then(|| message.clone());
    }
}

impl Registration {
    /// Sign-in that the session's token belongs to.
    #[must_use]
    pub fn sign_in(&self) -> Option<&str> {
        self.sign_in.as_deref()
    }

    /// Queue to the session's client.
    #[must_use]
    pub fn send_queue(&self) -> &SendQueue {
        &self.send_queue
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.queues.remove(&self.id);
        if let Some(sign_in) = &self.sign_in
            && let Some(ids) = state.signed_in.get_mut(sign_in)
        {
            ids.retain(|id| *id != self.id);
            if ids.is_empty() {
                state.signed_in.remove(sign_in);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(send_queue: &SendQueue, message: &Message) {
    // A queue that is closed or overflows needs no notice: its client is on its way out.
    let _closing = send_queue.send(message.clone());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::task::{Context, Poll, Waker};

    use switchboard_socketio::send_queue::{Queue, SendQueueLimits};

    use super::*;

    fn client() -> (SendQueue, Arc<Queue>) {
        SendQueue::detached(SendQueueLimits { bytes: 1000, messages: 10 })
    }

    fn frames(queue: &Queue) -> Vec<String> {
        match queue.poll_frames(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frames) => {
                frames.iter().map(|frame| String::from_utf8(frame.bytes().to_vec()).unwrap()).collect()
            }
            Poll::Pending => Vec::new(),
        }
    }

    #[test]
    fn a_revoked_sign_in_closes_its_own_connections_and_no_others() {
        let sessions = SessionRegistry::default();
        let [(first, one), (second, two), (third, three), (gone, four)] = std::array::from_fn(|_| client());
        let registered =
            [sessions.register(Some("a"), first), sessions.register(Some("b"), second), sessions.register(None, third)];
        drop(sessions.register(Some("a"), gone));
        sessions.close_sign_in("a");
        assert_eq!(frames(&one), ["41"]);
        assert!(frames(&two).is_empty() && frames(&three).is_empty() && frames(&four).is_empty());
        drop(registered);
        let state = sessions.0.lock();
        assert!(state.queues.is_empty() && state.signed_in.is_empty());
    }

    #[test]
    fn a_sticky_notice_reaches_later_sessions_until_it_is_replaced() {
        let sessions = SessionRegistry::default();
        let [(first, one), (second, two), (third, three)] = std::array::from_fn(|_| client());
        let _first = sessions.register(None, first);
        sessions.broadcast(&Message::packet("42[\"degraded\"]"), true);
        let _second = sessions.register(None, second);
        sessions.broadcast(&Message::packet("42[\"restored\"]"), false);
        let _third = sessions.register(None, third);
        let both = ["42[\"degraded\"]", "42[\"restored\"]"];
        assert_eq!((frames(&one), frames(&two)), (both.map(Into::into).to_vec(), both.map(Into::into).to_vec()));
        assert!(frames(&three).is_empty());
    }
}
