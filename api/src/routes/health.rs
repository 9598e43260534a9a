//! Health, version and index of the service.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use switchboard_core::domain::{Code, Timestamp};

use crate::app::App;
use crate::http::envelope::success;
use crate::http::layers::RequestId;

/// Health of the service.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    status: Status,
    dependencies: Dependencies,
    /// Seconds since the start of the process.
    uptime: u64,
    timestamp: Timestamp,
    version: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Healthy,
    Unhealthy,
}

#[derive(Serialize, JsonSchema)]
struct Dependencies {
    mongodb: Dependency,
    redis: Dependency,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Dependency {
    Up,
    Down,
}

impl Dependency {
    const fn answered(yes: bool) -> Self {
        if yes { Self::Up } else { Self::Down }
    }
}

/// `GET /api/health`: answers 200 when Redis and MongoDB both answer, otherwise 503. The body names
/// each.
pub(crate) async fn health(State(app): State<App>, Extension(id): Extension<RequestId>) -> impl IntoResponse {
    let (records, rooms) = tokio::join!(app.records.ping(), app.rooms.ping());
    let healthy = records.is_ok() && rooms.is_ok();
    let data = Health {
        status: if healthy { Status::Healthy } else { Status::Unhealthy },
        dependencies: Dependencies {
            mongodb: Dependency::answered(records.is_ok()),
            redis: Dependency::answered(rooms.is_ok()),
        },
        uptime: app.started.elapsed().as_secs(),
        timestamp: app.now(),
        version: env!("CARGO_PKG_VERSION"),
    };
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

/// Version of the service.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Version {
    name: &'static str,
    version: &'static str,
    api: &'static str,
}

/// `GET /api/version`.
pub(crate) async fn version() -> impl IntoResponse {
    success("Version", Version { name: "switchboard", version: env!("CARGO_PKG_VERSION"), api: "v1" })
}

/// Paths of the API.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Index {
    name: &'static str,
    version: &'static str,
    endpoints: Endpoints,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Endpoints {
    auth: &'static str,
    video_calls: &'static str,
    health: &'static str,
    version: &'static str,
    docs: &'static str,
    openapi: &'static str,
}

/// `GET /api`: lists the paths of the API.
pub(crate) async fn index() -> impl IntoResponse {
    let endpoints = Endpoints {
        auth: "/api/auth",
        video_calls: "/api/video-calls",
        health: "/api/health",
        version: "/api/version",
        docs: "/api/docs",
        openapi: "/api/openapi.json",
    };
    success("Switchboard API", Index { name: "switchboard", version: env!("CARGO_PKG_VERSION"), endpoints })
}
