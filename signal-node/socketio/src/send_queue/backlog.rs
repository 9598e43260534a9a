//! Bytes queued for slow clients, over all sockets of a server.
//!
//! The bound of each queue alone is not enough: a client with many sockets that it does not read
//! could fill as many queues. Above the bound the largest queue is cut, so that the sockets of such
//! a client end and not the ones that happen to get the next message. A queue with little in it is
//! not counted, so that the usual message costs no shared lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes of a queue that are not counted.
const UNCOUNTED: usize = 16 * 1024;

/// Bytes in all queues `Q` of a server, without the first 16 KiB of each.
#[derive(Debug)]
pub struct Backlog<Q> {
    large: Mutex<LargeQueues<Q>>,
    /// Maximum; 0 is off.
    max: usize,
}

/// Queues with counted bytes.
#[derive(Debug)]
struct LargeQueues<Q> {
    bytes: usize,
    /// By address of the queue. Each removes itself before it is freed.
    queues: HashMap<usize, (usize, Weak<Q>)>,
}

/// Queue that must be cut, because all queues together exceed the maximum.
#[derive(Debug)]
pub(super) enum Largest<Q> {
    /// The queue that grew.
    Own,
    /// Another queue. The caller cuts it without a lock on its own.
    Other(Arc<Q>),
}

impl<Q> Backlog<Q> {
    /// Creates the count for empty queues; a maximum of 0 is off.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { large: Mutex::new(LargeQueues { bytes: 0, queues: HashMap::new() }), max }
    }

    /// Replaces the counted bytes of a queue, which has `queued` bytes now. Returns the queue to
    /// cut if all queues together exceed the maximum; fewer bytes never do.
    pub(super) fn update(&self, queue: &Weak<Q>, counted: &mut usize, queued: usize) -> Option<Largest<Q>> {
        let before = std::mem::replace(counted, queued.saturating_sub(UNCOUNTED));
        if *counted == before {
            return None;
        }
        let key = queue.as_ptr().addr();
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        large.bytes = large.bytes - before + *counted;
        if *counted == 0 {
            large.queues.remove(&key);
        } else {
            large.queues.entry(key).or_insert_with(|| (0, Weak::clone(queue))).0 = *counted;
        }
        if *counted < before || self.max == 0 || large.bytes <= self.max {
            return None;
        }
        let largest = large.queues.values().max_by_key(|(bytes, _)| *bytes)?.1.upgrade();
        Some(largest.filter(|largest| Arc::as_ptr(largest).addr() != key).map_or(Largest::Own, Largest::Other))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.large.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}
