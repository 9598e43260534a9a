//! Bodies, queries and paths of the routes of webhooks.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde_json::{Value, json};
use switchboard_calls::{PREVIOUS_SECRET_SECONDS, PREVIOUS_SECRET_SECONDS_MAX, WEBHOOK_URL_MAX};
use switchboard_core::domain::{AppId, CallId, Code, Refusal, WebhookEvent, WebhookId};
use switchboard_records::{AppWebhookEdit, DeliveryPosition, DeliveryState};

use crate::app::App;
use crate::http::describe::{Argument, Operation};
use crate::http::error::ApiError;
use crate::http::extract::{PathId, PathParam, unreadable_path};
use crate::http::fields::{Fields, Input};

/// Body of `POST admin/apps/:appId/webhooks`.
pub(super) struct NewWebhookInput {
    pub(super) url: String,
    pub(super) events: Option<Vec<WebhookEvent>>,
}

fn events(fields: &mut Fields) -> Option<Vec<WebhookEvent>> {
    fields.choices("events", &WebhookEvent::ALL.map(|event| (event.as_str(), event)))
}

impl Input for NewWebhookInput {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self { url: fields.line("url", 1..=WEBHOOK_URL_MAX), events: events(fields) }
    }

    fn example() -> Value {
        json!({ "url": "https://example.com/hook", "events": ["call.started", "call.ended"] })
    }
}

/// Body of `PATCH admin/apps/:appId/webhooks/:webhookId`.
pub(super) struct WebhookChange(pub(super) AppWebhookEdit);

impl Input for WebhookChange {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self(AppWebhookEdit { url: fields.optional_line("url", 1..=WEBHOOK_URL_MAX), events: events(fields) })
    }

    fn example() -> Value {
        json!({ "events": ["call.ended", "chat.message"] })
    }
}

/// Body of `POST admin/apps/:appId/webhooks/:webhookId/secret`.
pub(super) struct NewSecret {
    pub(super) previous_seconds: u32,
}

impl Input for NewSecret {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        let seconds = fields.integer("previousSeconds", 0..=PREVIOUS_SECRET_SECONDS_MAX);
        Self { previous_seconds: seconds.unwrap_or(PREVIOUS_SECRET_SECONDS) }
    }

    fn example() -> Value {
        json!({ "previousSeconds": 3600 })
    }
}

/// Query of `GET admin/webhooks/:webhookId/deliveries`.
pub(super) struct DeliveryQuery {
    pub(super) state: Option<DeliveryState>,
    pub(super) call: Option<CallId>,
    pub(super) after: Option<DeliveryPosition>,
    pub(super) limit: u32,
}

impl Input for DeliveryQuery {
    fn read(fields: &mut Fields) -> Self {
        let state = fields.choice("state", &DeliveryState::ALL.map(|state| (state.as_str(), state)));
        let text = fields.optional_line("callId", 1..=24);
        // Events have the id in lower case.
        let call = text.as_ref().and_then(|text| <CallId as PathId>::read(&text.to_ascii_lowercase()).ok());
        if text.is_some() && call.is_none() {
            fields.reject("callId", "must be the id of a call: 24 hexadecimal digits");
        }
        let text = fields.optional_line("after", 1..=200);
        let after = text.as_deref().and_then(DeliveryPosition::decode);
        if text.is_some() && after.is_none() {
            fields.reject("after", "must be next of a page");
        }
        Self { state, call, after, limit: fields.integer("limit", 1..=100).unwrap_or(50) }
    }
}

/// Body of `POST admin/webhooks/:webhookId/resend`.
pub(super) struct Resend {
    pub(super) event_id: Option<String>,
}

impl Input for Resend {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self { event_id: fields.optional_line("eventId", 1..=80) }
    }

    fn example() -> Value {
        json!({ "eventId": "17:1767225600007-0" })
    }
}

const WEBHOOK_ID_RULE: &str = "must be the id of a webhook: 1 to 24 lower-case letters, digits or _";

impl PathId for WebhookId {
    const NAME: &'static str = "webhookId";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9_]{1,24}$", "examples": ["sbw_7h2k9d4m1p5q8r3t6v0x"] })
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|_| Refusal::field(Code::ValidationError, "webhookId", WEBHOOK_ID_RULE))
    }
}

/// Webhook of an app: a path with both ids.
pub(super) struct AppWebhookPath {
    pub(super) app: AppId,
    pub(super) id: WebhookId,
}

impl FromRequestParts<App> for AppWebhookPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path((app, id)) =
            Path::<(String, String)>::from_request_parts(parts, app).await.map_err(|_| unreadable_path())?;
        Ok(Self { app: PathId::read(&app)?, id: PathId::read(&id)? })
    }
}

impl Argument for AppWebhookPath {
    fn describe(operation: &mut Operation) {
        <PathParam<AppId> as Argument>::describe(operation);
        operation.parameter("path", WebhookId::NAME, true, &WebhookId::schema());
    }
}
