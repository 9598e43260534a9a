//! Bounds on the operations in progress, so that each of them has a connection.
//!
//! The driver has a queue of its own for connections. It has no bound, and an operation that is
//! dropped while it waits stays in the queue until a later event reaches it: at most one a wake-up,
//! about two a second. A burst of requests that time out therefore blocks the driver for hours. So
//! the driver's queue stays empty here:
//!
//! | share | used by | connections | operations that wait |
//! |---|---|---|---|
//! | `recording` | recorder, webhooks, sweeps | a quarter | 256 |
//! | `lists` | lists, searches, statistics, pages | a quarter | 64 |
//! | `requests` | everything else | the rest | 1,024 |
//!
//! An operation that finds its queue full, or waits for too long, is refused. An operation that has
//! a connection runs on a task of its own, to its end or to its time limit. Its connection is
//! counted until then, so that clients that disconnect cannot start more operations than there are
//! connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{RecordsError, RecordsTimeouts};

/// Connections of a process, if the connection string has no `maxPoolSize`.
const CONNECTIONS_DEFAULT: u32 = 20;
/// Fewest connections of a process: each share has one.
const CONNECTIONS_MIN: u32 = 4;

/// Purpose of an operation. Each has connections of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Operations of one request, each of a few documents.
    Requests,
    /// Operations that read many documents.
    Lists,
    /// Operations that no request waits for.
    Recording,
}

impl Share {
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Lists => "lists",
            Self::Recording => "recording",
        }
    }
}

/// Reasons to refuse an operation.
const QUEUE_FULL: &str = "queue_full";
const TIMEOUT: &str = "timeout";

fn refused(share: Share, reason: &'static str) -> metrics::Counter {
    metrics::counter!("switchboard_mongodb_refused_total", "share" => share.name(), "reason" => reason)
}

/// Slots for operations. Clones share them.
#[derive(Clone)]
pub(super) struct Pool(Arc<[Slots; 3]>);

struct Slots {
    /// One permit for each connection.
    running: Arc<Semaphore>,
    /// One permit for each operation that may wait.
    waiting: Semaphore,
}

impl Slots {
    fn new(running: usize, waiting: usize) -> Self {
        Self { running: Arc::new(Semaphore::new(running)), waiting: Semaphore::new(waiting) }
    }
}

/// Returns the number of connections: `requested`, but at least 4; 20 if it is `None` or 0.
pub(super) fn connections(requested: Option<u32>) -> u32 {
    requested.filter(|number| *number > 0).unwrap_or(CONNECTIONS_DEFAULT).max(CONNECTIONS_MIN)
}

impl Pool {
    /// Divides this number of connections, at least 4.
    pub(super) fn new(connections: u32) -> Self {
        let all = usize::try_from(connections).unwrap_or(usize::MAX);
        let quarter = all / 4;
        for share in [Share::Requests, Share::Lists, Share::Recording] {
            for reason in [QUEUE_FULL, TIMEOUT] {
                // So that the series are there before the first refusal.
                refused(share, reason).increment(0);
            }
        }
        // In the order of `Share`.
        Self(Arc::new([Slots::new(all - 2 * quarter, 1_024), Slots::new(quarter, 64), Slots::new(quarter, 256)]))
    }

    /// Runs an operation when a connection of the share is free. If the caller is dropped, an
    /// operation that has begun goes on.
    ///
    /// # Errors
    /// `Unavailable`: the queue is full, no connection became free within `timeouts.operation`, or
    /// the operation took longer than that. Or the operation failed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        share: Share,
        timeouts: RecordsTimeouts,
        operation: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let slot = self.slot(share, timeouts).await.map_err(|reason| {
            refused(share, reason).increment(1);
            RecordsError::Unavailable(format!("no free connection: {reason}"))
        })?;
        let running = tokio::spawn(async move {
            let _slot = slot;
            // The driver closes the connection of an operation that is dropped in the middle.
            timeout(timeouts.operation, operation).await
        });
        match running.await {
            Ok(Ok(result)) => result.map_err(RecordsError::from),
            Ok(Err(_)) => Err(RecordsError::Unavailable("no response in time".into())),
            Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            Err(_) => Err(RecordsError::Unavailable("the process stops".into())),
        }
    }

    async fn slot(&self, share: Share, timeouts: RecordsTimeouts) -> Result<OwnedSemaphorePermit, &'static str> {
        let slots = &self.0[share as usize];
        if let Ok(slot) = Arc::clone(&slots.running).try_acquire_owned() {
            return Ok(slot);
        }
        let _place = slots.waiting.try_acquire().map_err(|_| QUEUE_FULL)?;
        match timeout(timeouts.operation, Arc::clone(&slots.running).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(TIMEOUT),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use std::time::Duration;

    const TIMEOUTS: RecordsTimeouts =
        RecordsTimeouts { select: Duration::from_secs(2), operation: Duration::from_secs(5) };

    fn endless() -> impl Future<Output = mongodb::error::Result<()>> + Send + 'static {
        std::future::pending()
    }

    async fn yield_until(condition: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if condition() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the condition did not become true");
    }

    #[test]
    fn every_share_has_a_connection_and_none_has_more_than_the_driver() {
        for requested in [None, Some(0), Some(1), Some(4), Some(5), Some(100)] {
            let (all, pool) = (connections(requested), Pool::new(connections(requested)));
            let each = pool.0.each_ref().map(|slots| slots.running.available_permits());
            assert!(each.iter().all(|slots| *slots > 0), "{requested:?}: {each:?}");
            assert_eq!(each.iter().sum::<usize>(), all as usize, "{requested:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_keeps_its_slot_when_its_caller_is_gone_and_gives_it_back_at_its_time_limit() {
        let pool = Pool::new(4);
        let abandoned = timeout(Duration::from_millis(1), pool.run(Share::Lists, TIMEOUTS, endless())).await;
        assert!(abandoned.is_err());
        let waiting = pool.run(Share::Lists, TIMEOUTS, async { Ok(()) });
        assert!(timeout(TIMEOUTS.operation / 2, waiting).await.is_err(), "the slot was free");
        assert!(pool.run(Share::Recording, TIMEOUTS, async { Ok(()) }).await.is_ok(), "another share");
        tokio::time::sleep(TIMEOUTS.operation).await;
        assert!(pool.run(Share::Lists, TIMEOUTS, async { Ok(()) }).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_a_caller_that_is_gone_leaves_its_place() {
        let pool = Pool::new(4);
        let held = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(Share::Lists, TIMEOUTS, endless()).await }
        });
        let slots = &pool.0[Share::Lists as usize];
        yield_until(|| slots.running.available_permits() == 0).await;
        let waiting: Vec<_> = (0..64)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.run(Share::Lists, TIMEOUTS, async { Ok(()) }).await })
            })
            .collect();
        yield_until(|| slots.waiting.available_permits() == 0).await;
        let started = tokio::time::Instant::now();
        let refused = pool.run(Share::Lists, TIMEOUTS, async { Ok(()) }).await;
        assert!(matches!(refused, Err(RecordsError::Unavailable(why)) if why.contains("queue_full")));
        assert_eq!(started.elapsed(), Duration::ZERO);
        for one in waiting {
            one.abort();
            let _ = one.await;
        }
        assert_eq!(slots.waiting.available_permits(), 64);
        held.abort();
    }
}
