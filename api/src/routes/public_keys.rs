//! Public keys of the service's own tokens.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header;

use crate::app::App;

/// Media type of a JSON Web Key Set (RFC 7517, section 8.5).
pub(super) const MEDIA_TYPE: &str = "application/jwk-set+json";
/// Caches may keep the set for 5 minutes. A rotation therefore waits as long after it has added the
/// next key (docs/OPERATIONS.md, "Rotating secrets").
const CACHE_CONTROL: &str = "public, max-age=300";

/// `GET /.well-known/jwks.json`.
pub(super) async fn key_set(State(app): State<App>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, CACHE_CONTROL)];
    (headers, Json(app.tokens.public_keys()))
}
