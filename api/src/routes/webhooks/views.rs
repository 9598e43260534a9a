//! JSON forms of webhooks and of events for them.

use schemars::JsonSchema;
use serde::Serialize;
use switchboard_calls::{NewWebhook, RESEND_MAX};
use switchboard_core::domain::{AppId, Timestamp, WebhookEvent, WebhookId};
use switchboard_records::{AppWebhookRecord, Attempt, DeliveryRecord, DeliveryState};

/// Form of an app's webhook.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppWebhook")]
pub(crate) struct WebhookView {
    /// Id of the webhook.
    webhook_id: WebhookId,
    /// URL that receives events.
    url: String,
    /// Types of the events that it receives.
    events: Vec<WebhookEvent>,
    created_at: Timestamp,
    /// Time until which the previous secret signs too; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_until: Option<Timestamp>,
}

/// Form of a webhook with its new secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewAppWebhook")]
pub(crate) struct NewWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// Secret that signs events. It is shown here only.
    secret: String,
}

impl WebhookView {
    pub(crate) fn at(webhook: AppWebhookRecord, now: Timestamp) -> Self {
        let previous_secret_until = webhook.previous_at(now).map(|(_, until)| until);
        let AppWebhookRecord { id, url, events, created_at, .. } = webhook;
        Self { webhook_id: id, url, events, created_at, previous_secret_until }
    }
}

impl NewWebhookView {
    pub(crate) fn at(NewWebhook { webhook, secret }: NewWebhook, now: Timestamp) -> Self {
        Self { webhook: WebhookView::at(webhook, now), secret: secret.expose().to_owned() }
    }
}

/// Endpoint of the deployment, or of an app with events that wait.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookEndpoint")]
pub(crate) struct EndpointView {
    /// Id of the webhook; for a URL of the deployment, the beginning of the SHA-256 of the URL.
    pub(super) webhook_id: String,
    /// App of the webhook; absent for a URL of the deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app_id: Option<AppId>,
    /// Time of the oldest event that waits; absent if none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) oldest_waiting_at: Option<Timestamp>,
}

/// State of an event for an endpoint.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "WebhookDeliveryState")]
enum StateView {
    Waiting,
    Delivered,
    Failed,
}

/// Event for an endpoint, with its outcome.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookDelivery")]
pub(crate) struct DeliveryView {
    /// Id of the event.
    event_id: String,
    /// Type of the event.
    #[serde(rename = "type")]
    event: String,
    /// Call of the event.
    call_id: String,
    /// Whether the event waits, is delivered, or is given up.
    state: StateView,
    /// Number of attempts.
    attempts: u32,
    /// Time of the event.
    created_at: Timestamp,
    /// Time of the last attempt; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried_at: Option<Timestamp>,
    /// HTTP status of the last answer; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why the last attempt failed; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<DeliveryRecord> for DeliveryView {
    fn from(record: DeliveryRecord) -> Self {
        let DeliveryRecord { event_id, event, call_id, state, attempts, created_at, tried_at, status, problem, .. } =
            record;
        let state = match state {
            DeliveryState::Waiting => StateView::Waiting,
            DeliveryState::Delivered => StateView::Delivered,
            DeliveryState::Failed => StateView::Failed,
        };
        Self { event_id, event, call_id, state, attempts, created_at, tried_at, status, problem }
    }
}

/// Page of the events for an endpoint.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookDeliveries")]
pub(crate) struct DeliveriesView {
    /// Events, the newest first.
    deliveries: Vec<DeliveryView>,
    /// `after` of the next page; absent on a page that is not full.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl DeliveriesView {
    /// Returns the page that was read with this limit.
    pub(crate) fn new(records: Vec<DeliveryRecord>, limit: u32) -> Self {
        let is_full = u32::try_from(records.len()).is_ok_and(|length| length >= limit);
        let next = records.last().filter(|_| is_full).map(|last| last.position.encode());
        Self { deliveries: records.into_iter().map(DeliveryView::from).collect(), next }
    }
}

/// Outcome of a `ping`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookPing")]
pub(crate) struct PingView {
    /// Whether the receiver accepted the event.
    delivered: bool,
    /// Id of the event.
    event_id: String,
    /// Time until the answer or the failure, in milliseconds.
    took_ms: u64,
    /// HTTP status of the answer; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why the event was not accepted; absent if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl PingView {
    pub(crate) fn new(event_id: String, attempt: Attempt, took_ms: u64) -> Self {
        let Attempt { status, problem } = attempt;
        Self { delivered: problem.is_none(), event_id, took_ms, status, problem }
    }
}

/// Number of events that are sent again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookResend")]
pub(crate) struct ResendView {
    /// Number of events that wait again.
    count: u64,
    /// Whether more events may have failed: repeat the request.
    more: bool,
}

impl From<u64> for ResendView {
    fn from(count: u64) -> Self {
        Self { count, more: count >= u64::from(RESEND_MAX) }
    }
}
