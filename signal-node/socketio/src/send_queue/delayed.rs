//! Acknowledgements that wait a moment for company, as TCP's delayed ones do: to write to a socket is the most that a relay costs a node,
//! and whoever offers has an answer coming.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Queue;

/// How long something waits, and up to a millisecond more, since timers are that coarse. Far below what a network adds, and long enough for
/// a burst, or for an answer that is on its way.
const DELAY: Duration = Duration::from_millis(2);

/// The sockets at which something waits. One timer serves them all.
#[derive(Debug, Default)]
pub struct Delayed {
    waiting: Mutex<Vec<Arc<Queue>>>,
}

impl Delayed {
    /// Has what is queued leave after [`DELAY`]. To be called within a runtime.
    pub(super) fn add(self: &Arc<Self>, queue: Arc<Queue>) {
        let first = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(queue);
            waiting.len() == 1
        };
        if first {
            let timer = Timer(Arc::clone(self));
            tokio::spawn(async move {
                tokio::time::sleep(DELAY).await;
                drop(timer);
            });
        }
    }
}

/// Sends what waits when it ends, also with a runtime that is shut down before: else nothing would ever start the next one.
struct Timer(Arc<Delayed>);

impl Drop for Timer {
    fn drop(&mut self) {
        let waited = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waited.iter().for_each(|queue| queue.send_now());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::{Context, Waker};

    use tokio::time::Instant;

    use super::*;
    use crate::send_queue::{Message, SendQueue, SendQueueLimits};

    fn outbox() -> (SendQueue, Arc<Queue>) {
        SendQueue::detached(SendQueueLimits { bytes: 1000, messages: 10 })
    }

    fn texts(frames: &[crate::send_queue::Frame]) -> Vec<String> {
        frames.iter().map(|frame| String::from_utf8_lossy(frame.bytes()).into_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_acknowledgement_leaves_with_the_next_message_and_keeps_its_place() {
        let (outbox, queue) = outbox();
        outbox.ack_delayed(1, "1").unwrap();
        assert!(queue.poll_frames(&mut Context::from_waker(Waker::noop())).is_pending());
        outbox.send(Message::packet("42[\"answer\"]")).unwrap();
        let began = Instant::now();
        let frames = poll_fn(|cx| queue.poll_frames(cx)).await;
        assert_eq!(texts(&frames), ["431[1]", "42[\"answer\"]"]);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_company_it_leaves_after_the_delay_as_do_those_that_came_meanwhile() {
        let (outbox, queue) = outbox();
        let began = Instant::now();
        outbox.ack_delayed(1, "1").unwrap();
        outbox.ack_delayed(2, "2").unwrap();
        let frames = poll_fn(|cx| queue.poll_frames(cx)).await;
        assert_eq!(texts(&frames), ["431[1]", "432[2]"]);
        assert!((DELAY..DELAY * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        // And the next one has its own time.
        outbox.ack_delayed(3, "3").unwrap();
        assert_eq!(texts(&poll_fn(|cx| queue.poll_frames(cx)).await), ["433[3]"]);
    }

    #[test]
    fn a_runtime_that_ends_keeps_nothing_waiting() {
        let (outbox, queue) = outbox();
        let due = || queue.poll_frames(&mut Context::from_waker(Waker::noop())).is_ready();
        for id in 1..=2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async { outbox.ack_delayed(id, "1").unwrap() });
            assert!(!due());
            drop(runtime);
            assert!(due());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_takes_what_waits() {
        let (outbox, queue) = outbox();
        outbox.ack_delayed(1, "1").unwrap();
        assert_eq!(texts(&queue.take()), ["431[1]"]);
        assert_eq!(queue.queued_bytes(), 6, "until they have left");
    }
}
