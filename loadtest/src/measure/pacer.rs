//! A thread of its own that says when things are to be begun. The runtime's timers are of whole milliseconds, and late when it is busy:
//! both would show as the servers' latency.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};

use super::meter::Meter;
use super::schedule::Schedule;

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Calls `begin` at each moment of the schedule, counted from now, with its number and with the moment that was meant, in
    /// microseconds of the meter. When it is late it catches up; the moments stay those that were meant.
    pub(crate) fn start(
        meter: &Arc<Meter>,
        schedule: Schedule,
        mut begin: impl FnMut(usize, u64) + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (meter, stopped) = (Arc::clone(meter), Arc::clone(&stop));
        let started = meter.now();
        let thread = spawn(move || {
            for (number, offset) in schedule.enumerate() {
                let meant = started + u64::try_from(offset.as_micros()).unwrap_or(u64::MAX);
                loop {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let wait = meant.saturating_sub(meter.now());
                    if wait == 0 {
                        break;
                    }
                    // In short sleeps, so that it ends soon when it is to.
                    sleep(std::time::Duration::from_micros(wait.min(50_000)));
                }
                begin(number, meant);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic is its own message.
            let _ = thread.join();
        }
    }
}
