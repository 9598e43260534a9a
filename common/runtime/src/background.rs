//! Tasks that run as long as the process. If one of them ends early, the process stops, because a
//! process without its heartbeats or its recorder looks healthy and does not do its work.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A task ended although the process was to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the background task `{0}` ended early")]
pub struct EndedEarly(pub &'static str);

/// Background tasks of a process.
#[derive(Clone, Debug)]
pub struct BackgroundTasks {
    /// Asks the process to stop.
    stop: CancellationToken,
    tasks: TaskTracker,
    /// The first task that ended early.
    failed: Arc<OnceLock<EndedEarly>>,
}

impl BackgroundTasks {
    /// Creates an empty set. `stop` asks the process to stop: a task may end after that, and one
    /// that ends before cancels it.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, tasks: TaskTracker::new(), failed: Arc::default() }
    }

    /// Starts a task. If it panics, or ends before the process is asked to stop, the process is
    /// asked to stop.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (stop, failed) = (self.stop.clone(), Arc::clone(&self.failed));
        self.tasks.spawn(async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if ended.is_err() || !stop.is_cancelled() {
                tracing::error!(task = name, "background task ended early, the process stops");
                let _first = failed.get_or_init(|| EndedEarly(name));
                stop.cancel();
            }
        });
    }

    /// Waits until all tasks have ended. The caller asks them to end before.
    ///
    /// # Errors
    /// The first task that panicked or ended early.
    pub async fn wait(&self) -> Result<(), EndedEarly> {
        self.tasks.close();
        self.tasks.wait().await;
        self.outcome()
    }

    /// Returns without waiting.
    ///
    /// # Errors
    /// The first task that panicked or ended early.
    pub fn outcome(&self) -> Result<(), EndedEarly> {
        self.failed.get().map_or(Ok(()), |failed| Err(*failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_that_end_after_the_stop_are_no_failure() {
        let stop = CancellationToken::new();
        let tasks = BackgroundTasks::new(stop.clone());
        tasks.spawn("first", stop.clone().cancelled_owned());
        tasks.spawn("second", stop.clone().cancelled_owned());
        stop.cancel();
        assert_eq!(tasks.wait().await, Ok(()));
    }

    #[tokio::test]
    async fn a_task_that_panics_stops_the_process() {
        let stop = CancellationToken::new();
        let tasks = BackgroundTasks::new(stop.clone());
        tasks.spawn("others", stop.clone().cancelled_owned());
        tasks.spawn("heartbeats", async { panic!("a bug") });
        stop.cancelled().await;
        assert_eq!(tasks.wait().await, Err(EndedEarly("heartbeats")));
    }

    #[tokio::test]
    async fn a_task_that_returns_early_stops_the_process() {
        let stop = CancellationToken::new();
        let tasks = BackgroundTasks::new(stop.clone());
        tasks.spawn("recorder", async {});
        stop.cancelled().await;
        assert_eq!(tasks.wait().await, Err(EndedEarly("recorder")));
    }

    #[tokio::test]
    async fn a_task_that_panics_while_the_process_stops_is_told() {
        let stop = CancellationToken::new();
        let tasks = BackgroundTasks::new(stop.clone());
        let stopping = stop.clone();
        tasks.spawn("membership", async move {
            stopping.cancelled().await;
            panic!("a bug");
        });
        stop.cancel();
        assert_eq!(tasks.wait().await, Err(EndedEarly("membership")));
    }
}
