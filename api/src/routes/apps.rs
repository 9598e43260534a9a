//! Routes of operators for apps: their API keys, limits and usage.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_calls::{APP_NAME, NewAppKey};
use switchboard_core::domain::{AppId, AppKeyId, AppLimit, AppLimits, AppScope, IdentitySource, Timestamp};
use switchboard_records::{AppEdit, AppKeyRecord, AppRecord};

use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{AppKeyPath, JsonChange, PathParam, ValidJson, ValidQuery, WantsCsv};
use crate::http::fields::{Fields, Input};
use crate::http::operators::{OperatorRead, OperatorWrite};
use crate::routes::usage::{UsageQuery, usage_of};

/// Form of an app.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "App")]
pub(crate) struct AppView {
    /// Id of the app.
    id: AppId,
    /// Name, for operators.
    name: String,
    /// Whether every key and every identity source of the app is refused.
    disabled: bool,
    /// Limits of the app.
    limits: AppLimits,
    /// Web origins on whose pages user tokens are accepted; empty: on all pages.
    origins: Vec<String>,
    /// API keys, without their secrets.
    keys: Vec<AppKeyView>,
    /// Other sign-ins whose tokens identify users of the app.
    identity_sources: Vec<IdentitySource>,
    created_at: Timestamp,
}

/// Form of an API key.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppKey")]
pub(crate) struct AppKeyView {
    /// Public id.
    key_id: AppKeyId,
    /// What the key may do.
    scopes: Vec<AppScope>,
    created_at: Timestamp,
    /// Time of the last use, at most 5 minutes too early; absent if the key was never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    /// Time of revocation; absent while the key is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
}

/// Form of a new API key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewAppKey")]
pub(crate) struct NewAppKeyView {
    #[serde(flatten)]
    key: AppKeyView,
    /// Secret of the key. It is shown here only.
    secret: String,
}

impl From<AppRecord> for AppView {
    fn from(app: AppRecord) -> Self {
        let keys = app.keys.into_iter().map(AppKeyView::from).collect();
        let AppRecord { id, name, disabled, limits, origins, identity_sources, created_at, .. } = app;
        Self { id, name, disabled, limits, origins, keys, identity_sources, created_at }
    }
}

impl From<AppKeyRecord> for AppKeyView {
    fn from(key: AppKeyRecord) -> Self {
        let AppKeyRecord { id, scopes, created_at, last_used_at, revoked_at, .. } = key;
        Self { key_id: id, scopes, created_at, last_used_at, revoked_at }
    }
}

impl From<NewAppKey> for NewAppKeyView {
    fn from(NewAppKey { key, secret }: NewAppKey) -> Self {
        Self { key: key.into(), secret: secret.expose().to_owned() }
    }
}

/// Body of `POST admin/apps`.
pub(crate) struct NewApp {
    name: String,
}

impl Input for NewApp {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self { name: fields.name("name", APP_NAME) }
    }

    fn example() -> Value {
        json!({ "name": "Example Ltd" })
    }
}

/// Body of `PATCH admin/apps/:appId`.
pub(crate) struct AppChange {
    name: Option<String>,
    disabled: Option<bool>,
    limits: Vec<(AppLimit, Option<u32>)>,
    identity_sources: Option<Vec<IdentitySource>>,
    origins: Option<Vec<String>>,
}

impl Input for AppChange {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.optional_name("name", APP_NAME),
            disabled: fields.flag("disabled"),
            limits: fields.app_limits("limits"),
            identity_sources: fields.change("identitySources", |fields| fields.identity_sources("identitySources")),
            origins: fields.change("origins", |fields| fields.app_origins("origins")),
        }
    }

    fn example() -> Value {
        json!({ "limits": { "maxConcurrentParticipants": 500 }, "origins": ["https://app.example"] })
    }
}

/// Body of `POST admin/apps/:appId/keys`.
pub(crate) struct NewKey {
    scopes: Vec<AppScope>,
}

impl Input for NewKey {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        let scopes = fields.choices("scopes", &AppScope::ALL.map(|scope| (scope.as_str(), scope)));
        Self { scopes: scopes.unwrap_or_else(|| AppScope::ALL.to_vec()) }
    }

    fn example() -> Value {
        json!({ "scopes": ["tokens:mint"] })
    }
}

/// Query of `GET admin/apps`.
pub(crate) struct AppQuery {
    after: Option<AppId>,
}

impl Input for AppQuery {
    fn read(fields: &mut Fields) -> Self {
        let text = fields.optional_line("after", 1..=24);
        let after = text.as_deref().and_then(|text| AppId::parse(text).ok());
        if text.is_some() && after.is_none() {
            fields.reject("after", "must be the id of an app");
        }
        Self { after }
    }
}

/// `GET admin/apps`: lists apps in the order of their ids. The last id of a page is `after` of the
/// next page.
pub(crate) async fn list(
    State(app): State<App>,
    _: OperatorRead,
    ValidQuery(query): ValidQuery<AppQuery>,
) -> ApiResult<impl IntoResponse> {
    let apps = app.app_admin().list(query.after.as_ref()).await?;
    Ok(success("Apps", apps.into_iter().map(AppView::from).collect::<Vec<_>>()).into_response())
}

/// `POST admin/apps`.
pub(crate) async fn create(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    ValidJson(new): ValidJson<NewApp>,
) -> ApiResult<impl IntoResponse> {
    let created = app.app_admin().create(&new.name, app.now()).await?;
    tracing::info!(target: "audit", operator, app_id = %created.id, "app created");
    Ok((StatusCode::CREATED, success("App created", AppView::from(created))).into_response())
}

/// `GET admin/apps/:appId`.
pub(crate) async fn get(
    State(app): State<App>,
    _: OperatorRead,
    PathParam(id): PathParam<AppId>,
) -> ApiResult<impl IntoResponse> {
    Ok(success("App", AppView::from(app.app_admin().get(&id).await?)).into_response())
}

/// `PATCH admin/apps/:appId`.
pub(crate) async fn edit(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    PathParam(id): PathParam<AppId>,
    change: JsonChange<AppChange>,
) -> ApiResult<impl IntoResponse> {
    let current = AppView::from(app.app_admin().get(&id).await?);
    let AppChange { name, disabled, limits, origins, identity_sources } = change.read(&current)?;
    let edited = app.app_admin().edit(&id, AppEdit { name, disabled, limits, origins, identity_sources }).await?;
    refresh(&app).await;
    let AppRecord { disabled, limits, origins, identity_sources, .. } = &edited;
    let limits = json!(limits);
    let issuers = json!(identity_sources.iter().map(|source| &source.issuer).collect::<Vec<_>>());
    tracing::info!(
        target: "audit", operator, app_id = %id, disabled, %limits, ?origins, %issuers, "app changed"
    );
    Ok(success("App changed", AppView::from(edited)).into_response())
}

/// `GET admin/apps/:appId/usage`.
pub(crate) async fn usage(
    State(app): State<App>,
    _: OperatorRead,
    PathParam(id): PathParam<AppId>,
    ValidQuery(query): ValidQuery<UsageQuery>,
    WantsCsv(wants_csv): WantsCsv,
) -> ApiResult<Response> {
    usage_of(&app, &id, &query, wants_csv).await
}

/// `DELETE admin/apps/:appId`.
pub(crate) async fn delete(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    PathParam(id): PathParam<AppId>,
) -> ApiResult<impl IntoResponse> {
    app.app_admin().delete(&id, app.now()).await?;
    tracing::info!(target: "audit", operator, app_id = %id, "app deleted");
    Ok(success("App deleted", Value::Null).into_response())
}

/// `GET admin/apps/:appId/keys`: lists the API keys, the oldest first.
pub(crate) async fn keys(
    State(app): State<App>,
    _: OperatorRead,
    PathParam(id): PathParam<AppId>,
) -> ApiResult<impl IntoResponse> {
    let keys = app.app_admin().get(&id).await?.keys;
    Ok(success("API keys", keys.into_iter().map(AppKeyView::from).collect::<Vec<_>>()).into_response())
}

/// `POST admin/apps/:appId/keys`.
pub(crate) async fn add_key(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    PathParam(id): PathParam<AppId>,
    ValidJson(new): ValidJson<NewKey>,
) -> ApiResult<impl IntoResponse> {
    let added = app.app_admin().add_key(&id, new.scopes, app.now()).await?;
    tracing::info!(target: "audit", operator, app_id = %id, key_id = %added.key.id, "API key made");
    Ok((StatusCode::CREATED, success("API key made; store its secret now", NewAppKeyView::from(added))).into_response())
}

/// `DELETE admin/apps/:appId/keys/:keyId`.
pub(crate) async fn revoke_key(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    AppKeyPath { app: id, key }: AppKeyPath,
) -> ApiResult<impl IntoResponse> {
    app.app_admin().revoke_key(&id, &key, app.now()).await?;
    refresh(&app).await;
    tracing::info!(target: "audit", operator, app_id = %id, key_id = %key, "API key revoked");
    Ok(success("API key revoked", Value::Null).into_response())
}

/// Reads the change on this pod at once. A failed read is repeated within seconds.
async fn refresh(app: &App) {
    if app.apps.refresh().await.is_err() {
        tracing::debug!("reading apps failed");
    }
}
