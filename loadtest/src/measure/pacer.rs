//! Thread that starts operations on schedule. Timers of the runtime have a resolution of one
//! millisecond and are late under load; both would add to the measured latency.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};

use super::meter::Meter;
use super::schedule::Schedule;

/// The running thread. It stops when this value is dropped.
#[derive(Debug)]
pub(crate) struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Calls `begin` for each entry of the schedule, with its number and its intended start in
    /// microseconds of the meter. A late pacer catches up, and the intended starts stay unchanged.
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
                let intended = started + u64::try_from(offset.as_micros()).unwrap_or(u64::MAX);
                loop {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let wait = intended.saturating_sub(meter.now());
                    if wait == 0 {
                        break;
                    }
                    // Short sleeps, so that the thread stops within 50 ms.
                    sleep(std::time::Duration::from_micros(wait.min(50_000)));
                }
                begin(number, intended);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The panic hook has already printed a panic of the thread.
            let _ = thread.join();
        }
    }
}
