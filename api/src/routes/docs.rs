//! The OpenAPI document and its page. Both are written once, at the start.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header;

use crate::app::App;
use crate::openapi;

/// The API in its own words.
pub(crate) struct Documents {
    json: Bytes,
    page: Bytes,
}

impl Documents {
    /// Writes them.
    pub(crate) fn write() -> Self {
        let document = openapi::document("/api", &super::list());
        let page = openapi::render(&document, "/api/docs.css", "/api/openapi.json");
        Self { json: document.to_string().into(), page: page.into() }
    }
}

/// `GET openapi.json`.
pub(super) async fn document(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.documents().json.clone())
}

/// `GET docs`.
pub(super) async fn page(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], app.documents().page.clone())
}

/// `GET docs.css`.
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], openapi::STYLE)
}
