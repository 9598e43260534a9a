//! The OpenAPI document, its HTML page, and the AsyncAPI document. All are written once, at the
//! start.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::response::IntoResponse;
use http::header;
use switchboard_core::wire::contract;

use crate::http::route::Route;
use crate::openapi;

/// The OpenAPI document as JSON and as HTML, and the AsyncAPI document. The router adds it to every
/// request's extensions.
pub(crate) struct Documents {
    json: Bytes,
    page: Bytes,
    asyncapi: Bytes,
}

impl Documents {
    /// Writes the documents of these routes, each list with the path before it.
    pub(super) fn new(routes: &[(&str, &[Route])]) -> Self {
        let document = openapi::document(routes);
        let page = openapi::render(&document, "/api/docs.css", "/api/openapi.json");
        let asyncapi = contract::document(env!("CARGO_PKG_VERSION")).to_string().into();
        Self { json: document.to_string().into(), page: page.into(), asyncapi }
    }
}

/// `GET openapi.json`.
pub(super) async fn document(Extension(documents): Extension<Arc<Documents>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], documents.json.clone())
}

/// `GET asyncapi.json`.
pub(super) async fn asyncapi(Extension(documents): Extension<Arc<Documents>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], documents.asyncapi.clone())
}

/// `GET docs`.
pub(super) async fn page(Extension(documents): Extension<Arc<Documents>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], documents.page.clone())
}

/// `GET docs.css`.
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], openapi::STYLE)
}
