//! Delayed sending, as in TCP's delayed acknowledgements.
//!
//! The write to a socket is the largest cost of a relayed event. After an offer an answer usually
//! follows soon, so that an acknowledgement can share its write.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Delay before a queued message is sent. Timers are coarse and may add 1 ms. The delay is far
/// below the network's latency, and long enough for a burst or for an answer that is on its way.
pub(super) const SEND_DELAY: Duration = Duration::from_millis(2);

/// A queue whose content can be made due.
pub(super) trait Flush: Debug + Send + Sync {
    /// Makes the queued messages due now.
    fn flush(&self);
}

/// The queues that hold delayed messages. One timer serves all of them.
#[derive(Debug, Default)]
pub struct Delayed {
    waiting: Mutex<Vec<Arc<dyn Flush>>>,
}

impl Delayed {
    /// Flushes `queue` after [`SEND_DELAY`].
    ///
    /// # Panics
    /// Must be called within a Tokio runtime.
    pub(super) fn add(self: &Arc<Self>, queue: Arc<dyn Flush>) {
        let first = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(queue);
            waiting.len() == 1
        };
        if first {
            let timer = Timer(Arc::clone(self));
            tokio::spawn(async move {
                tokio::time::sleep(SEND_DELAY).await;
                drop(timer);
            });
        }
    }
}

/// Flushes the waiting queues when it is dropped. It also does so when its runtime shuts down
/// early; otherwise no later call would start the next timer.
struct Timer(Arc<Delayed>);

impl Drop for Timer {
    fn drop(&mut self) {
        let waited = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waited.iter().for_each(|queue| queue.flush());
    }
}
