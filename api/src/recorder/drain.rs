//! Records the outbox of one partition: reads a batch, writes it, and removes it from the outbox.

use std::time::Duration;

use switchboard_records::{CallFact, DeadFact, Records, RecordsError};
use switchboard_rooms::{OutboxEntry, Partition, Rooms, StoreError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::fact;
use super::options::RecorderOptions;
use crate::clock::{jittered, now};
use crate::webhooks::events::deliveries;

/// Pause after the first failure. It doubles with each further failure.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest pause after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Parts that the work on all partitions shares.
pub(super) struct Outboxes {
    pub(super) rooms: Rooms,
    pub(super) records: Records,
    pub(super) options: RecorderOptions,
    /// Name of this recorder in its leases and in its announcement.
    pub(super) lease_owner: String,
    /// Permits, one for each batch in memory.
    pub(super) writers: Semaphore,
}

/// Result of one step.
enum Step {
    /// The batch was full, so more facts may wait.
    More,
    /// The outbox is empty.
    Drained,
    /// Another recorder owns the partition.
    Lost,
}

/// Failure of a step. The facts stay in the outbox.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("outbox: {0}")]
    Store(#[from] StoreError),
    #[error("records: {0}")]
    Records(#[from] RecordsError),
}

impl Outboxes {
    /// Records the outbox of a partition until `stop` is cancelled or the lease is lost.
    pub(super) async fn drain(&self, partition: Partition, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            // A step that is dropped before its end is repeated, by this pod or by the next owner.
            let step = tokio::select! { biased; () = stop.cancelled() => break, step = self.step(partition) => step };
            let pause = match &step {
                Ok(Step::Lost) => return,
                Ok(Step::More) => Duration::ZERO,
                Ok(Step::Drained) => jittered(self.options.idle),
                Err(_) => jittered((BACKOFF_MIN * 2_u32.saturating_pow(failures.min(16))).min(BACKOFF_MAX)),
            };
            match step {
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(partition = partition.0, %error, "recording facts failed; retrying");
                    }
                    failures = failures.saturating_add(1);
                }
                Ok(_) if failures > 0 => {
                    tracing::info!(partition = partition.0, "recording facts works again");
                    failures = 0;
                }
                Ok(_) => {}
            }
            tokio::select! { biased; () = stop.cancelled() => break, () = tokio::time::sleep(pause) => {} }
        }
        // If this fails, the lease expires.
        let _ = self.rooms.release_lease(partition, &self.lease_owner).await;
    }

    async fn step(&self, partition: Partition) -> Result<Step, StepError> {
        let Ok(_permit) = self.writers.acquire().await else { return Ok(Step::Lost) };
        let batch = self.rooms.outbox(partition, None, self.options.batch).await?;
        let Some(last) = batch.last().map(|entry| entry.id) else { return Ok(Step::Drained) };
        let full = batch.len() >= self.options.batch;
        self.write(batch).await?;
        match self.rooms.trim_outbox(partition, &self.lease_owner, last).await? {
            true if full => Ok(Step::More),
            true => Ok(Step::Drained),
            false => Ok(Step::Lost),
        }
    }

    /// Writes a batch. Facts that can never be written become dead facts, so that they do not block
    /// the facts behind them.
    async fn write(&self, batch: Vec<OutboxEntry>) -> Result<(), RecordsError> {
        let (mut facts, mut sources, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        for entry in batch {
            match entry.fact.as_ref().map_err(|_| "not a fact".to_owned()).and_then(fact::read) {
                Ok(read) => {
                    facts.push(read);
                    sources.push(entry);
                }
                Err(problem) => dead.push(dead_fact(&entry, problem)),
            }
        }
        let refused = self.write_facts(&facts).await?;
        dead.extend(refused.iter().map(|(index, problem)| dead_fact(&sources[*index], problem.clone())));
        self.records.store_dead_facts(&dead, now()).await?;
        for fact in &dead {
            metrics::counter!("switchboard_dead_facts_total").increment(1);
            // The problem is stored with the fact and not logged, because it can quote chat
            // messages.
            tracing::error!(event_id = fact.event_id, "fact cannot be recorded; moved to deadfacts");
        }
        let mut index = 0;
        facts.retain(|_| {
            index += 1;
            refused.iter().all(|(bad, _)| bad + 1 != index)
        });
        // Queue before the facts leave the outbox: if this pod dies now, the next owner queues the
        // same deliveries again, and their ids make the repetition harmless.
        self.records.queue_deliveries(&deliveries(&facts, &self.options.webhooks)).await?;
        for CallFact { change, .. } in &facts {
            metrics::counter!("switchboard_facts_recorded_total", "kind" => change.kind()).increment(1);
        }
        Ok(())
    }

    /// Writes facts. Returns the index and the reason of each fact that MongoDB will never accept.
    ///
    /// When MongoDB refuses the whole batch, facts are written one by one, because one bad fact can
    /// fail the batch. If MongoDB itself is at fault, storing the dead fact fails as well, and the
    /// step is repeated.
    async fn write_facts(&self, facts: &[CallFact]) -> Result<Vec<(usize, String)>, RecordsError> {
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

fn dead_fact(entry: &OutboxEntry, problem: String) -> DeadFact {
    let content = entry.fact.as_ref().map_or_else(Clone::clone, |fact| format!("{fact:?}"));
    DeadFact { event_id: entry.event_id.clone(), content, problem }
}
