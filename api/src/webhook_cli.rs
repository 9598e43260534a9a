//! The commands `api admin app webhook ...`. They do what the routes of `routes::webhooks` do.

use clap::Subcommand;
use serde_json::{Value, json};
use switchboard_calls::{PREVIOUS_SECRET_SECONDS, PREVIOUS_SECRET_SECONDS_MAX, WebhookAdmin};
use switchboard_core::domain::{AppId, CallId, Code, Refusal, WebhookEvent, WebhookId};
use switchboard_records::{AppWebhookEdit, DeliveryPosition, DeliveryState};

use crate::clock::now;
use crate::routes::{DeliveriesView, NewWebhookView, PingView, ResendView, WebhookView};
use crate::webhooks::Webhooks;

/// Command about webhooks of apps, and about the events that were sent to an endpoint.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Add a webhook. Its secret is printed once.
    Add {
        /// Id of the app.
        app: String,
        /// URL that receives events.
        url: String,
        /// Types of events, separated by commas; by default all but the newer ones.
        #[arg(long, value_delimiter = ',', value_parser = event)]
        events: Vec<WebhookEvent>,
    },
    /// List the webhooks of an app.
    List {
        /// Id of the app.
        app: String,
    },
    /// Change URL or types of events.
    Change {
        /// Id of the app.
        app: String,
        /// Id of the webhook.
        webhook: String,
        /// New URL.
        #[arg(long)]
        url: Option<String>,
        /// New types of events, separated by commas.
        #[arg(long, value_delimiter = ',', value_parser = event)]
        events: Vec<WebhookEvent>,
    },
    /// Make a new secret. It is printed once.
    Rotate {
        /// Id of the app.
        app: String,
        /// Id of the webhook.
        webhook: String,
        /// Time in seconds for which the previous secret signs too.
        #[arg(long, default_value_t = PREVIOUS_SECRET_SECONDS,
            value_parser = clap::value_parser!(u32).range(0..=i64::from(PREVIOUS_SECRET_SECONDS_MAX)))]
        previous_seconds: u32,
    },
    /// Remove a webhook.
    Remove {
        /// Id of the app.
        app: String,
        /// Id of the webhook.
        webhook: String,
    },
    /// Send an event that tests an endpoint.
    Ping {
        /// Id of the webhook.
        webhook: String,
    },
    /// List the events for an endpoint, the newest first.
    Deliveries {
        /// Id of the webhook.
        webhook: String,
        /// Only events in this state: waiting, delivered or failed.
        #[arg(long, value_parser = state)]
        state: Option<DeliveryState>,
        /// Only events of this call.
        #[arg(long, value_parser = call)]
        call: Option<CallId>,
        /// Next page.
        #[arg(long, value_parser = position)]
        after: Option<DeliveryPosition>,
        /// Most events, 100 at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Send one event again, or all that failed.
    Resend {
        /// Id of the webhook.
        webhook: String,
        /// Id of the event.
        #[arg(long)]
        event: Option<String>,
    },
}

fn event(text: &str) -> Result<WebhookEvent, String> {
    let all = || WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ");
    WebhookEvent::parse(text).ok_or_else(|| format!("must be one of {}", all()))
}

fn state(text: &str) -> Result<DeliveryState, String> {
    let all = DeliveryState::ALL;
    let names = || all.map(DeliveryState::as_str).join(", ");
    all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("must be one of {}", names()))
}

fn call(text: &str) -> Result<CallId, String> {
    // Events have the id in lower case.
    let id = CallId::parse(&text.to_ascii_lowercase()).ok().filter(|id| id.as_str().len() == 24);
    id.ok_or_else(|| "must be the id of a call: 24 hexadecimal digits".to_owned())
}

fn position(text: &str) -> Result<DeliveryPosition, String> {
    DeliveryPosition::decode(text).ok_or_else(|| "must be next of a page".to_owned())
}

/// Runs a command. Returns the JSON to print.
///
/// # Errors
/// The refusal of the use case, or MongoDB is unavailable.
pub(crate) async fn run(
    admin: WebhookAdmin<'_>,
    webhooks: &Webhooks,
    command: WebhookCommand,
) -> Result<Value, Refusal> {
    let given = |events: Vec<WebhookEvent>| (!events.is_empty()).then_some(events);
    match command {
        WebhookCommand::Add { app, url, events } => {
            let added = admin.add(&AppId::parse(&app)?, &url, given(events), now()).await?;
            Ok(json!(NewWebhookView::at(added, now())))
        }
        WebhookCommand::List { app } => {
            let found = admin.list(&AppId::parse(&app)?).await?;
            Ok(found.into_iter().map(|webhook| json!(WebhookView::at(webhook, now()))).collect())
        }
        WebhookCommand::Change { app, webhook, url, events } => {
            let edit = AppWebhookEdit { url, events: given(events) };
            let edited = admin.edit(&AppId::parse(&app)?, &WebhookId::parse(&webhook)?, edit).await?;
            Ok(json!(WebhookView::at(edited, now())))
        }
        WebhookCommand::Rotate { app, webhook, previous_seconds } => {
            let (app, webhook) = (AppId::parse(&app)?, WebhookId::parse(&webhook)?);
            let rotated = admin.rotate(&app, &webhook, previous_seconds, now()).await?;
            Ok(json!(NewWebhookView::at(rotated, now())))
        }
        WebhookCommand::Remove { app, webhook } => {
            admin.remove(&AppId::parse(&app)?, &WebhookId::parse(&webhook)?).await?;
            Ok(json!({ "removed": webhook }))
        }
        WebhookCommand::Ping { webhook } => {
            let ping = webhooks.ping(&WebhookId::parse(&webhook)?).await?.ok_or(Code::WebhookNotFound)?;
            let took_ms = u64::try_from(ping.took.as_millis()).unwrap_or(u64::MAX);
            Ok(json!(PingView::new(ping.event_id, ping.attempt, took_ms)))
        }
        WebhookCommand::Deliveries { webhook, state, call, after, limit } => {
            let filter = (state, call.as_ref());
            let page = admin.deliveries(&WebhookId::parse(&webhook)?, filter, after.as_ref(), limit).await?;
            Ok(json!(DeliveriesView::new(page, limit)))
        }
        WebhookCommand::Resend { webhook, event } => {
            let count = admin.resend(&WebhookId::parse(&webhook)?, event.as_deref(), now()).await?;
            Ok(json!(ResendView::from(count)))
        }
    }
}
