//! Threads that hash passwords. They have a low priority, so that a burst of sign-ins takes only
//! the time that other requests leave.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Nice value of the threads. The scheduler of Linux gives a thread of nice value 0 nine times the
/// time of one with 10.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads. They end when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Workers(Sender<Job>);

impl Workers {
    /// Starts the threads.
    ///
    /// # Panics
    /// The system cannot start a thread.
    pub(super) fn start(threads: usize) -> Self {
        let (sender, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..threads {
            let jobs = Arc::clone(&jobs);
            let thread = std::thread::Builder::new().name("password".to_owned());
            thread.spawn(move || work(&jobs)).expect("a process that cannot start a thread at its start cannot work");
        }
        Self(sender)
    }

    /// Runs `work` on a thread. `None`: it panicked. If the caller is dropped, it still runs.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, done) = oneshot::channel();
        let job = move || {
            // The caller may be gone.
            let _ = sender.send(work());
        };
        self.0.send(Box::new(job)).ok()?;
        done.await.ok()
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // On Linux this is the priority of the calling thread. Without it the threads work as well.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "lowering the priority of a password thread failed");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A panic must not end the thread. The caller notices it by the sender that is dropped.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_at_a_low_priority_and_a_panic_ends_no_thread() {
        let workers = Workers::start(1);
        let priority = || rustix::process::getpriority_process(None).ok();
        let before = priority();
        assert_eq!(workers.run(priority).await.flatten(), Some(NICE));
        assert_eq!(workers.run(|| panic!("a bug")).await, None::<()>);
        assert_eq!(workers.run(|| 7).await, Some(7));
        assert_eq!(priority(), before, "other threads keep theirs");
    }
}
