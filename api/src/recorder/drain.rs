//! One owned partition: read a batch, write it, let the outbox forget it.

use std::time::Duration;

use switchboard_records::{CallFact, DeadFact, Records, RecordsError};
use switchboard_rooms::{OutboxEntry, Partition, Rooms, StoreError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{RecorderOptions, reading};
use crate::app::now;
use crate::webhooks::events::deliveries;

/// The first and the longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What the work on every partition shares.
pub(super) struct Outboxes {
    pub(super) rooms: Rooms,
    pub(super) records: Records,
    pub(super) options: RecorderOptions,
    /// This recorder's, in every lease and in its announcement.
    pub(super) token: String,
    /// Permits to hold a batch in memory.
    pub(super) writers: Semaphore,
}

/// What a step came to.
enum Step {
    /// The batch was as large as it may be: there is more.
    More,
    /// Nothing waits any more.
    Drained,
    /// Another owns the partition.
    Lost,
}

/// Why a step failed; the facts stay where they are.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("outbox: {0}")]
    Store(#[from] StoreError),
    #[error("records: {0}")]
    Records(#[from] RecordsError),
}

impl Outboxes {
    /// Works on a partition until it is cancelled or the lease is lost.
    pub(super) async fn drain(&self, partition: Partition, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            // A step that is dropped half-way is one that is done again.
            let step = tokio::select! { biased; () = stop.cancelled() => break, step = self.step(partition) => step };
            let pause = match &step {
                Ok(Step::Lost) => return,
                Ok(Step::More) => Duration::ZERO,
                Ok(Step::Drained) => jittered(self.options.idle),
                Err(_) => jittered((BACKOFF.0 * 2_u32.saturating_pow(failures.min(16))).min(BACKOFF.1)),
            };
            match step {
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(partition = partition.0, %error, "facts cannot be recorded now; they wait");
                    }
                    failures = failures.saturating_add(1);
                }
                Ok(_) if failures > 0 => {
                    tracing::info!(partition = partition.0, "facts are recorded again");
                    failures = 0;
                }
                Ok(_) => {}
            }
            tokio::select! { biased; () = stop.cancelled() => break, () = tokio::time::sleep(pause) => {} }
        }
        // Should this fail, the lease runs out by itself.
        let _ = self.rooms.disown(partition, &self.token).await;
    }

    async fn step(&self, partition: Partition) -> Result<Step, StepError> {
        let Ok(_permit) = self.writers.acquire().await else { return Ok(Step::Lost) };
        let batch = self.rooms.outbox(partition, None, self.options.batch).await?;
        let Some(last) = batch.last().map(|entry| entry.id) else { return Ok(Step::Drained) };
        let full = batch.len() >= self.options.batch;
        self.write(batch).await?;
        match self.rooms.ack(partition, &self.token, last).await? {
            true if full => Ok(Step::More),
            true => Ok(Step::Drained),
            false => Ok(Step::Lost),
        }
    }

    /// Writes a batch; what can never be written goes to the dead facts, so that it does not hold up the rest.
    async fn write(&self, batch: Vec<OutboxEntry>) -> Result<(), RecordsError> {
        let (mut facts, mut sources, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        for entry in batch {
            match entry.fact.as_ref().map_err(|_| "not a fact".to_owned()).and_then(reading::read) {
                Ok(read) => {
                    facts.push(read);
                    sources.push(entry);
                }
                Err(problem) => dead.push(buried(&entry, problem)),
            }
        }
        let refused = self.write_all_that_can_be(&facts).await?;
        dead.extend(refused.iter().map(|(index, problem)| buried(&sources[*index], problem.clone())));
        self.records.bury_facts(&dead, now()).await?;
        for fact in &dead {
            metrics::counter!("switchboard_dead_facts_total").increment(1);
            // The problem stands beside it there: it may quote what somebody said, which is nothing for a log.
            tracing::error!(event_id = fact.event_id, "a fact can never be recorded; kept in deadfacts");
        }
        let mut index = 0;
        facts.retain(|_| {
            index += 1;
            refused.iter().all(|(bad, _)| bad + 1 != index)
        });
        // Before the outbox lets go of the facts: a pod that dies now leaves them to the next, which queues the same once more.
        self.records.queue_deliveries(&deliveries(&facts, &self.options.webhooks)).await?;
        for CallFact { change, .. } in &facts {
            metrics::counter!("switchboard_facts_recorded_total", "kind" => change.kind()).increment(1);
        }
        Ok(())
    }

    /// Writes facts; those, by index, that MongoDB will never take, and why. When it refuses all at once, they are said one by one: a
    /// single one can be the cause. Whether that one or MongoDB is at fault shows when it is buried, which is a write too.
    async fn write_all_that_can_be(&self, facts: &[CallFact]) -> Result<Vec<(usize, String)>, RecordsError> {
        match self.records.write_facts(facts).await {
            Err(RecordsError::Failed(_) | RecordsError::Corrupt(_)) => {}
            done => return done,
        }
        let mut refused = Vec::new();
        for (index, fact) in facts.iter().enumerate() {
            match self.records.write_facts(std::slice::from_ref(fact)).await {
                Ok(bad) => refused.extend(bad.into_iter().map(|(_, problem)| (index, problem))),
                Err(RecordsError::Failed(problem) | RecordsError::Corrupt(problem)) => refused.push((index, problem)),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}

fn buried(entry: &OutboxEntry, problem: String) -> DeadFact {
    let content = entry.fact.as_ref().map_or_else(Clone::clone, |fact| format!("{fact:?}"));
    DeadFact { event_id: entry.event_id.clone(), content, problem }
}

/// Between three quarters of it and all of it, so that pods and partitions do not move in step.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.75 + rand::random::<f64>() / 4.0)
}
