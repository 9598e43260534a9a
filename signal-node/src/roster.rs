//! Every connected session of this node, in a room or not: whom to tell what concerns all, and whom a revoked sign-in ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchboard_core::domain::DisconnectReason;

use crate::hub;
use switchboard_socketio::send_queue::{Message, SendQueue};

/// The sessions. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sockets: HashMap<u64, SendQueue>,
    /// Those whose token belongs to a sign-in, by it.
    signed_in: HashMap<Arc<str>, Vec<u64>>,
    /// What whoever comes is told too, since it holds for the whole node.
    notice: Option<Message>,
}

/// A session's place in the roster, given back when dropped; and the way to its client.
#[derive(Debug)]
pub struct Enrolled {
    shared: Arc<Shared>,
    id: u64,
    sign_in: Option<Arc<str>>,
    outbox: SendQueue,
}

impl Roster {
    /// Adds a session. A notice that stands is sent to it.
    #[must_use]
    pub fn enroll(&self, sign_in: Option<&str>, outbox: SendQueue) -> Enrolled {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let sign_in: Option<Arc<str>> = sign_in.map(Into::into);
        let mut state = self.0.lock();
        state.sockets.insert(id, outbox.clone());
        if let Some(sign_in) = &sign_in {
            state.signed_in.entry(Arc::clone(sign_in)).or_default().push(id);
        }
        if let Some(notice) = &state.notice {
            tell(&outbox, notice);
        }
        drop(state);
        Enrolled { shared: Arc::clone(&self.0), id, sign_in, outbox }
    }

    /// Ends the sessions of a sign-in that is over: their clients stay away.
    pub fn end(&self, sign_in: &str) {
        let state = self.0.lock();
        let ids = state.signed_in.get(sign_in).into_iter().flatten();
        for outbox in ids.filter_map(|id| state.sockets.get(id)) {
            hub::close(outbox, DisconnectReason::Revoked);
        }
    }

    /// Bytes that wait for slow sockets, all together.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.0.lock().sockets.values().map(SendQueue::queued_bytes).sum()
    }

    /// Tells everybody; with `stands`, also those who come later, until the next time.
    pub fn tell_all(&self, message: &Message, stands: bool) {
        let mut state = self.0.lock();
        state.sockets.values().for_each(|outbox| tell(outbox, message));
        state.notice = stands.then(|| message.clone());
    }
}

impl Enrolled {
    /// The way to the client.
    #[must_use]
    pub fn outbox(&self) -> &SendQueue {
        &self.outbox
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.sockets.remove(&self.id);
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
        // Nothing inside panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(outbox: &SendQueue, message: &Message) {
    // A closed or overflowing socket is told nothing any more.
    let _closing = outbox.send(message.clone());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::{Context, Poll, Waker};

    use super::*;
    use switchboard_socketio::send_queue::{Queue, SendQueueLimits};

    fn socket() -> (SendQueue, Arc<Queue>) {
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
    fn a_sign_in_that_is_over_ends_its_own_sockets_and_nobody_elses() {
        let roster = Roster::default();
        let [(first, one), (second, two), (third, three), (gone, four)] = std::array::from_fn(|_| socket());
        let places = [roster.enroll(Some("a"), first), roster.enroll(Some("b"), second), roster.enroll(None, third)];
        drop(roster.enroll(Some("a"), gone));
        roster.end("a");
        assert_eq!(frames(&one), ["41"]);
        assert!(frames(&two).is_empty() && frames(&three).is_empty() && frames(&four).is_empty());
        drop(places);
        let state = roster.0.lock();
        assert!(state.sockets.is_empty() && state.signed_in.is_empty());
    }

    #[test]
    fn a_notice_that_stands_reaches_who_comes_later_until_it_is_replaced() {
        let roster = Roster::default();
        let [(first, one), (second, two), (third, three)] = std::array::from_fn(|_| socket());
        let _first = roster.enroll(None, first);
        roster.tell_all(&Message::packet("42[\"degraded\"]"), true);
        let _second = roster.enroll(None, second);
        roster.tell_all(&Message::packet("42[\"restored\"]"), false);
        let _third = roster.enroll(None, third);
        let both = ["42[\"degraded\"]", "42[\"restored\"]"];
        assert_eq!((frames(&one), frames(&two)), (both.map(Into::into).to_vec(), both.map(Into::into).to_vec()));
        assert!(frames(&three).is_empty());
    }
}
