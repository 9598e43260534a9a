//! Flushes: reads the facts that wait in the outboxes of all owned partitions, writes them
//! together, and removes them from the outboxes.
//!
//! A request to MongoDB costs more than the documents in it, and facts wait safely in Redis. So a
//! flush is one command for each collection, however many partitions and calls its facts are of.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use switchboard_records::{CallFact, DeadFact, Records, RecordsError};
use switchboard_rooms::{OutboxEntry, Partition, Rooms, StoreError};
use tokio::time::{Instant, timeout};

use super::fact;
use super::leases::Leases;
use super::options::RecorderOptions;
use crate::clock::{jittered, now};
use crate::webhooks::EndpointDirectory;
use crate::webhooks::events::deliveries;

/// Pause after the first failure. It doubles with each further failure.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest pause after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Time limit of one request about an outbox or its lease. A server of Redis that does not answer
/// must not hold up the outboxes on the others for longer.
pub(super) const OUTBOX_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes of a dead fact that are stored. MongoDB refuses a document above 16 MiB, and a dead fact
/// that it refuses would block the facts behind it.
const DEAD_CONTENT_MAX: usize = 64 * 1024;
/// Dead facts that one command stores: 8 MiB at most, half of what MongoDB accepts.
const DEAD_FACTS_MAX: usize = 128;

/// The outboxes of the owned partitions, and the stores on both sides.
pub(super) struct Outboxes {
    pub(super) rooms: Rooms,
    pub(super) records: Records,
    /// Webhook endpoints that receive events.
    pub(super) webhooks: EndpointDirectory,
    pub(super) options: RecorderOptions,
    /// Name of this recorder in its leases and in its announcement.
    pub(super) lease_owner: String,
    pub(super) leases: Leases,
}

/// Facts of one partition, oldest first.
struct Batch {
    partition: Partition,
    entries: Vec<OutboxEntry>,
}

/// Partitions whose outbox could not be read, recorded or trimmed. Each is tried again after a
/// pause.
#[derive(Default)]
struct Outages(HashMap<u16, (u32, Instant)>);

impl Outages {
    /// Returns whether the pause of a partition is over, or it has none.
    fn may_try(&self, partition: Partition) -> bool {
        self.0.get(&partition.0).is_none_or(|(_, until)| *until <= Instant::now())
    }

    /// Notes the result of a step about an outbox. Returns its value.
    fn note<T>(&mut self, partition: Partition, result: Result<T, impl Display>) -> Option<T> {
        match result {
            Ok(value) => {
                if self.0.remove(&partition.0).is_some() {
                    tracing::info!(partition = partition.0, "outbox is recorded again");
                }
                Some(value)
            }
            Err(error) => {
                let (failures, until) = self.0.entry(partition.0).or_insert((0, Instant::now()));
                if *failures == 0 {
                    tracing::warn!(partition = partition.0, %error, "outbox cannot be recorded; retrying");
                }
                *until = Instant::now() + backoff(*failures);
                *failures = failures.saturating_add(1);
                None
            }
        }
    }

    /// Notes the result of reading an outbox. Returns its facts. While it has facts, an outage ends
    /// only when they are recorded and trimmed.
    fn note_read(&mut self, partition: Partition, result: Result<Vec<OutboxEntry>, impl Display>) -> Vec<OutboxEntry> {
        match result {
            Ok(entries) if !entries.is_empty() => entries,
            done => self.note(partition, done).unwrap_or_default(),
        }
    }
}

/// Returns the pause after a failure that followed `failures` others.
fn backoff(failures: u32) -> Duration {
    jittered((BACKOFF_MIN * 2_u32.saturating_pow(failures.min(16))).min(BACKOFF_MAX))
}

/// Divides batches into groups of at most `max` facts.
fn grouped(batches: Vec<Batch>, max: usize) -> Vec<Vec<Batch>> {
    let mut groups: Vec<(usize, Vec<Batch>)> = Vec::new();
    for batch in batches {
        let facts = batch.entries.len();
        match groups.iter_mut().find(|(sum, _)| *sum + facts <= max) {
            Some((sum, group)) => {
                *sum += facts;
                group.push(batch);
            }
            None => groups.push((facts, vec![batch])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Makes a request about an outbox or its lease, within its time limit.
pub(super) async fn in_time<T>(request: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(OUTBOX_TIMEOUT, request).await.unwrap_or(Err(StoreError::Unavailable))
}

impl Outboxes {
    /// Records the facts of the owned partitions. Does not return.
    pub(super) async fn record(&self) {
        let (mut outages, mut failures) = (Outages::default(), 0_u32);
        loop {
            let started = Instant::now();
            // A flush that is dropped before its end is repeated, by this pod or by the next owner.
            let pause = match self.flush(&mut outages).await {
                Ok(is_full) => {
                    if failures > 0 {
                        tracing::info!("recording facts works again");
                        failures = 0;
                    }
                    let interval = if is_full { Duration::ZERO } else { jittered(self.options.flush_interval) };
                    interval.saturating_sub(started.elapsed())
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(%error, "recording facts failed; retrying");
                    }
                    failures = failures.saturating_add(1);
                    backoff(failures - 1)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Records the facts that wait, as many as one flush takes. Returns whether more may wait.
    async fn flush(&self, outages: &mut Outages) -> Result<bool, RecordsError> {
        let (batches, is_full) = self.read(outages).await;
        let groups = grouped(batches, self.options.batch);
        let writes = stream::iter(groups).map(|group| async {
            let partitions: Vec<_> = group.iter().map(|batch| batch.partition).collect();
            (partitions, self.write_and_trim(group).await)
        });
        let written: Vec<_> = writes.buffer_unordered(self.options.writers.max(1)).collect().await;
        let (mut failed, mut any_written) = (Vec::new(), false);
        for (partitions, group) in written {
            match group {
                Ok(trimmed) => {
                    any_written = true;
                    for (partition, result) in trimmed {
                        if outages.note(partition, result) == Some(false) {
                            self.leases.remove(partition);
                        }
                    }
                }
                Err(error) => failed.push((partitions, error)),
            }
        }
        // When all groups fail, MongoDB is at fault. When some do, their partitions alone pause.
        if !any_written && let Some((_, error)) = failed.pop() {
            return Err(error);
        }
        for (partitions, error) in failed {
            for partition in partitions {
                outages.note::<()>(partition, Err(&error));
            }
        }
        Ok(is_full)
    }

    /// Reads the facts of one flush: the same number from each outbox, then more from those with
    /// more.
    /// Returns whether an outbox may have facts that are not in it.
    async fn read(&self, outages: &mut Outages) -> (Vec<Batch>, bool) {
        let owned: Vec<_> = self.leases.held().into_iter().filter(|partition| outages.may_try(*partition)).collect();
        let mut free = self.options.batch * self.options.writers.max(1);
        let each = (free / owned.len().max(1)).clamp(1, self.options.batch);
        let reads = owned.iter().map(|partition| in_time(self.rooms.outbox(*partition, None, each)));
        let mut batches = Vec::new();
        for (partition, result) in owned.iter().zip(join_all(reads).await) {
            let entries = outages.note_read(*partition, result);
            free = free.saturating_sub(entries.len());
            if !entries.is_empty() {
                batches.push(Batch { partition: *partition, entries });
            }
        }
        let mut is_full = false;
        for Batch { partition, entries } in batches.iter_mut().filter(|batch| batch.entries.len() >= each) {
            let count = free.min(self.options.batch - entries.len());
            let Some(last) = entries.last().filter(|_| count > 0) else {
                is_full = true;
                continue;
            };
            let result = in_time(self.rooms.outbox(*partition, Some(last.id), count)).await;
            let more = outages.note_read(*partition, result);
            is_full |= more.len() >= count;
            free -= more.len();
            entries.extend(more);
        }
        (batches, is_full)
    }

    /// Writes the facts of some partitions, then trims their outboxes. Returns for each whether its
    /// lease still holds.
    async fn write_and_trim(
        &self,
        group: Vec<Batch>,
    ) -> Result<Vec<(Partition, Result<bool, StoreError>)>, RecordsError> {
        let written = group.iter().filter_map(|batch| Some((batch.partition, batch.entries.last()?.id)));
        let written: Vec<_> = written.collect();
        self.write(group.into_iter().flat_map(|batch| batch.entries).collect()).await?;
        let trims = written.into_iter().map(|(partition, last)| async move {
            (partition, in_time(self.rooms.trim_outbox(partition, &self.lease_owner, last)).await)
        });
        Ok(join_all(trims).await)
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
        for some in dead.chunks(DEAD_FACTS_MAX) {
            self.records.store_dead_facts(some, now()).await?;
        }
        let refused: HashSet<_> = refused.into_iter().map(|(index, _)| index).collect();
        let accepted = facts.into_iter().enumerate().filter(|(index, _)| !refused.contains(index));
        let facts: Vec<_> = accepted.map(|(_, fact)| fact).collect();
        // Queue before the facts leave the outbox: if this pod dies now, the next owner queues the
        // same deliveries again, and their ids make the repetition harmless.
        let deliveries = deliveries(&facts, &*self.webhooks.current().await?);
        self.records.queue_deliveries(&deliveries).await?;
        // Count and log at the end, because a flush is repeated when one of its steps fails.
        for CallFact { change, .. } in &facts {
            metrics::counter!("switchboard_facts_recorded_total", "kind" => change.kind()).increment(1);
        }
        for fact in &dead {
            metrics::counter!("switchboard_dead_facts_total").increment(1);
            // The problem is stored with the fact and not logged, because it can quote chat
            // messages.
            tracing::error!(event_id = fact.event_id, "fact cannot be recorded; moved to deadfacts");
        }
        Ok(())
    }

    /// Writes facts. Returns the index and the reason of each fact that MongoDB will never accept.
    ///
    /// When MongoDB refuses the whole batch, its two halves are written one after the other,
    /// because one bad fact can fail the batch. If MongoDB itself is at fault, storing the dead
    /// fact fails as well, and the flush is repeated.
    async fn write_facts(&self, facts: &[CallFact]) -> Result<Vec<(usize, String)>, RecordsError> {
        let mut refused = Vec::new();
        let mut parts = Vec::new();
        parts.push(0..facts.len());
        while let Some(part) = parts.pop() {
            match self.records.write_facts(&facts[part.clone()]).await {
                Ok(bad) => refused.extend(bad.into_iter().map(|(index, problem)| (part.start + index, problem))),
                Err(RecordsError::Failed(problem) | RecordsError::Corrupt(problem)) if part.len() == 1 => {
                    refused.push((part.start, problem));
                }
                Err(RecordsError::Failed(_) | RecordsError::Corrupt(_)) => {
                    let middle = part.start + part.len() / 2;
                    // The first half comes next, because the facts of a call are in order.
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}

fn dead_fact(entry: &OutboxEntry, problem: String) -> DeadFact {
    let mut content = entry.fact.as_ref().map_or_else(Clone::clone, |fact| format!("{fact:?}"));
    let end = (0..=DEAD_CONTENT_MAX.min(content.len())).rev().find(|end| content.is_char_boundary(*end));
    content.truncate(end.unwrap_or(0));
    DeadFact { event_id: entry.event_id.clone(), content, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> OutboxEntry {
        let id = switchboard_rooms::LogId { ms: 1, seq: 1 };
        OutboxEntry { id, event_id: String::new(), fact: Err(String::new()) }
    }

    #[test]
    fn the_pause_of_a_partition_grows_while_it_is_read_and_cannot_be_trimmed() {
        let (mut outages, partition) = (Outages::default(), Partition(7));
        let read = |facts| Ok::<Vec<OutboxEntry>, StoreError>((0..facts).map(|_| entry()).collect());
        for failures in 1..=3 {
            assert_eq!(outages.note_read(partition, read(2)).len(), 2);
            outages.note::<bool>(partition, Err(StoreError::Unavailable));
            assert_eq!(outages.0[&7].0, failures);
        }
        assert!(outages.note_read(partition, read(0)).is_empty());
        assert!(outages.0.is_empty(), "an empty outbox needs no pause");
    }

    #[test]
    fn groups_keep_a_partition_whole_and_have_at_most_so_many_facts() {
        let sizes = [3, 1, 500, 499, 1, 100];
        let batches = (0_u16..).zip(sizes).map(|(number, facts)| Batch {
            partition: Partition(number),
            entries: (0..facts).map(|_| entry()).collect(),
        });
        let groups = grouped(batches.collect(), 500);
        let numbers: Vec<Vec<_>> =
            groups.iter().map(|group| group.iter().map(|batch| batch.partition.0).collect()).collect();
        assert_eq!(numbers, [vec![0, 1, 4, 5], vec![2], vec![3]]);
    }
}
