//! Delayed acknowledgements.

#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::task::{Context, Waker};
use std::time::Duration;

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
