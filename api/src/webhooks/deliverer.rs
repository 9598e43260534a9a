//! Delivers the events of one endpoint: events of different calls in parallel, events of one call
//! in order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use switchboard_core::domain::Timestamp;
use switchboard_core::failure_log::FailureLog;
use switchboard_records::{Delivery, DeliveryOutcome, DueDeliveries, Records, RecordsError};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::options::{Endpoint, WebhookOptions};
use super::post::Sender;
use crate::clock::{jittered, now};

/// Delivers the events of one endpoint.
#[derive(Clone)]
pub(super) struct Deliverer {
    pub(super) records: Records,
    pub(super) sender: Sender,
    pub(super) endpoint: Endpoint,
    pub(super) options: WebhookOptions,
    /// Name of this process in its leases.
    pub(super) lease_owner: String,
    /// Failures of the endpoint, each reason logged once.
    pub(super) failures: Failures,
}

/// Log of one endpoint's failures. Clones share it.
#[derive(Clone)]
pub(super) struct Failures {
    log: Arc<Mutex<FailureLog<()>>>,
    started: Instant,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self { log: Arc::default(), started: Instant::now() }
    }

    /// Logs the outcome of a delivery, unless its reason was logged already.
    fn record(&self, delivery: &Delivery, sent: Result<(), &str>) {
        let Delivery { endpoint, event_id, attempts, .. } = delivery;
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        match sent {
            Ok(()) if log.recovered(&()) => tracing::info!(endpoint, "webhooks are delivered again"),
            Err(problem) if log.failed((), problem, self.started.elapsed()) => {
                tracing::warn!(endpoint, event_id, attempts, problem, "webhook failed; retrying");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Deliveries in progress.
#[derive(Default)]
struct InFlight {
    tasks: JoinSet<()>,
    /// Call of each task.
    calls: HashMap<Id, String>,
}

impl InFlight {
    fn has(&self, call: &str) -> bool {
        self.calls.values().any(|busy| busy == call)
    }

    /// Waits until one delivery ends. Without deliveries it waits forever.
    async fn next_done(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.calls.remove(&id)),
            Some(Err(error)) => drop(self.calls.remove(&error.id())),
            None => std::future::pending().await,
        }
    }
}

impl Deliverer {
    /// Takes the lease and delivers, until `stop` is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.lease().await.unwrap_or(false) {
                self.serve(&stop).await;
            }
            let pause = jittered(self.options.lease / 4);
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
        // If this fails, the lease expires.
        let _ = self.records.release_endpoint(&self.endpoint.name, &self.lease_owner).await;
    }

    async fn lease(&self) -> Result<bool, RecordsError> {
        self.records.lease_endpoint(&self.endpoint.name, &self.lease_owner, self.options.lease).await
    }

    /// Delivers while the lease is valid.
    async fn serve(&self, stop: &CancellationToken) {
        let mut in_flight = InFlight::default();
        let (mut leased, mut held) = (Instant::now(), true);
        while held && !stop.is_cancelled() {
            if leased.elapsed() >= self.options.lease / 4 {
                let asked = Instant::now();
                match self.lease().await {
                    Ok(true) => leased = asked,
                    Ok(false) => held = false,
                    // The lease may still be valid. After it has expired, another pod may hold it.
                    Err(_) => held = leased.elapsed() < self.options.lease,
                }
                continue;
            }
            let sent = self.send_due(&mut in_flight).await;
            let pause = if sent { Duration::from_millis(1) } else { jittered(self.options.idle) };
            tokio::select! {
                () = in_flight.next_done() => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        // From now on the next owner reports the lag.
        self.report_lag(0.0);
        // Wait for requests in progress (at most the request timeout), because an aborted request
        // would be sent again.
        while !in_flight.calls.is_empty() {
            in_flight.next_done().await;
        }
    }

    /// Sets the lag metric. The label is not `endpoint`, because the Prometheus operator uses that
    /// name for a target's port.
    fn report_lag(&self, seconds: f64) {
        metrics::gauge!("switchboard_webhook_lag_seconds", "receiver" => self.endpoint.name.clone()).set(seconds);
    }

    /// Starts due deliveries, up to `concurrency` in progress. Returns whether it started any.
    async fn send_due(&self, in_flight: &mut InFlight) -> bool {
        let free = self.options.concurrency.saturating_sub(in_flight.calls.len());
        if free == 0 {
            return false;
        }
        let DueDeliveries { due, oldest } =
            match self.records.due_deliveries(&self.endpoint.name, now(), self.options.concurrency).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(endpoint = self.endpoint.name, %error, "reading due webhooks failed; retrying");
                    return false;
                }
            };
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let lag = oldest.map_or(0.0, |at| (now().0 - at.0).max(0) as f64 / 1000.0);
        self.report_lag(lag);
        let mut sent = false;
        for delivery in due.into_iter().take(free) {
            if !in_flight.has(&delivery.call_id) {
                let (deliverer, call) = (self.clone(), delivery.call_id.clone());
                let task = in_flight.tasks.spawn(async move { deliverer.deliver(delivery).await });
                in_flight.calls.insert(task.id(), call);
                sent = true;
            }
        }
        sent
    }

    async fn deliver(&self, delivery: Delivery) {
        let started = Instant::now();
        let sent = self.sender.send(&self.endpoint, &delivery, now()).await;
        metrics::histogram!("switchboard_webhook_seconds").record(started.elapsed().as_secs_f64());
        self.failures.record(&delivery, sent.as_ref().copied().map_err(String::as_str));
        let outcome = self.outcome(&delivery, sent, now());
        let label = match &outcome {
            DeliveryOutcome::Delivered => "delivered",
            DeliveryOutcome::Postponed { .. } => "postponed",
            DeliveryOutcome::GivenUp { problem } => {
                let Delivery { event_id, .. } = &delivery;
                tracing::error!(endpoint = self.endpoint.name, event_id, problem, "webhook given up");
                "given_up"
            }
        };
        metrics::counter!("switchboard_webhooks_total", "outcome" => label).increment(1);
        if let Err(error) = self.records.settle_delivery(&delivery.id, &outcome, now()).await {
            tracing::warn!(endpoint = self.endpoint.name, %error, "webhook outcome not stored; sending again");
        }
    }

    fn outcome(&self, delivery: &Delivery, sent: Result<(), String>, now: Timestamp) -> DeliveryOutcome {
        let Err(problem) = sent else { return DeliveryOutcome::Delivered };
        let WebhookOptions { backoff_min, backoff_max, .. } = self.options;
        let backoff = backoff_min.saturating_mul(2_u32.saturating_pow(delivery.attempts.min(16))).min(backoff_max);
        let pause = jittered(backoff);
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let until = Timestamp(now.0.saturating_add(ms(pause)));
        if until.0 > delivery.created_at.0.saturating_add(ms(self.options.give_up)) {
            return DeliveryOutcome::GivenUp { problem };
        }
        DeliveryOutcome::Postponed { until, problem }
    }
}
