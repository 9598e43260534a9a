//! What waits for Redis: a line of calls for each partition, taken by the lane of the shard that serves it.
//!
//! The order of a partition's calls is kept whatever happens: a partition is in one pipeline at a time, what a pipeline left unanswered
//! goes back to the head of its line, and a line changes lanes (a slot was moved, a master lost) only as a whole.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::call::{Answer, Call};
use super::{Partition, StoreError};

/// Calls and bytes of one pipeline: enough to share the system calls, not so much that the first answer waits for the last.
const PIPELINE_CALLS: usize = 512;
const PIPELINE_BYTES: usize = 1 << 20;

pub(super) struct Queues {
    state: Mutex<State>,
    max: usize,
}

struct State {
    lines: Vec<Line>,
    lanes: Vec<Lane>,
    waiting: usize,
}

/// A partition's calls.
#[derive(Default)]
struct Line {
    calls: VecDeque<Call>,
    owner: usize,
    /// Some of its calls are in a pipeline.
    busy: bool,
    /// It stands in its lane's list.
    listed: bool,
}

/// A lane's side.
#[derive(Default)]
struct Lane {
    ready: VecDeque<Partition>,
    wake: Arc<Notify>,
    flight: Vec<Call>,
}

impl Queues {
    /// Lines for `partitions` partitions, all of the lane 0; at most `max` calls wait.
    pub(super) fn new(partitions: u16, max: usize) -> Self {
        let lines = (0..partitions).map(|_| Line::default()).collect();
        Self { state: Mutex::new(State { lines, lanes: vec![Lane::default()], waiting: 0 }), max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing inside panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a call, or refuses it when too many wait.
    pub(super) fn push(&self, call: Call) {
        let mut state = self.lock();
        if state.waiting >= self.max && call.can_be_refused() {
            drop(state);
            metrics::counter!("switchboard_redis_lane_refused_total", "reason" => "full").increment(1);
            call.finish(Err(StoreError::Unavailable));
            return;
        }
        let partition = call.partition;
        state.line(partition).calls.push_back(call);
        state.waiting += 1;
        state.list(partition);
    }

    /// The lane's wake-up, for when nothing is ready.
    pub(super) fn wake(&self, lane: usize) -> Arc<Notify> {
        self.lock().lanes[lane].wake.clone()
    }

    /// Takes a lane's next pipeline.
    pub(super) fn take(&self, lane: usize) -> Vec<Call> {
        let mut state = self.lock();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < PIPELINE_CALLS && bytes < PIPELINE_BYTES {
            let Some(partition) = state.lanes[lane].ready.pop_front() else { break };
            let line = state.line(partition);
            line.listed = false;
            let first = batch.len();
            while batch.len() < PIPELINE_CALLS && bytes < PIPELINE_BYTES {
                if line.calls.front().is_none_or(|call| call.must_follow(&batch[first..])) {
                    break;
                }
                let Some(call) = line.calls.pop_front() else { break };
                bytes += call.size();
                batch.push(call);
                line.busy = true;
            }
        }
        state.waiting -= batch.len();
        batch
    }

    /// Keeps what is in flight, where `overdue` finds it.
    pub(super) fn fly(&self, lane: usize, batch: Vec<Call>) {
        self.lock().lanes[lane].flight = batch;
    }

    /// Takes back what was in flight.
    pub(super) fn land(&self, lane: usize) -> Vec<Call> {
        std::mem::take(&mut self.lock().lanes[lane].flight)
    }

    /// After a pipeline with calls of `partitions`: what was not answered goes back to the head of its line, in order.
    pub(super) fn release(&self, partitions: &[Partition], unanswered: Vec<Call>) {
        let mut state = self.lock();
        state.waiting += unanswered.len();
        for call in unanswered.into_iter().rev() {
            let partition = call.partition;
            state.line(partition).calls.push_front(call);
        }
        for &partition in partitions {
            state.line(partition).busy = false;
            state.list(partition);
        }
    }

    /// Adds a lane.
    pub(super) fn add_lane(&self) -> usize {
        let mut state = self.lock();
        state.lanes.push(Lane::default());
        state.lanes.len() - 1
    }

    /// Gives each partition to a lane; says whether any changed hands.
    pub(super) fn assign(&self, owners: &[usize]) -> bool {
        let mut state = self.lock();
        let changed = state.lines.iter().zip(owners).any(|(line, &owner)| line.owner != owner);
        for lane in &mut state.lanes {
            lane.ready.clear();
        }
        for (line, &owner) in state.lines.iter_mut().zip(owners) {
            line.owner = owner;
            line.listed = false;
        }
        for p in (0_u16..).take(state.lines.len()) {
            state.list(Partition(p));
        }
        changed
    }

    /// Each lane in use, by one partition of it.
    pub(super) fn one_of_each_lane(&self) -> Vec<Partition> {
        self.in_use().into_iter().map(|(partition, _)| partition).collect()
    }

    /// The lanes that partitions are with.
    pub(super) fn lanes_in_use(&self) -> Vec<usize> {
        self.in_use().into_iter().map(|(_, lane)| lane).collect()
    }

    fn in_use(&self) -> Vec<(Partition, usize)> {
        let state = self.lock();
        let mut seen = vec![false; state.lanes.len()];
        let lines = (0_u16..).zip(&state.lines).filter(|(_, line)| !std::mem::replace(&mut seen[line.owner], true));
        lines.map(|(p, line)| (Partition(p), line.owner)).collect()
    }

    /// Calls that wait, those in pipelines left out.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Refuses what waits since before `moment`. Calls that had no effect and need have none are gone with that; the others stay, to be
    /// settled when Redis is back.
    pub(super) fn refuse_older_than(&self, moment: Instant) {
        let mut refused: Vec<Answer> = Vec::new();
        {
            let mut state = self.lock();
            let state = &mut *state;
            for line in &mut state.lines {
                line.calls.retain_mut(|call| {
                    if !call.older_than(moment) {
                        return true;
                    }
                    refused.extend(call.refuse());
                    let dropped = call.can_be_dropped();
                    state.waiting -= usize::from(dropped);
                    !dropped
                });
            }
            for call in state.lanes.iter_mut().flat_map(|lane| &mut lane.flight) {
                if call.older_than(moment) {
                    refused.extend(call.refuse());
                }
            }
        }
        if !refused.is_empty() {
            metrics::counter!("switchboard_redis_lane_refused_total", "reason" => "late")
                .increment(refused.len() as u64);
        }
        // Outside of the lock: an answer may queue a call.
        for answer in refused {
            answer(Err(StoreError::Unavailable));
        }
    }
}

impl State {
    fn line(&mut self, partition: Partition) -> &mut Line {
        &mut self.lines[usize::from(partition.0)]
    }

    /// Puts a line on its lane's list if it has something to send and is not under way.
    fn list(&mut self, partition: Partition) {
        let line = &mut self.lines[usize::from(partition.0)];
        if line.busy || line.listed || line.calls.is_empty() {
            return;
        }
        line.listed = true;
        let lane = &mut self.lanes[line.owner];
        lane.ready.push_back(partition);
        lane.wake.notify_one();
    }
}
