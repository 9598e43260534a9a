//! Routes of operators for webhooks: those of apps, and the events that were sent to an endpoint.
//!
//! | file | content |
//! |---|---|
//! | `input` | bodies, queries and paths |
//! | `views` | JSON forms |

mod input;
mod views;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde_json::Value;
use switchboard_core::domain::{AppId, Code, WebhookId};

use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{JsonChange, PathParam, ValidJson, ValidQuery};
use crate::http::operators::{OperatorRead, OperatorWrite};
use crate::http::route::{Route, delete, get, patch, post};
use input::{AppWebhookPath, DeliveryQuery, NewSecret, NewWebhookInput, Resend, WebhookChange};
use views::EndpointView;
pub(crate) use views::{DeliveriesView, NewWebhookView, PingView, ResendView, WebhookView};

/// Returns the routes of webhooks.
pub(super) fn list() -> Vec<Route> {
    use Code::{AppNotFound, AppsNotConfigured, DeliveryNotFound, LimitReached, SecretRotated, WebhookNotFound};
    vec![
        get("listAppWebhooks", "/admin/apps/{appId}/webhooks", of_app, "The webhooks of an app")
            .answers::<Vec<WebhookView>>()
            .refuses(&[AppNotFound]),
        post(
            "addAppWebhook",
            "/admin/apps/{appId}/webhooks",
            add,
            "Adds a webhook to an app; its secret is in this response only",
        )
        .answers_with::<NewWebhookView>(StatusCode::CREATED)
        .refuses(&[AppsNotConfigured, AppNotFound, LimitReached]),
        patch(
            "changeAppWebhook",
            "/admin/apps/{appId}/webhooks/{webhookId}",
            edit,
            "Changes URL or types of events of a webhook",
        )
        .answers::<WebhookView>()
        .refuses(&[WebhookNotFound]),
        delete(
            "removeAppWebhook",
            "/admin/apps/{appId}/webhooks/{webhookId}",
            remove,
            "Removes a webhook; events that wait for it are not sent",
        )
        .answers::<()>()
        .refuses(&[WebhookNotFound]),
        post(
            "rotateAppWebhookSecret",
            "/admin/apps/{appId}/webhooks/{webhookId}/secret",
            rotate,
            "Makes a new secret, in this response only; the previous one signs too for a time",
        )
        .answers_with::<NewWebhookView>(StatusCode::CREATED)
        .refuses(&[AppsNotConfigured, WebhookNotFound, SecretRotated]),
        get(
            "listWebhooks",
            "/admin/webhooks",
            endpoints,
            "The webhooks of the deployment, and those of apps with events that wait",
        )
        .answers::<Vec<EndpointView>>()
        .reads_many(),
        get(
            "listWebhookDeliveries",
            "/admin/webhooks/{webhookId}/deliveries",
            deliveries,
            "The events for a webhook with their outcome, the newest first",
        )
        .answers::<DeliveriesView>()
        .reads_many(),
        post(
            "resendWebhookDeliveries",
            "/admin/webhooks/{webhookId}/resend",
            resend,
            "Sends one event again, or all that failed",
        )
        .answers::<ResendView>()
        .refuses(&[DeliveryNotFound]),
        post(
            "pingWebhook",
            "/admin/webhooks/{webhookId}/ping",
            ping,
            "Sends an event that tests a webhook, and returns the outcome",
        )
        .answers::<PingView>()
        .refuses(&[WebhookNotFound]),
    ]
}

/// `GET admin/apps/:appId/webhooks`.
async fn of_app(
    State(app): State<App>,
    _: OperatorRead,
    PathParam(id): PathParam<AppId>,
) -> ApiResult<impl IntoResponse> {
    let (webhooks, now) = (app.webhook_admin().list(&id).await?, app.now());
    let views: Vec<_> = webhooks.into_iter().map(|webhook| WebhookView::at(webhook, now)).collect();
    Ok(success("Webhooks", views).into_response())
}

/// `POST admin/apps/:appId/webhooks`.
async fn add(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    PathParam(id): PathParam<AppId>,
    ValidJson(new): ValidJson<NewWebhookInput>,
) -> ApiResult<impl IntoResponse> {
    let added = app.webhook_admin().add(&id, &new.url, new.events, app.now()).await?;
    tracing::info!(target: "audit", operator, app_id = %id, webhook_id = %added.webhook.id, "webhook added");
    let view = NewWebhookView::at(added, app.now());
    Ok((StatusCode::CREATED, success("Webhook added; store its secret now", view)).into_response())
}

/// `PATCH admin/apps/:appId/webhooks/:webhookId`.
async fn edit(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    AppWebhookPath { app: id, id: webhook }: AppWebhookPath,
    change: JsonChange<WebhookChange>,
) -> ApiResult<impl IntoResponse> {
    let current = WebhookView::at(app.webhook_admin().get(&id, &webhook).await?, app.now());
    let WebhookChange(edit) = change.read(&current)?;
    let edited = app.webhook_admin().edit(&id, &webhook, edit).await?;
    tracing::info!(target: "audit", operator, app_id = %id, webhook_id = %webhook, "webhook changed");
    Ok(success("Webhook changed", WebhookView::at(edited, app.now())).into_response())
}

/// `DELETE admin/apps/:appId/webhooks/:webhookId`.
async fn remove(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    AppWebhookPath { app: id, id: webhook }: AppWebhookPath,
) -> ApiResult<impl IntoResponse> {
    app.webhook_admin().remove(&id, &webhook).await?;
    tracing::info!(target: "audit", operator, app_id = %id, webhook_id = %webhook, "webhook removed");
    Ok(success("Webhook removed", Value::Null).into_response())
}

/// `POST admin/apps/:appId/webhooks/:webhookId/secret`.
async fn rotate(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    AppWebhookPath { app: id, id: webhook }: AppWebhookPath,
    ValidJson(new): ValidJson<NewSecret>,
) -> ApiResult<impl IntoResponse> {
    let rotated = app.webhook_admin().rotate(&id, &webhook, new.previous_seconds, app.now()).await?;
    tracing::info!(target: "audit", operator, app_id = %id, webhook_id = %webhook, "secret of a webhook made");
    let view = NewWebhookView::at(rotated, app.now());
    Ok((StatusCode::CREATED, success("Secret made; store it now", view)).into_response())
}

/// `GET admin/webhooks`: lists the endpoints of the deployment, and those of apps with events that
/// wait.
async fn endpoints(State(app): State<App>, _: OperatorRead) -> ApiResult<impl IntoResponse> {
    let known = app.webhooks.directory().current().await?;
    let mut views: Vec<_> = known
        .of_deployment()
        .map(|endpoint| EndpointView { webhook_id: endpoint.name.clone(), app_id: None, oldest_waiting_at: None })
        .collect();
    for (name, since) in app.records.oldest_waiting().await? {
        match views.iter_mut().find(|view| view.webhook_id == name) {
            Some(view) => view.oldest_waiting_at = Some(since),
            None => views.extend(known.get(&name).map(|endpoint| EndpointView {
                webhook_id: name,
                app_id: endpoint.app.clone(),
                oldest_waiting_at: Some(since),
            })),
        }
    }
    Ok(success("Webhooks", views).into_response())
}

/// `GET admin/webhooks/:webhookId/deliveries`: lists the events for an endpoint, the newest first.
async fn deliveries(
    State(app): State<App>,
    _: OperatorRead,
    PathParam(id): PathParam<WebhookId>,
    ValidQuery(query): ValidQuery<DeliveryQuery>,
) -> ApiResult<impl IntoResponse> {
    let DeliveryQuery { state, call, after, limit } = query;
    let page = app.webhook_admin().deliveries(&id, (state, call.as_ref()), after.as_ref(), limit).await?;
    Ok(success("Events", DeliveriesView::new(page, limit)).into_response())
}

/// `POST admin/webhooks/:webhookId/resend`: sends one event again, or all that failed.
async fn resend(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    PathParam(id): PathParam<WebhookId>,
    ValidJson(Resend { event_id }): ValidJson<Resend>,
) -> ApiResult<impl IntoResponse> {
    let count = app.webhook_admin().resend(&id, event_id.as_deref(), app.now()).await?;
    tracing::info!(target: "audit", operator, webhook_id = %id, count, "webhook events sent again");
    Ok(success("Events are sent again", ResendView::from(count)).into_response())
}

/// `POST admin/webhooks/:webhookId/ping`: sends an event that tests the endpoint, and tells the
/// outcome.
async fn ping(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    PathParam(id): PathParam<WebhookId>,
) -> ApiResult<impl IntoResponse> {
    let ping = app.webhooks.ping(&id).await?.ok_or(Code::WebhookNotFound)?;
    tracing::info!(target: "audit", operator, webhook_id = %id, "webhook tested");
    let took_ms = u64::try_from(ping.took.as_millis()).unwrap_or(u64::MAX);
    Ok(success("Outcome of the test", PingView::new(ping.event_id, ping.attempt, took_ms)).into_response())
}
