//! Delayed acknowledgements, and the bound over all queues.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::future::poll_fn;
use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::delayed::SEND_DELAY;
use super::*;

fn detached() -> (SendQueue, Arc<Queue>) {
    SendQueue::detached(SendQueueLimits { bytes: 1000, messages: 10 })
}

fn texts(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8_lossy(frame.bytes()).into_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_delayed_ack_leaves_with_the_next_message_and_keeps_its_place() {
    let (send_queue, queue) = detached();
    send_queue.ack_delayed(1, "1").unwrap();
    assert!(queue.poll_frames(&mut Context::from_waker(Waker::noop())).is_pending());
    send_queue.send(Message::packet("42[\"answer\"]")).unwrap();
    let began = Instant::now();
    let frames = poll_fn(|cx| queue.poll_frames(cx)).await;
    assert_eq!(texts(&frames), ["431[1]", "42[\"answer\"]"]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_another_message_delayed_acks_leave_together_after_the_delay() {
    let (send_queue, queue) = detached();
    let began = Instant::now();
    send_queue.ack_delayed(1, "1").unwrap();
    send_queue.ack_delayed(2, "2").unwrap();
    let frames = poll_fn(|cx| queue.poll_frames(cx)).await;
    assert_eq!(texts(&frames), ["431[1]", "432[2]"]);
    assert!((SEND_DELAY..SEND_DELAY * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    // The next one starts a delay of its own.
    send_queue.ack_delayed(3, "3").unwrap();
    assert_eq!(texts(&poll_fn(|cx| queue.poll_frames(cx)).await), ["433[3]"]);
}

#[test]
fn a_runtime_that_shuts_down_sends_its_delayed_acks() {
    let (send_queue, queue) = detached();
    let due = || queue.poll_frames(&mut Context::from_waker(Waker::noop())).is_ready();
    for id in 1..=2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { send_queue.ack_delayed(id, "1").unwrap() });
        assert!(!due());
        drop(runtime);
        assert!(due());
    }
}

#[tokio::test(start_paused = true)]
async fn closing_takes_delayed_acks_too() {
    let (send_queue, queue) = detached();
    send_queue.ack_delayed(1, "1").unwrap();
    assert_eq!(texts(&queue.take()), ["431[1]"]);
    assert_eq!(queue.queued_bytes(), 6, "bytes count until they are written");
}

const KIB: usize = 1024;

fn message(bytes: usize) -> Message {
    Message::packet("x".repeat(bytes))
}

#[test]
fn what_the_client_asked_for_is_no_debt_of_its_socket_but_only_once() {
    let (send_queue, queue) = detached();
    send_queue.send(message(5000).owed()).unwrap();
    send_queue.send(message(900)).unwrap();
    let frames = queue.take();
    queue.written(frames[0].bytes().len());
    // The other 900 bytes are not written yet.
    send_queue.send(message(90)).unwrap();
    queue.written(900);
    queue.take();
    queue.written(90);
    send_queue.send(message(5000).owed()).unwrap();
    assert_eq!(send_queue.send(message(5000).owed()), Err(SendError::Overflow));
}

#[test]
fn of_queues_that_are_large_together_the_largest_is_cut_and_a_small_one_is_not() {
    let backlog = Arc::new(Backlog::new(100 * KIB));
    let limits = SendQueueLimits { bytes: 1000 * KIB, messages: 100 };
    let queue = || Queue::new(limits, Arc::default(), Arc::clone(&backlog));
    let handle = |queue: &Arc<Queue>| SendQueue::new(Arc::clone(queue), Namespace::default());
    let is_cut = |queue: &Queue| queue.control() == Some(Control::Close(CloseReason::SlowConsumer));
    let (one, two, small) = (queue(), queue(), queue());
    handle(&one).send(message(76 * KIB)).unwrap();
    handle(&two).send(message(36 * KIB)).unwrap();
    assert_eq!(backlog.bytes(), 80 * KIB);
    // The first has taken its message, and is writing it.
    assert_eq!(one.take().len(), 1);
    handle(&two).send(message(14 * KIB)).unwrap();
    assert!(!is_cut(&one) && !is_cut(&two), "126 KiB, of which 32 KiB are not counted");
    handle(&small).send(message(40 * KIB)).unwrap();
    assert!(is_cut(&one) && !is_cut(&two) && !is_cut(&small));
    assert_eq!(handle(&one).send(message(1)), Err(SendError::Closed));
    assert_eq!(backlog.bytes(), 58 * KIB, "a cut queue counts no more");
    one.written(76 * KIB);
    assert_eq!(backlog.bytes(), 58 * KIB);
    assert_eq!(handle(&two).send(message(60 * KIB)), Err(SendError::Overflow), "itself the largest");
    assert!(is_cut(&two) && !is_cut(&small));
    assert_eq!(backlog.bytes(), 24 * KIB);
    handle(&small).send(message(1)).unwrap();
}

proptest! {
    #[test]
    fn the_backlog_is_what_its_queues_hold_and_nothing_is_left_behind(
        steps in proptest::collection::vec((0usize..3, 0usize..60_000, any::<bool>()), 1..60),
    ) {
        let backlog = Arc::new(Backlog::new(200_000));
        let limits = SendQueueLimits { bytes: 150_000, messages: 6 };
        let queues: Vec<_> =
            (0..3).map(|_| Queue::new(limits, Arc::default(), Arc::clone(&backlog))).collect();
        for (at, size, sends) in steps {
            if sends {
                let _queued_or_closed = SendQueue::new(Arc::clone(&queues[at]), Namespace::default()).send(message(size));
            } else {
                queues[at].written(queues[at].take().iter().map(|frame| frame.bytes().len()).sum());
            }
            let held: usize = queues.iter().map(|queue| queue.queued_bytes().saturating_sub(16 * KIB)).sum();
            prop_assert_eq!(backlog.bytes(), held);
            prop_assert!(held <= 200_000);
        }
        drop(queues);
        prop_assert_eq!(backlog.bytes(), 0);
    }
}
