//! Requests that wait for Redis: a queue for each partition, taken by the lane of the server that
//! has the partition.
//!
//! The order of a partition's requests is kept: a partition is in one pipeline at a time,
//! unanswered requests go back to the head of their queue, and a queue changes lanes only as a
//! whole (after a slot moved or a master was lost).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::request::{OnAnswer, Request};
use crate::{Partition, StoreError};

/// Approximate maximum number of bytes in one pipeline.
const PIPELINE_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Queues {
    state: Mutex<State>,
    max: usize,
    /// Maximum number of requests in one pipeline.
    pipeline_max: usize,
}

struct State {
    queues: Vec<PartitionQueue>,
    lanes: Vec<LaneState>,
    waiting: usize,
}

/// Requests of a partition.
#[derive(Default)]
struct PartitionQueue {
    requests: VecDeque<Request>,
    /// Index of the lane that takes the queue.
    lane: usize,
    /// Requests of the queue are in a pipeline.
    busy: bool,
    /// The queue is in its lane's list of ready ones.
    listed: bool,
}

/// Ready queues and requests in flight of a lane.
#[derive(Default)]
struct LaneState {
    ready: VecDeque<Partition>,
    wake: Arc<Notify>,
    in_flight: Vec<Request>,
}

impl Queues {
    /// Creates queues for all partitions, with lane 0. At most `max` requests wait, and at most
    /// `pipeline_max` are in one pipeline.
    pub(super) fn new(partitions: u16, max: usize, pipeline_max: usize) -> Self {
        let queues = (0..partitions).map(|_| PartitionQueue::default()).collect();
        Self { state: Mutex::new(State { queues, lanes: vec![LaneState::default()], waiting: 0 }), max, pipeline_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request, or refuses it when too many wait.
    pub(crate) fn push(&self, request: Request) {
        let mut state = self.lock();
        if state.waiting >= self.max && !request.is_kept() {
            drop(state);
            metrics::counter!("switchboard_redis_lane_refused_total", "reason" => "full").increment(1);
            request.finish(Err(StoreError::Unavailable));
            return;
        }
        let partition = request.partition;
        state.queue(partition).requests.push_back(request);
        state.waiting += 1;
        state.list(partition);
    }

    /// Returns the notification of a lane that has nothing ready.
    pub(super) fn wake(&self, lane: usize) -> Arc<Notify> {
        self.lock().lanes[lane].wake.clone()
    }

    /// Takes the requests of a lane's next pipeline. Drops reads that nobody waits for any more.
    pub(super) fn next_batch(&self, lane: usize) -> Vec<Request> {
        let mut state = self.lock();
        let mut batch = Vec::new();
        let (mut bytes, mut abandoned) = (0, 0);
        while batch.len() < self.pipeline_max && bytes < PIPELINE_BYTES_MAX {
            let Some(partition) = state.lanes[lane].ready.pop_front() else { break };
            let queue = state.queue(partition);
            queue.listed = false;
            let first = batch.len();
            while batch.len() < self.pipeline_max && bytes < PIPELINE_BYTES_MAX {
                if queue.requests.front().is_none_or(|request| request.must_follow(&batch[first..])) {
                    break;
                }
                let Some(request) = queue.requests.pop_front() else { break };
                if request.is_abandoned() {
                    abandoned += 1;
                    request.count_abandoned();
                    continue;
                }
                bytes += request.size();
                batch.push(request);
                queue.busy = true;
            }
        }
        state.waiting -= batch.len() + abandoned;
        batch
    }

    /// Stores the requests of a pipeline in flight, so that [`Queues::refuse_older_than`] finds
    /// them.
    pub(super) fn set_in_flight(&self, lane: usize, batch: Vec<Request>) {
        self.lock().lanes[lane].in_flight = batch;
    }

    /// Takes the requests of the pipeline that was in flight.
    pub(super) fn take_in_flight(&self, lane: usize) -> Vec<Request> {
        std::mem::take(&mut self.lock().lanes[lane].in_flight)
    }

    /// Ends a pipeline with requests of `partitions`: unanswered requests go back to the head of
    /// their queue, in order.
    pub(super) fn requeue(&self, partitions: &[Partition], unanswered: Vec<Request>) {
        let mut state = self.lock();
        state.waiting += unanswered.len();
        for request in unanswered.into_iter().rev() {
            let partition = request.partition;
            state.queue(partition).requests.push_front(request);
        }
        for &partition in partitions {
            state.queue(partition).busy = false;
            state.list(partition);
        }
    }

    /// Adds a lane and returns its index.
    pub(super) fn add_lane(&self) -> usize {
        let mut state = self.lock();
        state.lanes.push(LaneState::default());
        state.lanes.len() - 1
    }

    /// Assigns each partition to a lane. Returns whether any partition changed lanes.
    pub(super) fn assign(&self, owners: &[usize]) -> bool {
        let mut state = self.lock();
        let changed = state.queues.iter().zip(owners).any(|(queue, &owner)| queue.lane != owner);
        for lane in &mut state.lanes {
            lane.ready.clear();
        }
        for (queue, &owner) in state.queues.iter_mut().zip(owners) {
            queue.lane = owner;
            queue.listed = false;
        }
        for p in (0_u16..).take(state.queues.len()) {
            state.list(Partition(p));
        }
        changed
    }

    /// Returns one partition of each lane in use.
    pub(crate) fn one_of_each_lane(&self) -> Vec<Partition> {
        self.in_use().into_iter().map(|(partition, _)| partition).collect()
    }

    /// Returns the lane of each partition.
    pub(crate) fn lane_of_each(&self) -> Vec<usize> {
        self.lock().queues.iter().map(|queue| queue.lane).collect()
    }

    /// Returns the lanes that partitions are assigned to.
    pub(super) fn lanes_in_use(&self) -> Vec<usize> {
        self.in_use().into_iter().map(|(_, lane)| lane).collect()
    }

    fn in_use(&self) -> Vec<(Partition, usize)> {
        let state = self.lock();
        let mut seen = vec![false; state.lanes.len()];
        let first_of_lane =
            (0_u16..).zip(&state.queues).filter(|(_, queue)| !std::mem::replace(&mut seen[queue.lane], true));
        first_of_lane.map(|(p, queue)| (Partition(p), queue.lane)).collect()
    }

    /// Returns the number of requests that wait, without those in flight.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Refuses the callers of requests that have been waiting since before `moment`. Requests that
    /// were never sent are dropped; the others stay until their outcome is known.
    pub(super) fn refuse_older_than(&self, moment: Instant) {
        let mut refused: Vec<OnAnswer> = Vec::new();
        {
            let mut state = self.lock();
            let state = &mut *state;
            for queue in &mut state.queues {
                queue.requests.retain_mut(|request| {
                    if !request.older_than(moment) {
                        return true;
                    }
                    refused.extend(request.refuse());
                    let dropped = request.can_be_dropped();
                    state.waiting -= usize::from(dropped);
                    !dropped
                });
            }
            for request in state.lanes.iter_mut().flat_map(|lane| &mut lane.in_flight) {
                if request.older_than(moment) {
                    refused.extend(request.refuse());
                }
            }
        }
        if !refused.is_empty() {
            metrics::counter!("switchboard_redis_lane_refused_total", "reason" => "late")
                .increment(refused.len() as u64);
        }
        // Outside of the lock, because a callback may queue a request.
        for answer in refused {
            answer(Err(StoreError::Unavailable));
        }
    }
}

impl State {
    fn queue(&mut self, partition: Partition) -> &mut PartitionQueue {
        &mut self.queues[usize::from(partition.0)]
    }

    /// Puts a queue into its lane's list, if the queue has requests and none in flight.
    fn list(&mut self, partition: Partition) {
        let queue = &mut self.queues[usize::from(partition.0)];
        if queue.busy || queue.listed || queue.requests.is_empty() {
            return;
        }
        queue.listed = true;
        let lane = &mut self.lanes[queue.lane];
        lane.ready.push_back(partition);
        lane.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{Commands, Payload};
    use super::*;

    #[test]
    fn a_read_whose_caller_is_gone_is_not_sent_and_leaves_the_queue() {
        let queues = Queues::new(1, 10, 4);
        let (waits, gone) = (Arc::new(()), Arc::new(()));
        let request = |name| {
            let payload = Payload::Commands(Commands::default());
            Request::new(Partition(0), name, payload, Box::new(|_answer| {}))
        };
        for _ in 0..6 {
            queues.push(request("gone").read_for(&gone));
        }
        queues.push(request("read").read_for(&waits));
        queues.push(request("write"));
        drop(gone);
        let names: Vec<_> = queues.next_batch(0).iter().map(|request| request.name).collect();
        assert_eq!(names, ["read", "write"]);
        assert_eq!(queues.waiting(), 0);
    }
}
