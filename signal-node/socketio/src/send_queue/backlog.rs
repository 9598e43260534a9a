//! Bytes queued for slow clients, over all sockets of a server.
//!
//! The bound of each queue alone is not enough: a client with many sockets that it does not read
//! could fill as many queues. A queue with little in it is not counted, so that the usual message
//! costs no shared counter.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a queue that are not counted.
const UNCOUNTED: usize = 16 * 1024;

/// Bytes in all queues of a server, without the first 16 KiB of each.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    /// Maximum; 0 is off.
    max: usize,
}

impl Backlog {
    /// Creates the count for empty queues; a maximum of 0 is off.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), max }
    }

    /// Replaces the counted bytes of a queue, which has `queued` bytes now. Returns whether all
    /// queues together are within the maximum; fewer bytes always are.
    pub(super) fn update(&self, counted: &mut usize, queued: usize) -> bool {
        let before = std::mem::replace(counted, queued.saturating_sub(UNCOUNTED));
        if *counted <= before {
            if *counted < before {
                self.bytes.fetch_sub(before - *counted, Ordering::Relaxed);
            }
            return true;
        }
        let more = *counted - before;
        let total = self.bytes.fetch_add(more, Ordering::Relaxed) + more;
        self.max == 0 || total <= self.max
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
