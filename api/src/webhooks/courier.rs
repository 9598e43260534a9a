//! One endpoint: what is due is sent, many calls at once, of each call one event after another.

use std::collections::HashMap;
use std::time::Duration;

use switchboard_core::domain::Timestamp;
use switchboard_records::{Delivery, DeliveryOutcome, DueDeliveries, Records, RecordsError};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::post::Sender;
use super::{Endpoint, WebhookOptions};
use crate::app::now;
use crate::recorder::jittered;

#[derive(Clone)]
pub(super) struct Courier {
    pub(super) records: Records,
    pub(super) sender: Sender,
    pub(super) endpoint: Endpoint,
    pub(super) options: WebhookOptions,
    /// This process's, in its leases.
    pub(super) token: String,
}

/// What is being sent.
#[derive(Default)]
struct Errands {
    tasks: JoinSet<()>,
    /// The call of each.
    calls: HashMap<Id, String>,
}

impl Errands {
    fn has(&self, call: &str) -> bool {
        self.calls.values().any(|busy| busy == call)
    }

    /// One is over; pending while there is none.
    async fn over(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.calls.remove(&id)),
            Some(Err(error)) => drop(self.calls.remove(&error.id())),
            None => std::future::pending().await,
        }
    }
}

impl Courier {
    pub(super) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.lease().await.unwrap_or(false) {
                self.serve(&stop).await;
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(jittered(self.options.lease / 4)) => {} }
        }
        // Should this fail, the lease runs out by itself.
        let _ = self.records.release_endpoint(&self.endpoint.name, &self.token).await;
    }

    async fn lease(&self) -> Result<bool, RecordsError> {
        self.records.lease_endpoint(&self.endpoint.name, &self.token, self.options.lease).await
    }

    /// Delivers while the lease is good.
    async fn serve(&self, stop: &CancellationToken) {
        let mut errands = Errands::default();
        let (mut leased, mut held) = (Instant::now(), true);
        while held && !stop.is_cancelled() {
            if leased.elapsed() >= self.options.lease / 4 {
                let asked = Instant::now();
                match self.lease().await {
                    Ok(true) => leased = asked,
                    Ok(false) => held = false,
                    // Unsure; past its end somebody else may have it.
                    Err(_) => held = leased.elapsed() < self.options.lease,
                }
                continue;
            }
            let sent = self.send_due(&mut errands).await;
            let pause = if sent { Duration::from_millis(1) } else { jittered(self.options.idle) };
            tokio::select! {
                () = errands.over() => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        // From now on another pod's to tell.
        self.show_lag(0.0);
        // What is under way ends by itself, within the time a receiver may take: cut off, it would be sent once more.
        while !errands.calls.is_empty() {
            errands.over().await;
        }
    }

    /// Not by `endpoint`, which the Prometheus operator calls a target's port.
    fn show_lag(&self, seconds: f64) {
        metrics::gauge!("switchboard_webhook_lag_seconds", "receiver" => self.endpoint.name.clone()).set(seconds);
    }

    /// Starts what is due, as far as there is room for it; whether anything was.
    async fn send_due(&self, errands: &mut Errands) -> bool {
        let room = self.options.at_once.saturating_sub(errands.calls.len());
        if room == 0 {
            return false;
        }
        let DueDeliveries { due, oldest } =
            match self.records.due_deliveries(&self.endpoint.name, now(), self.options.at_once).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(endpoint = self.endpoint.name, %error, "webhooks wait");
                    return false;
                }
            };
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let lag = oldest.map_or(0.0, |at| (now().0 - at.0).max(0) as f64 / 1000.0);
        self.show_lag(lag);
        let mut sent = false;
        for delivery in due.into_iter().take(room) {
            if !errands.has(&delivery.call_id) {
                let (courier, call) = (self.clone(), delivery.call_id.clone());
                let task = errands.tasks.spawn(async move { courier.deliver(delivery).await });
                errands.calls.insert(task.id(), call);
                sent = true;
            }
        }
        sent
    }

    async fn deliver(&self, delivery: Delivery) {
        let started = Instant::now();
        let sent = self.sender.send(&self.endpoint.address, &delivery, now()).await;
        metrics::histogram!("switchboard_webhook_seconds").record(started.elapsed().as_secs_f64());
        let outcome = self.outcome(&delivery, sent, now());
        let label = match &outcome {
            DeliveryOutcome::Delivered => "delivered",
            DeliveryOutcome::Postponed { .. } => "postponed",
            DeliveryOutcome::GivenUp { problem } => {
                let Delivery { event_id, .. } = &delivery;
                tracing::error!(endpoint = self.endpoint.name, event_id, problem, "a webhook was given up");
                "given_up"
            }
        };
        metrics::counter!("switchboard_webhooks_total", "outcome" => label).increment(1);
        if let Err(error) = self.records.settle_delivery(&delivery.id, &outcome, now()).await {
            tracing::warn!(endpoint = self.endpoint.name, %error, "a webhook's outcome is not written: it is sent again");
        }
    }

    fn outcome(&self, delivery: &Delivery, sent: Result<(), String>, now: Timestamp) -> DeliveryOutcome {
        let Err(problem) = sent else { return DeliveryOutcome::Delivered };
        let (first, most) = self.options.backoff;
        let pause = jittered(first.saturating_mul(2_u32.saturating_pow(delivery.attempts.min(16))).min(most));
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let until = Timestamp(now.0.saturating_add(ms(pause)));
        if until.0 > delivery.created_at.0.saturating_add(ms(self.options.give_up)) {
            return DeliveryOutcome::GivenUp { problem };
        }
        DeliveryOutcome::Postponed { until, problem }
    }
}
