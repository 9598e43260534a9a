//! Whether the service can do its work, what it is, and what it offers.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use switchboard_common::domain::Code;

use crate::app::App;
use crate::envelope::{RequestId, success};

/// `GET /api/health`: 200 when both dependencies answer, 503 otherwise, each named.
pub(crate) async fn health(State(app): State<App>, Extension(id): Extension<RequestId>) -> impl IntoResponse {
    let (records, rooms) = tokio::join!(app.records.ping(), app.rooms.ping());
    let up = |yes: bool| if yes { "up" } else { "down" };
    let healthy = records.is_ok() && rooms.is_ok();
    let data = json!({
        "status": if healthy { "healthy" } else { "unhealthy" },
        "dependencies": { "mongodb": up(records.is_ok()), "redis": up(rooms.is_ok()) },
        "uptime": app.started.elapsed().as_secs(),
        "timestamp": app.now(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    if healthy {
        return success("The service is healthy", data).into_response();
    }
    let body = json!({
        "success": false,
        "message": Code::ServiceUnavailable.sentence(),
        "code": Code::ServiceUnavailable,
        "requestId": id.0.to_str().unwrap_or_default(),
        "data": data,
    });
    let retry = [(header::RETRY_AFTER, HeaderValue::from_static("2"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, Json(body)).into_response()
}

/// `GET /api/version`.
pub(crate) async fn version() -> impl IntoResponse {
    success("Version", json!({ "name": "switchboard", "version": env!("CARGO_PKG_VERSION"), "api": "v1" }))
}

/// `GET /api`: where things are.
pub(crate) async fn index() -> impl IntoResponse {
    let data = json!({
        "name": "switchboard",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": {
            "auth": "/api/auth",
            "videoCalls": "/api/video-calls",
            "health": "/api/health",
            "version": "/api/version",
        },
    });
    success("Switchboard API", data)
}
