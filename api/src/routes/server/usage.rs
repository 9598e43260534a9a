//! Usage and limits of an app, for its backend.

use axum::extract::State;
use axum::response::Response;

use crate::app::App;
use crate::http::app_key::{Backend, CallsRead};
use crate::http::error::ApiResult;
use crate::http::extract::{ValidQuery, WantsCsv};
use crate::routes::usage::{UsageQuery, limits_of, usage_of};

/// `GET server/usage`.
pub(crate) async fn usage(
    State(app): State<App>,
    backend: Backend<CallsRead>,
    ValidQuery(query): ValidQuery<UsageQuery>,
    WantsCsv(wants_csv): WantsCsv,
) -> ApiResult<Response> {
    usage_of(&app, backend.app(), &query, wants_csv).await
}

/// `GET server/limits`.
pub(crate) async fn limits(State(app): State<App>, backend: Backend<CallsRead>) -> ApiResult<Response> {
    limits_of(&app, backend.app()).await
}
