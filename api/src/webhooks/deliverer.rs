//! Delivers what is due: events of different calls in parallel, events of one call in order.
//!
//! One loop polls for all endpoints. Each request that it may begin takes a slot (`slots`) and
//! claims the queue of one call, at the endpoint with the fewest requests in progress. A worker
//! sends the events of that call one after the other, until one fails or its turn ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use switchboard_core::domain::Timestamp;
use switchboard_records::{Attempt, ClaimedQueue, Delivery, DeliveryOutcome, DueQueues, Records, RecordsError};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::directory::{EndpointDirectory, Endpoints};
use super::failures::Failures;
use super::options::{Endpoint, WebhookOptions};
use super::post::{Message, Sender};
use super::slots::{Slot, Slots};
use crate::clock::{jittered, now};

/// Events that a worker reads at once.
const BATCH: u32 = 20;
/// Shortest pause between two polls.
const POLL_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Time between two reports of the lag, and between two searches for deliveries without a queue.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(5);
/// Label of the lag of all endpoints of apps, which are too many for a label each.
const APPS: &str = "apps";

/// Delivers events.
#[derive(Clone)]
pub(super) struct Deliverer {
    pub(super) records: Records,
    pub(super) directory: EndpointDirectory,
    pub(super) sender: Sender,
    pub(super) options: WebhookOptions,
    /// Name of this process in its claims.
    pub(super) owner: String,
    pub(super) failures: Failures,
}

/// Workers in progress.
struct InFlight {
    tasks: JoinSet<Option<bool>>,
    /// Slot of each worker.
    of: HashMap<Id, Slot>,
    slots: Slots,
}

/// A worker that has ended, with its result.
type Done = Result<(Id, Option<bool>), JoinError>;

impl InFlight {
    /// Waits until one worker ends. Without workers it waits forever.
    async fn next_done(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(done) => self.end(done),
            None => std::future::pending().await,
        }
    }

    /// Gives back the slots of all workers that have ended.
    fn collect_done(&mut self) {
        while let Some(done) = self.tasks.try_join_next_with_id() {
            self.end(done);
        }
    }

    fn end(&mut self, done: Done) {
        let (id, accepted) = done.unwrap_or_else(|error| (error.id(), None));
        if let Some(slot) = self.of.remove(&id) {
            self.slots.give_back(&slot, accepted);
        }
    }
}

impl Deliverer {
    /// Delivers until `stop` is cancelled, and completes the requests that are in progress then.
    pub(super) async fn run(self, stop: CancellationToken) {
        let slots = Slots::new(self.options.workers, self.options.concurrency);
        let mut in_flight = InFlight { tasks: JoinSet::new(), of: HashMap::new(), slots };
        let mut maintained = None;
        while !stop.is_cancelled() {
            let polled = Instant::now();
            let started = match self.start_due(&mut in_flight, &stop).await {
                Ok(started) => {
                    self.failures.store_works();
                    started
                }
                Err(error) => {
                    self.failures.store_failed(&error.to_string());
                    false
                }
            };
            if maintained.is_none_or(|at: Instant| at.elapsed() >= MAINTENANCE_INTERVAL) {
                maintained = Some(Instant::now());
                if let Err(error) = self.maintain().await {
                    self.failures.store_failed(&error.to_string());
                }
            }
            // A poll reads a key for each endpoint with waiting events, so its pause grows with its
            // cost.
            let least = POLL_PAUSE_MIN.max(polled.elapsed());
            tokio::select! { () = tokio::time::sleep(least) => {}, () = stop.cancelled() => {} }
            if !started || in_flight.slots.is_full() {
                tokio::select! {
                    () = in_flight.next_done() => {}
                    () = tokio::time::sleep(jittered(self.options.idle).saturating_sub(least)) => {}
                    () = stop.cancelled() => {}
                }
            }
            in_flight.collect_done();
        }
        // A request that is aborted would be sent again.
        while !in_flight.of.is_empty() {
            in_flight.next_done().await;
        }
    }

    /// Begins as many deliveries as there are slots, by turns of the endpoints. Returns whether it
    /// began any.
    async fn start_due(&self, in_flight: &mut InFlight, stop: &CancellationToken) -> Result<bool, RecordsError> {
        if in_flight.slots.is_full() {
            return Ok(false);
        }
        let endpoints = self.directory.current().await?;
        in_flight.slots.retain(|endpoint| endpoints.get(endpoint).is_some());
        let mut due = self.records.due_queues(now()).await?;
        // Unknown endpoints are those of a URL that was removed; an app's endpoint may be unknown
        // here for seconds.
        due.retain(|due| endpoints.get(&due.endpoint).is_some_and(|endpoint| endpoint.keys.is_some()));
        due.sort_by_key(|due| (in_flight.slots.used_by(&due.endpoint), due.due_at));
        let mut started = false;
        while !due.is_empty() && !in_flight.slots.is_full() && !stop.is_cancelled() {
            let mut more = Vec::with_capacity(due.len());
            for one in due {
                if self.start(&one, &endpoints, in_flight, stop).await? {
                    started = true;
                    more.push(one);
                }
            }
            due = more;
        }
        Ok(started)
    }

    /// Begins the delivery of one queue of an endpoint. Returns false if there is no slot, or no
    /// queue is due.
    async fn start(
        &self,
        due: &DueQueues,
        endpoints: &Endpoints,
        in_flight: &mut InFlight,
        stop: &CancellationToken,
    ) -> Result<bool, RecordsError> {
        let Some(endpoint) = endpoints.get(&due.endpoint) else { return Ok(false) };
        let Some(slot) = in_flight.slots.take(&due.endpoint, due.is_retry) else { return Ok(false) };
        let claimed = self.records.claim_queue(due, &self.owner, now(), self.options.lease()).await;
        let Ok(Some(queue)) = claimed else {
            in_flight.slots.give_back(&slot, None);
            return claimed.map(|_| false);
        };
        let (worker, endpoint, stop) = (self.clone(), Arc::clone(endpoint), stop.clone());
        let task = in_flight.tasks.spawn(async move { worker.deliver(&queue, &endpoint, &stop).await });
        in_flight.of.insert(task.id(), slot);
        Ok(true)
    }

    /// Delivers the events of a queue. Returns whether the receiver accepted the last one; `None`
    /// if nothing was sent.
    async fn deliver(&self, queue: &ClaimedQueue, endpoint: &Endpoint, stop: &CancellationToken) -> Option<bool> {
        let mut accepted = None;
        // A claim that is not released expires, and its events are sent then.
        if let Err(error) = self.deliver_in_order(queue, endpoint, stop, &mut accepted).await {
            self.failures.store_failed(&error.to_string());
        }
        accepted
    }

    async fn deliver_in_order(
        &self,
        queue: &ClaimedQueue,
        endpoint: &Endpoint,
        stop: &CancellationToken,
        accepted: &mut Option<bool>,
    ) -> Result<(), RecordsError> {
        let began = Instant::now();
        loop {
            let waiting = self.records.waiting_deliveries(&queue.endpoint, &queue.call_id, BATCH).await?;
            if waiting.is_empty() {
                return self.records.finish_queue(queue, now()).await;
            }
            for delivery in waiting {
                let since = Some(delivery.created_at);
                let is_over = accepted.is_some() && began.elapsed() >= self.options.turn;
                if is_over || stop.is_cancelled() {
                    return self.records.release_queue(queue, now(), false, since).await;
                }
                let message = Message { id: &delivery.event_id, event: &delivery.event, body: &delivery.body };
                let attempt = self.send(endpoint, message).await;
                *accepted = Some(attempt.problem.is_none());
                let (outcome, due_at) = self.outcome(&delivery, &attempt, now());
                self.report(endpoint, &delivery.event_id, &attempt, outcome);
                self.records.settle_delivery(&delivery.id, outcome, &attempt, now()).await?;
                if outcome != DeliveryOutcome::Delivered {
                    return self.records.release_queue(queue, due_at, true, since).await;
                }
            }
        }
    }

    async fn send(&self, endpoint: &Endpoint, message: Message<'_>) -> Attempt {
        let started = Instant::now();
        let attempt = self.sender.send(endpoint, message, self.options.timeout, now()).await;
        metrics::histogram!("switchboard_webhook_seconds").record(started.elapsed().as_secs_f64());
        attempt
    }

    fn report(&self, endpoint: &Endpoint, event_id: &str, attempt: &Attempt, outcome: DeliveryOutcome) {
        let problem = attempt.problem.as_deref().unwrap_or_default();
        let label = match outcome {
            DeliveryOutcome::Delivered => {
                self.failures.delivered(endpoint);
                "delivered"
            }
            DeliveryOutcome::Postponed => {
                self.failures.failed(endpoint, event_id, problem);
                "postponed"
            }
            DeliveryOutcome::Failed => {
                // The reason is logged as that of a failure too, which other events may have.
                self.failures.failed(endpoint, event_id, problem);
                self.failures.given_up(endpoint, event_id, problem);
                "given_up"
            }
        };
        metrics::counter!("switchboard_webhooks_total", "outcome" => label).increment(1);
    }

    /// Returns the outcome of an attempt, and the time from which the call's next attempt may
    /// begin.
    fn outcome(&self, delivery: &Delivery, attempt: &Attempt, now: Timestamp) -> (DeliveryOutcome, Timestamp) {
        if attempt.problem.is_none() {
            return (DeliveryOutcome::Delivered, now);
        }
        let WebhookOptions { backoff_min, backoff_max, .. } = self.options;
        let backoff = backoff_min.saturating_mul(2_u32.saturating_pow(delivery.attempts.min(16))).min(backoff_max);
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let until = Timestamp(now.0.saturating_add(ms(jittered(backoff))));
        let began = delivery.queued_at.unwrap_or(delivery.created_at);
        if until.0 > began.0.saturating_add(ms(self.options.give_up)) {
            // The next event of the call may be sent.
            return (DeliveryOutcome::Failed, now);
        }
        (DeliveryOutcome::Postponed, until)
    }

    /// Reports the lag, and gives deliveries without a queue one.
    async fn maintain(&self) -> Result<(), RecordsError> {
        while self.records.adopt_deliveries().await? {}
        let endpoints = self.directory.current().await?;
        let (mut lags, now) = (HashMap::from([(APPS, 0.0_f64)]), now());
        lags.extend(endpoints.of_deployment().map(|endpoint| (endpoint.name.as_str(), 0.0)));
        for (name, since) in self.records.oldest_waiting().await? {
            let Some(endpoint) = endpoints.get(&name) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            let lag = (now.0 - since.0).max(0) as f64 / 1000.0;
            let label = if endpoint.app.is_some() { APPS } else { endpoint.name.as_str() };
            let known = lags.entry(label).or_default();
            *known = known.max(lag);
        }
        for (receiver, lag) in lags {
            // The label is not `endpoint`, because the Prometheus operator uses that name for a
            // target's port.
            metrics::gauge!("switchboard_webhook_lag_seconds", "receiver" => receiver.to_owned()).set(lag);
        }
        Ok(())
    }
}
